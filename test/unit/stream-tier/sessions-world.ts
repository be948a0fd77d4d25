// Owns: what the unit tests of sessions share: real sessions, machines, conversations and lanes on a simulated clock; the
// log, the sealer and the topic reader answer when the test says so.
import { createActor } from 'xstate'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { GatewayKeys } from '../../../src/crypto/gateway-keys.ts'
import type {
  AppendOutcome,
  AppendRecord,
  LogWriter,
  RetireReason,
  TopicFormat,
  TopicPartition,
} from '../../../src/ports/event-log.ts'
import { buildBlock } from '../../../src/protocol/block.ts'
import { type ErrorName, TrunklineError } from '../../../src/protocol/errors.ts'
import {
  type ProducerId,
  parseIncarnation,
  parseProducerId,
  parseSessionId,
  parseTopicId,
  parseTopicName,
} from '../../../src/protocol/ids.ts'
import { type Block, encoding, type Proof, slot, type Turn } from '../../../src/protocol/messages.ts'
import { type Answered, Conversation, type Deferred, deferred } from '../../../src/stream-tier/conversation.ts'
import { openReadCursor, openWriteCursor, SessionCursors } from '../../../src/stream-tier/cursors.ts'
import type { ReadBatch, ReadOptions } from '../../../src/stream-tier/read/topic-reader.ts'
import { ReadSession } from '../../../src/stream-tier/read-session.ts'
import type { Session } from '../../../src/stream-tier/session.ts'
import { bindSessionMachine } from '../../../src/stream-tier/session-actions.ts'
import { Sessions } from '../../../src/stream-tier/sessions.ts'
import { AppendLanes } from '../../../src/stream-tier/write/append-lanes.ts'
import { StagedBytes } from '../../../src/stream-tier/write/staged-bytes.ts'
import { WriteSession } from '../../../src/stream-tier/write-session.ts'

export const topicId = parseTopicId('00112233445566778899aabbccddeeff')
export const producerA = parseProducerId('a'.repeat(32))
export const leaseMs = 60_000
const partitions = 4
const bufferBytesMax = 1_000_000
const scope = { clusterId: 'c', tenant: 't', topicId }
const text = (value: string): Uint8Array => new TextEncoder().encode(value)

export function blockOf(partition: number, ...payloads: readonly string[]): Block {
  return buildBlock(
    partition,
    payloads.map((payload) => ({ payload: text(payload) })),
    encoding.none,
  )
}

/** A log that answers when the test says so, batch by batch. */
export class ScriptedLog implements LogWriter {
  readonly identity = parseIncarnation('n1.e1')
  readonly pid = 1
  readonly out: { at: TopicPartition; records: readonly AppendRecord[]; answer: (outcome: AppendOutcome) => void }[] =
    []
  retire: (reason: RetireReason) => void = () => {}
  readonly retired = new Promise<RetireReason>((resolve) => {
    this.retire = resolve
  })
  #end = 100

  append(at: TopicPartition, records: readonly AppendRecord[]): Promise<AppendOutcome> {
    return new Promise((answer) => this.out.push({ at, records, answer }))
  }

  async close(): Promise<void> {}

  /** Answers what is out longest. */
  land(): void {
    const batch = this.out.shift()
    if (batch === undefined) throw new Error('nothing is at the log')
    batch.answer({ kind: 'landed', baseOffset: this.#end, appendTimeMs: 0 })
    this.#end += batch.records.length
  }

  refuse(error: ErrorName): void {
    const batch = this.out.shift()
    if (batch === undefined) throw new Error('nothing is at the log')
    batch.answer({ kind: 'refused', error })
  }
}

export class SessionsWorld {
  readonly clock = new SimulatedClock()
  readonly random = new SeededRandom('sessions')
  readonly log = new ScriptedLog()
  readonly sessions: Sessions
  readonly reasons: string[] = []
  readonly defects: unknown[] = []
  readonly unknown: string[] = []
  published = 0
  /** Sealings that wait; undefined: sealed at once. */
  sealings: Deferred<Uint8Array>[] | undefined
  sealFault: ErrorName | undefined
  readonly fetches: { options: ReadOptions; answer: Deferred<ReadBatch> }[] = []
  /** What the log says where it ends; tests may replace it. */
  ends: () => Promise<readonly number[]> = async () => Array.from({ length: partitions }, () => 500)
  readonly #lanes: AppendLanes
  /** Of a node with this buffer; a client may stage a fifth of it. */
  readonly staged = new StagedBytes({ clientBytesMax: bufferBytesMax / 5, appendBufferBytes: bufferBytesMax })
  readonly #keys: GatewayKeys
  readonly #cursors: SessionCursors
  readonly #machine: ReturnType<typeof bindSessionMachine>
  /** Of the sessions that are made next. */
  format: TopicFormat = 'sealed'
  #made = 0

  constructor(sessionsMax = 100) {
    this.sessions = new Sessions({ clock: this.clock, leaseMs, sessionsMax })
    this.#lanes = new AppendLanes({ writer: this.log, bufferBytesMax, clock: this.clock })
    this.#keys = GatewayKeys.generate(this.random, this.clock)
    this.#cursors = new SessionCursors(this.#keys, scope, this.random)
    this.#machine = bindSessionMachine(
      (id) => this.sessions.find(id),
      (_, event) => this.unknown.push(event.type),
    )
  }

  /** Charged to the node's append buffer. */
  get bufferedBytes(): number {
    return this.#lanes.bufferedBytes
  }

  /** An open session. */
  writer(producerId: ProducerId = producerA): Client<WriteSession> {
    const client = this.takingOver(producerId)
    client.session.send({ type: 'PREPARED' })
    return client
  }

  /** A session whose take-over is for the test to tell. */
  takingOver(producerId: ProducerId = producerA): Client<WriteSession> {
    const conversation = this.#conversation(8)
    const session = new WriteSession(this.#base(conversation), {
      topic: { name: parseTopicName('t'), topicId, partitions, format: this.format, createdAtMs: 0 },
      partitions,
      producerId,
      lanes: this.#lanes,
      staged: this.staged,
      sealer: { seal: (block) => this.#seal(block) },
      cursors: this.#cursors,
      from: Array.from({ length: partitions }, () => 0),
      windowWrites: 8,
      windowBytes: 100_000,
      metrics: { published: (events) => (this.published += events) },
      ends: () => this.ends(),
    })
    return this.#start(session, conversation, 'write')
  }

  reader(): Client<ReadSession> {
    const conversation = this.#conversation(1)
    const session = new ReadSession(this.#base(conversation), {
      reader: {
        read: (_, options) => {
          const answer = deferred<ReadBatch>()
          this.fetches.push({ options, answer })
          return answer.promise
        },
      },
      topicId,
      cursors: this.#cursors,
      position: Array.from({ length: partitions }, () => ({ offset: 0, index: 0 })),
      metrics: { delivered: () => {} },
    })
    const client = this.#start(session, conversation, 'read')
    client.session.send({ type: 'PREPARED' })
    return client
  }

  /** Answers the fetch that is out longest. */
  found(...payloads: readonly string[]): void {
    const fetch = this.fetches.shift()
    if (fetch === undefined) throw new Error('nothing is fetched')
    const blocks = payloads.length === 0 ? [] : [{ ...blockOf(0, ...payloads), offset: 7 }]
    const next = Array.from({ length: partitions }, (_, at) => ({ offset: at === 0 ? 8 : 0, index: 0 }))
    fetch.answer.resolve({ kind: 'batch', blocks, count: payloads.length, next, turn: 1, atEnd: true })
  }

  /** By partition, what the cursor of an answer says. */
  offsetsOf(answered: Answered): readonly number[] {
    return openWriteCursor(this.#keys, scope, bytesIn(answered, 'writeCursor')).offsets
  }

  /** Of partition 0. */
  positionOf(answered: Answered): { readonly offset: number; readonly index: number } | undefined {
    return openReadCursor(this.#keys, scope, bytesIn(answered, 'cursor')).positions[0]
  }

  #conversation(window: number): Conversation {
    return new Conversation({ random: this.random, leaseMs, window })
  }

  #base(conversation: Conversation): ConstructorParameters<typeof ReadSession>[0] {
    this.#made += 1
    return {
      sessionId: parseSessionId(`session-${String(this.#made).padStart(5, '0')}`),
      conversation,
      clock: this.clock,
      leaseMs,
      principal: { subject: 's', clientId: 'c', tenant: 't', expiresAtMs: this.clock.nowMs() + 3_600_000 },
      onClosed: (session, reason) => {
        this.sessions.closed(session)
        this.reasons.push(reason)
      },
      onDefect: (_, thrown) => this.defects.push(thrown),
    }
  }

  #start<S extends Session>(session: S, conversation: Conversation, mode: 'read' | 'write'): Client<S> {
    this.sessions.add(session)
    const input = { sessionId: session.id, mode, windowWrites: 8, windowBytes: 100_000 }
    const clock = {
      setTimeout: (run: () => void, delayMs: number) => this.clock.after(delayMs, run),
      clearTimeout: (timer: { cancel(): void } | undefined) => timer?.cancel(),
    }
    session.start(createActor(this.#machine, { input, clock }))
    return new Client(session, conversation.firstTurn())
  }

  #seal(block: Block): Uint8Array | Promise<Uint8Array> {
    if (this.sealFault !== undefined) throw new TrunklineError(this.sealFault)
    if (this.sealings === undefined) return block.data
    const sealing = deferred<Uint8Array>()
    this.sealings.push(sealing)
    return sealing.promise
  }
}

/** A session with its client's turns; requests go out in turn without waiting. */
export class Client<S extends Session> {
  readonly session: S
  readonly #challenge: Uint8Array[]
  readonly #next = [1, 1]

  constructor(session: S, { challenge }: Turn) {
    this.session = session
    this.#challenge = [challenge, challenge]
  }

  proof(at: 0 | 1 = slot.data): Proof {
    const seq = this.#next[at] ?? 1
    this.#next[at] = seq + 1
    return { slot: at, seq, challenge: this.#challenge[at] }
  }

  /** A request in turn; its answer brings the next challenge. */
  async ask(call: (proof: Proof) => Promise<Answered>, at: 0 | 1 = slot.data): Promise<Answered> {
    const answered = await call(this.proof(at))
    const turn = 'error' in answered ? answered.error.turn : answered.reply.turn
    if (turn !== undefined) this.#challenge[at] = turn.challenge
    return answered
  }
}

/** The reply; throws the error that stands for it. */
export const replyOf = (answered: Answered): Record<string, unknown> => {
  if ('error' in answered) throw answered.error
  return { ...answered.reply }
}

export const nameOf = (answered: Answered): ErrorName | 'answered' =>
  'error' in answered ? answered.error.name : 'answered'

function bytesIn(answered: Answered, field: string): Uint8Array {
  const value = replyOf(answered)[field]
  if (!(value instanceof Uint8Array)) throw new Error(`no ${field}`)
  return value
}

/** Whether it is answered by now. */
export async function isSettled(answer: Promise<unknown>): Promise<boolean> {
  const pending = Symbol('pending')
  await new Promise<void>((resolve) => setImmediate(resolve))
  return (await Promise.race([answer, Promise.resolve(pending)])) !== pending
}

export const settle = (world: SessionsWorld): Promise<void> => world.clock.settle()
