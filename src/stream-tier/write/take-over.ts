// Owns: taking over a producer whose session was lost: release or fence, look up (design.md §3 rules 2-4). Going on
// (rule 5) is the session's; nothing here appends an event.
// 1. The old node is asked first; only silence for releaseMs or unroutable leads to a fence (rule 2).
// 2. A release answer that comes after a fence of that incarnation began is ignored (rule 3).
// 3. The scan's bound is read after the release answer (the end of the log), or is the barrier (rule 4).
// 4. All of it is done before the caller hears anything but PENDING; no payload is held, and nothing is published
//    (rules 4 and 5).
// 5. A take-over that outlasts its caller goes on in the background, bounded; the repeat of the same request joins it.
// Leaves out: sealing of tokens and cursors, the switchboard's envelope, closing the local session (localRelease).
import { createHash } from 'node:crypto'
import type { SessionTokenContent } from '../../crypto/session-token.ts'
import { noTracing, type Tracing } from '../../observability/tracing.ts'
import { type Clock, sleep } from '../../ports/clock.ts'
import type { EventLog, TopicPartition } from '../../ports/event-log.ts'
import type { ReleaseRequest } from '../../protocol/envelope.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { type Incarnation, idToBytes, type ProducerId, type SessionId } from '../../protocol/ids.ts'
import { releaseMs, resumeWritesMax, writePartsMax } from '../../protocol/limits.ts'
import { partState, type UnansweredWrite, type WriteOutcome } from '../../protocol/messages.ts'
import { checkTopic } from '../read/topic-check.ts'
import { Fences } from './fences.ts'
import { judgeWrites, type PartitionScan, type ScanRange, scanPartition } from './look-up.ts'
import { SharedScans } from './shared-scans.ts'

/** released: nothing of the producer is in flight there and never will be. pending: ask again. silent: no answer in time. */
export type ReleaseAnswer = 'released' | 'pending' | 'unroutable' | 'silent'

export interface TakeOverRequest {
  /** The newest token under which the client ever sent a write. */
  readonly token: Pick<
    SessionTokenContent,
    'sessionId' | 'incarnation' | 'pid' | 'topic' | 'topicId' | 'producerId' | 'partitions'
  >
  /** By partition: the offsets of its write cursor. */
  readonly from: readonly number[]
  /** By n, ascending. */
  readonly writes: readonly UnansweredWrite[]
  /** The first number the client has never used. */
  readonly nextN: number
  /** Monotonic: after it the answer is PENDING. */
  readonly deadlineAtMs: number
  /** Trace context of the call that asks. */
  readonly traceparent?: string | undefined
}

export interface TakeOverOutcome {
  /** unneeded: nothing was unanswered, and the old node did not answer. */
  readonly how: 'released' | 'fenced' | 'unneeded'
  /** In the order of the request's writes. */
  readonly outcomes: readonly WriteOutcome[]
  /** By n, of writes of which a part was found: a repeat must have the same (WRITE_CHANGED). */
  readonly hashes: ReadonlyMap<number, Uint8Array>
  /** By partition: where the scans ended, or the log's end where nothing was unanswered. */
  readonly writeCursor: readonly number[]
}

export interface TakeOverMetrics {
  takenOver(how: TakeOverOutcome['how'] | 'failed', durationMs: number): void
  /** The log answered a fence, or could not. */
  fenced(outcome: 'fenced' | 'failed', durationMs: number): void
}

export interface TakeOversOptions {
  readonly log: Pick<EventLog, 'fence' | 'fetch' | 'offsets' | 'topic'>
  /**
   * Asks another incarnation to release a producer; answers `silent` when `deadlineMs` has passed. Never rejects.
   * `traceparent` is the take-over's own span.
   */
  readonly switchboardCall: (
    incarnation: Incarnation,
    request: ReleaseRequest,
    deadlineMs: number,
    traceparent: string | undefined,
  ) => Promise<ReleaseAnswer>
  readonly self: Incarnation
  /**
   * Closes that session of this node for good; true when nothing of the producer is queued or in flight under it (also
   * when the session is not known here).
   */
  readonly localRelease: (producerId: ProducerId, sessionId: SessionId) => Promise<boolean> | boolean
  readonly clock: Clock
  readonly releaseMs?: number
  readonly metrics?: TakeOverMetrics | undefined
  /** Default: off. */
  readonly tracing?: Tracing | undefined
}

type Token = TakeOverRequest['token'] & { readonly producerId: ProducerId }

/** Between two asks of a node that answered PENDING. */
const askAgainMs = 50
/** A take-over goes on so long without its caller; asks, lags and waits inside it end here. */
const backgroundMs = 60_000
/** A finished one answers repeats so long, so that a scan longer than a caller's patience ends at all. */
const keepMs = 10_000
const keptMax = 4_096

export class TakeOvers {
  readonly #options: TakeOversOptions
  readonly #fences: Fences
  readonly #scans: SharedScans
  readonly #running = new Map<string, Promise<TakeOverOutcome>>()

  constructor(options: TakeOversOptions) {
    this.#options = options
    this.#fences = new Fences(countedFences(options), options.self)
    this.#scans = new SharedScans(options)
  }

  /**
   * Ends the token's session wherever it lives and tells what of its writes landed. Idempotent.
   * Errors: PENDING, UNAVAILABLE (both retryable), BAD_REQUEST, UNKNOWN_TOPIC, TOPIC_CHANGED.
   */
  async takeOver(request: TakeOverRequest): Promise<TakeOverOutcome> {
    const token = checkRequest(request)
    const key = keyOf(token, request)
    let running = this.#running.get(key)
    if (running === undefined) {
      if (this.#running.size >= keptMax) throw new TrunklineError('PENDING')
      running = this.#run(token, request)
      this.#keep(key, running)
    }
    return this.#within(running, request.deadlineAtMs)
  }

  async #run(token: Token, request: TakeOverRequest): Promise<TakeOverOutcome> {
    const { log, clock, metrics, tracing = noTracing } = this.#options
    const startedAtMs = clock.monotonicMs()
    const deadlineAtMs = startedAtMs + backgroundMs
    const span = tracing.start('take-over', 'producer', request.traceparent)
    span?.set('topic', token.topic)
    span?.set('sessionId', token.sessionId)
    try {
      await checkTopic(log, token.topic, token.topicId)
      const ended = await this.#endOldSession(token, deadlineAtMs, span?.traceparent)
      const partitions = partitionsOf(request.writes)
      const outcome =
        ended === 'released'
          ? await this.#lookUpReleased(token, request, partitions, deadlineAtMs)
          : await this.#lookUpFenced(token, request, partitions, deadlineAtMs)
      // The topic may have been made anew under the scan.
      await checkTopic(log, token.topic, token.topicId)
      metrics?.takenOver(outcome.how, clock.monotonicMs() - startedAtMs)
      span?.set('how', outcome.how)
      span?.end('ok')
      return outcome
    } catch (error) {
      metrics?.takenOver('failed', clock.monotonicMs() - startedAtMs)
      span?.end(TrunklineError.from(error).name)
      throw error
    }
  }

  /** Rule 2: asks the old node, again while something is in flight there. */
  async #endOldSession(
    token: Token,
    deadlineAtMs: number,
    traceparent: string | undefined,
  ): Promise<'released' | 'silent'> {
    const { clock } = this.#options
    while (clock.monotonicMs() < deadlineAtMs) {
      if (this.#fences.hasBegun(token.incarnation)) return 'silent'
      const answer = await this.#askRelease(token, traceparent)
      if (this.#fences.hasBegun(token.incarnation)) return 'silent' // rule 3: an answer after the fence began is ignored
      if (answer === 'released') return 'released'
      if (answer !== 'pending') return 'silent'
      await sleep(clock, askAgainMs)
    }
    throw new TrunklineError('PENDING')
  }

  async #askRelease(token: Token, traceparent: string | undefined): Promise<ReleaseAnswer> {
    const { self, localRelease, switchboardCall, releaseMs: waitMs = releaseMs } = this.#options
    const { producerId, sessionId, incarnation } = token
    if (incarnation === self) return (await localRelease(producerId, sessionId)) ? 'released' : 'pending'
    return switchboardCall(incarnation, { producerId: idToBytes(producerId), sessionId }, waitMs, traceparent)
  }

  async #lookUpReleased(
    token: Token,
    request: TakeOverRequest,
    partitions: readonly number[],
    deadlineAtMs: number,
  ): Promise<TakeOverOutcome> {
    // Rule 4: read after the release answer: everything that landed is below it, nothing can land any more.
    const ends = await this.#ends(token)
    const { log, clock } = this.#options
    const producers = new Set([token.producerId])
    const scans = new Map<number, PartitionScan>()
    for (const partition of partitions) {
      const end = endOf(ends, partition)
      const range = rangeOf(token, request, partition, end, end)
      const scan = await scanPartition({ log, clock }, range, { producers, deadlineAtMs })
      if (scan === undefined) throw new Error('a scan without a bound is never too large')
      scans.set(partition, scan)
    }
    const judged = judge(token, request, scans)
    return { how: 'released', ...judged, writeCursor: cursorOf(ends, scans, request.from, judged.outcomes) }
  }

  async #lookUpFenced(
    token: Token,
    request: TakeOverRequest,
    partitions: readonly number[],
    deadlineAtMs: number,
  ): Promise<TakeOverOutcome> {
    if (partitions.length === 0) {
      return {
        how: 'unneeded',
        outcomes: [],
        hashes: new Map(),
        writeCursor: cursorOf(await this.#ends(token), new Map(), request.from, []),
      }
    }
    const fenced = partitions // rule 3: a barrier in each partition of the unanswered writes
    const target = { identity: token.incarnation, pid: token.pid }
    const barriers = await this.#fences.fence(
      target,
      fenced.map((partition) => ({ topic: token.topic, topicId: token.topicId, partition })),
    )
    const ends = await this.#ends(token)
    const scans = new Map<number, PartitionScan>()
    for (const partition of partitions) {
      const barrier = barriers[fenced.indexOf(partition)]
      if (barrier === undefined) throw new Error('every fenced partition has a barrier')
      scans.set(
        partition,
        await this.#scanFenced(token, request, { partition, barrier, end: endOf(ends, partition) }, deadlineAtMs),
      )
    }
    const judged = judge(token, request, scans)
    return { how: 'fenced', ...judged, writeCursor: cursorOf(ends, scans, request.from, judged.outcomes) }
  }

  /**
   * Up to the barrier, shared by all producers of the incarnation (rule 4), and from there to the log's end. The barrier
   * may be older than the session: a node that was fenced and does not know it yet still allocates, and what earlier
   * sessions of the producer had landed at other nodes lies behind it.
   */
  async #scanFenced(
    token: Token,
    request: TakeOverRequest,
    at: { readonly partition: number; readonly barrier: number; readonly end: number },
    deadlineAtMs: number,
  ): Promise<PartitionScan> {
    const { log, clock } = this.#options
    const { incarnation, topicId, producerId, topic } = token
    const { partition, end } = at
    const until = at.barrier + 1 // rule 4: until the barrier record is read
    const { from } = rangeOf(token, request, partition, until, Math.max(until, end))
    const nothing: PartitionScan = { low: from, until: from, found: new Map() }
    const range = { topic, partition, from, until }
    const shared =
      from < until ? await this.#scans.scan({ incarnation, topicId, range, producerId, deadlineAtMs }) : nothing
    const start = Math.max(from, until)
    if (end <= start) return shared
    const producers = new Set([producerId])
    const behind = await scanPartition(
      { log, clock },
      { topic, partition, from: start, until: end },
      { producers, deadlineAtMs },
    )
    if (behind === undefined) throw new Error('a scan without a bound is never too large')
    const found = [...(shared.found.get(producerId) ?? []), ...(behind.found.get(producerId) ?? [])]
    return {
      low: behind.low > start ? behind.low : shared.low,
      until: behind.until,
      found: new Map([[producerId, found]]),
    }
  }

  #ends(token: Token): Promise<readonly number[]> {
    const all = Array.from(
      { length: token.partitions },
      (_, partition): TopicPartition => ({ topic: token.topic, partition }),
    )
    return this.#options.log.offsets(all, 'end')
  }

  #keep(key: string, running: Promise<TakeOverOutcome>): void {
    this.#running.set(key, running)
    running.then(
      () => this.#options.clock.after(keepMs, () => this.#running.delete(key)),
      // Told to whoever waits; the repeat starts anew.
      () => this.#running.delete(key),
    )
  }

  #within(running: Promise<TakeOverOutcome>, deadlineAtMs: number): Promise<TakeOverOutcome> {
    const { clock } = this.#options
    return new Promise((resolve, reject) => {
      const timer = clock.after(Math.max(0, deadlineAtMs - clock.monotonicMs()), () =>
        reject(new TrunklineError('PENDING')),
      )
      running.then(resolve, reject).finally(() => timer.cancel())
    })
  }
}

/** The log's fence, counted and timed. */
function countedFences({ log, clock, metrics }: TakeOversOptions): Pick<EventLog, 'fence'> {
  return {
    fence: async (target, at) => {
      const startedAtMs = clock.monotonicMs()
      try {
        const answer = await log.fence(target, at)
        metrics?.fenced('fenced', clock.monotonicMs() - startedAtMs)
        return answer
      } catch (thrown) {
        metrics?.fenced('failed', clock.monotonicMs() - startedAtMs)
        throw thrown
      }
    },
  }
}

/** The same question; a digest, because a cursor of many partitions is long. */
function keyOf({ sessionId }: Token, { writes, from, nextN }: TakeOverRequest): string {
  return `${sessionId} ${createHash('sha256')
    .update(JSON.stringify([writes, from, nextN]))
    .digest('base64')}`
}

function checkRequest(request: TakeOverRequest): Token {
  const { token, from, writes, nextN } = request
  const { producerId, partitions } = token
  const bad = (field: string): TrunklineError => new TrunklineError('BAD_REQUEST', { details: { field } })
  if (producerId === undefined) throw bad('resume.session')
  if (from.length !== partitions) throw bad('resume.writeCursor')
  if (!Number.isSafeInteger(nextN) || nextN < 1) throw bad('resume.nextN')
  if (writes.length > resumeWritesMax) throw bad('resume.writes')
  let last = 0
  for (const { n, partitions: to } of writes) {
    const known = to.every((partition) => Number.isInteger(partition) && partition >= 0 && partition < partitions)
    if (!Number.isSafeInteger(n) || n <= last || n >= nextN || to.length === 0 || to.length > writePartsMax || !known)
      throw bad('resume.writes')
    last = n
  }
  return { ...token, producerId }
}

function partitionsOf(writes: readonly UnansweredWrite[]): readonly number[] {
  return [...new Set(writes.flatMap(({ partitions }) => partitions))].sort((a, b) => a - b)
}

function rangeOf(token: Token, request: TakeOverRequest, partition: number, until: number, end: number): ScanRange {
  const from = endOf(request.from, partition)
  // Rule 4: a start beyond the log is a cursor of another log.
  if (from > end) throw new TrunklineError('TOPIC_CHANGED')
  // A session that went on reading ends at a node that had been fenced has a start beyond the barrier: nothing is between.
  return { topic: token.topic, partition, from, until: Math.max(from, until) }
}

function judge(
  token: Token,
  request: TakeOverRequest,
  scans: ReadonlyMap<number, PartitionScan>,
): Pick<TakeOverOutcome, 'outcomes' | 'hashes'> {
  return judgeWrites({ producerId: token.producerId, writes: request.writes, from: request.from }, scans)
}

/**
 * Rule 7, a lower bound for the next look-up: where the scans ended, the log's end where nothing was unanswered. Parts
 * that landed of a write that did not land whole stay above it: the write comes again, and the next look-up asks for all
 * its parts.
 */
function cursorOf(
  ends: readonly number[],
  scans: ReadonlyMap<number, PartitionScan>,
  from: readonly number[],
  outcomes: readonly WriteOutcome[],
): readonly number[] {
  const cursor = ends.map((end, partition) => scans.get(partition)?.until ?? Math.max(end, from[partition] ?? 0))
  for (const { parts } of outcomes) {
    if (parts.every(({ state }) => state === partState.landed)) continue
    for (const { partition, offset } of parts) {
      if (offset !== undefined) cursor[partition] = Math.min(cursor[partition] ?? offset, offset)
    }
  }
  return cursor
}

function endOf(offsets: readonly number[], partition: number): number {
  const offset = offsets[partition]
  if (offset === undefined) throw new Error('a partition that the topic does not have')
  return offset
}
