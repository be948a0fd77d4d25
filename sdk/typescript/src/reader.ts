// Owns: reading: batches in order, acks, cursors.
// R1 `cursor` is the application's truth: it moves only by its acks, and every session starts from it.
// R2 What was acked is never handed out again, also when a session was lost before the gateway heard of the ack.
// R3 One pull is out at a time; others wait their turn.
// R4 A block that does not unpack here is a damaged place like any other: what stands beside it in the batch is handed
//    out (`skip`) or comes again (`throw`), never passed over.
// The gateway's own step is settled by the next pull, whether the application has acked the batch or not: the gateway
// keeps no position for a reader, the cursor is what counts. An un-acked batch comes again after a lost session, and to
// whoever starts from `cursor`.
// Leaves out: sessions, retries (src/fsm/client), storing cursors.
import type { ClientSessionOutput, ReadOpKind, RetryPolicy } from '../../../src/fsm/client/client-session.types.ts'
import { readBlock } from '../../../src/protocol/block.ts'
import { type ErrorName, TrunklineError } from '../../../src/protocol/errors.ts'
import type { Block, Event, ReadReply, StartAt } from '../../../src/protocol/messages.ts'
import { comparePositions, type PartitionPosition } from '../../../src/protocol/position.ts'
import { type Position, ReceivedEvent } from './events.ts'
import { type Environment, type ReadParameters, SessionDriver } from './session-driver.ts'

export interface ReaderSettings {
  readonly startAt: StartAt
  readonly read: ReadParameters
  readonly autoAck: boolean
  readonly onDamaged: 'throw' | 'skip'
  readonly keepAliveMs: number | null
  readonly retry: RetryPolicy
}

/** Places that can never be read, with a cursor behind them in the error. */
const passable: ReadonlySet<ErrorName> = new Set(['BLOCK_DAMAGED', 'KEY_SHREDDED', 'CURSOR_OUT_OF_RANGE'])

/** Events in order, to be acked as a whole or from the front. */
export class Batch {
  readonly events: readonly ReceivedEvent[]
  /** Where to start another reader so that it goes on behind this batch; base64url, opaque. */
  readonly cursor: string
  /** The topic had nothing more when this was read. */
  readonly atEnd: boolean
  readonly #owner: BatchOwner

  constructor(events: readonly ReceivedEvent[], cursor: string, atEnd: boolean, owner: BatchOwner) {
    this.events = events
    this.cursor = cursor
    this.atEnd = atEnd
    this.#owner = owner
  }

  /** positions[i] is where events[i] is. */
  get positions(): readonly Position[] {
    return this.events.map((event) => event.position)
  }

  /**
   * Done with the batch, or with its first `count` events: the next pull then brings the rest again. Acks are
   * cumulative: what was handed out before is acked with it. Repeating it does nothing. Without `count` nothing is sent
   * before the next pull. Errors: ACK_RANGE.
   */
  ack(count?: number): Promise<void> {
    return this.#owner.ack(this, count)
  }

  /**
   * Gives the rest of the batch back: the next pull brings it again after `delayMs` (default 0, at most 15 minutes).
   * Errors: NOTHING_TO_ACK when the batch was acked or is not the last one pulled.
   */
  nack(options: { readonly delayMs?: number } = {}): Promise<void> {
    return this.#owner.nack(this, options.delayMs ?? 0)
  }
}

interface BatchOwner {
  ack(batch: Batch, count: number | undefined): Promise<void>
  nack(batch: Batch, delayMs: number): Promise<void>
}

/** What the reader remembers of a batch it handed out. */
interface Handed {
  /** In the order of handing out. */
  readonly ordinal: number
  readonly cursor: Uint8Array
  /** index[i]: where events[i] stands in the gateway's batch (acked ones are left out of ours). */
  readonly indexes: readonly number[]
  readonly total: number
  /** Events of the front that are acked. */
  acked: number
}

type OpAnswer =
  | { readonly kind: 'done'; readonly reply: { readonly cursor?: Uint8Array | undefined } | ReadReply }
  | { readonly kind: 'lost' }

export class Reader implements AsyncIterable<Batch> {
  readonly topic: string
  readonly #environment: Environment
  readonly #settings: ReaderSettings
  readonly #onClosed: () => void
  #driver: SessionDriver | undefined
  #position: Uint8Array | undefined
  /** Where the next session starts when that is not `#position`: behind a damaged place. */
  #skipTo: Uint8Array | undefined
  #handed = new WeakMap<Batch, Handed>()
  #last: Batch | undefined
  /** The gateway still holds the last batch as the open step of a session that lives. */
  #lastIsOpen = false
  #nextOrdinal = 1
  #ackedOrdinal = 0
  /** R2: the last acked place of each partition. */
  readonly #ackedTo = new Map<number, PartitionPosition>()
  #turn: Promise<unknown> = Promise.resolve()
  #waiting: { resolve: (answer: OpAnswer) => void; reject: (error: TrunklineError) => void } | undefined
  #skipped = 0
  #closing: Promise<void> | undefined
  #disposed: (() => void) | undefined

  /** Use `client.reader(topic, options)`. */
  constructor(
    topic: string,
    environment: Environment,
    settings: ReaderSettings,
    onClosed: () => void = () => undefined,
  ) {
    this.topic = topic
    this.#environment = environment
    this.#settings = settings
    this.#onClosed = onClosed
    this.#position = settings.startAt.cursor
  }

  /**
   * Behind everything acked; store it to go on from there with `from: { cursor }`. Undefined before the first batch of a
   * reader that was started without a cursor.
   */
  get cursor(): string | undefined {
    return this.#position === undefined ? undefined : toText(this.#position)
  }

  /** Damaged or removed places that `onDamaged: 'skip'` went past. */
  get skippedCount(): number {
    return this.#skipped
  }

  /** Batches without end; waits while the topic has nothing new. Leaving the loop does not close the reader. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Batch, void, undefined> {
    while (this.#closing === undefined) {
      const batch = await this.#pullUnlessClosed()
      if (batch !== undefined) yield batch
    }
  }

  /**
   * The next batch, or undefined when nothing came within `waitMs`. Errors: BLOCK_DAMAGED, KEY_SHREDDED,
   * CURSOR_OUT_OF_RANGE (with `onDamaged: 'throw'`; the next pull meets the same), UNKNOWN_TOPIC, TOPIC_CHANGED,
   * BAD_CURSOR, CURSOR_FOREIGN, FORBIDDEN, SESSION_CLOSED, or what kept the gateway away when the retries were used up.
   */
  pull(): Promise<Batch | undefined> {
    return this.#inTurn(() => this.#pull())
  }

  /** Ends the session; batches that were not acked are the next reader's. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #pullUnlessClosed(): Promise<Batch | undefined> {
    try {
      return await this.pull()
    } catch (thrown) {
      if (this.#closing !== undefined) return undefined
      throw thrown
    }
  }

  async #pull(): Promise<Batch | undefined> {
    if (this.#closing !== undefined) throw new TrunklineError('SESSION_CLOSED')
    const last = this.#last
    if (last !== undefined && this.#settings.autoAck) this.#ackWhole(last, this.#handedOf(last))
    for (;;) {
      const reply = await this.#read()
      if (reply === undefined) continue
      this.#forgetLast()
      if (reply.count === 0) {
        // Nothing new; what is behind is all acked or still held by the application.
        if (this.#ackedOrdinal === this.#nextOrdinal - 1) this.#holdPosition(reply.cursor.slice())
        return undefined
      }
      const batch = await this.#batchOrRestart(reply)
      if (batch.events.length > 0) return batch
      // Nothing of it is for the application; but what it holds of earlier batches is not acked by that.
      const handed = this.#handedOf(batch)
      if (this.#ackedOrdinal === handed.ordinal - 1) this.#ackWhole(batch, handed)
    }
  }

  /** R4. The next read would settle the gateway's step, so a batch that is not handed out ends the session. */
  async #batchOrRestart(reply: ReadReply): Promise<Batch> {
    try {
      return this.#batchOf(reply)
    } catch (thrown) {
      await this.#endDriver()
      throw thrown
    }
  }

  /** Undefined: a place was skipped, read again. */
  async #read(): Promise<ReadReply | undefined> {
    try {
      const answer = await this.#ask({ type: 'READ' })
      if (answer.kind === 'lost' || !('blocks' in answer.reply || 'count' in answer.reply))
        throw new Error('a read is answered by a batch')
      return answer.reply
    } catch (thrown) {
      const error = TrunklineError.from(thrown)
      if (this.#settings.onDamaged !== 'skip' || !passable.has(error.name) || error.cursor === undefined) throw error
      this.#skipped += 1
      await this.#restartAt(error.cursor)
      return undefined
    }
  }

  async #restartAt(cursor: Uint8Array): Promise<void> {
    this.#skipTo = cursor
    if (this.#ackedOrdinal === this.#nextOrdinal - 1) this.#position = cursor
    await this.#endDriver()
  }

  #batchOf(reply: ReadReply): Batch {
    const events: ReceivedEvent[] = []
    const indexes: number[] = []
    let index = 0
    for (const block of reply.blocks ?? []) {
      const unpacked = this.#unpack(block)
      // The gateway counts what a block declares.
      if (unpacked === undefined) index += block.take ?? block.count - (block.first ?? 0)
      for (const event of unpacked ?? []) {
        const received = new ReceivedEvent(event)
        const ackedTo = this.#ackedTo.get(received.position.partition)
        if (ackedTo === undefined || comparePositions(received.position, ackedTo) > 0) {
          events.push(received)
          indexes.push(index)
        }
        index += 1
      }
    }
    const cursor = reply.cursor.slice()
    const batch = new Batch(events, toText(cursor), reply.atEnd === true, this.#owner)
    this.#handed.set(batch, { ordinal: this.#nextOrdinal, cursor, indexes, total: reply.count, acked: 0 })
    this.#nextOrdinal += 1
    this.#last = batch
    this.#lastIsOpen = true
    return batch
  }

  /** Undefined: it was skipped (R4). Errors: BLOCK_DAMAGED. */
  #unpack(block: Block): Event[] | undefined {
    try {
      return readBlock(block)
    } catch (cause) {
      if (this.#settings.onDamaged === 'throw') {
        const details = { at: `${block.partition}:${block.offset ?? 0}`, why: 'does not unpack' }
        throw new TrunklineError('BLOCK_DAMAGED', { details, cause })
      }
      this.#skipped += 1
      return undefined
    }
  }

  readonly #owner: BatchOwner = {
    ack: (batch, count) => {
      const handed = this.#handedOf(batch)
      if (count !== undefined && (!Number.isInteger(count) || count < 1 || count > batch.events.length)) {
        return Promise.reject(
          new TrunklineError('ACK_RANGE', { details: { count: String(count), max: String(batch.events.length) } }),
        )
      }
      if (count === undefined || count === batch.events.length) {
        this.#ackWhole(batch, handed)
        return Promise.resolve()
      }
      return this.#inTurn(() => this.#ackPrefix(batch, handed, count))
    },
    nack: (batch, delayMs) => this.#inTurn(() => this.#nack(batch, delayMs)),
  }

  #ackWhole(batch: Batch, handed: Handed): void {
    this.#remember(batch, handed, batch.events.length)
    if (handed.ordinal < this.#ackedOrdinal) return
    this.#ackedOrdinal = handed.ordinal
    this.#holdPosition(handed.cursor)
  }

  async #ackPrefix(batch: Batch, handed: Handed, count: number): Promise<void> {
    if (count <= handed.acked || handed.ordinal < this.#ackedOrdinal) return
    this.#remember(batch, handed, count)
    if (batch !== this.#last || !this.#lastIsOpen) return
    // Everything of the gateway's batch up to the last acked event of ours.
    const serverCount = (handed.indexes[count - 1] ?? 0) + 1
    const answer = await this.#ask({ type: 'ACK', count: serverCount })
    this.#forgetLast()
    if (answer.kind === 'lost' || answer.reply.cursor === undefined) return
    // The rest is another batch now; what came before it is acked.
    this.#ackedOrdinal = handed.ordinal
    this.#holdPosition(answer.reply.cursor.slice())
  }

  async #nack(batch: Batch, delayMs: number): Promise<void> {
    const handed = this.#handedOf(batch)
    if (batch !== this.#last || !this.#lastIsOpen || handed.acked > 0) throw new TrunklineError('NOTHING_TO_ACK')
    await this.#ask({ type: 'NACK', delayMs })
    this.#forgetLast()
  }

  /** What is left of it comes again, as another batch. */
  #forgetLast(): void {
    this.#last = undefined
    this.#lastIsOpen = false
  }

  /** R2. */
  #remember(batch: Batch, handed: Handed, count: number): void {
    for (let i = handed.acked; i < count; i += 1) {
      const position = batch.events[i]?.position
      if (position !== undefined)
        this.#ackedTo.set(position.partition, { offset: position.offset, index: position.index })
    }
    handed.acked = Math.max(handed.acked, count)
  }

  /** R1. */
  #holdPosition(cursor: Uint8Array): void {
    this.#position = cursor
    this.#skipTo = undefined
    this.#driver?.send({ type: 'POSITION', cursor })
  }

  #handedOf(batch: Batch): Handed {
    const handed = this.#handed.get(batch)
    if (handed === undefined) throw new Error('a batch belongs to its reader')
    return handed
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => undefined)
    return result
  }

  #ask(
    event: { type: 'READ' } | { type: 'ACK'; count: number } | { type: 'NACK'; delayMs: number },
  ): Promise<OpAnswer> {
    return new Promise<OpAnswer>((resolve, reject) => {
      this.#waiting = { resolve, reject }
      this.#session().send(event)
    })
  }

  #session(): SessionDriver {
    if (this.#driver !== undefined && !this.#driver.isOver) return this.#driver
    const { startAt, read, retry, keepAliveMs } = this.#settings
    const driver: SessionDriver = new SessionDriver({
      environment: this.#environment,
      topic: this.topic,
      startAt,
      input: { mode: 'read', retry, keepAliveMs, windowWrites: null, cursor: this.#skipTo ?? this.#position ?? null },
      read,
      handlers: {
        opened: ({ cursor }) => {
          this.#lastIsOpen = false
          this.#position ??= cursor ?? undefined
        },
        settled: () => undefined,
        done: (_, reply) => this.#answered((waiting) => waiting.resolve({ kind: 'done', reply })),
        failed: (_: ReadOpKind, error) => this.#answered((waiting) => waiting.reject(error)),
        lost: () => this.#answered((waiting) => waiting.resolve({ kind: 'lost' })),
        ended: (output) => this.#ended(driver, output),
      },
    })
    this.#driver = driver
    return driver
  }

  #answered(
    tell: (waiting: { resolve: (answer: OpAnswer) => void; reject: (error: TrunklineError) => void }) => void,
  ): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting !== undefined) tell(waiting)
  }

  #ended(driver: SessionDriver, { error }: ClientSessionOutput): void {
    if (this.#driver === driver) this.#driver = undefined
    this.#lastIsOpen = false
    this.#answered((waiting) => waiting.reject(error ?? new TrunklineError('SESSION_CLOSED')))
    this.#disposed?.()
    this.#disposed = undefined
  }

  async #close(): Promise<void> {
    await this.#endDriver()
    this.#onClosed()
  }

  async #endDriver(): Promise<void> {
    const driver = this.#driver
    if (driver === undefined || driver.isOver) return
    const disposed = new Promise<void>((resolve) => {
      this.#disposed = resolve
    })
    driver.send({ type: 'DISPOSE' })
    await disposed
  }
}

function toText(cursor: Uint8Array): string {
  return Buffer.from(cursor.buffer, cursor.byteOffset, cursor.byteLength).toString('base64url')
}
