// Owns: one GET of a small public document from a provider.
// 1. Bounded: `answerBytesMax` and `timeoutMs` in all, from the look-up of the name to the last byte.
// 2. Redirects are not followed, no answer but 200 counts, and compressed answers are refused.
// 3. Nothing of ours is sent along: no credential, no cookie, no connection is kept.
// Leaves out: which URLs may be asked (provider-keys.ts), HTTP proxies.
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { Clock } from '../../ports/clock.ts'

/** Why there is no document; also the `outcome` label of the metric. */
export type FetchFailure =
  | 'unreachable'
  | 'timeout'
  | 'http-status'
  | 'redirect'
  | 'too-large'
  | 'malformed'
  | 'other-issuer'
  | 'certificate'
  | 'ca-unreadable'

export type Fetched<T> = { readonly kind: 'ok'; readonly value: T } | { readonly kind: FetchFailure }

/** Never rejects. */
export type GetDocument = (url: URL, signal: AbortSignal) => Promise<Fetched<string>>

export interface ProviderHttpOptions {
  readonly clock: Clock
  /** PEM of the only authority that counts, read for each request; undefined: those of Node. May throw. */
  readonly readCa: () => string | undefined
  /** Default 5,000. */
  readonly timeoutMs?: number
  /** Default 256 KiB: a hundred RSA keys with their certificates. */
  readonly answerBytesMax?: number
}

const timeoutMsDefault = 5_000
const answerBytesMaxDefault = 256 * 1024
const certificateProblem = /^(CERT_|ERR_TLS_CERT|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO)/

export function providerHttp(options: ProviderHttpOptions): GetDocument {
  return (url, signal) =>
    new Promise((resolve) => {
      const request = requestOf(url, options.readCa, signal)
      // Replaced by something else while we run: the next attempt reads it again.
      if (request === undefined) {
        resolve({ kind: 'ca-unreadable' })
        return
      }
      const settle = (outcome: Fetched<string>): void => {
        timer.cancel()
        resolve(outcome)
        request.destroy()
      }
      const timer = options.clock.after(options.timeoutMs ?? timeoutMsDefault, () => settle({ kind: 'timeout' }))
      const bytesMax = options.answerBytesMax ?? answerBytesMaxDefault
      request.on('response', (response) => collect(response, bytesMax, settle))
      request.on('error', (cause) => settle({ kind: certificateIsRefused(cause) ? 'certificate' : 'unreachable' }))
      request.on('close', () => settle({ kind: 'unreachable' }))
      request.end()
    })
}

/** Undefined when the authority's file cannot be read or used. */
function requestOf(url: URL, readCa: () => string | undefined, signal: AbortSignal): ClientRequest | undefined {
  const headers = { accept: 'application/json, application/jwk-set+json', 'accept-encoding': 'identity' }
  const common = { agent: false, headers, signal } as const
  if (url.protocol === 'http:') return httpRequest(url, common)
  try {
    const ca = readCa()
    return httpsRequest(url, ca === undefined ? common : { ...common, ca })
  } catch {
    return undefined
  }
}

function collect(response: IncomingMessage, bytesMax: number, settle: (outcome: Fetched<string>) => void): void {
  const refusal = refusalOf(response)
  if (refusal !== undefined) {
    settle({ kind: refusal })
    return
  }
  const chunks: Buffer[] = []
  let size = 0
  response.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > bytesMax) settle({ kind: 'too-large' })
    else chunks.push(chunk)
  })
  response.on('error', () => settle({ kind: 'unreachable' }))
  response.on('end', () => settle({ kind: 'ok', value: Buffer.concat(chunks, size).toString('utf8') }))
}

function refusalOf({ statusCode = 0, headers }: IncomingMessage): FetchFailure | undefined {
  if (statusCode >= 300 && statusCode < 400) return 'redirect'
  if (statusCode !== 200) return 'http-status'
  const coding = headers['content-encoding']
  return coding === undefined || coding === 'identity' ? undefined : 'malformed'
}

function certificateIsRefused(cause: Error): boolean {
  return 'code' in cause && typeof cause.code === 'string' && certificateProblem.test(cause.code)
}
