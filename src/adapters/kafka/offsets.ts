// Owns: offsets of partitions: first, last, by time; each asked at its partition's leader.
// 1. One answer per partition, in order. Who leads is asked again when an answer says so, until `questionDeadlineMs`.
// 2. Transactions of strangers that are open hide what is behind their start, as they do in a fetch; only `end` is the
//    high watermark.
import { type Clock, sleep } from '../../ports/clock.ts'
import type { OffsetQuery, TopicPartition } from '../../ports/event-log.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import type { BrokerAddress } from './api-metadata.ts'
import { earliestTimestamp, latestTimestamp, listOffsetsRequest, type OffsetQuestion } from './api-offsets.ts'
import { kafkaCode } from './kafka-codes.ts'
import type { Lane } from './lane.ts'
import { type Led, leadershipOf } from './leaders.ts'
import type { Metadata } from './metadata.ts'
import type { KafkaSettings } from './settings.ts'
import { TransportError } from './transport-error.ts'

export interface OffsetsParts {
  readonly metadata: Metadata
  readonly lane: Lane
  readonly clock: Clock
  readonly settings: KafkaSettings
}

interface Group {
  readonly leader: BrokerAddress
  readonly asked: { readonly index: number; readonly question: OffsetQuestion }[]
}

export class Offsets {
  readonly #parts: OffsetsParts

  constructor(parts: OffsetsParts) {
    this.#parts = parts
  }

  /** Errors: UNKNOWN_TOPIC, UNKNOWN_PARTITION, UNAVAILABLE. */
  async ask(at: readonly TopicPartition[], query: OffsetQuery): Promise<readonly number[]> {
    const committedOnly = query !== 'end'
    const found = await this.#settle(at, timestampOf(query), committedOnly)
    // A time behind every record: the end.
    const late = [...found.keys()].filter((index) => found[index] === -1)
    if (late.length > 0) {
      const places = late.flatMap((index) => at[index] ?? [])
      const ends = await this.#settle(places, latestTimestamp, committedOnly)
      for (const [place, index] of late.entries()) found[index] = ends[place] ?? -1
    }
    return found
  }

  /** Where a partition begins and ends now, at a known leader; undefined when it cannot be told there. */
  async range(
    topic: string,
    partition: number,
    led: Led,
    committedOnly: boolean,
  ): Promise<{ readonly earliest: number; readonly latest: number } | undefined> {
    const { lane, settings } = this.#parts
    const ask = async (timestamp: number): Promise<number | undefined> => {
      const question = { topic, partition, leaderEpoch: led.leaderEpoch, timestamp }
      const [answer] = await lane.request(
        led.leader,
        listOffsetsRequest([question], committedOnly),
        settings.requestTimeoutMs,
      )
      return answer?.error === kafkaCode.none ? answer.offset : undefined
    }
    try {
      const [earliest, latest] = await Promise.all([ask(earliestTimestamp), ask(latestTimestamp)])
      return earliest === undefined || latest === undefined ? undefined : { earliest, latest }
    } catch (error) {
      if (error instanceof TransportError) return undefined
      throw error
    }
  }

  async #settle(at: readonly TopicPartition[], timestamp: number, committedOnly: boolean): Promise<number[]> {
    const { clock, settings } = this.#parts
    const deadlineAtMs = clock.monotonicMs() + settings.questionDeadlineMs
    const found = new Map<number, number>()
    for (;;) {
      const groups = await this.#groups(at, timestamp, found)
      await Promise.all(groups.map((group) => this.#ask(group, committedOnly, found)))
      if (found.size === at.length) return at.map((_, index) => found.get(index) ?? -1)
      if (clock.monotonicMs() >= deadlineAtMs) throw new TrunklineError('UNAVAILABLE')
      await sleep(clock, settings.metadataPauseMs)
    }
  }

  async #groups(
    at: readonly TopicPartition[],
    timestamp: number,
    found: ReadonlyMap<number, number>,
  ): Promise<readonly Group[]> {
    const { metadata } = this.#parts
    await this.#learnTopics(at)
    const groups: Group[] = []
    for (const [index, { topic, partition }] of at.entries()) {
      if (found.has(index)) continue
      const led = leadershipOf(metadata, metadata.known(topic), partition)
      if (led.kind === 'no-topic' && metadata.isAbsent(topic)) {
        throw new TrunklineError('UNKNOWN_TOPIC', { details: { topic } })
      }
      if (led.kind === 'no-partition') {
        throw new TrunklineError('UNKNOWN_PARTITION', { details: { topic, partition: String(partition) } })
      }
      if (led.kind !== 'led') continue
      const question = { topic, partition, leaderEpoch: led.leaderEpoch, timestamp }
      const group = groups.find(
        (one) =>
          one.leader.nodeId === led.leader.nodeId &&
          !one.asked.some((other) => other.question.topic === topic && other.question.partition === partition),
      )
      if (group === undefined) groups.push({ leader: led.leader, asked: [{ index, question }] })
      else group.asked.push({ index, question })
    }
    return groups
  }

  async #learnTopics(at: readonly TopicPartition[]): Promise<void> {
    const { metadata } = this.#parts
    const names = new Set<string>()
    for (const { topic, partition } of at) {
      if (leadershipOf(metadata, metadata.known(topic), partition).kind !== 'led') names.add(topic)
    }
    if (names.size === 0) return
    try {
      await metadata.refresh([...names])
    } catch (error) {
      if (!(error instanceof TransportError)) throw error
    }
  }

  async #ask({ leader, asked }: Group, committedOnly: boolean, found: Map<number, number>): Promise<void> {
    const { lane, metadata, settings } = this.#parts
    try {
      const questions = asked.map(({ question }) => question)
      const answers = await lane.request(
        leader,
        listOffsetsRequest(questions, committedOnly),
        settings.requestTimeoutMs,
      )
      for (const answer of answers) {
        const one = asked.find(
          ({ question }) => question.topic === answer.topic && question.partition === answer.partition,
        )
        if (one === undefined) continue
        if (answer.error === kafkaCode.none) found.set(one.index, answer.offset)
        else metadata.doubt(answer.topic)
      }
    } catch (error) {
      if (!(error instanceof TransportError)) throw error
      for (const { question } of asked) metadata.doubt(question.topic)
    }
  }
}

/** Kafka gives a meaning of its own to negative times. */
function timestampOf(query: OffsetQuery): number {
  if (query === 'earliest') return earliestTimestamp
  if (query === 'latest' || query === 'end') return latestTimestamp
  return Math.max(0, Math.ceil(query.atOrAfterMs))
}
