// Owns: checking bearers that are JWTs (RFC 9068, RFC 8725): signature by a configured key set, and what they claim.
// 1. Keys come from the configured set only: jku, jwk, x5u, x5c of a token are never looked at.
// 2. Asymmetric algorithms of the allow-list only, explicit type, exact issuer, our audience.
// 3. A verified token is remembered until it expires, at most `cacheTokensMax` and `cacheBytesMax` of them.
// 4. Every failure but expiry is UNAUTHENTICATED, without saying which check failed.
import { createLocalJWKSet, type JSONWebKeySet, type JWTPayload, errors as joseErrors, jwtVerify } from 'jose'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../../ports/clock.ts'
import type { Principal } from '../../protocol/envelope.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { bearerBytesMax } from '../../protocol/limits.ts'
import type { BearerVerifier } from './bearer.ts'

const algorithms = ['RS256', 'PS256', 'ES256', 'EdDSA']
const requiredClaims = ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti']
const clockToleranceSeconds = 5
const cacheTokensMax = 1_000
const cacheBytesMax = 4 * 1024 * 1024
/** Names travel in tokens, envelopes and logs. */
const nameCharactersMax = 256
const defaultTenant = 'default'

export interface JwtVerifierDeps {
  readonly jwks: JSONWebKeySet
  readonly issuer: string
  readonly audience: string
  readonly clock: Clock
}

export class JwtVerifier implements BearerVerifier {
  readonly #deps: JwtVerifierDeps
  readonly #keys: ReturnType<typeof createLocalJWKSet>
  readonly #verified = new LRUCache<string, Principal>({
    max: cacheTokensMax,
    maxSize: cacheBytesMax,
    sizeCalculation: (_principal, token) => token.length,
  })

  constructor(deps: JwtVerifierDeps) {
    this.#deps = deps
    this.#keys = createLocalJWKSet(deps.jwks)
  }

  async verify(bearer: string): Promise<Principal> {
    if (bearer.length === 0 || bearer.length > bearerBytesMax) throw new TrunklineError('UNAUTHENTICATED')
    const known = this.#verified.get(bearer)
    if (known !== undefined) {
      if (known.expiresAtMs > this.#deps.clock.nowMs()) return known
      this.#verified.delete(bearer)
      throw new TrunklineError('TOKEN_EXPIRED')
    }
    const principal = principalOf(await this.#payload(bearer))
    // Inside the tolerance a token still counts, but is checked each time.
    if (principal.expiresAtMs > this.#deps.clock.nowMs()) this.#verified.set(bearer, principal)
    return principal
  }

  async #payload(bearer: string): Promise<JWTPayload> {
    const { issuer, audience, clock } = this.#deps
    try {
      const verified = await jwtVerify(bearer, this.#keys, {
        algorithms,
        issuer,
        audience,
        typ: 'at+jwt',
        requiredClaims,
        clockTolerance: clockToleranceSeconds,
        currentDate: new Date(clock.nowMs()),
      })
      return verified.payload
    } catch (thrown) {
      // jose checks the signature before the claims: an expired token is one that we trusted once.
      if (thrown instanceof joseErrors.JWTExpired) throw new TrunklineError('TOKEN_EXPIRED')
      throw new TrunklineError('UNAUTHENTICATED', { cause: thrown })
    }
  }
}

function principalOf(payload: JWTPayload): Principal {
  const tenant = payload['tenant'] ?? defaultTenant
  return {
    subject: nameOf(payload.sub),
    clientId: nameOf(payload['client_id']),
    tenant: nameOf(tenant),
    expiresAtMs: (payload.exp ?? 0) * 1_000,
  }
}

function nameOf(claim: unknown): string {
  if (typeof claim !== 'string' || claim.length === 0 || claim.length > nameCharactersMax)
    throw new TrunklineError('UNAUTHENTICATED')
  return claim
}
