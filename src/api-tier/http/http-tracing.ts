// Owns: one span per HTTP request, from its headers to its answer; the calls that it makes are below it.
// 1. Named by the route, never by the path: what a client puts there is not known to be harmless.
// 2. Off, no hook is there.
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { noTracing, type Span, type Tracing } from '../../observability/tracing.ts'
import { saneTraceparent } from '../request-ids.ts'

const spans = new WeakMap<FastifyRequest, Span>()

/** Undefined when the request is not traced. */
export function spanOf(request: FastifyRequest): Span | undefined {
  return spans.get(request)
}

/** Registered before every other hook, so that what they refuse is traced too. */
export function traceRequests(app: FastifyInstance, tracing: Tracing): void {
  if (tracing === noTracing) return
  app.addHook('onRequest', async (request) => {
    const route = request.routeOptions.url ?? 'no route'
    const span = tracing.start('http', `${request.method} ${route}`, saneTraceparent(request.headers['traceparent']))
    if (span === undefined) return
    span.set('httpMethod', request.method)
    span.set('route', route)
    span.set('requestId', request.id)
    spans.set(request, span)
  })
  app.addHook('onResponse', async (request, reply) => {
    const span = spans.get(request)
    span?.set('status', reply.statusCode)
    span?.end(reply.statusCode < 400 ? 'ok' : String(reply.statusCode))
  })
  app.addHook('onRequestAbort', async (request) => spans.get(request)?.end('aborted'))
}
