// Owns: envelope in, answer out: which method runs on which session, and how an error becomes an answer.
// D1 Whatever happens, an answer goes out: a fault as a typed error, a bug as INTERNAL (logged with its cause).
// Leaves out: what a method does (sessions, Allocator, Topics).

import { noTracing, type Span, type Tracing } from '../observability/tracing.ts'
import type { Clock } from '../ports/clock.ts'
import type { EventLog } from '../ports/event-log.ts'
import type { Envelope } from '../protocol/envelope.ts'
import {
  decodeEnvelope,
  decodeReleaseRequest,
  encodeAnswer,
  encodeErrorAnswer,
  encodeReleaseReply,
  encodeReplyAnswer,
} from '../protocol/envelope-codec.ts'
import { TrunklineError } from '../protocol/errors.ts'
import { parseSessionId, parseTopicName, type SessionId } from '../protocol/ids.ts'
import type { DescribeReply, DescribeRequest, Limits, MethodName, RequestOf } from '../protocol/messages.ts'
import { decodeStruct } from '../protocol/thrift/codec.ts'
import type { StructSchema } from '../protocol/thrift/schema.ts'
import { methodSchemas } from '../protocol/thrift/schemas.ts'
import { type Allocator, partitionsOf } from './allocate.ts'
import type { Answered } from './conversation.ts'
import { answeredBy } from './deadline.ts'
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
  /**
   * One answered call, for metrics and logs; `bug` is what was thrown when it was not a typed error, `envelope` is absent
   * when it did not decode.
   */
  readonly observe: (
    method: string,
    error: TrunklineError | undefined,
    durationMs: number,
    bug: unknown,
    envelope: Envelope | undefined,
  ) => void
  readonly allocating: (change: 1 | -1) => void
  readonly clock: Pick<Clock, 'monotonicMs' | 'after'>
  /** Names the node in spans. */
  readonly nodeId: string
  /** Default: off. */
  readonly tracing?: Tracing | undefined
}

/** The answer's way back to the caller. */
const replyMs = 250

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
    let envelope: Envelope | undefined
    let span: Span | undefined
    try {
      envelope = decodeEnvelope(bytes)
      method = envelope.method
      span = this.#spanOf(envelope)
      this.#options.admit(method)
      // What comes of the call is below its span; without one, the caller's trace context goes nowhere from here.
      const answer = await this.#run(envelope, deadlineAtMs, span?.traceparent)
      this.#options.observe(method, undefined, tookMs(), undefined, envelope)
      span?.end('ok')
      return answer
    } catch (thrown) {
      const error = TrunklineError.from(thrown)
      this.#options.observe(method, error, tookMs(), thrown === error ? undefined : thrown, envelope)
      span?.end(error.name)
      return encodeErrorAnswer(error)
    }
  }

  #spanOf({ method, traceparent, requestId, sessionId }: Envelope): Span | undefined {
    const { tracing = noTracing, nodeId } = this.#options
    const span = tracing.start('node', method, traceparent)
    if (span === undefined) return undefined
    span.set('method', method)
    span.set('nodeId', nodeId)
    span.set('requestId', requestId)
    if (sessionId !== undefined) span.set('sessionId', sessionId)
    return span
  }

  /** The encoded answer. */
  async #run(envelope: Envelope, deadlineAtMs: number, traceparent: string | undefined): Promise<Uint8Array> {
    const { method, principal, body } = envelope
    switch (method) {
      case 'allocate': {
        const request = decodeStruct(methodSchemas.allocate.request, body)
        this.#options.allocating(1)
        try {
          return encodeReplyAnswer(
            methodSchemas.allocate.reply,
            await this.#options.allocator.allocate(request, principal, deadlineAtMs, traceparent),
          )
        } finally {
          this.#options.allocating(-1)
        }
      }
      case 'describe':
        return encodeReplyAnswer(
          methodSchemas.describe.reply,
          await this.#by(deadlineAtMs, this.#describe(decodeStruct(methodSchemas.describe.request, body))),
        )
      case 'read': {
        const request = this.#request('read', body)
        return this.#encode('read', await this.#reader(envelope).read(request))
      }
      case 'write': {
        const request = this.#request('write', body)
        return this.#encode('write', await this.#writer(envelope).write(request, traceparent))
      }
      case 'ack': {
        const request = this.#request('ack', body)
        const session = this.#session(envelope)
        if (session instanceof ReadSession) return this.#encode('ack', await session.ack(request))
        if (session instanceof WriteSession) return this.#encode('ack', await session.ack(request, traceparent))
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
        return encodeAnswer({ body: await this.#by(deadlineAtMs, this.#options.topicAdmin.run(method, body)) })
    }
  }

  /** The log may not answer; what was asked of it may happen all the same. */
  #by<T>(deadlineAtMs: number, answer: Promise<T>): Promise<T> {
    return answeredBy(this.#options.clock, deadlineAtMs - replyMs, 'DEADLINE', answer)
  }

  #request<M extends MethodName>(method: M, body: Uint8Array): RequestOf<M> {
    return decodeStruct(methodSchemas[method].request, body)
  }

  #encode(method: MethodName, answered: Answered): Uint8Array {
    if ('error' in answered) throw answered.error
    // The host builds each reply for its method; the codec refuses a struct that lacks a required field.
    return encodeReplyAnswer(methodSchemas[method].reply as StructSchema<object>, answered.reply)
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
    const released = this.#options.release(parseSessionId(decodeReleaseRequest(body).sessionId))
    return encodeAnswer({ body: encodeReleaseReply({ released }) })
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
