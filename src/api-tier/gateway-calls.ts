// Owns: the one core behind every front (Thrift over TCP and HTTP, JSON): request struct in, reply struct out.
// 1. The bearer is checked here and goes no further; a node sees the principal that it proved.
// 2. A session token is opened before anything is routed: only the incarnation that it names is ever called.
// 3. A caller that sends a bearer with a session call must be the one who allocated the session.
// 4. Thrift calls of a session are signed, and so are their answers (session-proofs.ts); MACs go no further either.
// 5. Nothing of a session is kept: what is cached (opened tokens) can be opened again from the token.
// 6. A failure that is not ours becomes INTERNAL here; its text goes to the log, never to the caller.
// 7. What a caller may ask for at once is bounded (quotas/).
// 8. Whether the caller may is asked before anything reaches a node, and names of topics change to those of the log here.
// Leaves out: framing and codecs of the fronts, how a node is reached (node-calls.ts), packing (event-blocks.ts), who may
// do what (authorize/).
import type { GatewayKeys } from '../crypto/gateway-keys.ts'
import { principalHash, type SessionTokenContent } from '../crypto/session-token.ts'
import type { Logger } from '../observability/log.ts'
import { noTracing, type Tracing } from '../observability/tracing.ts'
import type { Clock } from '../ports/clock.ts'
import type { Switchboard } from '../ports/switchboard.ts'
import { envelopeVersion, type InternalMethod, type Principal } from '../protocol/envelope.ts'
import { encodeEnvelope } from '../protocol/envelope-codec.ts'
import { TrunklineError } from '../protocol/errors.ts'
import { parseTopicName } from '../protocol/ids.ts'
import { frameBytesMax } from '../protocol/limits.ts'
import {
  type AllocateRequest,
  type DescribeRequest,
  type ErrorStruct,
  type Limits,
  type MethodName,
  type Methods,
  type Mode,
  mode,
  type Proof,
  type ReadReply,
  type ReplyOf,
  type RequestOf,
  type WriteRequest,
} from '../protocol/messages.ts'
import type { MacKeys } from '../protocol/signed-bytes.ts'
import { tenantOfLogTopic } from '../protocol/tenant-topics.ts'
import { decodeCanonical, decodeStruct, encodeStruct } from '../protocol/thrift/codec.ts'
import type { StructSchema } from '../protocol/thrift/schema.ts'
import { methodSchemas } from '../protocol/thrift/schemas.ts'
import type { ApiMetrics } from './api-metrics.ts'
import type { BearerVerifier, Caller } from './auth/bearer.ts'
import { Callers } from './auth/callers.ts'
import type { FailedLogins } from './auth/failed-logins.ts'
import { type Authorizer, actionOf } from './authorize/authorizer.ts'
import { describedToCaller, errorToCaller, withLogTopic } from './authorize/caller-topics.ts'
import { actions } from './authorize/policy.ts'
import { type CallContext, parentOf } from './call-context.ts'
import { packForSession, unpackBlocks } from './event-blocks.ts'
import { NodeCalls } from './node-calls.ts'
import { OpenedTokens } from './opened-tokens.ts'
import { Parked } from './parked.ts'
import { Admission } from './quotas/admission.ts'
import { demandOf, plainDemand } from './quotas/demand.ts'
import type { FairQueue } from './quotas/fair-queue.ts'
import type { Asker, Quotas } from './quotas/quotas.ts'
import { SessionProofs, type SignaturesWanted, signedError, signedReply } from './session-proofs.ts'

/** Deadlines of the way through the switchboard and back. */
const sessionlessDeadlineMs = 10_000
const callDeadlineMs = 10_000
/** Longer than the log's own append deadline (30 s), so that the node answers first. */
const publishDeadlineMs = 35_000
/** On top of the reader's waitMs. */
const readSlackMs = 5_000
const openedTokensMaxDefault = 10_000
/** With the message around it a frame. Only events that are unpacked for a caller can grow beyond: read fewer. */
const replyBytesMax = frameBytesMax - 64

/**
 * The principal of a session call without a bearer: the sealed token is what proves the caller, and the session at the
 * node knows who allocated it.
 */
export const sessionBoundPrincipal: Principal = { subject: '', clientId: '', tenant: '', expiresAtMs: 0 }

export interface GatewayCallsDeps {
  readonly switchboard: Switchboard
  readonly gatewayKeys: GatewayKeys
  readonly tokens: BearerVerifier
  readonly authorizer: Authorizer
  readonly clock: Clock
  readonly metrics: ApiMetrics
  readonly logger: Logger
  /** Default: off. */
  readonly tracing?: Tracing | undefined
  readonly limits: Limits
  /** Default: no limits. */
  readonly quotas?: Quotas | undefined
  /** Default: who fails to log in is not slowed. */
  readonly failedLogins?: FailedLogins | undefined
  /** Default: what is admitted starts at once. */
  readonly fairQueue?: FairQueue | undefined
  /** Who has to sign the calls of a session. Default 'thrift'. */
  readonly signatures?: SignaturesWanted
  /** Opened session tokens kept; default 10,000 (some 10 MB). */
  readonly openedTokensMax?: number
}

/** A request struct that goes to any node without a session: internal methods (topic administration). */
export interface AdminCall<Q, R> {
  readonly method: InternalMethod
  readonly request: StructSchema<Q>
  readonly reply: StructSchema<R>
}

/** What goes back over Thrift: an encoded reply, in parts that follow each other, or an error. */
export type Answered = { readonly reply: readonly Uint8Array[] } | { readonly error: ErrorStruct }

export type AskNode = <Q, R>(call: AdminCall<Q, R>, request: Q) => Promise<R>

type SessionMethod = Exclude<MethodName, 'allocate' | 'describe'>
type AnyRequest = Methods[MethodName]['request']

export class GatewayCalls {
  readonly limits: Limits
  /** What else comes of a caller is judged by the same. */
  readonly authorizer: Authorizer
  readonly #deps: GatewayCallsDeps
  readonly #tracing: Tracing
  readonly #nodes: NodeCalls
  readonly #admission: Admission
  readonly #callers: Callers
  readonly #openedTokens: OpenedTokens
  /** Of the calls of sessions. */
  readonly proofs: SessionProofs
  readonly #parked = new Parked()

  constructor(deps: GatewayCallsDeps) {
    this.limits = deps.limits
    this.authorizer = deps.authorizer
    this.#deps = deps
    this.#tracing = deps.tracing ?? noTracing
    this.#nodes = new NodeCalls(deps.switchboard, deps.clock)
    this.#admission = new Admission(deps.quotas, deps.fairQueue)
    this.#callers = new Callers(deps.tokens, deps.failedLogins)
    this.#openedTokens = new OpenedTokens(deps.gatewayKeys, deps.openedTokensMax ?? openedTokensMaxDefault, (token) =>
      deps.authorizer.md5Sessions.check(token),
    )
    this.proofs = new SessionProofs(this.#openedTokens, deps.signatures ?? 'thrift', deps.metrics)
  }

  /**
   * One call of the gateway's service, of a front that has proven its caller. Rejects only with TrunklineError.
   * Repeating a call that was answered as retryable is the caller's business, with the same numbers.
   */
  async call<M extends MethodName>(method: M, request: RequestOf<M>, context: CallContext): Promise<ReplyOf<M>> {
    return await this.#observed(method, context, async (traced) => {
      const body = await this.#exchange(method, request, traced)
      const reply = decodeStruct(methodSchemas[method].reply, body)
      return method === 'read' && asksForEvents(request) ? (withEvents(reply as ReadReply) as ReplyOf<M>) : reply
    })
  }

  /** As `call`, as it came over Thrift: proven by its MAC, and so is the answer. Never rejects. */
  async callSigned<M extends MethodName>(method: M, request: RequestOf<M>, context: CallContext): Promise<Answered> {
    let keys: MacKeys | undefined
    try {
      const reply = await this.#observed(method, context, async (traced) => {
        keys = this.proofs.ofThrift(method, request)
        const body = await this.#exchange(method, request, traced)
        return this.#signed(method, request, body, keys)
      })
      return { reply }
    } catch (thrown) {
      return { error: signedError(keys, method, request.proof, TrunklineError.from(thrown)) }
    }
  }

  /** The parts of the encoded reply: as the node made it, with the MAC in its place, unless events are unpacked. */
  #signed<M extends MethodName>(
    method: M,
    request: RequestOf<M>,
    body: Uint8Array,
    keys: MacKeys | undefined,
  ): readonly Uint8Array[] {
    const unpacks = method === 'read' && asksForEvents(request)
    if (keys === undefined && !unpacks) return [body]
    const schema: StructSchema<ReplyOf<M>> = methodSchemas[method].reply
    const { value, isCanonical } = decodeCanonical(schema, body)
    const reply = unpacks ? (withEvents(value as ReadReply) as ReplyOf<M>) : value
    const asMade = isCanonical && !unpacks ? body : undefined
    const parts =
      keys === undefined ? [encodeStruct(schema, reply)] : signedReply(keys, method, request.proof, reply, asMade)
    const bytes = parts.reduce((sum, part) => sum + part.length, 0)
    if (bytes > replyBytesMax)
      throw new TrunklineError('BATCH_TOO_LARGE', {
        details: { bytes: String(bytes), bytesMax: String(replyBytesMax), field: 'maxEvents' },
        ...('turn' in reply ? { turn: reply.turn } : {}),
      })
    return parts
  }

  /**
   * A call without a session that is not part of the public service, under the caller's bearer. `run` asks first whether
   * the caller may, then nodes, by the log's names.
   */
  async administer<R>(
    method: InternalMethod,
    context: CallContext,
    run: (caller: Caller, ask: AskNode) => Promise<R>,
  ): Promise<R> {
    return await this.#observed(method, context, async (traced) => {
      const caller = await this.#newCaller(context.bearer, traced)
      return await run(caller, async (call, request) => {
        const body = encodeStruct(call.request, request)
        return decodeStruct(call.reply, await this.#toAny(call.method, caller.principal, body, traced))
      })
    })
  }

  /** Who the bearer of a call proves. Errors: UNAUTHENTICATED, TOKEN_EXPIRED, TOO_MANY_REQUESTS. */
  async authenticate(context: CallContext): Promise<Principal> {
    return (await this.#newCaller(context.bearer, context)).principal
  }

  /** What the token of a live session says. Errors: BAD_SESSION_TOKEN, WEAK_MAC_REFUSED, SESSION_GONE. */
  openToken(session: Uint8Array): SessionTokenContent {
    return this.#openedTokens.open(session)
  }

  /** What waits, for events or for its turn, now and later, is answered DRAINING: another process serves it. Idempotent. */
  drain(): void {
    this.#admission.drain()
    this.#parked.drain()
  }

  async #exchange<M extends MethodName>(method: M, request: RequestOf<M>, context: CallContext): Promise<Uint8Array> {
    const bearer = request.proof?.bearer ?? context.bearer
    if (method === 'allocate') return await this.#allocate(request as AllocateRequest, bearer, context)
    if (method === 'describe') return await this.#describe(request as DescribeRequest, bearer, context)
    return await this.#toSession(method, request as RequestOf<SessionMethod>, bearer, context)
  }

  async #allocate(request: AllocateRequest, bearer: string | undefined, context: CallContext): Promise<Uint8Array> {
    const caller = await this.#newCaller(bearer, context)
    this.#checkResume(request, caller.principal)
    const access = { caller, method: 'allocate', requestId: context.requestId }
    this.authorizer.require(access, parseTopicName(request.topic), actionOf(modeOf(request)))
    const principal = this.authorizer.md5Sessions.allocating(access, request)
    const asked = withLogTopic(withoutSecrets(request), principal.tenant)
    const body = await this.#toAny('allocate', principal, encodeBody('allocate', asked), context)
    context.span?.set('topic', asked.topic)
    this.authorizer.allocated(decodeStruct(methodSchemas.allocate.reply, body).sessionId, caller)
    return body
  }

  async #describe(request: DescribeRequest, bearer: string | undefined, context: CallContext): Promise<Uint8Array> {
    const caller = await this.#newCaller(bearer, context)
    const access = { caller, method: 'describe', requestId: context.requestId }
    if (request.topic !== undefined) this.authorizer.require(access, parseTopicName(request.topic), ...actions)
    const asked = withLogTopic(withoutSecrets(request), caller.principal.tenant)
    const body = await this.#toAny('describe', caller.principal, encodeBody('describe', asked), context)
    if (asked.topic === undefined) return body
    context.span?.set('topic', asked.topic)
    if (asked.topic === request.topic) return body
    const reply = decodeStruct(methodSchemas.describe.reply, body)
    const topic = reply.topic === undefined ? undefined : describedToCaller(reply.topic)
    return encodeStruct(methodSchemas.describe.reply, { ...reply, topic })
  }

  async #toAny(
    method: InternalMethod,
    principal: Principal,
    body: Uint8Array,
    context: CallContext,
  ): Promise<Uint8Array> {
    return await this.#admission.run(askerOf(principal), plainDemand, context, () =>
      this.#askAny(method, principal, body, context),
    )
  }

  async #askAny(
    method: InternalMethod,
    principal: Principal,
    body: Uint8Array,
    context: CallContext,
  ): Promise<Uint8Array> {
    return await this.#switched('allocate', method, context, async (traceparent) => {
      const envelope = encodeEnvelope({
        version: envelopeVersion,
        method,
        requestId: context.requestId,
        traceparent,
        principal,
        body,
      })
      return await this.#nodes.toAny(envelope, { deadlineMs: sessionlessDeadlineMs, signal: context.signal })
    })
  }

  async #toSession(
    method: SessionMethod,
    request: RequestOf<SessionMethod>,
    bearer: string | undefined,
    context: CallContext,
  ): Promise<Uint8Array> {
    const token = this.#openedTokens.open(request.session)
    const caller = bearer === undefined ? undefined : await this.#callers.of(bearer, context.remote)
    const principal =
      caller === undefined ? sessionBoundPrincipal : this.authorizer.md5Sessions.refreshing(caller.principal, token)
    if (caller !== undefined && !owns(principal, token)) throw new TrunklineError('BAD_SESSION_TOKEN')
    this.authorizer.requireSession(caller, token, { method, requestId: context.requestId })
    const asker = {
      tenant: tenantOfLogTopic(token.topic),
      client: Buffer.from(token.principal).toString('latin1'),
      session: token.sessionId,
    }
    context.span?.set('topic', token.topic)
    context.span?.set('sessionId', token.sessionId)
    const ask = (): Promise<Uint8Array> => this.#askNode(method, request, token, { principal, bearer }, context)
    const refusal = context.connection?.takenBy(asker)
    // It gives back what others wait for.
    if (method === 'dispose') return await ask()
    if (refusal !== undefined) throw refusal
    return await this.#admission.run(asker, demandOf(request), context, ask)
  }

  async #askNode(
    method: SessionMethod,
    request: RequestOf<SessionMethod>,
    token: SessionTokenContent,
    { principal, bearer }: { readonly principal: Principal; readonly bearer: string | undefined },
    context: CallContext,
  ): Promise<Uint8Array> {
    const asked = withoutSecrets(method === 'write' ? packed(request as RequestOf<'write'>, token) : request)
    return await this.#switched('call', method, context, async (traceparent) => {
      const envelope = encodeEnvelope({
        version: envelopeVersion,
        method,
        requestId: context.requestId,
        traceparent,
        principal,
        sessionId: token.sessionId,
        body: encodeBody(method, asked),
        ...(method === 'extend' && bearer !== undefined ? { refreshed: true } : {}),
      })
      const send = (): Promise<Uint8Array> =>
        this.#nodes.toNode(token.incarnation, envelope, {
          deadlineMs: this.#deadlineMs(method, request),
          cookie: token.sessionId,
          signal: context.signal,
        })
      return await (waitsForEvents(request) ? this.#parked.untilDrained(send) : send())
    })
  }

  /** The way to a node and back, as one span; `send` gets the trace context that goes with the envelope. */
  async #switched(
    kind: 'allocate' | 'call',
    method: string,
    context: CallContext,
    send: (traceparent: string | undefined) => Promise<Uint8Array>,
  ): Promise<Uint8Array> {
    const parent = parentOf(context)
    const span = this.#tracing.start('switch', method, parent)
    const { metrics } = this.#deps
    metrics.switchWaiting(kind, 1)
    try {
      const body = await send(span?.traceparent ?? parent)
      span?.end('ok')
      return body
    } catch (thrown) {
      span?.end(TrunklineError.from(thrown).name)
      throw thrown instanceof TrunklineError ? errorToCaller(thrown) : thrown
    } finally {
      metrics.switchWaiting(kind, -1)
    }
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

  /** Of a call without a session: what it came by is its caller's. */
  async #newCaller(bearer: string | undefined, { remote, connection }: CallContext): Promise<Caller> {
    const caller = await this.#callers.of(bearer, remote)
    const refusal = connection?.takenBy(askerOf(caller.principal))
    if (refusal !== undefined) throw refusal
    return caller
  }

  /** A producer is bound to the principal that made it. */
  #checkResume(request: AllocateRequest, principal: Principal): void {
    if (request.resume === undefined) return
    if (!owns(principal, this.#openedTokens.openEnded(request.resume.session)))
      throw new TrunklineError('BAD_SESSION_TOKEN')
  }

  async #observed<R>(method: string, context: CallContext, run: (traced: CallContext) => Promise<R>): Promise<R> {
    const { clock, metrics, logger } = this.#deps
    const startedMs = clock.monotonicMs()
    const span = this.#tracing.start('request', method, parentOf(context))
    span?.set('method', method)
    span?.set('requestId', context.requestId)
    try {
      const result = await run(span === undefined ? context : { ...context, span })
      metrics.call(method, 'ok', clock.monotonicMs() - startedMs)
      span?.end('ok')
      return result
    } catch (thrown) {
      const error = TrunklineError.from(thrown)
      metrics.call(method, error.name, clock.monotonicMs() - startedMs)
      span?.end(error.name)
      if (error.name === 'INTERNAL')
        logger.error(
          { tier: 'api', requestId: context.requestId, method, errorCode: error.name, err: thrown },
          'a call failed by a defect',
        )
      else
        logger.debug(
          { tier: 'api', requestId: context.requestId, method, errorCode: error.name, remote: context.remote },
          'a call was answered with an error',
        )
      throw error
    }
  }
}

function askerOf({ subject, clientId, tenant }: Principal): Asker {
  return { tenant, client: Buffer.from(principalHash(subject, clientId, tenant)).toString('latin1') }
}

function owns(principal: Principal, token: SessionTokenContent): boolean {
  const hash = principalHash(principal.subject, principal.clientId, principal.tenant)
  return Buffer.compare(hash, token.principal) === 0
}

/** Errors: BAD_REQUEST. */
function modeOf(request: AllocateRequest): Mode {
  const found = Object.values(mode).find((value) => value === request.mode)
  if (found === undefined) throw new TrunklineError('BAD_REQUEST', { details: { field: 'mode' } })
  return found
}

function withoutSecrets<Q extends AnyRequest>(request: Q): Q {
  if (request.proof?.bearer === undefined && request.proof?.mac === undefined) return request
  // Named one by one: copying an object that the decoder filled costs as much as a hash.
  const { keyId, slot, seq, challenge } = request.proof
  const proof = { keyId, slot, seq, challenge } satisfies Record<Exclude<keyof Proof, 'bearer' | 'mac'>, unknown>
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

function waitsForEvents(request: AnyRequest): boolean {
  return 'waitMs' in request && (request.waitMs ?? 0) > 0
}

function asksForEvents(request: AnyRequest): boolean {
  return 'asEvents' in request && request.asEvents === true
}

/** The node has answered: an error carries the turn that it spent. */
function withEvents(reply: ReadReply): ReadReply {
  try {
    return { ...reply, blocks: undefined, events: unpackBlocks(reply.blocks ?? []) }
  } catch (thrown) {
    throw TrunklineError.from(thrown).with({ turn: reply.turn })
  }
}

function encodeBody<M extends MethodName>(method: M, request: RequestOf<M>): Uint8Array {
  return encodeStruct(methodSchemas[method].request, request)
}
