// Owns: the HTTP application of the admin port: /health/live, /health/ready (also /healthz, /readyz) and /metrics. It
// never listens (http-listener.ts).
// For operators and their tools, on loopback or an inner network: no bearer.
// 1. live says that the process turns its loop; ready whether it should get traffic, with the reasons why not.
import { type FastifyInstance, fastify } from 'fastify'
import type { Logger } from '../../observability/log.ts'
import type { ListenerTls } from '../tls-front.ts'
import { arrivalTimes } from './arrival-times.ts'
import { answerClientError } from './client-errors.ts'
import { httpsServerFactory } from './https-server.ts'

export interface AdminAppDeps {
  /** Why the gateway should get no traffic now, constant texts; empty when it is ready. */
  readonly notReady: () => readonly string[]
  readonly metricsText: () => Promise<string>
  readonly metricsContentType: string
  readonly logger: Logger
  /** Default: plain HTTP. */
  readonly tls?: ListenerTls | undefined
}

const bodyBytesMax = 1_024
const timeoutMs = 10_000

/** Ready for `inject` and for a listener. The caller closes it. */
export async function buildAdminApp(deps: AdminAppDeps): Promise<FastifyInstance> {
  const limits = { requestTimeoutMs: timeoutMs, connectionTimeoutMs: timeoutMs * 6 }
  const app = fastify({
    ...(deps.tls === undefined ? {} : { serverFactory: httpsServerFactory(deps.tls, limits) }),
    logger: false,
    bodyLimit: bodyBytesMax,
    requestTimeout: limits.requestTimeoutMs,
    connectionTimeout: limits.connectionTimeoutMs,
    http: arrivalTimes(limits),
    forceCloseConnections: 'idle',
    exposeHeadRoutes: true,
    clientErrorHandler: answerClientError,
  })
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff')
  })
  // Two names each: the second is what probes of Kubernetes are usually told.
  for (const path of ['/health/live', '/healthz']) app.get(path, async () => ({ status: 'ok' }))
  for (const path of ['/health/ready', '/readyz']) {
    app.get(path, async (_request, reply) => {
      const reasons = deps.notReady()
      return await reply.code(reasons.length === 0 ? 200 : 503).send({ ready: reasons.length === 0, reasons })
    })
  }
  app.get('/metrics', async (_request, reply) => reply.type(deps.metricsContentType).send(await deps.metricsText()))
  app.setNotFoundHandler(async (_request, reply) => await reply.code(404).send({ error: 'not found' }))
  app.setErrorHandler(async (thrown, request, reply) => {
    deps.logger.error({ tier: 'api', requestId: request.id, err: thrown }, 'the admin port failed by a defect')
    return await reply.code(500).send({ error: 'internal' })
  })
  await app.ready()
  return app
}
