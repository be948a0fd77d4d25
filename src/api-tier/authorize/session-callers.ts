// Owns: who is behind a session call that carries no bearer, as far as this process can know.
// 1. Never a guess: it is who allocated or extended the session here with a bearer, or a client of the gateway's own, whom
//    the sealed token names by its hash.
// 2. Unknown is no state that counts: such a call is as good as its sealed token, until the session needs a new bearer.
// 3. At `sessionsMax` the session used longest ago is forgotten.
import { LRUCache } from 'lru-cache'
import { principalHash, type SessionTokenContent } from '../../crypto/session-token.ts'
import type { Caller } from '../auth/bearer.ts'
import type { StaticClient } from '../auth/client-registry.ts'

const sessionsMax = 20_000

export class SessionCallers {
  readonly #bySession = new LRUCache<string, Caller>({ max: sessionsMax })
  readonly #byHash: ReadonlyMap<string, Caller>

  /** @param clients those to whom the issuer `issuer`, the gateway itself, gives tokens: without scopes and roles. */
  constructor(clients: readonly Omit<StaticClient, 'secretHash'>[], issuer: string) {
    this.#byHash = new Map(
      clients.map(({ clientId, subject, tenant }) => {
        const principal = { subject, clientId, tenant, expiresAtMs: Number.MAX_SAFE_INTEGER }
        return [hex(principalHash(subject, clientId, tenant)), { principal, issuer, scopes: [], roles: [] }]
      }),
    )
  }

  remember(sessionId: string, caller: Caller): void {
    this.#bySession.set(sessionId, caller)
  }

  callerOf({ sessionId, principal }: SessionTokenContent): Caller | undefined {
    return this.#bySession.get(sessionId) ?? this.#byHash.get(hex(principal))
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
