// Owns: the HTTPS server under an HTTP application: TLS in front of it, HTTP/1.1 inside.
// Leaves out: the handshake (tls-front.ts), listening and closing (http-listener.ts).
import { type RequestListener, STATUS_CODES } from 'node:http'
import { createServer, type Server } from 'node:https'
import { type ListenerTls, serverOptionsOf, TlsFront } from '../tls-front.ts'
import { arrivalTimes } from './arrival-times.ts'

export interface HttpsLimits {
  readonly headerBytesMax?: number
  readonly headersTimeoutMs?: number
  readonly requestTimeoutMs: number
  readonly connectionTimeoutMs: number
  readonly keepAliveTimeoutMs?: number
}

/** For fastify's `serverFactory`, which leaves the limits to it: they are set here. */
export function httpsServerFactory(tls: ListenerTls, limits: HttpsLimits): (handler: RequestListener) => Server {
  return (handler) => {
    const server = createServer(
      {
        ...serverOptionsOf(tls.terms),
        ALPNProtocols: ['http/1.1'],
        // HTTPS does not have it by itself, unlike HTTP: Nagle's algorithm costs 40 ms an answer.
        noDelay: true,
        ...arrivalTimes(limits),
        ...(limits.headerBytesMax === undefined ? {} : { maxHeaderSize: limits.headerBytesMax }),
        ...(limits.keepAliveTimeoutMs === undefined ? {} : { keepAliveTimeout: limits.keepAliveTimeoutMs }),
      },
      handler,
    )
    server.setTimeout(limits.connectionTimeoutMs)
    new TlsFront(server, tls, plainHttpWords)
    return server
  }
}

/** Methods of HTTP begin with A-Z. */
function plainHttpWords(firstByte: number): Uint8Array | undefined {
  if (firstByte < 0x41 || firstByte > 0x5a) return undefined
  const title = 'This port speaks HTTPS: use https://'
  const body = JSON.stringify({ type: 'about:blank', title, status: 400 })
  return Buffer.from(
    `HTTP/1.1 400 ${STATUS_CODES[400]}\r\nContent-Type: application/problem+json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
  )
}
