// Owns: getting an access token by the OAuth 2.0 client credentials grant (RFC 6749 §4.4), from given token URLs or from
// the one that an issuer publishes.
// 1. The secret travels in one POST to the token URL (its body, or Basic) and nowhere else, errors included.
// 2. An issuer's token URL counts only from metadata that names exactly that issuer. It is asked for again when a token
//    could not be had.
import { readFileSync } from 'node:fs'
import type { Clock, Random } from '../../../../src/fsm/client/client-ports.ts'
import { TrunklineError } from '../../../../src/protocol/errors.ts'
import {
  isLoopback,
  jsonObject,
  metadataUrls,
  parseIssuerMetadata,
  safeUrl,
} from '../../../../src/protocol/oauth-metadata.ts'
import type { AccessToken } from '../bearer.ts'
import { exchange, unavailable } from './small-http.ts'
import type { ClientTls } from './tls.ts'

export interface ClientSecret {
  readonly clientId: string
  readonly clientSecret: string
  /** Of the token, words with spaces between; for Entra `api://<id>/.default`. */
  readonly scope?: string
  /** What the token is for, where the provider calls it so (Auth0). */
  readonly audience?: string
  /** What the token is for, by RFC 8707. */
  readonly resource?: string
  /** PEM file with the authority of the issuer or token URL. Default: those that Node knows. */
  readonly caFile?: string
  /** How the secret is sent. Default: as the issuer's metadata says; `post` to a token URL. */
  readonly clientAuth?: 'basic' | 'post'
}

const tokenUrlName = 'token URL'
/** What a provider may say (RFC 6749 §5.2, RFC 8707 §2); anything else of its text stays out. */
const oauthErrors = [
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
  'invalid_target',
  'access_denied',
]

/**
 * From whichever of the token URLs answers, beginning with the one that did last; any process of the API tier issues
 * tokens. Errors: as fetchAccessToken; one that refuses speaks for all, details.endpoints names those not reached.
 */
export function tokenFetcher(
  tokenUrls: readonly URL[],
  secret: ClientSecret,
  clock: Clock,
  random: Random,
  tls?: ClientTls,
): () => Promise<AccessToken> {
  let first = Math.floor(random.fraction() * tokenUrls.length)
  return async () => {
    const failed: string[] = []
    // One that is only away may come back: its word counts more than a certificate that is wrong.
    let away: TrunklineError | undefined
    for (let i = 0; ; i += 1) {
      const at = (first + i) % tokenUrls.length
      const url = tokenUrls[at]
      if (url === undefined) throw new TrunklineError('BAD_REQUEST', { details: { field: 'tokenUrl', why: 'none' } })
      try {
        const token = await fetchAccessToken(url, secret, clock, tls)
        first = at
        return token
      } catch (thrown) {
        const error = TrunklineError.from(thrown)
        if (error.name !== 'UNAVAILABLE' && error.name !== 'TLS_REFUSED') throw error
        if (error.retryable) away = error
        failed.push(`${url.host} (${error.details['why'] ?? error.name})`)
        if (failed.length >= tokenUrls.length) throw (away ?? error).with({ details: { endpoints: failed.join(', ') } })
      }
    }
  }
}

/** From the token URL of a provider. Errors: as fetchAccessToken; BAD_REQUEST (issuer). */
export function issuerTokenFetcher(issuer: string, secret: ClientSecret, clock: Clock): () => Promise<AccessToken> {
  const base = safeUrl(issuer, { loopbackHttp: true })
  if (base === undefined || base.search !== '')
    throw new TrunklineError('BAD_REQUEST', { details: { field: 'issuer', why: 'not an https URL' } })
  let found: { readonly url: URL; readonly clientAuth: 'basic' | 'post' } | undefined
  return async () => {
    found ??= await discover(issuer, secret, clock)
    const { url, clientAuth } = found
    try {
      return await fetchAccessToken(url, { clientAuth, ...secret }, clock)
    } catch (thrown) {
      found = undefined
      throw thrown
    }
  }
}

/**
 * `tls`: whom to trust when the secret names no caFile. Errors: UNAUTHENTICATED (refused), UNAVAILABLE (not reached, or no
 * token in the answer), TLS_REFUSED, BAD_REQUEST (caFile).
 */
export async function fetchAccessToken(
  tokenUrl: URL,
  secret: ClientSecret,
  clock: Clock,
  tls?: ClientTls,
): Promise<AccessToken> {
  const { clientId, clientSecret, scope, audience, resource, clientAuth = 'post' } = secret
  const form = new URLSearchParams({ grant_type: 'client_credentials' })
  for (const [name, value] of Object.entries({ scope, audience, resource }))
    if (value !== undefined) form.set(name, value)
  if (clientAuth === 'post') {
    form.set('client_id', clientId)
    form.set('client_secret', clientSecret)
  }
  const headers = clientAuth === 'basic' ? { authorization: basic(clientId, clientSecret) } : {}
  const trust = trustOf(secret) ?? tls?.connectionTo(hostOf(tokenUrl))
  const asked = { method: 'POST', form, headers, trust } as const
  const { status, body } = await exchange(tokenUrlName, tokenUrl, asked, clock)
  const answer = jsonObject(body) ?? {}
  if (status === 400 || status === 401 || status === 403) {
    const reason = oauthErrors.find((known) => known === answer['error'])
    const details = { httpStatus: String(status), ...(reason === undefined ? {} : { reason }) }
    throw new TrunklineError('UNAUTHENTICATED', { details })
  }
  if (status !== 200) throw unavailable(`HTTP ${status}`)
  const token = answer['access_token']
  const lifeS = answer['expires_in']
  if (typeof token !== 'string' || token === '') throw unavailable('no token in the answer')
  return { token, ...(typeof lifeS === 'number' && lifeS > 0 ? { expiresAtMs: clock.nowMs() + lifeS * 1000 } : {}) }
}

async function discover(
  issuer: string,
  secret: ClientSecret,
  clock: Clock,
): Promise<{ readonly url: URL; readonly clientAuth: 'basic' | 'post' }> {
  let status = 0
  for (const at of metadataUrls(issuer)) {
    const answer = await exchange('issuer', at, { method: 'GET', trust: trustOf(secret) }, clock)
    status = answer.status
    if (status !== 200) continue
    const metadata = parseIssuerMetadata(answer.body, issuer)
    if (metadata === 'foreign') throw unavailable('the metadata there is of another issuer')
    const loopbackHttp = isLoopback(at)
    const url = metadata?.tokenEndpoint === undefined ? undefined : safeUrl(metadata.tokenEndpoint, { loopbackHttp })
    if (url === undefined) throw unavailable('the metadata of the issuer has no https token endpoint')
    const methods = metadata?.tokenAuthMethods ?? ['client_secret_basic']
    return { url, clientAuth: methods.includes('client_secret_basic') ? 'basic' : 'post' }
  }
  throw unavailable(`issuer: HTTP ${status}`)
}

/** RFC 6749 §2.3.1: both halves are form-encoded. */
function basic(clientId: string, clientSecret: string): string {
  const encoded = (text: string): string => new URLSearchParams([['', text]]).toString().slice(1)
  return `Basic ${Buffer.from(`${encoded(clientId)}:${encoded(clientSecret)}`).toString('base64')}`
}

/** Read for each token: a file that was replaced needs no restart. */
function trustOf({ caFile }: ClientSecret): { readonly ca: string } | undefined {
  if (caFile === undefined) return undefined
  try {
    return { ca: readFileSync(caFile, 'utf8') }
  } catch (cause) {
    throw new TrunklineError('BAD_REQUEST', { details: { field: 'caFile', why: 'cannot be read' }, cause })
  }
}

/** URL keeps the brackets of an IPv6 address. */
function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1')
}
