// Owns: access tokens for SASL OAUTHBEARER, by the OAuth 2.0 client credentials grant (RFC 6749 §4.4).
// 1. One token serves all connections. It is renewed when 80 % of its life is over, or less than `renewMsMax` is left;
//    while that fails the old one is used as long as it lives.
// 2. One request at a time, bounded in time and bytes; redirections are not followed.
// 3. The secret goes to the token URL and nowhere else; no error has a word of the answer in it.
// Leaves out: what a broker says to the token (dialer.ts), trying again (whoever dials).
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { Clock } from '../../ports/clock.ts'
import { TransportError } from './transport-error.ts'

export interface OauthClient {
  readonly tokenUrl: string
  readonly clientId: string
  readonly clientSecret: string
  readonly scope?: string | undefined
  /** PEM of the authorities of the token URL. Default: those of Node.js. */
  readonly ca?: string | undefined
}

interface Token {
  readonly value: string
  readonly renewAtMs: number
  readonly endsAtMs: number
  /** Of whom: another client, or a rotated secret, gets another. */
  readonly of: string
}

const timeoutMs = 10_000
const answerBytesMax = 64 * 1024
/** RFC 6749 §5.1 lets an issuer leave the life out. */
const lifeMsDefault = 60_000
const renewShare = 0.2
const renewMsMax = 60_000

export class OauthTokens {
  readonly #clock: Clock
  #token: Token | undefined
  #fetching: { readonly of: string; readonly token: Promise<Token> } | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Errors: TransportError `refused` (the issuer does not take this client, or its certificate is bad), `unreachable`. */
  async get(client: OauthClient): Promise<string> {
    const of = JSON.stringify(client)
    const nowMs = this.#clock.nowMs()
    const current = this.#token?.of === of ? this.#token : undefined
    if (current !== undefined && nowMs < current.renewAtMs) return current.value
    try {
      return (await this.#fetch(client, of)).value
    } catch (thrown) {
      if (current !== undefined && this.#clock.nowMs() < current.endsAtMs) return current.value
      throw thrown
    }
  }

  #fetch(client: OauthClient, of: string): Promise<Token> {
    if (this.#fetching?.of === of) return this.#fetching.token
    const token = this.#ask(client, of)
    this.#fetching = { of, token }
    const done = (): void => {
      if (this.#fetching?.token === token) this.#fetching = undefined
    }
    token.then((got) => {
      this.#token = got
      done()
    }, done)
    return token
  }

  async #ask(client: OauthClient, of: string): Promise<Token> {
    const askedAtMs = this.#clock.nowMs()
    const { status, body } = await post(client, this.#clock)
    if (status === 400 || status === 401 || status === 403) throw new TransportError('refused', 'token refused')
    if (status !== 200) throw new TransportError('unreachable', 'no token from the issuer')
    const { access_token: value, expires_in: lifeS } = parsed(body)
    if (typeof value !== 'string' || value === '') throw new TransportError('unreachable', 'no token from the issuer')
    const lifeMs = typeof lifeS === 'number' && lifeS > 0 ? lifeS * 1_000 : lifeMsDefault
    const renewMs = Math.min(renewMsMax, lifeMs * renewShare)
    return { value, of, endsAtMs: askedAtMs + lifeMs, renewAtMs: askedAtMs + lifeMs - renewMs }
  }
}

function post(client: OauthClient, clock: Clock): Promise<{ readonly status: number; readonly body: string }> {
  const { tokenUrl, clientId, clientSecret, scope, ca } = client
  const url = new URL(tokenUrl)
  const form = new URLSearchParams({ grant_type: 'client_credentials', ...(scope === undefined ? {} : { scope }) })
  const content = form.toString()
  // RFC 6749 §2.3.1: each half is form-encoded before they are joined.
  const login = Buffer.from(`${formEncoded(clientId)}:${formEncoded(clientSecret)}`).toString('base64')
  const headers = {
    authorization: `Basic ${login}`,
    'content-type': 'application/x-www-form-urlencoded',
    'content-length': Buffer.byteLength(content),
    accept: 'application/json',
    connection: 'close',
  }
  return new Promise((resolve, reject) => {
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest
    const trust = ca === undefined ? {} : { ca }
    const request = send(url, { method: 'POST', headers, agent: false, ...trust }, (response) => {
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
    })
    const timer = clock.after(timeoutMs, () => request.destroy())
    const lost = (cause?: unknown): void => {
      timer.cancel()
      reject(lostError(cause))
    }
    request.on('error', lost)
    // After an answer this changes nothing.
    request.on('close', () => lost())
    request.end(content)
  })
}

/** A certificate that is not good stays so until somebody acts. */
function lostError(cause: unknown): TransportError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
  if (/^(CERT_|ERR_TLS_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_)/.test(code))
    return new TransportError('refused', 'certificate of the token issuer refused', cause)
  return new TransportError('unreachable', 'token issuer not reached', cause)
}

function formEncoded(text: string): string {
  return new URLSearchParams({ x: text }).toString().slice(2)
}

function parsed(body: string): Readonly<Record<string, unknown>> {
  try {
    const content: unknown = JSON.parse(body)
    return typeof content === 'object' && content !== null ? { ...content } : {}
  } catch {
    // Not JSON: there is no token in it, which is what the caller says.
    return {}
  }
}
