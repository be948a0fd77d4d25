// Owns: the one core behind every front (Thrift over TCP and HTTP, JSON): request struct in, reply struct out.
// 1. The bearer is checked here and goes no further; a node sees the principal that it proved.
// 2. A session token is opened before anything is routed: only the incarnation that it names is ever called.
// 3. A caller that sends a bearer with a session call must be the one who allocated the session.
// 4. Nothing of a session is kept: what is cached (opened tokens) can be opened again from the token.
// 5. A failure that is not ours becomes INTERNAL here; its text goes to the log, never to the caller.
// Leaves out: framing and codecs of the fronts, how a node is reached (node-calls.ts), packing (event-blocks.ts).
import type { GatewayKeys } from '../crypto/gateway-keys.ts'
import { principalHash, type SessionTokenContent } from '../crypto/session-token.ts'
import type { Logger } from '../observability/log.ts'
import type { Clock } from '../ports/clock.ts'
import type { Switchboard } from '../ports/switchboard.ts'
import { envelopeVersion, type InternalMethod, type Principal } from '../protocol/envelope.ts'
import { encodeEnvelope } from '../protocol/envelope-codec.ts'
import { TrunklineError } from '../protocol/errors.ts'
import { bearerBytesMax } from '../protocol/limits.ts'
import {
  type AllocateRequest,
  type Limits,
  type MethodName,
  type Methods,
  mode,
  type Proof,
  type ReadReply,
  type ReplyOf,
  type RequestOf,
  type WriteRequest,
} from '../protocol/messages.ts'
import { decodeStruct, encodeStruct } from '../protocol/thrift/codec.ts'
import type { StructSchema } from '../protocol/thrift/schema.ts'
import { methodSchemas } from '../protocol/thrift/schemas.ts'
import type { ApiMetrics } from './api-metrics.ts'
import type { BearerVerifier } from './auth/bearer.ts'
import type { CallContext } from './call-context.ts'
import { packForSession, unpackBlocks } from './event-blocks.ts'
import { NodeCalls } from './node-calls.ts'
import { OpenedTokens } from './opened-tokens.ts'

/** Deadlines of the way through the switchboard and back. */
const sessionlessDeadlineMs = 10_000
const callDeadlineMs = 10_000
/** Longer than the log's own append deadline (30 s), so that the node answers first. */
const publishDeadlineMs = 35_000
/** On top of the reader's waitMs. */
const readSlackMs = 5_000
const openedTokensMaxDefault = 10_000

/**
 * The principal of a session call without a bearer: the sealed token is what proves the caller, and the session at the
 * node knows who allocated it.
 */
export const sessionBoundPrincipal: Principal = { subject: '', clientId: '', tenant: '', expiresAtMs: 0 }

export interface GatewayCallsDeps {
  readonly switchboard: Switchboard
  readonly gatewayKeys: GatewayKeys
  readonly tokens: BearerVerifier
  readonly clock: Clock
  readonly metrics: ApiMetrics
  readonly logger: Logger
  readonly limits: Limits
  /** Opened session tokens kept; default 10,000 (some 10 MB). */
  readonly openedTokensMax?: number
}

/** A request struct that goes to any node without a session: internal methods (topic administration). */
export interface AdminCall<Q, R> {
  readonly method: InternalMethod
  readonly request: StructSchema<Q>
  readonly reply: StructSchema<R>
}

type SessionMethod = Exclude<MethodName, 'allocate' | 'describe'>
type AnyRequest = Methods[MethodName]['request']

export class GatewayCalls {
  readonly limits: Limits
  readonly #deps: GatewayCallsDeps
  readonly #nodes: NodeCalls
  readonly #openedTokens: OpenedTokens

  constructor(deps: GatewayCallsDeps) {
    this.limits = deps.limits
    this.#deps = deps
    this.#nodes = new NodeCalls(deps.switchboard, deps.clock)
    this.#openedTokens = new OpenedTokens(deps.gatewayKeys, deps.openedTokensMax ?? openedTokensMaxDefault)
  }

  /**
   * One call of the gateway's service. Rejects only with TrunklineError. Repeating a call that was answered as
   * retryable is the caller's business, with the same numbers.
   */
  async call<M extends MethodName>(method: M, request: RequestOf<M>, context: CallContext): Promise<ReplyOf<M>> {
    return await this.#observed(method, context, async () => {
      const body = await this.#exchange(method, request, context)
      const reply = decodeStruct(methodSchemas[method].reply, body)
      return method === 'read' && asksForEvents(request) ? (withEvents(reply as ReadReply) as ReplyOf<M>) : reply
    })
  }

  /** As `call`, for a front that only passes the reply on: the encoded reply struct. */
  async callEncoded<M extends MethodName>(method: M, request: RequestOf<M>, context: CallContext): Promise<Uint8Array> {
    return await this.#observed(method, context, async () => {
      const body = await this.#exchange(method, request, context)
      if (method !== 'read' || !asksForEvents(request)) return body
      return encodeStruct(methodSchemas.read.reply, withEvents(decodeStruct(methodSchemas.read.reply, body)))
    })
  }

  /** A call without a session that is not part of the public service, under the caller's bearer. */
  async administer<Q, R>(call: AdminCall<Q, R>, request: Q, context: CallContext): Promise<R> {
    return await this.#observed(call.method, context, async () => {
      const principal = await this.#principal(context.bearer)
      const body = encodeStruct(call.request, request)
      return decodeStruct(call.reply, await this.#toAny(call.method, principal, body, context))
    })
  }

  /** Who a bearer proves. Errors: UNAUTHENTICATED, TOKEN_EXPIRED. */
  async authenticate(bearer: string | undefined): Promise<Principal> {
    return await this.#principal(bearer)
  }

  /** What a session token says. Errors: BAD_SESSION_TOKEN. */
  openToken(session: Uint8Array): SessionTokenContent {
    return this.#openedTokens.open(session)
  }

  async #exchange<M extends MethodName>(method: M, request: RequestOf<M>, context: CallContext): Promise<Uint8Array> {
    const bearer = request.proof?.bearer ?? context.bearer
    if (method === 'allocate' || method === 'describe') {
      const principal = await this.#principal(bearer)
      if (method === 'allocate') this.#checkResume(request as AllocateRequest, principal)
      return await this.#toAny(method, principal, encodeBody(method, withoutBearer(request)), context)
    }
    return await this.#toSession(method, request as RequestOf<SessionMethod>, bearer, context)
  }

  async #toAny(
    method: InternalMethod,
    principal: Principal,
    body: Uint8Array,
    context: CallContext,
  ): Promise<Uint8Array> {
    const envelope = encodeEnvelope({
      version: envelopeVersion,
      method,
      requestId: context.requestId,
      traceparent: context.traceparent,
      principal,
      body,
    })
    return await this.#nodes.toAny(envelope, { deadlineMs: sessionlessDeadlineMs, signal: context.signal })
  }

  async #toSession(
    method: SessionMethod,
    request: RequestOf<SessionMethod>,
    bearer: string | undefined,
    context: CallContext,
  ): Promise<Uint8Array> {
    const token = this.#openedTokens.open(request.session)
    const principal = bearer === undefined ? sessionBoundPrincipal : await this.#principal(bearer)
    if (bearer !== undefined && !owns(principal, token)) throw new TrunklineError('BAD_SESSION_TOKEN')
    const asked = withoutBearer(method === 'write' ? packed(request as RequestOf<'write'>, token) : request)
    const envelope = encodeEnvelope({
      version: envelopeVersion,
      method,
      requestId: context.requestId,
      traceparent: context.traceparent,
      principal,
      sessionId: token.sessionId,
      body: encodeBody(method, asked),
      ...(method === 'extend' && bearer !== undefined ? { refreshed: true } : {}),
    })
    return await this.#nodes.toNode(token.incarnation, envelope, {
      deadlineMs: this.#deadlineMs(method, request),
      cookie: token.sessionId,
      signal: context.signal,
    })
  }

  #deadlineMs(method: SessionMethod, request: RequestOf<SessionMethod>): number {
    switch (method) {
      case 'read': {
        const waitMs = (request as RequestOf<'read'>).waitMs ?? 0
        return Math.min(Math.max(waitMs, 0), this.limits.waitMsMax) + readSlackMs
      }
      case 'ack':
        return publishDeadlineMs
      case 'write':
        return (request as RequestOf<'write'>).commit === true ? publishDeadlineMs : callDeadlineMs
      case 'nack':
      case 'extend':
      case 'dispose':
        return callDeadlineMs
    }
  }

  async #principal(bearer: string | undefined): Promise<Principal> {
    if (bearer === undefined || bearer === '')
      throw new TrunklineError('UNAUTHENTICATED', { details: { why: 'no bearer' } })
    if (bearer.length > bearerBytesMax)
      throw new TrunklineError('UNAUTHENTICATED', { details: { why: 'bearer too long' } })
    return await this.#deps.tokens.verify(bearer)
  }

  /** A producer is bound to the principal that made it. */
  #checkResume(request: AllocateRequest, principal: Principal): void {
    if (request.resume === undefined) return
    if (!owns(principal, this.#openedTokens.open(request.resume.session))) throw new TrunklineError('BAD_SESSION_TOKEN')
  }

  async #observed<R>(method: string, context: CallContext, run: () => Promise<R>): Promise<R> {
    const { clock, metrics, logger } = this.#deps
    const startedMs = clock.monotonicMs()
    try {
      const result = await run()
      metrics.call(method, 'ok', clock.monotonicMs() - startedMs)
      return result
    } catch (thrown) {
      const error = TrunklineError.from(thrown)
      metrics.call(method, error.name, clock.monotonicMs() - startedMs)
      if (error.name === 'INTERNAL')
        logger.error(
          { tier: 'api', requestId: context.requestId, errorCode: error.name, err: thrown },
          'a call failed by a defect',
        )
      throw error
    }
  }
}

function owns(principal: Principal, token: SessionTokenContent): boolean {
  const hash = principalHash(principal.subject, principal.clientId, principal.tenant)
  return Buffer.compare(hash, token.principal) === 0
}

function withoutBearer<Q extends AnyRequest>(request: Q): Q {
  if (request.proof?.bearer === undefined) return request
  const proof: Proof = { ...request.proof, bearer: undefined }
  return { ...request, proof }
}

/** Errors: BAD_REQUEST (blocks and events), WRONG_MODE, and those of packing. */
function packed(request: WriteRequest, token: SessionTokenContent): WriteRequest {
  if (request.events === undefined) return request
  if (request.blocks !== undefined)
    throw new TrunklineError('BAD_REQUEST', { details: { field: 'events', why: 'blocks or events, not both' } })
  if (token.mode !== mode.write || token.producerId === undefined) throw new TrunklineError('WRONG_MODE')
  if (request.n < 1) throw new TrunklineError('BAD_REQUEST', { details: { field: 'n', why: 'numbers start at 1' } })
  const { blocks } = packForSession(request.events, token.partitions, { producerId: token.producerId, n: request.n })
  return { ...request, events: undefined, blocks }
}

function asksForEvents(request: AnyRequest): boolean {
  return 'asEvents' in request && request.asEvents === true
}

function withEvents(reply: ReadReply): ReadReply {
  const events = unpackBlocks(reply.blocks ?? [])
  return { ...reply, blocks: undefined, events }
}

function encodeBody<M extends MethodName>(method: M, request: RequestOf<M>): Uint8Array {
  return encodeStruct(methodSchemas[method].request, request)
}
