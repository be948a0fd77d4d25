// Owns: the end of one topic, for all sessions of the node that wait there.
// 1. One long poll over all partitions runs while somebody waits, and shortly after; 1,000 waiters cost one fetch.
// 2. What arrives is opened once and cached before anybody is woken; waiting costs one small object, waking O(waiters).
// 3. A log that is away ends no wait: it is asked again, with growing pauses, while somebody waits (`isFaulty` says so);
//    partitions that can be read are polled meanwhile.
// 4. `ends` is replaced, never changed: a waiter that remembers the array it saw is behind when a newer one is higher.
// Leaves out: what a session gets (topic-reader.ts), records behind the end (catch-up.ts).
import { type Clock, sleep, type Timer } from '../../ports/clock.ts'
import type { EventLog, PartitionFetch, TopicInfo, TopicPartition } from '../../ports/event-log.ts'
import { type ErrorName, isErrorNamed, TrunklineError } from '../../protocol/errors.ts'
import { countRecords, fetchBytesMax, openAll } from './catch-up.ts'
import type { OpenedBlocks } from './opened-blocks.ts'
import type { ReadMetrics } from './read-metrics.ts'
import { checkTopic } from './topic-check.ts'

export type Ends = readonly number[]
/** ended: the time is over, or the signal was aborted. */
export type WaitResult = 'arrived' | 'ended'

export interface SharedTailDeps {
  readonly log: Pick<EventLog, 'fetch' | 'offsets' | 'topic'>
  readonly blocks: OpenedBlocks
  readonly clock: Clock
  readonly topic: TopicInfo
  readonly metrics?: ReadMetrics | undefined
}

/** One round of the long poll: a topic that was deleted or made anew is noticed after at most one. */
const pollMs = 5_000
/** The poll goes on so long without waiters: a reader that comes back finds it running. */
const lingerMs = 1_000
/** Between two tries of what cannot be read now; doubles. */
const retryMs = 100
const retryMsMax = 1_600

interface Waiter {
  readonly seen: Ends
  readonly resolve: (result: WaitResult) => void
  readonly reject: (error: TrunklineError) => void
  readonly signal: AbortSignal | undefined
  readonly timer: Timer
  readonly end: () => void
}

export class SharedTail {
  readonly #deps: SharedTailDeps
  readonly #all: readonly TopicPartition[]
  readonly #waiters = new Set<Waiter>()
  #ends: Ends | undefined
  #rounds = 0
  #faulty = false
  #poll: AbortController | undefined
  #linger: Timer | undefined
  #asking: { readonly answer: Promise<Ends>; readonly next: Promise<Ends> | undefined } | undefined
  #closed: ErrorName | undefined

  constructor(deps: SharedTailDeps) {
    this.#deps = deps
    this.#all = Array.from({ length: deps.topic.partitions }, (_, partition) => ({ topic: deps.topic.name, partition }))
  }

  /** By partition: everything below was fetched or can be; undefined while no poll runs. */
  get ends(): Ends | undefined {
    return this.#ends
  }

  /** Grows with every answer of the poll. */
  get rounds(): number {
    return this.#rounds
  }

  /** Whether the last look at the log did not see all of the topic. */
  get isFaulty(): boolean {
    return this.#faulty
  }

  get waiters(): number {
    return this.#waiters.size
  }

  /** The log's ends, read after this call began; callers of one moment share one question. Errors: UNAVAILABLE, UNKNOWN_TOPIC. */
  freshEnds(): Promise<Ends> {
    const asking = this.#asking
    if (asking === undefined) return this.#ask()
    if (asking.next !== undefined) return asking.next
    // The question that is out may have been answered before this call: the next one is for everybody who comes now.
    const next = asking.answer.then(
      () => this.#ask(),
      () => this.#ask(),
    )
    this.#asking = { answer: asking.answer, next }
    return next
  }

  /**
   * Resolves when some partition ends higher than in `seen`. Errors: UNKNOWN_TOPIC, TOPIC_CHANGED, and what close() was
   * given.
   */
  wait(seen: Ends, waitMs: number, signal: AbortSignal | undefined): Promise<WaitResult> {
    if (this.#closed !== undefined) return Promise.reject(new TrunklineError(this.#closed))
    if (signal?.aborted) return Promise.resolve('ended')
    if (this.#ends !== undefined && isHigher(this.#ends, seen)) return Promise.resolve('arrived')
    return new Promise((resolve, reject) => {
      const end = (): void => {
        if (this.#remove(waiter)) resolve('ended')
      }
      const waiter: Waiter = { seen, resolve, reject, signal, end, timer: this.#deps.clock.after(waitMs, end) }
      signal?.addEventListener('abort', end)
      this.#waiters.add(waiter)
      this.#deps.metrics?.tailWaiters(1)
      this.#start()
    })
  }

  close(because: ErrorName): void {
    this.#closed = because
    this.#linger?.cancel()
    this.#stop()
    this.#fail(new TrunklineError(because))
  }

  #ask(): Promise<Ends> {
    const answer = this.#deps.log.offsets(this.#all, 'latest')
    const asked = { answer, next: undefined }
    this.#asking = asked
    const done = (): void => {
      if (this.#asking === asked) this.#asking = undefined
    }
    answer.then(done, done)
    return answer
  }

  #start(): void {
    this.#linger?.cancel()
    this.#linger = undefined
    if (this.#poll !== undefined) return
    const poll = new AbortController()
    this.#poll = poll
    this.#run(poll.signal).catch((error: unknown) => {
      if (this.#poll !== poll) return
      this.#stop()
      this.#fail(TrunklineError.from(error))
    })
  }

  #stop(): void {
    this.#poll?.abort()
    this.#poll = undefined
    this.#ends = undefined
    this.#faulty = false
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps
    for (let failures = 0; !signal.aborted; ) {
      const faulty = await this.#look(signal)
      if (signal.aborted) return
      this.#faulty = faulty.size > 0
      if (faulty.size === 0) {
        failures = 0
        continue
      }
      const pauseMs = Math.min(retryMsMax, retryMs * 2 ** Math.min(failures, 10))
      failures += 1
      const healthy = this.#all.filter(({ partition }) => !faulty.has(partition))
      if (healthy.length === 0) await sleep(clock, pauseMs, signal)
      else await this.#look(signal, healthy, pauseMs)
    }
  }

  /** One round; answers the partitions that could not be read: all of them when the log is away. */
  async #look(
    signal: AbortSignal,
    at: readonly TopicPartition[] = this.#all,
    waitMs: number = pollMs,
  ): Promise<ReadonlySet<number>> {
    try {
      return await this.#round(signal, at, waitMs)
    } catch (thrown) {
      if (!isErrorNamed(thrown, 'UNAVAILABLE')) throw thrown
      return new Set(this.#all.map(({ partition }) => partition))
    }
  }

  async #round(signal: AbortSignal, at: readonly TopicPartition[], waitMs: number): Promise<ReadonlySet<number>> {
    const { log, topic, metrics } = this.#deps
    const before = this.#ends
    if (before === undefined) {
      const first = await this.freshEnds()
      if (!signal.aborted) this.#move(first)
      return nothing
    }
    const positions = at.map((one) => ({ ...one, offset: before[one.partition] ?? 0 }))
    const answers = await log.fetch(positions, { lane: 'tail', waitMs, bytesMax: fetchBytesMax, signal })
    if (signal.aborted) return nothing
    const records = countRecords(answers)
    metrics?.fetched('tail', records)
    if (records === 0) await checkTopic(log, topic.name, topic.topicId)
    const ends = [...before]
    await Promise.all(
      answers.map(async (answer) => {
        ends[answer.partition] = await this.#take(answer, before[answer.partition] ?? 0)
      }),
    )
    if (!signal.aborted) this.#move(ends)
    return new Set(answers.filter(isFault).map(({ partition }) => partition))
  }

  /** Opens what came into the cache; returns where the partition goes on. */
  async #take(answer: PartitionFetch, at: number): Promise<number> {
    const { blocks, topic } = this.#deps
    // Retention passed the end, or the log lost its own: whoever waits there is told by a fetch of its own.
    if (answer.error === 'CURSOR_OUT_OF_RANGE') return answer.logStart > at ? answer.logStart : answer.highWatermark
    if (answer.error !== undefined) return at
    await openAll(blocks, topic, answer, at)
    return answer.nextOffset
  }

  #move(ends: Ends): void {
    const before = this.#ends
    this.#ends = ends
    this.#rounds += 1
    if (before?.every((end, partition) => end === ends[partition])) return
    for (const waiter of [...this.#waiters]) {
      if (isHigher(ends, waiter.seen) && this.#remove(waiter)) waiter.resolve('arrived')
    }
  }

  #fail(error: TrunklineError): void {
    for (const waiter of [...this.#waiters]) if (this.#remove(waiter)) waiter.reject(error)
  }

  #remove(waiter: Waiter): boolean {
    if (!this.#waiters.delete(waiter)) return false
    waiter.timer.cancel()
    waiter.signal?.removeEventListener('abort', waiter.end)
    this.#deps.metrics?.tailWaiters(-1)
    if (this.#waiters.size === 0 && this.#closed === undefined) {
      this.#linger?.cancel()
      this.#linger = this.#deps.clock.after(lingerMs, () => {
        if (this.#waiters.size === 0) this.#stop()
      })
    }
    return true
  }
}

const nothing: ReadonlySet<number> = new Set()

function isHigher(ends: Ends, seen: Ends): boolean {
  return ends.some((end, partition) => end > (seen[partition] ?? 0))
}

function isFault(answer: PartitionFetch): boolean {
  return answer.error !== undefined && answer.error !== 'CURSOR_OUT_OF_RANGE'
}
