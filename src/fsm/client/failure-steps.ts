// Owns: failures and ends: how long until the next try, what is left behind with a session, what is owed at the end.
// F1 A session that ended says nothing about its successor, which is asked for at once: after the first failure, or when
//    the session had answered something. Sessions that end without one answer are not asked for in a loop.
// F2 The first round over the ways to the gateway has no pauses; every failure counts against attemptsMax.
// F3 What the gateway asks to wait is waited for, and up to half as long again; our own waits grow, with jitter.
// Leaves out: what an error means for its request (error-verdict.ts).
import { type ErrorName, TrunklineError } from '../../protocol/errors.ts'
import type { Command, EndReason, PendingWrite, WayFacts } from './client-session.types.ts'
import type { Changes, Context } from './step-parts.ts'
import { emptyWindow, leaveWindow } from './write-window.ts'

const sessionEnded: ReadonlySet<ErrorName> = new Set(['SESSION_GONE', 'SESSION_CLOSED', 'DRAINING'])
/** Long enough for everything that failed together to be one round. */
const roundMs = 1
/** A take-over that is under way ends soon: waits for it do not grow as those for a gateway that is away. */
const pendingMsMax = 1_000

/** What is known of a failure beside its error. */
interface FailureFacts {
  readonly error: TrunklineError | null
  /** 0 ≤ x < 1. */
  readonly jitter: number
  readonly way?: WayFacts | undefined
}

/** One failure of a round; several requests that fail together count once. */
export function noteFailure(context: Context, facts: FailureFacts): Changes {
  const { error } = facts
  if (context.backoffMs > 0) return error === null ? {} : { lastError: error }
  const failures = context.failures + 1
  return {
    failures,
    lastError: error ?? context.lastError,
    backoffMs: pauseMsAfter(context, failures, facts),
    ...(failures > context.retry.attemptsMax ? { leave: true } : {}),
  }
}

/** F1, F2, F3. */
function pauseMsAfter(context: Context, failures: number, { error, jitter, way }: FailureFacts): number {
  if (error !== null && sessionEnded.has(error.name) && (failures === 1 || context.session?.proven === true)) return 0
  if (way?.elsewhere === true) return roundMs
  const { backoffMsMin, backoffMsMax } = context.retry
  const longestMs = error?.name === 'PENDING' ? Math.min(pendingMsMax, backoffMsMax) : backoffMsMax
  const grownMs = Math.min(longestMs, backoffMsMin * 2 ** Math.min(failures - 1, 20)) * (0.5 + jitter)
  const askedMs = Math.min(error?.retryAfterMs ?? 0, backoffMsMax) * (1 + jitter / 2)
  return Math.max(1, Math.round(Math.max(grownMs, askedMs)))
}

export function hasGivenUp(context: Context): boolean {
  return context.failures > context.retry.attemptsMax
}

/** S1. */
export function leaveSession(context: Context): Changes {
  const { op } = context
  const lost: readonly Command[] = op !== null && op.kind !== 'read' ? [{ kind: 'lost', op: op.kind }] : []
  return {
    session: null,
    leave: false,
    goBack: false,
    controlOp: null,
    stepOpen: false,
    op: op?.kind === 'read' ? { ...op, state: 'queued', sendings: 0, challenge: null } : null,
    window: leaveWindow(context.window),
    outbox: lost,
  }
}

export function hasDemand(context: Context): boolean {
  return context.wanted || context.op !== null || context.window.writes.length > 0
}

/** Nothing is owed to the owner after this. */
export function endSession(context: Context, end: EndReason): Changes {
  const error = context.lastError ?? new TrunklineError('SESSION_CLOSED')
  const reason = end === 'disposed' ? new TrunklineError('SESSION_CLOSED') : error
  const outbox: Command[] = context.window.writes.map((write) =>
    write.uncertain || write.landed.length > 0
      ? unknownOutcome(write, reason)
      : { kind: 'settled', id: write.id, outcome: { kind: 'refused', error: reason } },
  )
  if (context.op !== null) outbox.push({ kind: 'failed', op: context.op.kind, error: reason })
  return { end, session: null, op: null, window: emptyWindow, outbox }
}

export function unknownOutcome(write: PendingWrite, cause: TrunklineError): Command {
  // What the gateway says of the topic itself is the better answer than that nobody knows.
  if (cause.name === 'TOPIC_CHANGED' || cause.name === 'OUTCOME_UNKNOWN') {
    return { kind: 'settled', id: write.id, outcome: { kind: 'unknown', error: cause } }
  }
  const { endpoints } = cause.details
  const details = { because: cause.name, ...(endpoints === undefined ? {} : { endpoints }) }
  const error = new TrunklineError('OUTCOME_UNKNOWN', { details, cause })
  return { kind: 'settled', id: write.id, outcome: { kind: 'unknown', error } }
}
