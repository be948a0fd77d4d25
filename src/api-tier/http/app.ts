// Owns: the public HTTP application: limits, hooks, error handling, which routes there are. It never listens.
// 1. Every error leaves as problem+json (RFC 6749 bodies on the token endpoint); a framework's text never does.
// 2. Every answer echoes the request id, and traceparent when it was sane.
// 3. From the moment `close()` is called, new requests on open connections are answered DRAINING, and those connections
//    are told to close; idle ones are ended after `goodbyeMs`.
// 4. Bodies that have not arrived whole share a budget (body-arrival.ts).
// Leaves out: listening (http-listener.ts), the admin port (admin.ts), what calls mean (gateway-calls.ts).
import { Socket } from 'node:net'
import swagger from '@fastify/swagger'
import { type FastifyInstance, fastify } from 'fastify'
import type { Logger } from '../../observability/log.ts'
import { noTracing, type Tracing } from '../../observability/tracing.ts'
import type { Clock } from '../../ports/clock.ts'
import type { Random } from '../../ports/random.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { frameBytesMax } from '../../protocol/limits.ts'
import type { ApiMetrics } from '../api-metrics.ts'
import { ArrivalBudget, type ArrivalMetrics, arrivingBytesDefault } from '../arrival-budget.ts'
import type { GatewayCalls } from '../gateway-calls.ts'
import { boundConnections } from '../listener-gate.ts'
import { OneShot } from '../one-shot.ts'
import { type ConnectionPlaces, unlimitedPlaces } from '../quotas/connection-places.ts'
import { requestIdsFrom, saneRequestId, saneTraceparent } from '../request-ids.ts'
import type { ThriftDispatcher } from '../thrift/dispatcher.ts'
import type { ListenerTls } from '../tls-front.ts'
import { TopicCalls } from '../topic-calls.ts'
import { arrivalTimes } from './arrival-times.ts'
import { boundArrivingBodies } from './body-arrival.ts'
import { answerClientError } from './client-errors.ts'
import { seatConnections } from './connection-seats.ts'
import { eventInSchema, eventOutSchema } from './event-json.ts'
import { stopListening } from './http-listener.ts'
import { traceRequests } from './http-tracing.ts'
import { httpsServerFactory } from './https-server.ts'
import { openApiOptions } from './openapi.ts'
import { errorOf, sendProblem } from './problem.ts'
import { eventRoutes } from './routes-events.ts'
import { metadataRoutes } from './routes-metadata.ts'
import { type OAuthDeps, oauthRoutes } from './routes-oauth.ts'
import { sessionRoutes } from './routes-sessions.ts'
import { thriftRoutes } from './routes-thrift.ts'
import { topicRoutes } from './routes-topics.ts'
import { problemSchema } from './schemas-common.ts'
import { topicSchema } from './schemas-topics.ts'

export interface HttpLimits {
  /** Bytes of a request body. Default: one frame (1.25 MiB). */
  readonly bodyBytesMax: number
  /** Bytes of bodies that are not whole yet, all connections together (arrival-budget.ts). Default 64 MiB. */
  readonly arrivingBytesMax: number
  /** Bytes of all headers of a request. Default 16 KiB. */
  readonly headerBytesMax: number
  /** Time to receive a request's headers. Default 10 s. */
  readonly headersTimeoutMs: number
  /** Time to receive a whole request; waiting for events is not part of it. Default 20 s. */
  readonly requestTimeoutMs: number
  /** A socket without traffic; above the longest waitMs. Default 90 s. */
  readonly connectionTimeoutMs: number
  /** Between two requests of a connection. Default 72 s. */
  readonly keepAliveTimeoutMs: number
  /** From `close()` until connections that are idle are ended. Default 500 ms. */
  readonly goodbyeMs: number
}

export const defaultHttpLimits: HttpLimits = {
  bodyBytesMax: frameBytesMax,
  arrivingBytesMax: arrivingBytesDefault,
  headerBytesMax: 16 * 1024,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 20_000,
  connectionTimeoutMs: 90_000,
  keepAliveTimeoutMs: 72_000,
  goodbyeMs: 500,
}

export interface HttpAppDeps {
  readonly calls: GatewayCalls
  readonly dispatcher: ThriftDispatcher
  /** Absent when tokens come from another issuer. */
  readonly oauth?: OAuthDeps
  /** Issuers besides the own one. Default: none. */
  readonly issuers?: readonly string[]
  readonly clock: Clock
  readonly random: Random
  readonly metrics: ApiMetrics
  readonly logger: Logger
  /** Default: off. */
  readonly tracing?: Tracing | undefined
  /** The gateway's version, for /openapi.json. */
  readonly version: string
  readonly limits?: Partial<HttpLimits>
  /** Default: nobody is told. */
  readonly arrivalMetrics?: ArrivalMetrics
  /** Default: connections are bounded by nothing but their number. */
  readonly places?: ConnectionPlaces
  /** Default: plain HTTP. */
  readonly tls?: ListenerTls | undefined
}

/** An answer of that size does not fit the system's buffers; without progress for so long its connection is closed. */
const stallBytes = 64 * 1_024
/** Above the longest wait of a read that is pipelined behind it. */
const stallTimeoutMs = 40_000

/** A path parameter holds a topic name (≤ 249) at most; longer ones find no route. */
const paramCharactersMax = 256

/** Resolves when every route is registered: ready for `inject` and for a listener. The caller closes it. */
export async function buildHttpApp(deps: HttpAppDeps): Promise<FastifyInstance> {
  const limits = { ...defaultHttpLimits, ...deps.limits }
  const nextRequestId = requestIdsFrom(deps.random)
  const app = fastify({
    ...(deps.tls === undefined ? {} : { serverFactory: httpsServerFactory(deps.tls, limits) }),
    logger: false,
    bodyLimit: limits.bodyBytesMax,
    requestTimeout: limits.requestTimeoutMs,
    connectionTimeout: limits.connectionTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    http: {
      maxHeaderSize: limits.headerBytesMax,
      ...arrivalTimes(limits),
    },
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    exposeHeadRoutes: false,
    onProtoPoisoning: 'ignore',
    onConstructorPoisoning: 'ignore',
    routerOptions: { maxParamLength: paramCharactersMax },
    requestIdHeader: false,
    genReqId: (request) => saneRequestId(request.headers['x-request-id']) ?? nextRequestId(),
    clientErrorHandler: answerClientError,
    frameworkErrors: (error, request, reply) => {
      sendProblem(errorOf(error), request, reply)
    },
    // Schemas say what is allowed; nothing is removed, converted or filled in silently.
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: false, allErrors: false } },
  })
  // Answers are our own structs; the schemas describe them for /openapi.json, tests hold the two together.
  app.setSerializerCompiler(() => (value) => JSON.stringify(value))
  await app.register(swagger, openApiOptions(deps.version, deps.oauth !== undefined))
  traceRequests(app, deps.tracing ?? noTracing)
  addHooks(app, deps)
  const places = deps.places ?? unlimitedPlaces()
  boundConnections(app.server, { places, clock: deps.clock, logger: deps.logger })
  seatConnections(app, places)
  const arrivals = new ArrivalBudget({
    clock: deps.clock,
    bytesMax: limits.arrivingBytesMax,
    metrics: deps.arrivalMetrics,
  })
  boundArrivingBodies(app, arrivals, limits.bodyBytesMax)
  app.setNotFoundHandler((request, reply) => sendProblem(new TrunklineError('UNKNOWN_METHOD'), request, reply))
  // Many clients always name a content type: an empty body is none, whatever it is called.
  const parseJson = app.getDefaultJsonParser('ignore', 'ignore')
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') done(null, undefined)
    else void parseJson(request, body.toString(), done)
  })
  // fastify reads text/plain by itself; no route of ours takes it.
  app.removeContentTypeParser('text/plain')
  for (const schema of [problemSchema, eventInSchema, eventOutSchema, topicSchema]) app.addSchema(schema)
  const { calls, clock, random } = deps
  const oneShot = new OneShot({ calls, clock, random })
  await app.register(async (scope) =>
    eventRoutes(scope.withTypeProvider(), { oneShot, waitMsMax: calls.limits.waitMsMax }),
  )
  await app.register(async (scope) => sessionRoutes(scope.withTypeProvider(), { calls }))
  await app.register(async (scope) =>
    topicRoutes(scope.withTypeProvider(), { topics: new TopicCalls({ calls, clock }) }),
  )
  await app.register(async (scope) => thriftRoutes(scope, deps))
  const { oauth, logger, metrics } = deps
  if (oauth !== undefined) await app.register(async (scope) => oauthRoutes(scope, { ...oauth, logger, clock, metrics }))
  const { issuers = [] } = deps
  if (issuers.length > 0) await app.register(async (scope) => metadataRoutes(scope, issuers))
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
  await app.ready()
  return app
}

function addHooks(app: FastifyInstance, deps: HttpAppDeps): void {
  let draining = false
  app.addHook('preClose', async () => {
    draining = true
    await stopListening(app, deps.limits?.goodbyeMs ?? defaultHttpLimits.goodbyeMs, deps.clock)
  })
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
    reply.header('x-content-type-options', 'nosniff')
    reply.header('cache-control', 'no-store')
    const traceparent = saneTraceparent(request.headers['traceparent'])
    if (traceparent !== undefined) reply.header('traceparent', traceparent)
    if (draining) throw new TrunklineError('DRAINING', { details: { tier: 'api' } })
    // Nothing is inflated here: a body's size is what arrives.
    const coding = request.headers['content-encoding']
    if (coding !== undefined && coding !== 'identity')
      throw new TrunklineError('UNSUPPORTED_MEDIA', { details: { field: 'content-encoding' } })
  })
  // What ran when the close began ends its connection too: kept alive it would hold the close up to its deadline.
  app.addHook('onSend', async (request, reply, payload) => {
    if (draining) reply.header('connection', 'close')
    // A peer that reads nothing of a large answer has less time than an idle one. Node sets its own when it has left.
    const size = typeof payload === 'string' || payload instanceof Uint8Array ? payload.length : 0
    const { socket } = request.raw
    if (size > stallBytes && socket instanceof Socket) socket.setTimeout(stallTimeoutMs)
  })
  app.setErrorHandler((thrown, request, reply) => {
    const error = errorOf(thrown)
    if (error.name === 'INTERNAL' && !(thrown instanceof TrunklineError))
      deps.logger.error({ tier: 'api', requestId: request.id, err: thrown }, 'a request failed by a defect')
    // The rest of it is not awaited: the next request on this connection would find it cut.
    if (error.name === 'FRAME_TOO_LARGE') reply.header('connection', 'close')
    return sendProblem(error, request, reply)
  })
}
