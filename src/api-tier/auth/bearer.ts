// Owns: the interface by which the core learns who calls.
import type { Principal } from '../../protocol/envelope.ts'

/** What a bearer proves. */
export interface Caller {
  readonly principal: Principal
  /** `iss` of the token: the gateway's own name, or a provider. */
  readonly issuer: string
  /** Words of the `scope` claim. */
  readonly scopes: readonly string[]
  /** Of the claim that the provider is configured to keep them in. */
  readonly roles: readonly string[]
}

export interface BearerVerifier {
  /**
   * Who the bearer proves. Errors: UNAUTHENTICATED (missing parts, wrong issuer, audience, type, algorithm, signature,
   * too long), TOKEN_EXPIRED, what `beforeCheck` throws: it is run unless the bearer was verified before.
   */
  verify(bearer: string, beforeCheck?: () => void): Promise<Caller>
}
