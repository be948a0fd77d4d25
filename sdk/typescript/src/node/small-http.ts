// Owns: one HTTP exchange with whoever issues tokens: small, bounded, by itself.
// 1. Settles within `timeoutMs`; an answer beyond `answerBytesMax` is not had. Redirects are answers like any other.
// 2. No connection is kept: it happens once in a token's life.
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { ConnectionOptions } from 'node:tls'
import type { Clock } from '../../../../src/fsm/client/client-ports.ts'
import { TrunklineError } from '../../../../src/protocol/errors.ts'
import { boundConnect, connectTimeoutMsDefault } from './connect-bound.ts'
import { tlsTrouble } from './tls.ts'

export interface SmallRequest {
  readonly method: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  /** A form; POST only. */
  readonly form?: URLSearchParams
  /** Whom to trust over https, and what to show. Default: as Node does. */
  readonly trust?: ConnectionOptions | undefined
}

export interface SmallAnswer {
  readonly status: number
  readonly body: string
}

const timeoutMs = 10_000
const answerBytesMax = 256 * 1024

/** Errors: UNAVAILABLE, whose details.why says what was not reached; TLS_REFUSED, which nobody repeats. */
export function exchange(what: string, url: URL, asked: SmallRequest, clock: Clock): Promise<SmallAnswer> {
  const body = asked.form?.toString() ?? ''
  return new Promise((resolve, reject) => {
    const headers = {
      ...asked.headers,
      accept: 'application/json',
      connection: 'close',
      ...(asked.form === undefined
        ? {}
        : { 'content-type': 'application/x-www-form-urlencoded', 'content-length': Buffer.byteLength(body) }),
    }
    const common = { method: asked.method, headers, agent: false } as const
    const tls = url.protocol === 'https:'
    const request = tls ? httpsRequest(url, { ...common, ...asked.trust }) : httpRequest(url, common)
    request.on('response', (response) => {
      const chunks: Buffer[] = []
      let size = 0
      response.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > answerBytesMax) request.destroy()
        else chunks.push(chunk)
      })
      response.on('end', () => {
        timer.cancel()
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') })
      })
      response.on('error', () => reject(unavailable('connection failed')))
    })
    const timer = clock.after(timeoutMs, () => request.destroy())
    boundConnect(request, clock, { timeoutMs: connectTimeoutMsDefault, tls }, () => request.destroy())
    request.on('error', (cause) => {
      timer.cancel()
      const why = tlsTrouble(cause)
      reject(
        why === undefined
          ? unavailable(notReached(what), cause)
          : // It stays so until somebody acts.
            new TrunklineError('TLS_REFUSED', { details: { why: `${what}: ${why}` }, cause }),
      )
    })
    request.on('close', () => {
      timer.cancel()
      // After an answer this changes nothing.
      reject(unavailable(notReached(what)))
    })
    request.end(body)
  })
}

export function unavailable(why: string, cause?: unknown): TrunklineError {
  // Seen from here nobody asked us to wait: the session's own growing waits decide.
  return new TrunklineError('UNAVAILABLE', {
    details: { why },
    retryAfterMs: 0,
    ...(cause === undefined ? {} : { cause }),
  })
}

function notReached(what: string): string {
  return `${what} not reached`
}
