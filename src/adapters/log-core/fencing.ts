// Owns: ending other incarnations: a raised producer epoch, and a barrier record in each asked partition.
// 1. One fence per incarnation in this process, shared by everybody who asks: the epoch is raised once.
// 2. A barrier is the first record of its epoch in the partition (sequence 0) and is sent again under the same numbers
//    until its offset is known.
// 3. A refused barrier raises nothing again: somebody's higher barrier is there; the log is read until it is seen.
// 4. Answered only with the offset of a record that is visible (below the high watermark).
// Leaves out: the look-up below the barrier (stream tier).
import { setMaxListeners } from 'node:events'
import { type Clock, sleep } from '../../ports/clock.ts'
import type {
  AppendRecord,
  AppendTarget,
  FenceAnswer,
  FenceTarget,
  TopicInfo,
  TopicPartition,
} from '../../ports/event-log.ts'
import type { Random } from '../../ports/random.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import type { TopicId, TopicName } from '../../protocol/ids.ts'
import { decodeRecordHeader, encodeRecordHeader } from '../../protocol/record-header.ts'
import type { BrokerRecord, LogBroker } from './log-broker.ts'
import { meaningOf } from './produce-answers.ts'
import { type LogCoreSettings, pauseBefore } from './settings.ts'

export interface FencingParts {
  readonly broker: LogBroker
  readonly clock: Clock
  readonly random: Random
  readonly settings: LogCoreSettings
}

interface Raised {
  readonly pid: number
  readonly epoch: number
}

interface Fence {
  readonly raised: Promise<Raised>
  /** By topic id and partition: a topic made anew under the same name has no barrier. */
  readonly barriers: Map<string, Promise<number>>
}

/** How far back the first look for somebody's barrier goes; four times as far each time. */
const lookBackRecords = 64
const lookBytesMax = 1024 * 1024

export class Fencing {
  readonly #parts: FencingParts
  readonly #fences = new Map<string, Fence>()
  readonly #end = new AbortController()

  constructor(parts: FencingParts) {
    this.#parts = parts
    // One listener per partition at work.
    setMaxListeners(0, this.#end.signal)
  }

  /** Errors: UNAVAILABLE, UNKNOWN_TOPIC, UNKNOWN_PARTITION. */
  async fence(target: FenceTarget, at: readonly TopicPartition[]): Promise<FenceAnswer> {
    const topicIds = await this.#topicIds(at)
    const key = `${target.identity}/${target.pid}`
    const fence = this.#fences.get(key) ?? this.#begin(key, target)
    try {
      return await Promise.all(
        at.map(async (one) => {
          const topicId = topicIds.get(one.topic)
          if (topicId === undefined) throw new Error('a topic was not looked up')
          return { at: one, barrierOffset: await this.#barrierOnce(fence, topicId, one) }
        }),
      )
    } catch (error) {
      // The next one who asks begins anew, under a new epoch.
      if (this.#fences.get(key) === fence) this.#fences.delete(key)
      throw error
    }
  }

  /** Whoever waits for a fence gets UNAVAILABLE. */
  close(): void {
    this.#end.abort()
  }

  async #topicIds(at: readonly TopicPartition[]): Promise<ReadonlyMap<TopicName, TopicId>> {
    const known = new Map<TopicName, TopicInfo>()
    for (const { topic, partition } of at) {
      const info = known.get(topic) ?? (await this.#parts.broker.topic(topic))
      if (info === undefined) throw new TrunklineError('UNKNOWN_TOPIC', { details: { topic } })
      if (partition < 0 || partition >= info.partitions) {
        throw new TrunklineError('UNKNOWN_PARTITION', { details: { topic, partition: String(partition) } })
      }
      known.set(topic, info)
    }
    return new Map([...known].map(([topic, info]) => [topic, info.topicId]))
  }

  #begin(key: string, target: FenceTarget): Fence {
    const fence: Fence = { raised: this.#raise(target), barriers: new Map() }
    // Whoever waits for a barrier hears of a failure; nobody may be waiting for one.
    fence.raised.catch(() => {})
    this.#fences.set(key, fence)
    if (this.#fences.size > this.#parts.settings.fencesMax) {
      const oldest = this.#fences.keys().next()
      if (oldest.done !== true) this.#fences.delete(oldest.value)
    }
    return fence
  }

  /**
   * The identity's next epoch. Another PID than the target's means that the log forgot the identity long ago and that
   * its owner has long retired: the barrier then goes under the new one.
   */
  async #raise(target: FenceTarget): Promise<Raised> {
    const { broker, clock } = this.#parts
    const deadlineMs = clock.monotonicMs() + this.#parts.settings.fenceDeadlineMs
    for (let attempt = 1; ; attempt++) {
      const answer = await broker.initProducerId(target.identity)
      if (answer.kind === 'ok') return { pid: answer.pid, epoch: answer.epoch }
      await this.#pause(attempt, deadlineMs)
    }
  }

  #barrierOnce(fence: Fence, topicId: TopicId, at: TopicPartition): Promise<number> {
    const key = `${topicId}/${at.partition}`
    let barrier = fence.barriers.get(key)
    if (barrier === undefined) {
      barrier = fence.raised.then((raised) => this.#barrier(raised, { ...at, topicId }))
      fence.barriers.set(key, barrier)
    }
    return barrier
  }

  async #barrier(raised: Raised, at: Required<AppendTarget>): Promise<number> {
    const { broker, clock, settings } = this.#parts
    const deadlineMs = clock.monotonicMs() + settings.fenceDeadlineMs
    const record: AppendRecord = {
      key: null,
      value: new Uint8Array(0),
      header: encodeRecordHeader({ kind: 'barrier' }),
    }
    for (let attempt = 1; ; attempt++) {
      const meaning = meaningOf(
        await broker.produce({
          purpose: 'barrier',
          acks: 'all',
          pid: raised.pid,
          epoch: raised.epoch,
          firstSequence: 0, // invariant 2
          at,
          records: [record],
        }),
      )
      if (meaning.kind === 'landed') return meaning.baseOffset
      if (meaning.kind === 'no-topic') {
        const known = await this.#topicIds([at])
        // Made anew meanwhile: whoever asks again begins with the topic that is there now.
        if (known.get(at.topic) !== at.topicId) throw new TrunklineError('UNAVAILABLE')
      }
      if (meaning.kind === 'fenced') {
        const seen = await this.#findBarrier(raised.pid, at)
        if (seen !== undefined) return seen
      }
      await this.#pause(attempt, deadlineMs)
    }
  }

  /** The newest visible barrier of the PID, looked for from the end backwards: fencers race, so it is near the end. */
  async #findBarrier(pid: number, at: TopicPartition): Promise<number | undefined> {
    const { broker } = this.#parts
    const [logStart] = await broker.offsets([at], 'earliest')
    const [end] = await broker.offsets([at], 'end')
    if (logStart === undefined || end === undefined) throw new Error('a broker answered too few offsets')
    let to = end
    for (let count = lookBackRecords; to > logStart; count *= 4) {
      const from = Math.max(logStart, to - count)
      const seen = await this.#lastBarrierBetween(pid, at, from, to)
      if (seen !== undefined) return seen
      to = from
    }
    return undefined
  }

  async #lastBarrierBetween(pid: number, at: TopicPartition, from: number, to: number): Promise<number | undefined> {
    let seen: number | undefined
    let offset = from
    while (offset < to) {
      const [fetched] = await this.#parts.broker.fetch([{ ...at, offset }], {
        lane: 'lookup',
        waitMs: 0,
        bytesMax: lookBytesMax,
        signal: this.#end.signal,
      })
      if (fetched === undefined) throw new Error('a broker answered too few positions')
      for (const record of fetched.records) {
        if (record.offset < to && isBarrierOf(pid, record)) seen = record.offset
      }
      // Retention or a leader change under our feet: what is left is looked at by the next try.
      if (fetched.error !== undefined || fetched.nextOffset <= offset) return seen
      offset = fetched.nextOffset
    }
    return seen
  }

  async #pause(attempt: number, deadlineMs: number): Promise<void> {
    const { clock, random, settings } = this.#parts
    if (this.#end.signal.aborted || clock.monotonicMs() >= deadlineMs) throw new TrunklineError('UNAVAILABLE')
    await sleep(clock, pauseBefore(attempt, settings, random.fraction()), this.#end.signal)
    if (this.#end.signal.aborted) throw new TrunklineError('UNAVAILABLE')
  }
}

function isBarrierOf(pid: number, record: BrokerRecord): boolean {
  if (record.pid !== pid) return false
  return record.epoch > 0 || (record.header !== null && decodeRecordHeader(record.header)?.kind === 'barrier')
}
