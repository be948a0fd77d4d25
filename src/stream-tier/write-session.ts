// Owns: one writing session: its staged and unanswered writes, their hand-over to the log in the order of n, their answers.
// W1 Records reach the lanes in the order of n, whatever sealing waits for.
// W2 A write is answered `published` only when every part has landed; a part that landed before (at a former node, or
//    before a refusal) is never appended again: only what is missing goes to the log.
// W3 A number that was used for other content answers WRITE_CHANGED, never success (writeHash).
// W4 A refusal stops the hand-over until everything handed over has settled; what comes behind it is `held`, not lost.
// W5 Retirement answers no write: its outcome is for a take-over to find (SESSION_GONE, the write stays unanswered).
// W6 A topic that was made anew under its name takes nothing that was meant for the former one: the session ends.
// W7 What is staged counts for its client, its tenant and its node until it is published or the session ends
//    (staged-bytes.ts); a refusal for it takes nothing: the same write comes again under its n.
// Leaves out: batches and lanes (write/append-lanes.ts), what is allowed when (session.machine.ts).
import type { RequestRef } from '../fsm/server/session.types.ts'
import { noTracing, type Span, type Tracing } from '../observability/tracing.ts'
import { type AppendRecord, type TopicInfo, topicFormat } from '../ports/event-log.ts'
import type { WriteCursorContent } from '../protocol/cursor-content.ts'
import { TrunklineError } from '../protocol/errors.ts'
import type { ProducerId, TopicId } from '../protocol/ids.ts'
import { type AckRequest, type PartResult, partState, type WriteRequest } from '../protocol/messages.ts'
import { tenantOfLogTopic } from '../protocol/tenant-topics.ts'
import { equalBytes } from '../protocol/turns.ts'
import { writeHash } from '../protocol/write-hash.ts'
import type { Answered } from './conversation.ts'
import type { SessionCursors } from './cursors.ts'
import { type Owner, ownerOf } from './owner-sums.ts'
import { Session, type SessionBase, wholeNumber } from './session.ts'
import type { StreamMetrics } from './stream-metrics.ts'
import type { EntryOutcome } from './write/append-entry.ts'
import type { AppendLanes } from './write/append-lanes.ts'
import type { StagedBytes } from './write/staged-bytes.ts'
import { recordsOfWrite, type Sealer, type StagedWrite, stageWrite } from './write/staged-write.ts'
import { WriteCursor } from './write/write-cursor.ts'

/** A part that is known to be in the log. */
export interface LandedPart {
  readonly offset: number
  readonly writeHash: Uint8Array
}

/** What a take-over found of a write that must be sent again: part → where it landed. */
export type LandedParts = ReadonlyMap<number, LandedPart>

/** What a take-over found. */
export interface TakenOver {
  readonly landed: ReadonlyMap<number, LandedParts>
  readonly missing: readonly number[]
  /** By n: where the client said that its parts went, which is where they were looked for. */
  readonly partitions: ReadonlyMap<number, readonly number[]>
  readonly from: readonly number[]
}

interface Owed {
  readonly request: RequestRef
  readonly method: 'write' | 'ack'
}

interface Write {
  readonly n: number
  readonly hash: Uint8Array
  /** Dropped once settled, so that memory is bounded by the window. */
  staged: StagedWrite | undefined
  readonly owed: Owed[]
  landed: Map<number, LandedPart>
  /** Set when it has landed: what every answer to it says, now and when it is asked again. */
  results: { readonly parts: readonly PartResult[]; readonly writeCursor: Uint8Array } | undefined
  error: TrunklineError | undefined
  /** It must be sent again, under the same n. */
  held: boolean
  /** What happened to itself; undefined when it only came behind another. */
  heldBy: TrunklineError | undefined
  /** Bytes charged to the node's buffer, and to whom they belong, while it is staged. */
  charged: number
  /** From its hand-over to its outcome. */
  span: Span | undefined
}

export interface WriteSessionOptions {
  readonly topic: TopicInfo
  /** As the producer packs: pinned while anything is unanswered, so perhaps fewer than the topic has now. */
  readonly partitions: number
  readonly producerId: ProducerId
  readonly lanes: AppendLanes
  /** Of the node. */
  readonly staged: StagedBytes
  readonly sealer: Sealer
  readonly cursors: SessionCursors
  /** Per partition, a lower bound of where unanswered writes can lie (design.md §3.7). */
  readonly from: readonly number[]
  readonly windowWrites: number
  readonly windowBytes: number
  readonly metrics: Pick<StreamMetrics, 'published'>
  /** Default: off. */
  readonly tracing?: Tracing | undefined
  /** Reads the end offsets of all partitions, for refreshing the write cursor while nothing is outstanding. */
  readonly ends: () => Promise<readonly number[]>
}

export class WriteSession extends Session {
  readonly producerId: ProducerId
  readonly topicId: TopicId
  readonly #options: WriteSessionOptions
  readonly #owner: Owner
  #writeCursor: WriteCursor
  readonly #writes = new Map<number, Write>()
  #landedBefore: ReadonlyMap<number, LandedParts> = new Map()
  #namedPartitions: ReadonlyMap<number, readonly number[]> = new Map()
  #handOver: Promise<void> = Promise.resolve()
  #halted = false
  #inFlight = 0
  #windingDown = false
  /** The write of the request being judged; kept only when the machine takes it. */
  #offered: Write | undefined
  /** The method of the request being judged: its answer has another shape. */
  #asking: 'write' | 'ack' = 'write'
  /** Its trace context. */
  #askedUnder: string | undefined

  constructor(base: SessionBase, options: WriteSessionOptions) {
    super(base)
    this.#options = options
    this.#owner = ownerOf(base.principal)
    this.producerId = options.producerId
    this.topicId = options.topic.topicId
    this.#writeCursor = new WriteCursor(options.topic.topicId, options.from)
  }

  /** What a take-over found, before the session opens. */
  takeOver(found: TakenOver): void {
    const { landed, missing, from } = found
    this.#landedBefore = landed
    this.#namedPartitions = found.partitions
    this.#writeCursor = new WriteCursor(this.#options.topic.topicId, from)
    // Outstanding until they have landed whole: a refresh must not pass what has landed of them.
    for (const n of missing) this.#writeCursor.taken(n)
  }

  write(request: WriteRequest, traceparent?: string): Promise<Answered> {
    const blocks = request.blocks ?? []
    const hash = writeHash(blocks)
    const commit = request.commit === true
    const fingerprint = `write ${request.n} ${commit} ${Buffer.from(hash).toString('hex')}`
    return this.converse(request.proof, fingerprint, (ref) => {
      this.#asking = 'write'
      this.#askedUnder = traceparent
      const n = wholeNumber(request.n, 'n', 1, 0)
      const known = this.#writes.get(n)
      // What was refused or held left nothing behind that its number could clash with: it comes anew, corrected or not.
      if (known !== undefined && !known.held && known.error === undefined) {
        if (!equalBytes(known.hash, hash)) throw new TrunklineError('WRITE_CHANGED', { details: { n: String(n) } }) // W3
        return this.send({ type: 'WRITE', request: ref, n, bytes: known.staged?.bytes ?? 0, commit })
      }
      const staged = stageWrite(blocks, {
        partitions: this.#options.partitions,
        bytesMax: this.#options.windowBytes,
        hash,
        format: this.#options.topic.format,
      })
      const named = this.#namedPartitions.get(n)
      // W3: it was looked for elsewhere, and may have landed where it goes now.
      if (named !== undefined && !sameNumbers(named, staged.partitions)) {
        throw new TrunklineError('WRITE_CHANGED', { details: { n: String(n), partitions: named.join(',') } })
      }
      const landed = new Map(known?.landed ?? this.#landedBefore.get(n))
      for (const part of landed.values()) {
        if (!equalBytes(part.writeHash, hash)) throw new TrunklineError('WRITE_CHANGED', { details: { n: String(n) } }) // W3
      }
      if (!commit) this.#options.staged.check(this.#owner, staged.heldBytes) // W7
      if (!this.#options.lanes.roomFor(staged.heldBytes)) throw new TrunklineError('UNAVAILABLE', { retryAfterMs: 100 })
      const fresh: Write = {
        n,
        hash,
        staged,
        owed: [],
        landed,
        results: undefined,
        error: undefined,
        held: false,
        heldBy: undefined,
        charged: 0,
        span: undefined,
      }
      // The machine decides whether this n is due; only then is the write kept (answerStaged, publish).
      this.#offered = fresh
      this.send({ type: 'WRITE', request: ref, n, bytes: staged.bytes, commit })
      this.#offered = undefined
    })
  }

  /** ack(n) of a staged write publishes it. */
  ack(request: AckRequest, traceparent?: string): Promise<Answered> {
    return this.converse(request.proof, `ack ${request.n} ${request.count}`, (ref) => {
      this.#asking = 'ack'
      this.#askedUnder = traceparent
      if (request.count !== undefined) throw new TrunklineError('ACK_RANGE', { details: { field: 'count' } })
      this.send({ type: 'PUBLISH', request: ref, n: wholeNumber(request.n, 'n', 1, 0) })
    })
  }

  answerStaged(request: RequestRef, n: number): void {
    const write = this.#keep(n)
    if (write.charged === 0) this.#charge(write, write.staged?.heldBytes ?? 0)
    this.answer(request, { reply: { n, published: false } })
  }

  publish(request: RequestRef, n: number): void {
    const write = this.#keep(n)
    this.#charge(write, 0)
    write.owed.push({ request, method: this.#asking })
    write.span = (this.#options.tracing ?? noTracing).start('append', 'write', this.#askedUnder)
    this.#inFlight += 1
    this.#handOver = this.#handOver.then(() => this.#handOverWrite(write)) // W1
  }

  answerSettled(n: number): void {
    const write = this.#writes.get(n)
    if (write === undefined) throw new Error('a settled write is known')
    // A session that closes leaves what was not sent unanswered: the client takes it elsewhere.
    if (write.held && this.isClosing) return
    for (const owed of write.owed.splice(0)) this.#answerOwed(write, owed)
    if (write.held) return
    write.staged = undefined
    this.#forgetOld()
  }

  answerAgain(request: RequestRef, n: number): void {
    const write = this.#writes.get(n)
    const owed: Owed = { request, method: this.#asking }
    if (write === undefined) {
      // Landed at a former node, or settled longer ago than the window remembers: nothing is to be sent again.
      this.answer(request, { error: new TrunklineError('SEQUENCE_MISMATCH', { details: { of: 'n' } }) })
    } else if (write.results !== undefined || write.error !== undefined) {
      this.#answerOwed(write, owed)
    } else if (write.owed.length > 0) {
      write.owed.push(owed)
    } else {
      this.answer(request, { reply: { n, published: false } })
    }
  }

  reopenWindow(): void {
    this.#halted = false
    this.#options.lanes.resume(this.id)
  }

  override answerExtend(request: RequestRef): void {
    // Rule 7: while nothing is outstanding the ends are a lower bound, which keeps a later scan short.
    const answer = (): void => {
      if (!this.isClosing)
        this.answer(request, { reply: { expiresAtMs: this.expiresAtMs, writeCursor: this.cursor() } })
    }
    // Without the ends the old bound still is one; a scan is only longer.
    this.#writeCursor.refresh(this.#options.ends).then(answer, answer)
  }

  override windDown(): void {
    this.#windingDown = true
    this.#halted = true
    this.#options.lanes.release(this.id)
    this.#quietWhenDone()
  }

  protected override finalPosition(): object {
    return { writeCursor: this.cursor() }
  }

  protected override forget(): void {
    for (const write of this.#writes.values()) this.#charge(write, 0)
    this.#writes.clear()
    this.#landedBefore = new Map()
  }

  /** The write cursor for the allocate reply. */
  cursor(): Uint8Array {
    return this.#sealCursor(this.#writeCursor.content(this.clock.nowMs()))
  }

  /** Staged bytes count against the node's buffer until they go to a lane, which counts them itself. */
  #charge(write: Write, bytes: number): void {
    const { lanes, staged } = this.#options
    if (write.charged > 0) {
      lanes.letGo(write.charged)
      staged.remove(this.#owner, write.charged)
    }
    write.charged = bytes
    if (bytes === 0) return
    lanes.hold(bytes)
    staged.add(this.#owner, bytes)
  }

  #keep(n: number): Write {
    if (this.#offered?.n === n) this.#writes.set(n, this.#offered)
    const write = this.#writes.get(n)
    if (write === undefined) throw new Error('a write is kept before it is used')
    write.held = false
    this.#writeCursor.taken(n)
    return write
  }

  async #handOverWrite(write: Write): Promise<void> {
    const staged = write.staged
    if (staged === undefined) throw new Error('a write is published once')
    if (this.#halted) return this.#settleHeld(write, undefined)
    try {
      const missing = staged.blocks.map((_, part) => part).filter((part) => !write.landed.has(part)) // W2
      const { topicId, name } = this.#options.topic
      const place = { topicId, tenant: tenantOfLogTopic(name), producerId: this.producerId, n: write.n }
      const records = await recordsOfWrite(this.#options.sealer, place, staged)
      if (this.#halted) return this.#settleHeld(write, undefined)
      const outcomes = missing.map((part) => this.#append(write, staged, part, records[part]))
      void Promise.all(outcomes).then((all) => this.#settle(write, staged, missing, all))
    } catch (thrown) {
      this.#halted = true // W4
      this.#options.lanes.stop(this.id)
      this.#refuse(write, TrunklineError.from(thrown))
    }
  }

  #append(
    write: Write,
    staged: StagedWrite,
    part: number,
    records: readonly AppendRecord[] | undefined,
  ): Promise<EntryOutcome> {
    const block = staged.blocks[part]
    if (block === undefined || records === undefined) throw new Error('every part has a block and its records')
    // With the id: what was staged for this topic never lands in a new one of its name.
    const at = { topic: this.#options.topic.name, topicId: this.topicId, partition: block.partition }
    return this.#options.lanes.append(at, {
      producerId: this.producerId,
      session: this.id,
      n: write.n,
      records,
      span: write.span,
    })
  }

  #settle(write: Write, staged: StagedWrite, missing: readonly number[], outcomes: readonly EntryOutcome[]): void {
    let refusal: TrunklineError | undefined
    let held = false
    for (const [i, outcome] of outcomes.entries()) {
      const part = missing[i]
      if (part === undefined) throw new Error('every outcome has a part')
      switch (outcome.kind) {
        case 'landed':
          write.landed.set(part, { offset: outcome.offset, writeHash: write.hash })
          break
        case 'refused':
          refusal = new TrunklineError(outcome.error)
          break
        case 'held':
          held = true
          break
        case 'retired': // W5
          write.span?.end(outcome.reason)
          this.#inFlight -= 1
          this.#quietWhenDone()
          return
      }
    }
    if (refusal === undefined && !held) {
      this.#land(write, staged)
      return
    }
    this.#halted = true // W4
    // A write that is partly in the log is not refused: it comes again under its own n, only what is missing is appended.
    if (refusal !== undefined && write.landed.size === 0) this.#refuse(write, refusal)
    else this.#settleHeld(write, refusal)
    // W6: its topic is gone; the client hears so at every session that it asks for.
    if (refusal?.name === 'TOPIC_CHANGED') this.send({ type: 'RELEASE' })
  }

  #land(write: Write, staged: StagedWrite): void {
    write.span?.end('ok')
    this.#inFlight -= 1
    const parts = staged.partitions.map((partition, part) => ({
      part,
      partition,
      state: partState.landed,
      offset: offsetOf(write, part),
      ...(this.#options.topic.format === topicFormat.plain ? { perEvent: true } : {}),
    }))
    const ends = parts.map(({ partition, offset, part }) => ({
      partition,
      offset: offset + (staged.plain?.[part]?.records.length ?? 1) - 1,
    }))
    const writeCursor = this.#sealCursor(this.#writeCursor.landed(write.n, ends, this.clock.nowMs()))
    write.results = { parts, writeCursor }
    this.#options.metrics.published(staged.events, staged.bytes)
    this.send({ type: 'SETTLED', n: write.n, how: 'landed' })
    this.#quietWhenDone()
  }

  /** Nothing of it is in the log. What a repeat can cure is not the end of its number: it is due again. */
  #refuse(write: Write, error: TrunklineError): void {
    if (error.retryable) {
      this.#settleHeld(write, error)
      return
    }
    write.span?.end(error.name)
    this.#inFlight -= 1
    write.error = error
    this.#writeCursor.dropped(write.n, false)
    this.send({ type: 'SETTLED', n: write.n, how: 'refused' })
    this.#quietWhenDone()
  }

  #settleHeld(write: Write, because: TrunklineError | undefined): void {
    write.span?.end(because?.name ?? 'WRITE_HELD')
    this.#inFlight -= 1
    write.held = true
    // It comes again with its blocks; until then nothing counts them.
    write.staged = undefined
    write.heldBy = because
    this.#writeCursor.dropped(write.n, write.landed.size > 0)
    this.send({ type: 'SETTLED', n: write.n, how: 'held' })
    this.#quietWhenDone()
  }

  #answerOwed(write: Write, { request, method }: Owed): void {
    if (write.held) {
      const because = write.heldBy?.retryable === true ? write.heldBy : new TrunklineError('WRITE_HELD')
      this.answer(request, { error: because.with({ expected: write.n, details: { of: 'n' } }) })
    } else if (write.error !== undefined) {
      this.answer(request, { error: write.error })
    } else if (write.results !== undefined) {
      this.answer(request, {
        reply: { n: write.n, ...(method === 'write' ? { published: true } : {}), ...write.results },
      })
    } else {
      throw new Error('a write is answered when it is settled')
    }
  }

  #quietWhenDone(): void {
    if (this.#windingDown && this.#inFlight === 0) this.send({ type: 'QUIET' })
  }

  /** Settled writes are remembered for two windows, so that a repeat under a new seq still finds its answer. */
  #forgetOld(): void {
    const keep = 2 * this.#options.windowWrites
    for (const [n, { results, error }] of this.#writes) {
      if (this.#writes.size <= keep) return
      if (results !== undefined || error !== undefined) this.#writes.delete(n)
    }
  }

  #sealCursor(content: WriteCursorContent): Uint8Array {
    return this.#options.cursors.seal(content)
  }
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((number, index) => number === b[index])
}

function offsetOf(write: Write, part: number): number {
  const landed = write.landed.get(part)
  if (landed === undefined) throw new Error('every part of a landed write has landed')
  return landed.offset
}
