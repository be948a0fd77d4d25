// Owns: what the access tokens of one issuer must say, and how a caller is read from them (RFC 9068, RFC 8725).
// 1. A name of an external provider carries the provider's own in front, `name:sub`: no subject of two issuers is one.
// 2. A type other than at+jwt counts only where it is configured; then tokens that show marks of an ID token are refused.
// 3. A token that is bound to a key (`cnf`) is refused: nothing here checks that its sender has the key.
// 4. Lists are bounded; a token beyond the bounds is refused, not cut: part of its roles are not its roles.
// Leaves out: signature, issuer, audience, times (jwt-verifier.ts).
import type { JWTPayload } from 'jose'
import { TrunklineError } from '../../protocol/errors.ts'
import { defaultTenant } from '../../protocol/tenant-topics.ts'
import type { Caller } from './bearer.ts'

export const tokenAlgorithms = ['RS256', 'PS256', 'ES256', 'EdDSA'] as const
export const tokenTypes = ['at+jwt', 'JWT'] as const

export interface TokenProfile {
  readonly issuer: string
  readonly audience: string
  readonly algorithms: readonly (typeof tokenAlgorithms)[number][]
  readonly types: readonly (typeof tokenTypes)[number][]
  /** Empty for the gateway's own issuer. */
  readonly subjectPrefix: string
  /** Names of claims, or paths with dots to one inside. */
  readonly clientIdClaim: string
  /** Undefined: every caller is of the tenant `default`. */
  readonly tenantClaim: string | undefined
  /** Whether a token without the tenant's claim is of the tenant `default`, or refused. */
  readonly tenantMayLack: boolean
  readonly rolesClaim: string | undefined
}

/** Of RFC 9068 §2.2, without client_id, which has its own name here. */
const requiredOfAccessTokens = ['iss', 'exp', 'aud', 'sub', 'iat', 'jti'] as const
/** What every other type has to have; some providers give no jti. */
export const requiredOfAll = ['iss', 'exp', 'aud', 'sub', 'iat'] as const
const idTokenMarks = ['nonce', 'at_hash', 'c_hash'] as const
/** Names travel in tokens, envelopes and logs. */
const nameCharactersMax = 256
const wordsMax = 200
/** Control characters and lone surrogates: they would be another name somewhere else. */
const unfit = /[\p{Cc}\p{Cs}]/u

/** For a payload whose signature, issuer, audience and times are right. Errors: UNAUTHENTICATED. */
export function callerOf(payload: JWTPayload, type: unknown, profile: TokenProfile): Caller {
  checkType(payload, type, profile)
  const { subjectPrefix, clientIdClaim, rolesClaim } = profile
  if (payload['cnf'] !== undefined) throw refused('cnf')
  return {
    principal: {
      subject: nameOf('sub', typeof payload.sub === 'string' && payload.sub !== '' ? subjectPrefix + payload.sub : ''),
      clientId: nameOf(clientIdClaim, claimAt(payload, clientIdClaim)),
      tenant: tenantOf(payload, profile),
      expiresAtMs: (payload.exp ?? 0) * 1_000,
    },
    issuer: nameOf('iss', payload.iss),
    scopes: wordsOf('scope', payload['scope'] ?? payload['scp']),
    roles: rolesClaim === undefined ? [] : wordsOf(rolesClaim, claimAt(payload, rolesClaim)),
  }
}

function checkType(payload: JWTPayload, type: unknown, { types }: TokenProfile): void {
  // RFC 7515 §4.1.9: `application/` may be left out, and case does not count.
  const given = typeof type === 'string' ? type.toLowerCase().replace(/^application\//, '') : ''
  const known = types.find((each) => each.toLowerCase() === given)
  if (known === undefined) throw refused('typ')
  switch (known) {
    case 'at+jwt':
      for (const name of requiredOfAccessTokens) if (payload[name] === undefined) throw refused(name)
      return
    case 'JWT':
      for (const name of idTokenMarks) if (payload[name] !== undefined) throw refused(name)
      return
  }
}

function tenantOf(payload: JWTPayload, { tenantClaim, tenantMayLack }: TokenProfile): string {
  if (tenantClaim === undefined) return defaultTenant
  const claim = claimAt(payload, tenantClaim)
  return claim === undefined && tenantMayLack ? defaultTenant : nameOf(tenantClaim, claim)
}

/** The claim of exactly this name (some are URLs, with dots), else the one inside. */
function claimAt(payload: JWTPayload, path: string): unknown {
  if (Object.hasOwn(payload, path)) return payload[path]
  let at: unknown = payload
  for (const name of path.split('.')) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return undefined
    at = (at as Readonly<Record<string, unknown>>)[name]
  }
  return at
}

function nameOf(claim: string, value: unknown): string {
  if (typeof value !== 'string' || value === '' || value.length > nameCharactersMax || unfit.test(value))
    throw refused(claim)
  return value
}

/** Words of a text, or texts of a list; none when it is absent. */
function wordsOf(claim: string, value: unknown): readonly string[] {
  if (value === undefined) return []
  const words: readonly unknown[] | undefined =
    typeof value === 'string'
      ? value.split(' ').filter((word) => word !== '')
      : Array.isArray(value)
        ? value
        : undefined
  if (words === undefined || words.length > wordsMax) throw refused(claim)
  return words.map((word) => nameOf(claim, word))
}

/** The cause says to the log which claim; the caller hears UNAUTHENTICATED. */
function refused(claim: string): TrunklineError {
  return new TrunklineError('UNAUTHENTICATED', { cause: new TokenRefusal(claim) })
}

export class TokenRefusal extends Error {
  readonly claim: string

  constructor(claim: string) {
    super('a token does not fit its profile')
    this.claim = claim
  }
}
