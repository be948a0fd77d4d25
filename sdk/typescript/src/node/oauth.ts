// Owns: getting an access token by the OAuth 2.0 client credentials grant (RFC 6749 §4.4).
// 1. The secret travels in the body of one POST to the token URL and nowhere else, errors included.
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { Clock } from '../../../../src/fsm/client/client-ports.ts'
import { TrunklineError } from '../../../../src/protocol/errors.ts'
import { bearerBytesMax } from '../../../../src/protocol/limits.ts'
import type { AccessToken } from '../bearer.ts'

export interface ClientSecret {
  readonly clientId: string
  readonly clientSecret: string
}

const timeoutMs = 10_000
const answerBytesMax = 4 * bearerBytesMax

/** Errors: UNAUTHENTICATED (refused), UNAVAILABLE (not reached, or no token in the answer). */
export async function fetchAccessToken(tokenUrl: URL, secret: ClientSecret, clock: Clock): Promise<AccessToken> {
  const form = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: secret.clientId,
    client_secret: secret.clientSecret,
  })
  const { status, body } = await post(tokenUrl, form.toString(), clock)
  if (status === 400 || status === 401 || status === 403)
    throw new TrunklineError('UNAUTHENTICATED', { details: { httpStatus: String(status) } })
  if (status !== 200) throw unavailable(`HTTP ${status}`)
  const answer = parse(body)
  const token = answer['access_token']
  const lifeS = answer['expires_in']
  if (typeof token !== 'string' || token === '') throw unavailable('no token in the answer')
  return { token, ...(typeof lifeS === 'number' && lifeS > 0 ? { expiresAtMs: clock.nowMs() + lifeS * 1000 } : {}) }
}

function post(url: URL, body: string, clock: Clock): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest
    const headers = {
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': Buffer.byteLength(body),
      accept: 'application/json',
      connection: 'close',
    }
    const request = send(url, { method: 'POST', headers, agent: false }, (response) => {
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
    request.on('error', (cause) => {
      timer.cancel()
      reject(unavailable('token URL not reached', cause))
    })
    request.on('close', () => {
      timer.cancel()
      // After an answer this changes nothing.
      reject(unavailable('token URL not reached'))
    })
    request.end(body)
  })
}

function parse(body: string): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(body)
    return typeof parsed === 'object' && parsed !== null ? { ...parsed } : {}
  } catch {
    // Not JSON: there is no token in it, which is what the caller reports.
    return {}
  }
}

function unavailable(why: string, cause?: unknown): TrunklineError {
  // Seen from here nobody asked us to wait: the session's own growing waits decide.
  return new TrunklineError('UNAVAILABLE', {
    details: { why },
    retryAfterMs: 0,
    ...(cause === undefined ? {} : { cause }),
  })
}
