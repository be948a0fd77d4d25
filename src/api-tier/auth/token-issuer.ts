// Owns: access tokens that the gateway itself issues (RFC 9068: typ at+jwt) and the key set that checks them.
// Leaves out: who may have one (client-registry.ts), the HTTP form of the grant (http/routes-oauth.ts).
import { importJWK, type JSONWebKeySet, SignJWT } from 'jose'
import type { Clock } from '../../ports/clock.ts'
import type { Random } from '../../ports/random.ts'
import type { StaticClient } from './client-registry.ts'
import { publicJwk, type SigningJwk } from './signing-key.ts'

export interface TokenIssuerDeps {
  readonly key: SigningJwk
  /** `iss`: a URL or any other text that the verifier expects exactly. */
  readonly issuer: string
  /** `aud`. */
  readonly audience: string
  readonly clock: Clock
  readonly random: Random
  /** Default 3600. */
  readonly lifetimeSeconds?: number
}

export interface IssuedToken {
  readonly token: string
  readonly lifetimeSeconds: number
}

export class TokenIssuer {
  readonly #deps: TokenIssuerDeps
  readonly #key: ReturnType<typeof importJWK>

  constructor(deps: TokenIssuerDeps) {
    this.#deps = deps
    this.#key = importJWK({ ...deps.key }, deps.key.alg)
    // Who asks for a token is told; until then nobody waits for the key.
    this.#key.catch(() => {})
  }

  /** Public keys, as /.well-known/jwks.json answers them. */
  get jwks(): JSONWebKeySet {
    return { keys: [publicJwk(this.#deps.key)] }
  }

  async issue(client: StaticClient): Promise<IssuedToken> {
    const { key, issuer, audience, clock, random, lifetimeSeconds = 3_600 } = this.#deps
    const nowSeconds = Math.floor(clock.nowMs() / 1_000)
    const token = await new SignJWT({ client_id: client.clientId, tenant: client.tenant })
      .setProtectedHeader({ alg: key.alg, typ: 'at+jwt', kid: key.kid })
      .setIssuer(issuer)
      .setAudience(audience)
      .setSubject(client.subject)
      .setJti(Buffer.from(random.bytes(16)).toString('base64url'))
      .setIssuedAt(nowSeconds)
      .setExpirationTime(nowSeconds + lifetimeSeconds)
      .sign(await this.#key)
    return { token, lifetimeSeconds }
  }
}
