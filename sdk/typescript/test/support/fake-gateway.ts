// Owns: a gateway in memory for tests of the SDK: one log, sessions with real turn-keeping, faults by script.
// It follows design.md §3 closely enough to lose, double or reorder events when the client breaks a rule: a session that
// was not released goes on appending, a look-up sees what is in the log at that moment.
// Leaves out: Kafka, sealing, tokens that prove anything.
import { SimulatedClock } from '../../../../src/adapters/clock/simulated-clock.ts'
import { SeededRandom } from '../../../../src/adapters/random/seeded-random.ts'
import { readBlock } from '../../../../src/protocol/block.ts'
import { errorFromStruct, errorToStruct } from '../../../../src/protocol/error-struct.ts'
import { TrunklineError } from '../../../../src/protocol/errors.ts'
import { defaultLimits } from '../../../../src/protocol/limits.ts'
import {
  type AckRequest,
  type AllocateReply,
  type AllocateRequest,
  type Block,
  type Event,
  type Limits,
  type MethodName,
  mode,
  type NackRequest,
  type PartResult,
  type Proof,
  partState,
  type ReadRequest,
  type ReplyOf,
  type RequestOf,
  type Turn,
  type WriteOutcome,
  type WriteRequest,
} from '../../../../src/protocol/messages.ts'
import { deriveMacKeys, replyMac, verifyRequest } from '../../../../src/protocol/signed-bytes.ts'
import {
  issueChallenge,
  judgeTurn,
  newestChallenge,
  openTurns,
  type SlotTurns,
  takeTurn,
} from '../../../../src/protocol/turns.ts'
import { writeHash } from '../../../../src/protocol/write-hash.ts'
import { Bearer } from '../../src/bearer.ts'
import { TrunklineClient } from '../../src/client.ts'
import type { CallOptions, Transport } from '../../src/transport.ts'

export interface FakeCall {
  readonly method: MethodName
  readonly request: RequestOf<MethodName>
  /** From 1, over all calls. */
  readonly count: number
  /** From 1, over the calls of this method. */
  readonly countOfMethod: number
}

export type Fault =
  | { readonly kind: 'pass' }
  /** Never arrives; the client waits until its timeout. */
  | { readonly kind: 'lose-request' }
  /** Runs; the answer never comes. */
  | { readonly kind: 'lose-reply' }
  /** Runs at once; the connection breaks before the answer. */
  | { readonly kind: 'break-reply' }
  | { readonly kind: 'refuse'; readonly error: TrunklineError }
  /** Runs at once, answered later; beyond the client's timeout too (`lateReplies`). */
  | { readonly kind: 'delay-reply'; readonly delayMs: number }
  /** Runs later. */
  | { readonly kind: 'delay-request'; readonly delayMs: number }
  /** Runs twice; the first answer counts. */
  | { readonly kind: 'duplicate' }
  /** Somebody on the way changes the answer, or answers in the gateway's place. */
  | { readonly kind: 'forge'; readonly runs: boolean; readonly answer: (reply: object) => object | TrunklineError }

/** Of every session here. */
const secret = new Uint8Array(32).fill(7)
const keys = deriveMacKeys(secret)

interface StoredWrite {
  readonly producer: number
  readonly n: number
  readonly part: number
  readonly hash: string
  readonly block: Block
}

interface FakeSession {
  readonly token: string
  readonly read: boolean
  readonly producer: number
  /** Sessions of another node go on although a later one was opened elsewhere, unless released. */
  readonly node: number
  turns: [SlotTurns, SlotTurns]
  readonly cache: [Map<number, Cached>, Map<number, Cached>]
  state: 'open' | 'gone'
  /** Read. */
  position: number[]
  step: number
  batch: { blocks: Block[]; next: number[]; count: number } | undefined
  /** Write: the numbers due. */
  expected: number[]
  nextN: number
  landed: Map<number, { hash: string; parts: PartResult[] }>
}

interface Cached {
  readonly fingerprint: string
  readonly reply: Promise<object>
}

export class FakeGateway implements Transport {
  readonly clock: SimulatedClock
  readonly random: SeededRandom
  readonly partitions: number
  limits: Limits = defaultLimits
  /** Decides what happens to a call. */
  fault: (call: FakeCall) => Fault = () => ({ kind: 'pass' })
  /** What the log says to a write before it lands. */
  judgeWrite: (n: number, blocks: readonly Block[]) => TrunklineError | undefined = () => undefined
  /** What a look-up answers instead of the truth. */
  judgeLookUp: (n: number, found: WriteOutcome) => WriteOutcome = (_, found) => found
  readonly log: StoredWrite[][]
  readonly calls: { method: MethodName; request: RequestOf<MethodName> }[] = []
  readonly bearers: string[] = []
  readonly defects: string[] = []
  readonly #sessions = new Map<string, FakeSession>()
  readonly #counts = new Map<MethodName, number>()
  #nextSession = 1
  #nextProducer = 1
  #bearerCount = 0
  closed = false

  constructor(options: { partitions?: number; seed?: number; clock?: SimulatedClock } = {}) {
    this.clock = options.clock ?? new SimulatedClock()
    this.random = new SeededRandom(options.seed ?? 1)
    this.partitions = options.partitions ?? 4
    this.log = Array.from({ length: this.partitions }, () => [])
  }

  client(): TrunklineClient {
    const bearer = new Bearer(() => {
      this.#bearerCount += 1
      return Promise.resolve({ token: `bearer-${this.#bearerCount}`, expiresAtMs: this.clock.nowMs() + 3_600_000 })
    }, this.clock)
    const environment = {
      transport: this,
      bearer,
      clock: this.clock,
      random: this.random,
      onUnknownEvent: (type: string) => {
        this.defects.push(type)
        throw new Error(`event out of place: ${type}`)
      },
    }
    return new TrunklineClient(environment, { source: '/clients/test' })
  }

  /** The node dies: its sessions are gone, what they appended stays. */
  crash(): void {
    for (const session of this.#sessions.values()) session.state = 'gone'
  }

  countOf(method: MethodName): number {
    return this.#counts.get(method) ?? 0
  }

  /** Every event in the log, by partition, in order. */
  events(): Event[] {
    return this.log.flatMap((stored, partition) =>
      stored.flatMap(({ block }, offset) => readBlock({ ...block, partition, offset, appendTimeMs: 1 })),
    )
  }

  /** Puts events into the log as another client would. */
  append(block: Block): void {
    this.log[block.partition]?.push({ producer: 0, n: 0, part: 0, hash: '', block })
  }

  close(): Promise<void> {
    this.closed = true
    return Promise.resolve()
  }

  async call<M extends MethodName>(method: M, request: RequestOf<M>, options: CallOptions): Promise<ReplyOf<M>> {
    const countOfMethod = this.countOf(method) + 1
    this.#counts.set(method, countOfMethod)
    this.calls.push({ method, request })
    const fault = this.fault({ method, request, count: this.calls.length, countOfMethod })
    const run = async (): Promise<ReplyOf<M>> => {
      if (method !== 'allocate' && method !== 'describe' && !verifyRequest(keys, method, request))
        throw new TrunklineError('BAD_PROOF')
      const reply = (await this.#run(method, request, options.timeoutMs)) as ReplyOf<M>
      if (method === 'allocate' || !('turn' in reply)) return reply
      return { ...reply, turn: { ...reply.turn, mac: replyMac(keys, method, request.proof, reply) } }
    }
    switch (fault.kind) {
      case 'pass':
        return this.#within(options.timeoutMs, run())
      case 'lose-request':
        return this.#never(options.timeoutMs)
      case 'lose-reply':
        run().catch(() => undefined)
        return this.#never(options.timeoutMs)
      case 'break-reply':
        await run().catch(() => undefined)
        throw new TrunklineError('UNAVAILABLE')
      case 'refuse':
        throw fault.error
      case 'delay-reply': {
        const reply = run()
        reply.catch(() => undefined)
        await this.#sleep(fault.delayMs)
        return reply
      }
      case 'delay-request':
        return this.#within(options.timeoutMs, this.#sleep(fault.delayMs).then(run))
      case 'forge': {
        const forged = fault.answer(fault.runs ? await run().catch(() => ({})) : {})
        if (forged instanceof TrunklineError) throw errorFromStruct(errorToStruct(forged))
        return forged as ReplyOf<M>
      }
      case 'duplicate': {
        const first = run()
        const second = run()
        second.catch(() => undefined)
        return first
      }
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.clock.after(ms, resolve))
  }

  #never(timeoutMs: number): Promise<never> {
    return this.#sleep(timeoutMs).then(() => {
      throw new TrunklineError('DEADLINE')
    })
  }

  #within<T>(timeoutMs: number, work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = this.clock.after(timeoutMs, () => reject(new TrunklineError('DEADLINE')))
      work.then(
        (value) => {
          timer.cancel()
          resolve(value)
        },
        (error: unknown) => {
          timer.cancel()
          reject(TrunklineError.from(error))
        },
      )
    })
  }

  async #run(method: MethodName, request: object, timeoutMs: number): Promise<object> {
    // The network has a turn of its own.
    await Promise.resolve()
    if (method === 'allocate') return this.#allocate(request as AllocateRequest)
    if (method === 'describe') return { version: '0', limits: this.limits, features: [] }
    return this.#converse(method, request as { proof?: Proof; session: Uint8Array }, timeoutMs)
  }

  #allocate(request: AllocateRequest): AllocateReply {
    this.bearers.push(request.proof?.bearer ?? '')
    const reads = request.mode === mode.read
    const resume = request.resume
    const old = resume === undefined ? undefined : this.#sessions.get(textOf(resume.session))
    if (resume !== undefined && old === undefined) throw new TrunklineError('BAD_SESSION_TOKEN')
    const session: FakeSession = {
      token: `session-${this.#nextSession++}`,
      read: reads,
      producer: old?.producer ?? this.#nextProducer++,
      node: 0,
      turns: [openTurns(this.#challenge(), reads ? 1 : this.limits.windowWrites), openTurns(this.#challenge(), 1)],
      cache: [new Map(), new Map()],
      state: 'open',
      position: reads ? this.#startPosition(request) : [],
      step: 0,
      batch: undefined,
      expected: [],
      nextN: resume?.nextN ?? 1,
      landed: new Map(),
    }
    session.turns[1] = openTurns(newestChallenge(session.turns[0]), 1)
    let outcomes: WriteOutcome[] | undefined
    if (resume !== undefined && old !== undefined) {
      // Release: that session, and no other, appends nothing any more.
      old.state = 'gone'
      const from = JSON.parse(textOf(resume.writeCursor)) as number[]
      outcomes = (resume.writes ?? []).map(({ n, partitions }) =>
        this.judgeLookUp(n, this.#lookUp(session, n, partitions, from)),
      )
      session.expected = outcomes
        .filter(
          ({ parts }) =>
            parts.some(({ state }) => state === partState.missing) &&
            !parts.some(({ state }) => state === partState.unknown),
        )
        .map(({ n }) => n)
    }
    this.#sessions.set(session.token, session)
    return {
      session: bytesOf(session.token),
      secret,
      turn: this.#turn(session, 0),
      sessionId: session.token,
      partitions: this.partitions,
      limits: this.limits,
      expiresAtMs: this.clock.nowMs() + 3_600_000,
      ...(reads
        ? { cursor: bytesOf(JSON.stringify(session.position)) }
        : { writeCursor: this.#ends(), nextN: session.nextN }),
      ...(outcomes === undefined ? {} : { outcomes }),
    }
  }

  #lookUp(session: FakeSession, n: number, partitions: readonly number[], from: readonly number[]): WriteOutcome {
    const parts: PartResult[] = partitions.map((partition, part) => {
      const stored = this.log[partition] ?? []
      const offset = stored.findIndex(
        (one, at) =>
          at >= (from[partition] ?? 0) && one.producer === session.producer && one.n === n && one.part === part,
      )
      if (offset < 0) return { part, partition, state: partState.missing }
      return { part, partition, state: partState.landed, offset }
    })
    const hash = partitions.map(
      (partition) => this.log[partition]?.find((one) => one.producer === session.producer && one.n === n)?.hash,
    )[0]
    if (parts.some(({ state }) => state === partState.landed)) session.landed.set(n, { hash: hash ?? '', parts })
    return { n, parts }
  }

  #converse(method: MethodName, request: { proof?: Proof; session: Uint8Array }, timeoutMs: number): Promise<object> {
    const session = this.#sessions.get(textOf(request.session))
    if (session === undefined || session.state === 'gone') throw new TrunklineError('SESSION_GONE')
    const slot = request.proof?.slot === 1 ? 1 : 0
    const seq = request.proof?.seq ?? 0
    const turns = session.turns[slot]
    const fingerprint = fingerprintOf(method, request)
    switch (judgeTurn(turns, seq, request.proof?.challenge ?? new Uint8Array())) {
      case 'out-of-turn':
        throw new TrunklineError('SEQUENCE_MISMATCH', {
          expected: turns.next,
          details: { of: 'seq' },
          turn: this.#turn(session, slot),
        })
      case 'bad-challenge':
        throw new TrunklineError('BAD_CHALLENGE', { turn: this.#turn(session, slot) })
      case 'repeat': {
        const cached = session.cache[slot].get(seq)
        if (cached?.fingerprint === fingerprint) return cached.reply
        throw new TrunklineError('SEQUENCE_MISMATCH', {
          expected: turns.next,
          details: { of: 'seq' },
          turn: this.#turn(session, slot),
        })
      }
      case 'run': {
        session.turns[slot] = takeTurn(turns)
        const reply = this.#serve(session, method, request, timeoutMs).then(
          (body) => ({ ...body, turn: this.#nextTurn(session, slot) }),
          (thrown: unknown) => {
            throw TrunklineError.from(thrown).with({ turn: this.#nextTurn(session, slot) })
          },
        )
        session.cache[slot].set(seq, { fingerprint, reply })
        return reply
      }
    }
  }

  async #serve(session: FakeSession, method: MethodName, request: object, timeoutMs: number): Promise<object> {
    switch (method) {
      case 'write':
        return this.#write(session, request as WriteRequest)
      case 'read':
        return this.#read(session, request as ReadRequest, timeoutMs)
      case 'ack': {
        const { n, count } = request as AckRequest
        if (n !== session.step || session.batch === undefined) throw new TrunklineError('NOTHING_TO_ACK')
        if (count !== undefined && count > session.batch.count) throw new TrunklineError('ACK_RANGE')
        session.position = count === undefined ? session.batch.next : afterEvents(session, count)
        session.batch = undefined
        return { n, cursor: bytesOf(JSON.stringify(session.position)) }
      }
      case 'nack': {
        const { n, delayMs } = request as NackRequest
        if (n !== session.step || session.batch === undefined) throw new TrunklineError('NOTHING_TO_ACK')
        session.batch = undefined
        await this.#sleep(delayMs ?? 0)
        return { n, cursor: bytesOf(JSON.stringify(session.position)), deliveries: 1 }
      }
      case 'extend': {
        this.bearers.push((request as { proof?: Proof }).proof?.bearer ?? '')
        return { expiresAtMs: 0, ...(session.read ? {} : { writeCursor: this.#ends() }) }
      }
      case 'dispose':
        session.state = 'gone'
        return {}
      default:
        throw new TrunklineError('UNKNOWN_METHOD')
    }
  }

  #write(session: FakeSession, request: WriteRequest): object {
    const blocks = request.blocks ?? []
    const hash = Buffer.from(writeHash(blocks)).toString('hex')
    const { n } = request
    const due = session.expected[0] ?? session.nextN
    const before = session.landed.get(n)
    if (n !== due) {
      if (before !== undefined && !session.expected.includes(n)) return { n, published: true, parts: before.parts }
      throw new TrunklineError('SEQUENCE_MISMATCH', { expected: due, details: { of: 'n' } })
    }
    if (before !== undefined && before.hash !== hash) throw new TrunklineError('WRITE_CHANGED')
    const refusal = this.judgeWrite(n, blocks)
    if (refusal !== undefined) throw refusal
    if (session.expected[0] === n) session.expected.shift()
    else session.nextN += 1
    const parts = blocks.map((block, part): PartResult => {
      const known = before?.parts[part]
      if (known?.state === partState.landed) return known
      const stored = this.log[block.partition]
      if (stored === undefined) throw new TrunklineError('UNKNOWN_PARTITION')
      stored.push({ producer: session.producer, n, part, hash, block: { ...block, data: block.data.slice() } })
      return { part, partition: block.partition, state: partState.landed, offset: stored.length - 1 }
    })
    session.landed.set(n, { hash, parts })
    return { n, published: true, parts, writeCursor: this.#ends() }
  }

  async #read(session: FakeSession, request: ReadRequest, timeoutMs: number): Promise<object> {
    const { n, ackOf } = request
    if (n === session.step && session.batch !== undefined) return this.#readReply(session, session.batch)
    if (n !== session.step + 1)
      throw new TrunklineError('SEQUENCE_MISMATCH', { expected: session.step + 1, details: { of: 'n' } })
    if (session.batch !== undefined) {
      if (ackOf !== session.step)
        throw new TrunklineError('SEQUENCE_MISMATCH', { expected: session.step, details: { of: 'n' } })
      session.position = session.batch.next
      session.batch = undefined
    }
    session.step = n
    const untilMs = this.clock.monotonicMs() + Math.min(request.waitMs ?? 0, timeoutMs)
    let batch = this.#collect(session, request.maxEvents ?? 1_000)
    while (batch.count === 0 && this.clock.monotonicMs() < untilMs && session.state === 'open') {
      await this.#sleep(10)
      batch = this.#collect(session, request.maxEvents ?? 1_000)
    }
    if (session.state !== 'open') throw new TrunklineError('SESSION_GONE')
    if (batch.count > 0) session.batch = batch
    return this.#readReply(session, batch)
  }

  /** Positions are counted in events here, so that a batch may end inside a block. */
  #collect(session: FakeSession, eventsMax: number): { blocks: Block[]; next: number[]; count: number } {
    const next = [...session.position]
    const blocks: Block[] = []
    let count = 0
    for (const [partition, stored] of this.log.entries()) {
      let before = 0
      for (const [offset, { block }] of stored.entries()) {
        const from = Math.max(0, (next[partition] ?? 0) - before)
        before += block.count
        if (from >= block.count || count >= eventsMax) continue
        const take = Math.min(block.count - from, eventsMax - count)
        blocks.push({ ...block, partition, offset, first: from, take, appendTimeMs: this.clock.nowMs() })
        next[partition] = (next[partition] ?? 0) + take
        count += take
      }
    }
    return { blocks, next, count }
  }

  #readReply(session: FakeSession, batch: { blocks: Block[]; next: number[]; count: number }): object {
    return {
      n: session.step,
      count: batch.count,
      cursor: bytesOf(JSON.stringify(batch.next)),
      blocks: batch.blocks,
      atEnd: true,
    }
  }

  #startPosition({ startAt }: AllocateRequest): number[] {
    if (startAt?.cursor !== undefined) return JSON.parse(textOf(startAt.cursor)) as number[]
    const ends = this.log.map((stored) => stored.reduce((sum, { block }) => sum + block.count, 0))
    return startAt?.latest === true ? ends : ends.map(() => 0)
  }

  #ends(): Uint8Array {
    return bytesOf(JSON.stringify(this.log.map((stored) => stored.length)))
  }

  #challenge(): Uint8Array {
    return this.random.bytes(12)
  }

  #nextTurn(session: FakeSession, slot: 0 | 1): Turn {
    session.turns[slot] = issueChallenge(session.turns[slot], this.#challenge())
    return this.#turn(session, slot)
  }

  #turn(session: FakeSession, slot: 0 | 1): Turn {
    const turns = session.turns[slot]
    return { nextSeq: turns.next, challenge: newestChallenge(turns), leaseMs: 60_000 }
  }
}

function afterEvents(session: FakeSession, count: number): number[] {
  const position = [...session.position]
  let left = count
  for (const { partition, take } of session.batch?.blocks ?? []) {
    const taken = Math.min(left, take ?? 0)
    position[partition] = (position[partition] ?? 0) + taken
    left -= taken
  }
  return position
}

function fingerprintOf(method: MethodName, request: object): string {
  const { proof: _, session: __, ...rest } = request as Record<string, unknown>
  const blocks = rest['blocks']
  return `${method} ${JSON.stringify({ ...rest, blocks: Array.isArray(blocks) ? Buffer.from(writeHash(blocks as Block[])).toString('hex') : undefined })}`
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes)
}
