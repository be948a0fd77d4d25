// Owns: the interface by which the core learns who calls.
import type { Principal } from '../../protocol/envelope.ts'

export interface BearerVerifier {
  /**
   * Who the bearer proves. Errors: UNAUTHENTICATED (missing parts, wrong issuer, audience, type, algorithm, signature,
   * too long), TOKEN_EXPIRED.
   */
  verify(bearer: string): Promise<Principal>
}
