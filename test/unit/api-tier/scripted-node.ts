// Owns: a scripted stream node for tests of the HTTP fronts: sessions and topics in memory, no fsm, no log.
// It keeps turns and positions just well enough that a wrong sequence, challenge or number is seen.
import type { SessionTokenContent } from '../../../src/crypto/session-token.ts'
import type { CallOutcome } from '../../../src/ports/switchboard.ts'
import { encodeAnswer } from '../../../src/protocol/envelope-codec.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { idToBytes, parseSessionId, parseTopicId } from '../../../src/protocol/ids.ts'
import { defaultLimits } from '../../../src/protocol/limits.ts'
import {
  type Block,
  type MethodName,
  mode,
  type PartResult,
  type Proof,
  partState,
  type RequestOf,
  type TopicDescription,
  type Turn,
} from '../../../src/protocol/messages.ts'
import { decodeStruct, encodeStruct } from '../../../src/protocol/thrift/codec.ts'
import { methodSchemas } from '../../../src/protocol/thrift/schemas.ts'
import { topicAdminSchemas } from '../../../src/protocol/topic-admin.ts'
import { producerId, refused, replied, type SeenCall, tokenOf } from './support.ts'

const topicId = parseTopicId(`${'0'.repeat(31)}1`)

interface ScriptedSession {
  seq: number
  challenge: Uint8Array
  readonly isWriter: boolean
  staged: readonly Block[]
}

export class ScriptedNode {
  readonly topics = new Map<string, TopicDescription>()
  readonly log: Block[] = []
  readonly disposed: string[] = []
  /** Thrown by the next calls of a method, first first. */
  readonly failures: { method: string; error: TrunklineError }[] = []
  partitions = 4
  #sessions = new Map<string, ScriptedSession>()
  #next = 1

  readonly answer = (seen: SeenCall): CallOutcome => {
    const { envelope } = seen
    const failing = this.failures.findIndex(({ method }) => method === envelope.method)
    const [failure] = failing < 0 ? [] : this.failures.splice(failing, 1)
    try {
      if (failure !== undefined) throw failure.error
      return this.#run(seen)
    } catch (thrown) {
      if (thrown instanceof TrunklineError) return refused(thrown)
      throw thrown
    }
  }

  #run({ envelope }: SeenCall): CallOutcome {
    const { body, sessionId = '' } = envelope
    switch (envelope.method) {
      case 'allocate':
        return this.#allocate(requestIn('allocate', body))
      case 'describe': {
        const { topic } = requestIn('describe', body)
        const reply = { version: '1', limits: defaultLimits, features: ['read'] }
        if (topic === undefined) return replied('describe', reply)
        const offsets = Array.from({ length: this.partitions }, () => 0)
        return replied('describe', { ...reply, topic: { ...this.#topic(topic), earliest: offsets, latest: offsets } })
      }
      case 'read': {
        const request = requestIn('read', body)
        const turn = this.#turn(sessionId, request.proof)
        const take = request.maxEvents ?? 1_000
        const blocks = this.log.slice(0, take)
        const count = blocks.reduce((sum, block) => sum + block.count, 0)
        return replied('read', { turn, n: request.n, count, cursor: Uint8Array.of(1, count), blocks, atEnd: true })
      }
      case 'ack': {
        const request = requestIn('ack', body)
        const turn = this.#turn(sessionId, request.proof)
        const session = this.#session(sessionId)
        if (!session.isWriter) return replied('ack', { turn, n: request.n, cursor: Uint8Array.of(2) })
        return replied('ack', {
          turn,
          n: request.n,
          parts: this.#publish(session.staged),
          writeCursor: Uint8Array.of(3),
        })
      }
      case 'nack': {
        const request = requestIn('nack', body)
        const turn = this.#turn(sessionId, request.proof)
        return replied('nack', { turn, n: request.n, cursor: Uint8Array.of(4), deliveries: 1 })
      }
      case 'extend': {
        const turn = this.#turn(sessionId, requestIn('extend', body).proof)
        return replied('extend', {
          turn,
          expiresAtMs: envelope.refreshed === true ? envelope.principal.expiresAtMs : 1,
        })
      }
      case 'write': {
        const request = requestIn('write', body)
        const turn = this.#turn(sessionId, request.proof)
        const session = this.#session(sessionId)
        session.staged = (request.blocks ?? []).map(copied)
        const published = request.commit === true
        return replied('write', {
          turn,
          n: request.n,
          published,
          ...(published ? { parts: this.#publish(session.staged) } : {}),
        })
      }
      case 'dispose': {
        const turn = this.#turn(sessionId, requestIn('dispose', body).proof)
        this.#sessions.delete(sessionId)
        this.disposed.push(sessionId)
        return replied('dispose', { turn, cursor: Uint8Array.of(5) })
      }
      case 'topic-create': {
        const { request, reply } = topicAdminSchemas['topic-create']
        const { name, partitions = 8, format = 'sealed', retentionMs } = decodeStruct(request, body)
        if (this.topics.has(name)) throw new TrunklineError('TOPIC_EXISTS')
        const topic = {
          name,
          topicId: idToBytes(topicId),
          partitions,
          format,
          retentionMs,
          createdAtMs: 1_700_000_000_000,
        }
        this.topics.set(name, topic)
        return { kind: 'answered', body: encodeAnswer({ body: encodeStruct(reply, { topic }) }) }
      }
      case 'topic-list': {
        const { request, reply } = topicAdminSchemas['topic-list']
        const { after = '', limit } = decodeStruct(request, body)
        const behind = [...this.topics.values()]
          .filter(({ name }) => name > after)
          .sort((a, b) => (a.name < b.name ? -1 : 1))
        const page = { topics: behind.slice(0, limit), more: behind.length > limit }
        return { kind: 'answered', body: encodeAnswer({ body: encodeStruct(reply, page) }) }
      }
      case 'topic-delete': {
        const { request, reply } = topicAdminSchemas['topic-delete']
        const { name } = decodeStruct(request, body)
        const topic = this.#topic(name)
        this.topics.delete(name)
        return { kind: 'answered', body: encodeAnswer({ body: encodeStruct(reply, { topicId: topic.topicId }) }) }
      }
      case 'release':
        throw new Error('the API tier releases nothing')
    }
  }

  #allocate(request: RequestOf<'allocate'>): CallOutcome {
    for (const reserved of ['group', 'producerName', 'tenant'] as const)
      if (request[reserved] !== undefined) throw new TrunklineError('UNSUPPORTED', { details: { field: reserved } })
    const { partitions } = this.#topic(request.topic)
    const sessionId = parseSessionId(`session-${String(this.#next++).padStart(4, '0')}`)
    const challenge = Uint8Array.of(1, 2, 3)
    const isWriter = request.mode === mode.write
    this.#sessions.set(sessionId, { seq: 1, challenge, isWriter, staged: [] })
    const content: Partial<SessionTokenContent> = isWriter
      ? { sessionId, mode: mode.write, producerId, partitions }
      : { sessionId, partitions }
    return replied('allocate', {
      session: tokenOf(content),
      secret: new Uint8Array(32),
      turn: { nextSeq: 1, challenge, leaseMs: 60_000 },
      sessionId,
      partitions,
      limits: defaultLimits,
      expiresAtMs: 4e12,
      ...(isWriter ? { nextN: 1, writeCursor: Uint8Array.of(7), packing: 1 } : { cursor: Uint8Array.of(6) }),
    })
  }

  #topic(name: string): TopicDescription {
    const topic = this.topics.get(name)
    if (topic === undefined) throw new TrunklineError('UNKNOWN_TOPIC')
    return topic
  }

  #session(id: string): ScriptedSession {
    const session = this.#sessions.get(id)
    if (session === undefined) throw new TrunklineError('SESSION_GONE')
    return session
  }

  #turn(id: string, proof: Proof | undefined): Turn {
    if (proof?.bearer !== undefined) throw new Error('the bearer goes no further than the API tier')
    const session = this.#session(id)
    const owed = { nextSeq: session.seq, challenge: session.challenge, leaseMs: 60_000 }
    if (proof?.seq !== session.seq) throw new TrunklineError('SEQUENCE_MISMATCH', { expected: session.seq, turn: owed })
    if (Buffer.compare(proof.challenge ?? new Uint8Array(), session.challenge) !== 0)
      throw new TrunklineError('BAD_CHALLENGE', { turn: owed })
    session.seq += 1
    session.challenge = Uint8Array.of(1, 2, 3, session.seq)
    return { nextSeq: session.seq, challenge: session.challenge, leaseMs: 60_000 }
  }

  #publish(blocks: readonly Block[]): PartResult[] {
    return blocks.map((block, part) => {
      const offset = this.log.filter(({ partition }) => partition === block.partition).length
      this.log.push({ ...block, offset, appendTimeMs: 1_700_000_000_123 })
      return { part, partition: block.partition, state: partState.landed, offset }
    })
  }
}

function requestIn<M extends MethodName>(method: M, body: Uint8Array): RequestOf<M> {
  return decodeStruct(methodSchemas[method].request, body)
}

/** Decoded bytes are views into the message: what is kept is copied. */
function copied(block: Block): Block {
  return { ...block, data: block.data.slice() }
}
