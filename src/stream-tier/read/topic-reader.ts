// Owns: what a read session gets next from one topic; one reader per (node, topic), shared by all its sessions.
// 1. `atEnd` is true only when the ends were read after the call began.
// 2. A log that is away for a while (an election, a restart) ends no read inside the time that its client gave; then the
//    answer is UNAVAILABLE. A log that does not answer at all is waited for `answerMs` longer, no more.
// 3. A reader changes nothing: the same call gives the same events again.
// Leaves out: the batch itself (reading.ts), the end of the topic (shared-tail.ts), acks and kept batches (the session).
import { type Clock, sleep } from '../../ports/clock.ts'
import type { EventLog, TopicInfo } from '../../ports/event-log.ts'
import { type ErrorName, isErrorNamed, TrunklineError } from '../../protocol/errors.ts'
import type { Block } from '../../protocol/messages.ts'
import type { PartitionPosition } from '../../protocol/position.ts'
import { answeredBy } from '../deadline.ts'
import { CatchUp } from './catch-up.ts'
import type { CatchUpLanes } from './catch-up-lanes.ts'
import type { OpenedBlocks } from './opened-blocks.ts'
import type { ReadMetrics } from './read-metrics.ts'
import { type BatchBounds, type BlockedRead, type Collected, Reading, turnOf } from './reading.ts'
import { SharedTail } from './shared-tail.ts'
import { checkTopic } from './topic-check.ts'

export interface TopicReaderDeps {
  readonly log: Pick<EventLog, 'fetch' | 'offsets' | 'topic'>
  /** One per node. */
  readonly blocks: OpenedBlocks
  /** One per node. */
  readonly lanes: CatchUpLanes
  readonly clock: Clock
  readonly topic: TopicInfo
  readonly metrics?: ReadMetrics | undefined
}

export interface ReadOptions extends BatchBounds {
  /** Waits until there is so much, or waitMs are over. Default 1. */
  readonly bytesMin?: number | undefined
  readonly waitMs: number
  /** The partition to begin with: what the last batch said. Default: by the positions. */
  readonly turn?: number | undefined
  /** Ends the wait; the answer is what was there. */
  readonly signal?: AbortSignal | undefined
}

export type ReadBatch =
  | {
      readonly kind: 'batch'
      readonly blocks: readonly Block[]
      /** Events. */
      readonly count: number
      readonly next: readonly PartitionPosition[]
      /** The partition that the next read begins with. */
      readonly turn: number
      readonly atEnd: boolean
    }
  | BlockedRead

/** On top of the client's own time; below the slack that the API tier gives a read. */
const answerMs = 3_000
/** Between two tries of what cannot be read now; doubles. */
const retryMs = 100
const retryMsMax = 1_600

export class TopicReader {
  readonly #deps: TopicReaderDeps
  readonly #catchUp: CatchUp
  readonly #tail: SharedTail
  #closed: ErrorName | undefined

  constructor(deps: TopicReaderDeps) {
    this.#deps = deps
    this.#catchUp = new CatchUp(deps)
    this.#tail = new SharedTail(deps)
  }

  /** Sessions that wait at the end now. */
  get waiters(): number {
    return this.#tail.waiters
  }

  /**
   * The next events from `positions` (one per partition). Errors: UNKNOWN_TOPIC, TOPIC_CHANGED, UNAVAILABLE, and
   * what close() was given.
   */
  async read(positions: readonly PartitionPosition[], options: ReadOptions): Promise<ReadBatch> {
    const { clock, topic } = this.#deps
    if (this.#closed !== undefined) throw new TrunklineError(this.#closed)
    if (positions.length !== topic.partitions) throw new Error('one position per partition')
    const { signal } = options
    const endAtMs = clock.monotonicMs() + options.waitMs
    const answerAtMs = endAtMs + answerMs
    let reading: Reading | undefined
    for (let attempt = 0; ; attempt += 1) {
      try {
        reading ??= await answeredBy(clock, answerAtMs, 'UNAVAILABLE', this.#begin(positions, options.turn))
        return await this.#read(reading, options, endAtMs, answerAtMs)
      } catch (thrown) {
        const leftMs = endAtMs - clock.monotonicMs()
        if (!isErrorNamed(thrown, 'UNAVAILABLE') || leftMs <= 0 || signal?.aborted) throw thrown
        const pauseMs = Math.min(leftMs, retryMsMax, retryMs * 2 ** Math.min(attempt, 10))
        // What comes in another partition meanwhile is not held up.
        if (reading === undefined) await sleep(clock, pauseMs, signal)
        else await this.#tail.wait(reading.ends, pauseMs, signal)
        this.#lookAtTail(reading)
      }
    }
  }

  /** Waiting reads, and all that come later, end with this error. Idempotent. */
  close(because: 'DRAINING' | 'TOPIC_CHANGED' | 'SESSION_GONE' = 'DRAINING'): void {
    this.#closed ??= because
    this.#tail.close(because)
  }

  async #begin(positions: readonly PartitionPosition[], turn: number | undefined): Promise<Reading> {
    const { topic, blocks, log } = this.#deps
    const polled = this.#tail.ends
    const ends = polled ?? (await this.#tail.freshEnds())
    const deps = {
      topic,
      blocks,
      catchUp: this.#catchUp,
      checkTopic: () => checkTopic(log, topic.name, topic.topicId),
    }
    return new Reading(deps, positions, turn ?? turnOf(positions), ends, polled === undefined)
  }

  async #read(reading: Reading, options: ReadOptions, endAtMs: number, answerAtMs: number): Promise<ReadBatch> {
    const { clock } = this.#deps
    const { bytesMin = 1, signal } = options
    let rounds = this.#tail.rounds
    for (;;) {
      const found = await answeredBy(clock, answerAtMs, 'UNAVAILABLE', reading.collect(options))
      if (found.kind === 'blocked') return found
      const enough = found.full || (found.count > 0 && found.bytes >= bytesMin)
      if (enough) return this.#finish(reading, found)
      if (reading.fault !== undefined && found.count === 0) throw new TrunklineError(reading.fault)
      const leftMs = endAtMs - clock.monotonicMs()
      if (leftMs <= 0 || signal?.aborted) {
        if (found.count > 0 || signal?.aborted) return this.#finish(reading, found)
        // Invariant 2: that nothing came says nothing while nobody could look.
        if (this.#tail.isFaulty) throw new TrunklineError('UNAVAILABLE')
        if (reading.fresh) return this.#finish(reading, found)
        reading.ends = await answeredBy(clock, answerAtMs, 'UNAVAILABLE', this.#tail.freshEnds())
        reading.fresh = true
        continue
      }
      await this.#tail.wait(reading.ends, leftMs, signal)
      this.#lookAtTail(reading)
      // An answer of the poll that came while this read waited is as new as any.
      if (this.#tail.ends !== undefined && this.#tail.rounds > rounds) reading.fresh = true
      rounds = this.#tail.rounds
    }
  }

  #lookAtTail(reading: Reading | undefined): void {
    if (reading !== undefined) reading.ends = this.#tail.ends ?? reading.ends
  }

  #finish(reading: Reading, collected: Collected): ReadBatch {
    const { blocks, count, next, turn } = collected
    const behind = reading.isBehind(next)
    if (behind) this.#readAhead(reading, collected)
    return { kind: 'batch', blocks, count, next, turn, atEnd: reading.fresh && !behind }
  }

  /** Fetches the next chunk into the cache while the client works, when a lane is free. */
  #readAhead(reading: Reading, collected: Collected): void {
    if (!this.#deps.lanes.isFree) return
    const wanted = reading.notAtHand(collected)
    if (wanted.length === 0) return
    this.#catchUp.fetch(wanted).catch(() => {
      // Nobody waits for it: the read that needs these records asks again and is told.
    })
  }
}
