// Owns: one reading session: its position, the batch that waits for its ack, its cursor.
// R1 The kept batch is answered again, the very same blocks and cursor, until its step is settled.
// R2 The position moves only in movePosition (an ack).
// Leaves out: fetching and opening (read/), turns (conversation.ts), what is allowed when (session.machine.ts).
import type { RequestRef, SessionEvent } from '../fsm/server/session.types.ts'
import type { Timer } from '../ports/clock.ts'
import { TrunklineError } from '../protocol/errors.ts'
import type { TopicId } from '../protocol/ids.ts'
import { nackDelayMsMax, readBytesMax, readBytesSoft, readEventsDefault, waitMsMax } from '../protocol/limits.ts'
import type { AckRequest, Block, NackRequest, ReadRequest } from '../protocol/messages.ts'
import type { PartitionPosition } from '../protocol/position.ts'
import type { Answered } from './conversation.ts'
import type { SessionCursors } from './cursors.ts'
import type { BlockedRead } from './read/reading.ts'
import type { TopicReader } from './read/topic-reader.ts'
import { Session, type SessionBase, wholeNumber } from './session.ts'
import type { StreamMetrics } from './stream-metrics.ts'

interface KeptBatch {
  readonly blocks: readonly Block[]
  readonly count: number
  readonly next: readonly PartitionPosition[]
  readonly turn: number | undefined
  readonly atEnd: boolean
  readonly cursor: Uint8Array
}

interface Asked {
  readonly request: RequestRef
  readonly eventsMax: number
  readonly bytesMax: number
  readonly bytesMin: number
  readonly waitMs: number
  /** Monotonic: when its wait ends, also when it waited for a rest first. */
  readonly untilMs: number
  readonly unpacked: boolean
}

export interface ReadSessionOptions {
  readonly reader: Pick<TopicReader, 'read'>
  readonly topicId: TopicId
  readonly cursors: SessionCursors
  readonly position: readonly PartitionPosition[]
  readonly metrics: Pick<StreamMetrics, 'delivered'>
}

export class ReadSession extends Session {
  readonly #reader: Pick<TopicReader, 'read'>
  readonly topicId: TopicId
  readonly #cursors: SessionCursors
  readonly #metrics: Pick<StreamMetrics, 'delivered'>
  #position: readonly PartitionPosition[]
  /** The partition whose turn is next; the cursor does not carry it. */
  #turn: number | undefined
  #batch: KeptBatch | undefined
  #asked: Asked | undefined
  #fetchError: TrunklineError | undefined
  #abort: AbortController | undefined
  #fetching = false
  /** Of a read that waits for the end of a rest (nack). */
  #restTimer: Timer | undefined

  constructor(base: SessionBase, options: ReadSessionOptions) {
    super(base)
    this.#reader = options.reader
    this.topicId = options.topicId
    this.#cursors = options.cursors
    this.#position = options.position
    this.#metrics = options.metrics
  }

  read(request: ReadRequest): Promise<Answered> {
    const { n, ackOf, maxEvents, maxBytes, minBytes, waitMs } = request
    const fingerprint = `read ${n} ${ackOf} ${maxEvents} ${maxBytes} ${minBytes} ${waitMs} ${request.asEvents === true}`
    return this.converse(request.proof, fingerprint, (ref) => {
      const bytesMax = Math.min(wholeNumber(maxBytes, 'maxBytes', 1, readBytesSoft), readBytesMax)
      const mayWaitMs = Math.min(wholeNumber(waitMs, 'waitMs', 0, 0), waitMsMax)
      const asked = {
        request: ref,
        eventsMax: wholeNumber(maxEvents, 'maxEvents', 1, readEventsDefault),
        bytesMax,
        bytesMin: Math.min(wholeNumber(minBytes, 'minBytes', 0, 1), bytesMax),
        waitMs: mayWaitMs,
        untilMs: this.clock.monotonicMs() + mayWaitMs,
        unpacked: request.asEvents === true,
      }
      const event: SessionEvent = {
        type: 'READ',
        request: ref,
        n: wholeNumber(n, 'n', 1, 0),
        ackOf: ackOf === undefined ? null : wholeNumber(ackOf, 'ackOf', 0, 0),
      }
      const waiting = this.#asked
      this.#asked = asked
      this.send(event)
      // Refused, or answered from the kept batch: a read that waits for the end of a rest is still the one to fetch for.
      if (!this.conversation.owes(ref)) this.#asked = waiting
      else if (!this.#fetching) this.#waitInRest(asked)
    })
  }

  ack(request: AckRequest): Promise<Answered> {
    return this.converse(request.proof, `ack ${request.n} ${request.count}`, (ref) => {
      const n = wholeNumber(request.n, 'n', 1, 0)
      const count = request.count === undefined ? null : wholeNumber(request.count, 'count', 0, 0)
      this.send({ type: 'ACK', request: ref, n, count })
    })
  }

  nack(request: NackRequest): Promise<Answered> {
    return this.converse(request.proof, `nack ${request.n} ${request.delayMs}`, (ref) => {
      if (request.deadLetter === true) throw new TrunklineError('UNSUPPORTED', { details: { feature: 'deadLetter' } })
      const restMs = Math.min(wholeNumber(request.delayMs, 'delayMs', 0, 0), nackDelayMsMax)
      this.send({ type: 'NACK', request: ref, n: wholeNumber(request.n, 'n', 1, 0), restMs })
    })
  }

  startFetch(): void {
    const asked = this.#asked
    if (asked === undefined) throw new Error('a fetch answers a READ')
    this.#batch = undefined
    this.#fetching = true
    this.#restTimer?.cancel()
    const abort = new AbortController()
    this.#abort = abort
    this.#reader
      .read(this.#position, {
        eventsMax: asked.eventsMax,
        bytesMax: asked.bytesMax,
        bytesMin: asked.bytesMin,
        waitMs: Math.max(0, asked.untilMs - this.clock.monotonicMs()),
        unpacked: asked.unpacked,
        turn: this.#turn,
        signal: abort.signal,
      })
      .then(
        (found) => {
          this.#fetching = false
          // Aborted: nobody waits for it any more, and nothing is kept for a session that ends.
          if (this.isClosing) return
          if (found.kind === 'blocked') return this.#fail(asked.request, found)
          this.#batch = { ...found, cursor: this.#seal(found.next) }
          this.#metrics.delivered(found.count, bytesOf(found.blocks))
          this.send({ type: 'FETCHED', request: asked.request, count: found.count })
        },
        (thrown: unknown) => {
          this.#fetching = false
          this.#fetchError = TrunklineError.from(thrown)
          this.send({ type: 'FETCH_FAILED', request: asked.request, error: this.#fetchError.name })
        },
      )
  }

  deliver(request: RequestRef, n: number): void {
    const batch = this.#batch
    if (batch === undefined) {
      // Acked, and then the fetch of the next step failed: what it held is let go.
      this.answer(request, {
        error: new TrunklineError('SEQUENCE_MISMATCH', { expected: n + 1, details: { of: 'n' } }),
      })
      return
    }
    this.answer(request, {
      reply: { n, count: batch.count, cursor: batch.cursor, blocks: batch.blocks, atEnd: batch.atEnd },
    })
  }

  failFetch(request: RequestRef): void {
    this.answer(request, { error: this.#fetchError ?? new TrunklineError('INTERNAL') })
  }

  /** R2. `count` undefined: the whole batch. */
  movePosition(count: number | null): void {
    const batch = this.#keptBatch()
    this.#turn = batch.turn
    this.#position =
      count === null || count >= batch.count ? batch.next : afterEvents(this.#position, batch.blocks, count)
  }

  answerAck(request: RequestRef, n: number): void {
    this.answer(request, { reply: { n, cursor: this.#seal(this.#position) } })
  }

  answerNack(request: RequestRef, n: number, deliveries: number): void {
    this.answer(request, { reply: { n, cursor: this.#seal(this.#position), deliveries } })
  }

  override answerExtend(request: RequestRef): void {
    this.answer(request, { reply: { expiresAtMs: this.expiresAtMs } })
  }

  override windDown(): void {
    this.#restTimer?.cancel()
    this.#abort?.abort()
    this.send({ type: 'QUIET' })
  }

  protected override finalPosition(): object {
    return { cursor: this.#seal(this.#position) }
  }

  protected override forget(): void {
    this.#batch = undefined
    this.#asked = undefined
  }

  /** The sealed position at the start, for the allocate reply. */
  cursor(): Uint8Array {
    return this.#seal(this.#position)
  }

  /** A rest may be longer than the read's own wait: then it is answered empty, as at the end of a topic. */
  #waitInRest({ request, waitMs }: Asked): void {
    this.#restTimer = this.clock.after(waitMs, () => {
      const next = this.#position
      this.#batch = { blocks: [], count: 0, next, turn: this.#turn, atEnd: false, cursor: this.#seal(next) }
      this.send({ type: 'FETCHED', request, count: 0 })
    })
  }

  #keptBatch(): KeptBatch {
    if (this.#batch === undefined) throw new Error('no batch is kept')
    return this.#batch
  }

  #fail(request: RequestRef, { error, next, partition, offset, why }: BlockedRead): void {
    const details = { at: `${partition}:${offset}`, ...(why === undefined ? {} : { why }) }
    this.#fetchError = new TrunklineError(error, { cursor: this.#seal(next), details })
    this.send({ type: 'FETCH_FAILED', request, error })
  }

  #seal(position: readonly PartitionPosition[]): Uint8Array {
    return this.#cursors.seal({
      kind: 'read',
      topicId: this.topicId,
      issuedAtMs: this.clock.nowMs(),
      positions: position,
    })
  }
}

function bytesOf(blocks: readonly Block[]): number {
  return blocks.reduce((sum, { data }) => sum + data.length, 0)
}

/** The position after the first `count` events of `blocks`, which start at `from`. */
function afterEvents(
  from: readonly PartitionPosition[],
  blocks: readonly Block[],
  count: number,
): readonly PartitionPosition[] {
  const position = [...from]
  let left = count
  for (const { partition, offset = 0, first = 0, take, count: packed } of blocks) {
    if (left === 0) break
    const counted = take ?? packed - first
    const taken = Math.min(left, counted)
    const index = first + taken
    position[partition] = index >= packed ? { offset: offset + 1, index: 0 } : { offset, index }
    left -= taken
  }
  return position
}
