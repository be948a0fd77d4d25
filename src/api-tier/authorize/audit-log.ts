// Owns: the lines of the audit: who was allowed or denied what, and by which rule.
// 1. One line a decision; denials are bounded, and those left out counted (line-budget.ts).
// 2. Allowed ones are never left out: whoever makes many of them has the right to.
// 3. Fields are names and ids only; the log cuts long ones.
// Leaves out: which decisions are told (authorizer.ts).
import type { Logger } from '../../observability/log.ts'
import type { Clock } from '../../ports/clock.ts'
import type { Caller } from '../auth/bearer.ts'
import { LineBudget, linesPerSecond } from '../line-budget.ts'

export interface AuditedDecision {
  readonly caller: Caller
  /** What was asked for: an action, or `any` of them. */
  readonly action: string
  /** As the caller named it. */
  readonly topic: string
  readonly method: string
  readonly requestId: string
}

export interface AuditLogDeps {
  readonly logger: Logger
  readonly clock: Clock
  /** How many lines were left out. */
  readonly onSuppressed: (count: number) => void
}

export class AuditLog {
  readonly #logger: Logger
  readonly #denials: LineBudget

  constructor({ logger, clock, onSuppressed }: AuditLogDeps) {
    this.#logger = logger
    this.#denials = new LineBudget(clock, (count) => {
      onSuppressed(count)
      logger.warn(
        { tier: 'api', event: 'audit', outcome: 'denied', count, limit: linesPerSecond },
        'more access was denied than is told one by one',
      )
    })
  }

  allowed(decision: AuditedDecision, rule: string): void {
    this.#logger.info({ ...fieldsOf(decision), outcome: 'allowed', rule }, 'access allowed')
  }

  denied(decision: AuditedDecision, reason: string): void {
    if (!this.#denials.take()) return
    this.#logger.warn({ ...fieldsOf(decision), outcome: 'denied', reason }, 'access denied')
  }

  /** Tells what was left out so far. Nothing is written later. */
  close(): void {
    this.#denials.close()
  }
}

function fieldsOf({ caller, action, topic, method, requestId }: AuditedDecision): Record<string, string> {
  const { subject, clientId, tenant } = caller.principal
  return {
    tier: 'api',
    event: 'audit',
    requestId,
    method,
    action,
    topic,
    subject,
    clientId,
    tenant,
    issuer: caller.issuer,
  }
}
