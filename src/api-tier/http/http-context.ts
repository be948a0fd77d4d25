// Owns: what an HTTP request tells the core about itself: ids, bearer, and that its caller is gone.
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { CallContext } from '../call-context.ts'
import { saneTraceparent } from '../request-ids.ts'

const bearerPattern = /^Bearer +(\S+)$/i

export function httpContext(request: FastifyRequest, reply: FastifyReply): CallContext {
  const gone = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableEnded) gone.abort()
  })
  const bearer = bearerOf(request)
  const traceparent = saneTraceparent(request.headers['traceparent'])
  return {
    requestId: request.id,
    remote: request.ip,
    signal: gone.signal,
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(bearer === undefined ? {} : { bearer }),
  }
}

/** The bearer of the Authorization header; undefined when there is none or it is of another scheme. */
export function bearerOf(request: FastifyRequest): string | undefined {
  return bearerPattern.exec(request.headers.authorization ?? '')?.[1]
}
