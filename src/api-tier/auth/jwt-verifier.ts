// Owns: checking bearers that are JWTs of one issuer: signature by its keys, and what they claim.
// 1. Keys come from the key source only: jku, jwk, x5u, x5c of a token are never looked at.
// 2. Asymmetric algorithms of the allow-list only, explicit type, exact issuer, our audience.
// 3. A verified token is remembered until it expires or its issuer's keys change, at most `cacheTokensMax` and
//    `cacheBytesMax` of them; the least used goes first.
// 4. Every failure but expiry, and keys that cannot be had, is UNAUTHENTICATED, without saying which check failed; the
//    log hears it (`onRefused`).
// Leaves out: where keys come from (key-source.ts), what a token must say (token-profile.ts).
import {
  type CompactJWSHeaderParameters,
  type FlattenedJWSInput,
  type JSONWebKeySet,
  errors as joseErrors,
  jwtVerify,
} from 'jose'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../../ports/clock.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { bearerBytesMax } from '../../protocol/limits.ts'
import type { BearerVerifier, Caller } from './bearer.ts'
import { fixedKeys, type KeySet, type KeySource } from './key-source.ts'
import { callerOf, requiredOfAll, type TokenProfile, TokenRefusal } from './token-profile.ts'

const clockToleranceSeconds = 5
const cacheTokensMax = 1_000
const cacheBytesMax = 4 * 1024 * 1024
const keyIdCharactersMax = 256

export interface JwtVerifierDeps {
  readonly keys: KeySource
  readonly profile: TokenProfile
  readonly clock: Clock
  /** For a debug line: a constant text or the name of a claim, never a value. */
  readonly onRefused?: (reason: string) => void
}

export class JwtVerifier implements BearerVerifier {
  readonly #deps: JwtVerifierDeps
  readonly #verified = new LRUCache<string, Caller>({
    max: cacheTokensMax,
    maxSize: cacheBytesMax,
    sizeCalculation: (_caller, token) => token.length,
  })
  #keys: KeySet | undefined

  constructor(deps: JwtVerifierDeps) {
    this.#deps = deps
  }

  async verify(bearer: string, beforeCheck?: () => void): Promise<Caller> {
    const { clock } = this.#deps
    if (bearer.length === 0 || bearer.length > bearerBytesMax) throw new TrunklineError('UNAUTHENTICATED')
    this.#use(await this.#deps.keys.current())
    const known = this.#verified.get(bearer)
    if (known !== undefined) {
      if (known.principal.expiresAtMs > clock.nowMs()) return known
      this.#verified.delete(bearer)
      throw new TrunklineError('TOKEN_EXPIRED')
    }
    beforeCheck?.()
    const caller = await this.#check(bearer)
    // Inside the tolerance a token still counts, but is checked each time.
    if (caller.principal.expiresAtMs > clock.nowMs()) this.#verified.set(bearer, caller)
    return caller
  }

  /** Invariant 3: a key that is gone takes what it signed with it. */
  #use(keys: KeySet): KeySet {
    if (keys !== this.#keys) this.#verified.clear()
    this.#keys = keys
    return keys
  }

  async #check(bearer: string): Promise<Caller> {
    const { profile, clock } = this.#deps
    try {
      const verified = await jwtVerify(bearer, (header, token) => this.#keyOf(header, token), {
        algorithms: [...profile.algorithms],
        issuer: profile.issuer,
        audience: profile.audience,
        requiredClaims: [...requiredOfAll],
        clockTolerance: clockToleranceSeconds,
        currentDate: new Date(clock.nowMs()),
      })
      return callerOf(verified.payload, verified.protectedHeader.typ, profile)
    } catch (thrown) {
      // jose checks the signature before the claims: an expired token is one that we trusted once.
      if (thrown instanceof joseErrors.JWTExpired) throw new TrunklineError('TOKEN_EXPIRED')
      if (thrown instanceof TrunklineError && thrown.name !== 'UNAUTHENTICATED') throw thrown
      this.#deps.onRefused?.(reasonOf(thrown))
      throw TrunklineError.from(thrown, 'UNAUTHENTICATED')
    }
  }

  async #keyOf(
    header: CompactJWSHeaderParameters,
    token: FlattenedJWSInput,
  ): Promise<Awaited<ReturnType<KeySet['keyOf']>>> {
    const keys = this.#use(await this.#deps.keys.current())
    try {
      return await keys.keyOf(header, token)
    } catch (thrown) {
      const keyId: unknown = header.kid
      if (!(thrown instanceof joseErrors.JWKSNoMatchingKey) || !isKeyId(keyId)) throw thrown
      const newer = await this.#deps.keys.newerFor(keyId)
      if (newer === undefined) throw thrown
      return await this.#use(newer).keyOf(header, token)
    }
  }
}

export interface OwnIssuer {
  readonly jwks: JSONWebKeySet
  readonly issuer: string
  readonly audience: string
  readonly clock: Clock
}

/** Of the tokens that the gateway itself issues. */
export function ownIssuerVerifier({ jwks, issuer, audience, clock }: OwnIssuer): JwtVerifier {
  return new JwtVerifier({
    keys: fixedKeys(jwks),
    profile: {
      issuer,
      audience,
      algorithms: ['ES256'],
      types: ['at+jwt'],
      subjectPrefix: '',
      clientIdClaim: 'client_id',
      tenantClaim: 'tenant',
      tenantMayLack: true,
      rolesClaim: undefined,
    },
    clock,
  })
}

function isKeyId(value: unknown): value is string {
  return typeof value === 'string' && value.length <= keyIdCharactersMax
}

function reasonOf(thrown: unknown): string {
  const cause = thrown instanceof TrunklineError ? thrown.cause : thrown
  if (cause instanceof TokenRefusal || cause instanceof joseErrors.JWTClaimValidationFailed) return cause.claim
  return cause instanceof joseErrors.JOSEError ? cause.code : 'not a token'
}
