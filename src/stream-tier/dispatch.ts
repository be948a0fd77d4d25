// Owns: envelope in, answer out: which method runs on which session, and how an error becomes an answer.
// D1 Whatever happens, an answer goes out: a fault as a typed error, a bug as INTERNAL (logged with its cause).
// Leaves out: what a method does (sessions, Allocator, Topics).

import type { Clock } from '../ports/clock.ts'
import type { EventLog } from '../ports/event-log.ts'
import type { Envelope } from '../protocol/envelope.ts'
import {
  decodeEnvelope,
  decodeReleaseRequest,
  encodeAnswer,
  encodeErrorAnswer,
  encodeReleaseReply,
} from '../protocol/envelope-codec.ts'
import { TrunklineError } from '../protocol/errors.ts'
import { parseSessionId, parseTopicName, type SessionId } from '../protocol/ids.ts'
import type { DescribeReply, DescribeRequest, Limits, MethodName, RequestOf } from '../protocol/messages.ts'
import { decodeStruct, encodeStruct } from '../protocol/thrift/codec.ts'
import { methodSchemas } from '../protocol/thrift/schemas.ts'
import { type Allocator, partitionsOf } from './allocate.ts'
import type { Answered } from './conversation.ts'
import { ReadSession } from './read-session.ts'
import type { Session } from './session.ts'
import type { Sessions } from './sessions.ts'
import { describeTopic, type TopicAdmin } from './topic-admin.ts'
import type { Topics } from './topics.ts'
import { WriteSession } from './write-session.ts'

export interface DispatchOptions {
  readonly version: string
  readonly limits: Limits
  readonly log: EventLog
  readonly topics: Topics
  readonly topicAdmin: TopicAdmin
  readonly sessions: Sessions
  readonly allocator: Allocator
  readonly release: (sessionId: SessionId) => boolean
  /** Throws DRAINING or SESSION_GONE when the node takes no such work now. */
  readonly admit: (method: string) => void
  /** One answered call, for metrics and logs; `bug` is what was thrown when it was not a typed error. */
  readonly observe: (method: string, error: TrunklineError | undefined, durationMs: number, bug: unknown) => void
  readonly clock: Pick<Clock, 'monotonicMs'>
}

export class Dispatch {
  readonly #options: DispatchOptions

  constructor(options: DispatchOptions) {
    this.#options = options
  }

  /** Never rejects (D1). */
  async answer(bytes: Uint8Array, deadlineAtMs: number): Promise<Uint8Array> {
    let method = 'unknown'
    const startedAtMs = this.#options.clock.monotonicMs()
    const tookMs = (): number => this.#options.clock.monotonicMs() - startedAtMs
    try {
      const envelope = decodeEnvelope(bytes)
      method = envelope.method
      this.#options.admit(method)
      const body = await this.#run(envelope, deadlineAtMs)
      this.#options.observe(method, undefined, tookMs(), undefined)
      return encodeAnswer({ body })
    } catch (thrown) {
      const error = TrunklineError.from(thrown)
      this.#options.observe(method, error, tookMs(), thrown === error ? undefined : thrown)
      return encodeErrorAnswer(error)
    }
  }

  async #run(envelope: Envelope, deadlineAtMs: number): Promise<Uint8Array> {
    const { method, principal, body } = envelope
    switch (method) {
      case 'allocate': {
        const request = decodeStruct(methodSchemas.allocate.request, body)
        return encodeStruct(
          methodSchemas.allocate.reply,
          await this.#options.allocator.allocate(request, principal, deadlineAtMs),
        )
      }
      case 'describe':
        return encodeStruct(
          methodSchemas.describe.reply,
          await this.#describe(decodeStruct(methodSchemas.describe.request, body)),
        )
      case 'read': {
        const request = this.#request('read', body)
        return this.#encode('read', await this.#reader(envelope).read(request))
      }
      case 'write': {
        const request = this.#request('write', body)
        return this.#encode('write', await this.#writer(envelope).write(request))
      }
      case 'ack': {
        const request = this.#request('ack', body)
        const session = this.#session(envelope)
        if (session instanceof ReadSession || session instanceof WriteSession)
          return this.#encode('ack', await session.ack(request))
        throw new TrunklineError('WRONG_MODE')
      }
      case 'nack': {
        const request = this.#request('nack', body)
        return this.#encode('nack', await this.#reader(envelope).nack(request))
      }
      case 'extend': {
        const request = this.#request('extend', body)
        return this.#encode(
          'extend',
          await this.#session(envelope).extend(request, envelope.refreshed === true ? principal : undefined),
        )
      }
      case 'dispose': {
        const request = this.#request('dispose', body)
        return this.#encode('dispose', await this.#session(envelope).dispose(request))
      }
      case 'release':
        return this.#release(body)
      default:
        return this.#options.topicAdmin.run(method, body)
    }
  }

  #request<M extends MethodName>(method: M, body: Uint8Array): RequestOf<M> {
    return decodeStruct(methodSchemas[method].request, body)
  }

  #encode(method: MethodName, answered: Answered): Uint8Array {
    if ('error' in answered) throw answered.error
    // The host builds each reply for its method; the codec refuses a struct that lacks a required field.
    return encodeStruct(methodSchemas[method].reply as Parameters<typeof encodeStruct<object>>[0], answered.reply)
  }

  #session(envelope: Envelope): Session {
    return this.#options.sessions.find(parseSessionId(envelope.sessionId ?? ''))
  }

  #reader(envelope: Envelope): ReadSession {
    const session = this.#session(envelope)
    if (!(session instanceof ReadSession)) throw new TrunklineError('WRONG_MODE')
    return session
  }

  #writer(envelope: Envelope): WriteSession {
    const session = this.#session(envelope)
    if (!(session instanceof WriteSession)) throw new TrunklineError('WRONG_MODE')
    return session
  }

  /** Released: the session is closed for good here, and nothing of it is in flight (design.md §3.2). */
  #release(body: Uint8Array): Uint8Array {
    return encodeReleaseReply({
      released: this.#options.release(parseSessionId(decodeReleaseRequest(body).sessionId)),
    })
  }

  async #describe(request: DescribeRequest): Promise<DescribeReply> {
    const { version, limits, log, topics } = this.#options
    const reply: DescribeReply = {
      version,
      limits,
      features: ['read', 'write', 'ack', 'nack', 'extend', 'take-over', 'gzip'],
    }
    if (request.topic === undefined) return reply
    const { info } = await topics.open(parseTopicName(request.topic))
    const [earliest, latest] = await Promise.all([
      log.offsets(partitionsOf(info), 'earliest'),
      log.offsets(partitionsOf(info), 'latest'),
    ])
    return { ...reply, topic: { ...describeTopic(info), earliest, latest } }
  }
}
