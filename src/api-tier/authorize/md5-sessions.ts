// Owns: sessions that are signed with HMAC-MD5, for clients that can do no better: who may have one, and how long it lives.
// 1. Off, unless the gateway and the client's entry in clients.json both allow it, and never in FIPS mode. This is asked at
//    the allocation and at every later call, so that what is taken away ends open sessions.
// 2. A session lives 15 minutes from its allocation, by its sealed token, whatever bearers come. Then it is SESSION_GONE:
//    the client allocates again and loses nothing.
// 3. Only clients of the gateway's own: whom a provider calls by the same name is another one.
// 4. Every allocation is counted and audited, those that are refused too.
// Leaves out: the algorithm (protocol/mac-algorithm.ts), which the token fixes (crypto/session-token.ts); that such a client
// administers nothing (authorizer.ts).
import { getFips } from 'node:crypto'
import { principalHash, type SessionTokenContent } from '../../crypto/session-token.ts'
import type { Clock } from '../../ports/clock.ts'
import type { Principal } from '../../protocol/envelope.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { md5SessionMsMax } from '../../protocol/limits.ts'
import { macAlgorithm, parseMacAlgorithm } from '../../protocol/mac-algorithm.ts'
import type { AllocateRequest } from '../../protocol/messages.ts'
import type { Caller } from '../auth/bearer.ts'
import type { StaticClient } from '../auth/client-registry.ts'
import type { AuditedDecision, AuditLog } from './audit-log.ts'

/** In the audit and in the counter of decisions, in place of an action. */
const action = 'hmac-md5'

export interface Md5SessionsDeps {
  /** Of the whole gateway. */
  readonly isAllowed: boolean
  /** `iss` of the gateway's own tokens. */
  readonly issuer: string
  readonly clients: readonly Omit<StaticClient, 'secretHash'>[]
  readonly clock: Clock
  readonly audit: AuditLog
  readonly metrics: { decided(what: typeof action, outcome: 'allowed' | 'denied'): void }
  /** Default: what Node says of itself. */
  readonly isFips?: (() => boolean) | undefined
}

export class Md5Sessions {
  readonly #deps: Md5SessionsDeps
  /** `principalHash` of those whose entry allows it. */
  readonly #clients: ReadonlySet<string>

  constructor(deps: Md5SessionsDeps) {
    this.#deps = deps
    this.#clients = new Set(
      deps.clients
        .filter(({ allowHmacMd5 }) => allowHmacMd5 === true)
        .map(({ subject, clientId, tenant }) => textOf(principalHash(subject, clientId, tenant))),
    )
  }

  /** Whether the gateway is told to let this caller have such sessions. */
  isFor({ principal, issuer }: Caller): boolean {
    const { subject, clientId, tenant } = principal
    const isNamed = issuer === this.#deps.issuer && this.#clients.has(textOf(principalHash(subject, clientId, tenant)))
    return this.#deps.isAllowed && isNamed
  }

  /**
   * For whom the session is allocated: the caller, for no longer than the session may live.
   * Errors: BAD_REQUEST (no such algorithm), WEAK_MAC_REFUSED.
   */
  allocating(
    { caller, method, requestId }: Omit<AuditedDecision, 'action' | 'topic'>,
    request: AllocateRequest,
  ): Principal {
    const { principal } = caller
    if (parseMacAlgorithm(request.macAlgorithm) !== macAlgorithm.md5) return principal
    const { audit, metrics, clock } = this.#deps
    const why = this.#refusal(this.isFor(caller))
    const decision = { caller, action, topic: request.topic, method, requestId }
    metrics.decided(action, why === undefined ? 'allowed' : 'denied')
    if (why !== undefined) {
      audit.denied(decision, why)
      throw refused(why)
    }
    audit.allowed(decision, 'allowHmacMd5')
    return endingBy(principal, clock.nowMs() + md5SessionMsMax)
  }

  /** For whom a session is refreshed: by its first token it may live no longer than before. */
  refreshing(principal: Principal, token: SessionTokenContent): Principal {
    return isMd5(token) ? endingBy(principal, token.issuedAtMs + md5SessionMsMax) : principal
  }

  /** Asked before anything is done with a call of the session. Errors: WEAK_MAC_REFUSED, SESSION_GONE. */
  check(token: SessionTokenContent): void {
    if (!isMd5(token)) return
    const why = this.#refusal(this.#deps.isAllowed && this.#clients.has(textOf(token.principal)))
    if (why !== undefined) throw refused(why)
    if (this.#deps.clock.nowMs() >= token.issuedAtMs + md5SessionMsMax)
      throw new TrunklineError('SESSION_GONE', { details: { limit: 'life with hmac-md5' } })
  }

  #refusal(isClients: boolean): string | undefined {
    const { isFips = () => getFips() === 1 } = this.#deps
    if (!isClients) return 'not allowed to this client'
    return isFips() ? 'FIPS mode' : undefined
  }
}

function isMd5(token: SessionTokenContent): boolean {
  return token.macAlgorithm === macAlgorithm.md5
}

function endingBy(principal: Principal, atMs: number): Principal {
  return { ...principal, expiresAtMs: Math.min(principal.expiresAtMs, atMs) }
}

function refused(why: string): TrunklineError {
  return new TrunklineError('WEAK_MAC_REFUSED', { details: { macAlgorithm: macAlgorithm.md5, why } })
}

function textOf(hash: Uint8Array): string {
  return Buffer.from(hash).toString('latin1')
}
