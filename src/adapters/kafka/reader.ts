// Owns: reading from explicit positions what is there now, without waiting for more.
// 1. One answer per position, in order; what one partition or broker does spoils no other position.
// 2. A position beyond the log is CURSOR_OUT_OF_RANGE with where the log begins and ends now; never a silent reset.
// 3. Who leads is asked again when an answer says so; all tries together end by `questionDeadlineMs`.
// 4. Each position with data gets one record at least, whatever its size; together they get about `bytesMax`.
// Leaves out: waiting at the end (tail.ts).
import { type Clock, sleep } from '../../ports/clock.ts'
import type { FetchPosition, TopicFormat } from '../../ports/event-log.ts'
import type { BrokerFetch } from '../log-core/log-broker.ts'
import type { FetchedPartition } from './api-fetch.ts'
import type { BrokerAddress } from './api-metadata.ts'
import type { FetchLanes } from './fetch-lanes.ts'
import { fitting, recordsOf, sizeOf } from './fetched-records.ts'
import { isMetadataStale, kafkaCode } from './kafka-codes.ts'
import { type Led, leadershipOf } from './leaders.ts'
import type { Metadata } from './metadata.ts'
import type { KafkaMetrics } from './metrics.ts'
import type { Offsets } from './offsets.ts'
import { failedAt, fetchedAt } from './position.ts'
import { ReadAhead } from './read-ahead.ts'
import type { KafkaSettings } from './settings.ts'
import { TransportError } from './transport-error.ts'

export interface ReaderParts {
  readonly metadata: Metadata
  readonly lanes: FetchLanes
  readonly offsets: Offsets
  readonly formatOf: (topicId: string) => Promise<TopicFormat>
  readonly clock: Clock
  readonly settings: KafkaSettings
  readonly metrics: KafkaMetrics
}

export interface ReadOptions {
  readonly lane: 'tail' | 'catchup' | 'lookup'
  readonly bytesMax: number
  readonly signal?: AbortSignal | undefined
  /** Where the time of all tries ends (monotonic); by default after questionDeadlineMs. */
  readonly deadlineAtMs?: number
}

/** One answer holds no more records of one partition: tiny ones would make many objects of `bytesMax`. */
const recordsMaxPerPosition = 10_000
/** A partition's share of one request is never smaller: small reads of large batches would read them many times. */
const shareBytesMin = 64 * 1024
const requestBytesMax = 8 * 1024 * 1024

interface Place {
  readonly at: FetchPosition
  answer: BrokerFetch | undefined
  /** Bytes to ask for; grows when a batch did not fit. */
  share: number
}

interface Asked {
  readonly place: Place
  readonly led: Led
}

interface Group {
  readonly leader: BrokerAddress
  readonly committedOnly: boolean
  readonly asked: Map<string, Asked>
}

export class Reader {
  readonly #parts: ReaderParts
  readonly #ahead: ReadAhead

  constructor(parts: ReaderParts) {
    this.#parts = parts
    this.#ahead = new ReadAhead(parts.clock)
  }

  /** An answer is undefined where nobody could be asked in time. Never rejects. */
  async read(at: readonly FetchPosition[], options: ReadOptions): Promise<readonly (BrokerFetch | undefined)[]> {
    const { clock, settings } = this.#parts
    const deadlineAtMs = options.deadlineAtMs ?? clock.monotonicMs() + settings.questionDeadlineMs
    const share = Math.max(shareBytesMin, Math.floor(options.bytesMax / Math.max(1, at.length)))
    const places = at.map((one): Place => ({ at: one, answer: undefined, share }))
    for (;;) {
      const open = places.filter(({ answer }) => answer === undefined)
      if (open.length === 0) break
      const progress = await this.#round(open, options)
      const stuck = places.some(({ answer }) => answer === undefined) && !progress
      if (options.signal?.aborted === true || clock.monotonicMs() >= deadlineAtMs) break
      if (stuck) await sleep(clock, settings.metadataPauseMs, options.signal)
    }
    return this.#within(places, options)
  }

  /** True when something was learned, so that the next round need not wait. */
  async #round(open: readonly Place[], options: ReadOptions): Promise<boolean> {
    await this.#learnTopics(open)
    const groups: Group[] = []
    for (const place of open) await this.#assign(place, groups, options)
    if (groups.length === 0) return open.every(({ answer }) => answer !== undefined)
    const progress = await Promise.all(groups.map((group) => this.#ask(group, options)))
    return progress.includes(true)
  }

  /** Topics that are not known or in doubt: one question for all of them. */
  async #learnTopics(open: readonly Place[]): Promise<void> {
    const { metadata } = this.#parts
    const names = new Set<string>()
    for (const { at } of open) {
      const known = metadata.known(at.topic)
      const led = leadershipOf(metadata, known, at.partition)
      if (led.kind !== 'led') names.add(at.topic)
    }
    if (names.size === 0) return
    try {
      await metadata.refresh([...names])
    } catch (error) {
      // Nobody knows now: the next round asks again.
      if (!(error instanceof TransportError)) throw error
    }
  }

  async #assign(place: Place, groups: Group[], options: ReadOptions): Promise<void> {
    const { metadata, formatOf } = this.#parts
    const { at } = place
    const led = leadershipOf(metadata, metadata.known(at.topic), at.partition)
    switch (led.kind) {
      case 'no-topic':
        if (metadata.isAbsent(at.topic)) place.answer = failedAt(at, 'UNKNOWN_TOPIC')
        return
      case 'no-partition':
        place.answer = failedAt(at, 'UNKNOWN_PARTITION')
        return
      case 'no-leader':
        return
      case 'led':
        break
    }
    const { topicId } = led.topic
    const rest = this.#ahead.take(topicId, at.partition, at.offset)
    if (rest !== undefined) {
      place.answer = fetchedAt(at, rest)
      return
    }
    const committedOnly = options.lane !== 'lookup' && (await formatOf(topicId)) === 'plain'
    const key = `${topicId}/${at.partition}`
    const fits = groups.find(
      (group) =>
        group.leader.nodeId === led.leader.nodeId && group.committedOnly === committedOnly && !group.asked.has(key),
    )
    if (fits !== undefined) fits.asked.set(key, { place, led })
    else groups.push({ leader: led.leader, committedOnly, asked: new Map([[key, { place, led }]]) })
  }

  async #ask({ leader, committedOnly, asked }: Group, options: ReadOptions): Promise<boolean> {
    const { lanes, metadata, metrics } = this.#parts
    let partitions: readonly FetchedPartition[]
    try {
      const answer = await lanes.fetch(leader, {
        waitMs: 0,
        bytesMax: requestBytesMax,
        committedOnly,
        partitions: [...asked.values()].map(({ place, led }) => ({
          topicId: led.topic.topicId,
          partition: place.at.partition,
          leaderEpoch: led.leaderEpoch,
          offset: place.at.offset,
          bytesMax: place.share,
        })),
      })
      if (answer.error !== kafkaCode.none) throw new TransportError('malformed', `fetch answered ${answer.error}`)
      partitions = answer.partitions
    } catch (error) {
      if (!(error instanceof TransportError)) throw error
      for (const { place } of asked.values()) metadata.doubt(place.at.topic)
      return false
    }
    let progress = false
    for (const one of partitions) {
      const mine = asked.get(`${one.topicId}/${one.partition}`)
      if (mine === undefined) continue
      metrics.fetched(options.lane, 0, one.bytes.length)
      if (await this.#take(mine, one, committedOnly)) progress = true
    }
    return progress
  }

  async #take({ place, led }: Asked, one: FetchedPartition, committedOnly: boolean): Promise<boolean> {
    const { metadata, metrics } = this.#parts
    const { at } = place
    if (one.error === kafkaCode.offsetOutOfRange) {
      const range = await this.#parts.offsets.range(at.topic, at.partition, led, committedOnly)
      if (range === undefined) {
        metadata.doubt(at.topic)
        return false
      }
      place.answer = failedAt(at, 'CURSOR_OUT_OF_RANGE', range.earliest, range.latest)
      return true
    }
    if (one.error !== kafkaCode.none) {
      if (isMetadataStale(one.error)) metadata.doubt(at.topic)
      return false
    }
    const highWatermark = committedOnly ? one.lastStableOffset : one.highWatermark
    const { records, nextOffset, damagedBatches } = recordsOf(one, at.offset)
    for (let count = damagedBatches; count > 0; count--) metrics.damagedBatch()
    if (nextOffset === at.offset && highWatermark > at.offset) {
      // Something is there, and what others got left no room for it, or it is larger than its share.
      place.share = Math.min(requestBytesMax, place.share * 4)
      return true
    }
    place.answer = fetchedAt(at, { logStart: one.logStart, highWatermark, nextOffset, records })
    return true
  }

  /** Invariant 4: what is too much is kept for the next who asks. */
  #within(places: readonly Place[], options: ReadOptions): readonly (BrokerFetch | undefined)[] {
    const { metadata, metrics } = this.#parts
    let bytesLeft = options.bytesMax
    return places.map(({ at, answer }) => {
      if (answer === undefined || answer.records.length === 0) return answer
      const count = fitting(answer.records, bytesLeft, recordsMaxPerPosition)
      const records = count === answer.records.length ? answer.records : answer.records.slice(0, count)
      for (const record of records) bytesLeft -= sizeOf(record)
      metrics.fetched(options.lane, records.length, 0)
      const first = answer.records[count]
      if (first === undefined) return answer
      const topicId = metadata.known(at.topic)?.topicId
      const { nextOffset, logStart, highWatermark } = answer
      if (topicId !== undefined) {
        const rest = { records: answer.records.slice(count), nextOffset, logStart, highWatermark }
        this.#ahead.keep(topicId, at.partition, first.offset, rest)
      }
      return { ...answer, records, nextOffset: first.offset }
    })
  }
}
