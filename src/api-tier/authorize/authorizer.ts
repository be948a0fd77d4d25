// Owns: whether a caller may do something, asked before anything reaches a node.
// 1. A denial is FORBIDDEN with the right that is missing: the same answer, by the same way, whether or not the topic is
//    there, since nothing has been asked about it.
// 2. A decision is worked out once and kept until the policy is replaced; at `decisionsMax` the one used longest ago goes.
// 3. Every denial and every allowed allocation and administration is audited; decisions are counted without names.
// 4. A call of a session is judged like its allocation whenever its caller is known here (session-callers.ts), except
//    `dispose`: whoever may do nothing any more may still go.
// 5. A client that may sign with HMAC-MD5 (md5-sessions.ts) is not allowed `admin`, whatever the policy says.
// Leaves out: what a policy says (policy.ts), names of topics in the log (caller-topics.ts).
import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { SessionTokenContent } from '../../crypto/session-token.ts'
import type { Logger } from '../../observability/log.ts'
import type { Clock } from '../../ports/clock.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { type Mode, mode } from '../../protocol/messages.ts'
import { callerTopicOf } from '../../protocol/tenant-topics.ts'
import type { Caller } from '../auth/bearer.ts'
import type { StaticClient } from '../auth/client-registry.ts'
import { AuditLog } from './audit-log.ts'
import { Md5Sessions } from './md5-sessions.ts'
import { type Action, actions, type Decision, decide, type Policy } from './policy.ts'
import { SessionCallers } from './session-callers.ts'

export interface AccessMetrics {
  decided(action: Action | 'any' | 'hmac-md5', outcome: 'allowed' | 'denied'): void
  /** Lines of the audit that were left out. */
  auditSuppressed(count: number): void
}

export const nullAccessMetrics: AccessMetrics = { decided: () => {}, auditSuppressed: () => {} }

export interface AuthorizerDeps {
  readonly policy: Policy
  /** `iss` of the gateway's own tokens. */
  readonly issuer: string
  /** Clients that get those. */
  readonly clients: readonly Omit<StaticClient, 'secretHash'>[]
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: AccessMetrics
  /** Whether clients whose entry says so may sign with HMAC-MD5. Default: no. */
  readonly allowHmacMd5?: boolean | undefined
  /** Default: what Node says of itself. */
  readonly isFips?: (() => boolean) | undefined
}

/** What is asked of a node for a caller. */
export interface Access {
  readonly caller: Caller
  readonly method: string
  readonly requestId: string
}

const decisionsMax = 10_000
/** Invariant 3. */
const auditedMethods: ReadonlySet<string> = new Set(['allocate', 'topic-create', 'topic-delete'])

export class Authorizer {
  readonly #deps: AuthorizerDeps
  readonly #audit: AuditLog
  readonly #sessions: SessionCallers
  readonly #decisions = new LRUCache<string, Decision>({ max: decisionsMax })
  /** Callers are kept by whoever verified their bearers. */
  readonly #names = new WeakMap<Caller, string>()
  readonly md5Sessions: Md5Sessions
  #policy: Policy

  constructor(deps: AuthorizerDeps) {
    this.#deps = deps
    this.#policy = deps.policy
    this.#sessions = new SessionCallers(deps.clients, deps.issuer)
    this.#audit = new AuditLog({ ...deps, onSuppressed: (count) => deps.metrics.auditSuppressed(count) })
    this.md5Sessions = new Md5Sessions({ ...deps, isAllowed: deps.allowHmacMd5 ?? false, audit: this.#audit })
  }

  /** Counts from the next decision on. */
  replace(policy: Policy): void {
    this.#policy = policy
    this.#decisions.clear()
  }

  /** One of `wanted` is enough; `topic` as the caller named it. Errors: FORBIDDEN. */
  require(access: Access, topic: string, ...wanted: readonly Action[]): void {
    this.#judge(access, topic, wanted, auditedMethods.has(access.method))
  }

  /** A call of a session; `caller` when it carried a bearer. Errors: FORBIDDEN (invariant 4). */
  requireSession(
    caller: Caller | undefined,
    token: SessionTokenContent,
    at: { readonly method: string; readonly requestId: string },
  ): void {
    if (caller !== undefined) this.#sessions.remember(token.sessionId, caller)
    const known = caller ?? this.#sessions.callerOf(token)
    if (known === undefined || at.method === 'dispose') return
    const topic = callerTopicOf(token.topic)
    const action = actionOf(token.mode)
    // Of the many calls of a session only those that end it are counted and told.
    if (this.#decide(known, action, topic).allowed) return
    this.#judge({ ...at, caller: known }, topic, [action], false)
  }

  /** The session was allocated for this caller. */
  allocated(sessionId: string, caller: Caller): void {
    this.#sessions.remember(sessionId, caller)
  }

  /** Whether the caller may do anything with the topic; for lists: not told. */
  allowsAny(caller: Caller, topic: string): boolean {
    return actions.some((action) => this.#decide(caller, action, topic).allowed)
  }

  /** Tells what the audit still has to tell. */
  close(): void {
    this.#audit.close()
  }

  #judge({ caller, method, requestId }: Access, topic: string, wanted: readonly Action[], audited: boolean): void {
    const [only] = wanted
    const action = wanted.length === 1 && only !== undefined ? only : 'any'
    const asked = { caller, action, topic, method, requestId }
    let why: string | undefined
    for (const one of wanted) {
      const decision = this.#decide(caller, one, topic)
      if (decision.allowed) {
        this.#deps.metrics.decided(action, 'allowed')
        if (audited) this.#audit.allowed(asked, decision.by)
        return
      }
      why = decision.why
    }
    this.#deps.metrics.decided(action, 'denied')
    this.#audit.denied(asked, why ?? 'nothing was asked for')
    throw new TrunklineError('FORBIDDEN', { details: { right: wanted.join(' or '), topic } })
  }

  #decide(caller: Caller, action: Action, topic: string): Decision {
    const key = `${this.#nameOf(caller)} ${action} ${topic}`
    const known = this.#decisions.get(key)
    if (known !== undefined) return known
    const decision: Decision =
      action === 'admin' && this.md5Sessions.isFor(caller)
        ? { allowed: false, why: 'clients that may sign with HMAC-MD5 administer nothing' }
        : decide(this.#policy, caller, this.#deps.issuer, action, topic)
    this.#decisions.set(key, decision)
    return decision
  }

  /** Of all that a policy looks at. */
  #nameOf(caller: Caller): string {
    const known = this.#names.get(caller)
    if (known !== undefined) return known
    const { principal, issuer, scopes, roles } = caller
    const facts = [issuer, principal.subject, principal.clientId, principal.tenant, scopes, roles]
    const name = createHash('sha256').update(JSON.stringify(facts)).digest('base64url')
    this.#names.set(caller, name)
    return name
  }
}

/** What a session does. */
export function actionOf(sessionMode: Mode): Action {
  switch (sessionMode) {
    case mode.read:
      return 'read'
    case mode.write:
      return 'publish'
  }
}
