// Owns: the words of the server's session machine: context, events, output.
import type { ErrorName } from '../../protocol/errors.ts'
import type { SessionId } from '../../protocol/ids.ts'

/** Which request of the session an event answers; the tier keeps the reply that is owed to it. */
export interface RequestRef {
  readonly slot: number
  readonly seq: number
}

export type CloseReason = 'disposed' | 'expired' | 'released' | 'superseded' | 'node-closed' | 'failed'

export interface SessionInput {
  readonly sessionId: SessionId
  readonly mode: 'read' | 'write'
  /** Writes that may be unanswered at once. */
  readonly windowWrites: number
  readonly windowBytes: number
}

export interface SessionContext {
  readonly sessionId: SessionId
  readonly mode: 'read' | 'write'
  readonly windowWrites: number
  readonly windowBytes: number
  /** Read: the step whose batch went out last; 0 before the first. */
  readonly step: number
  /** Read: events of that batch that wait for an ack; 0 when it was empty or is settled. */
  readonly unacked: number
  /** Read: how the last step was settled, so that a repeated ack gets the same answer. */
  readonly settled: { readonly n: number; readonly count: number; readonly how: 'ack' | 'nack' | 'empty' } | null
  /** Read: times the same position was given back. */
  readonly deliveries: number
  /** Read: how long a nacked batch rests. */
  readonly restMs: number
  /** Write: numbers that must come before `nextN`: missing after a take-over, or held behind a refusal. Ascending. */
  readonly expected: readonly number[]
  readonly nextN: number
  /** Write: checked and held, not published. Ascending. */
  readonly staged: readonly HeldWrite[]
  /** Write: handed to the log, not settled. Ascending. */
  readonly inFlight: readonly HeldWrite[]
  /** Write: numbers that were held behind a refusal and must be sent again. */
  readonly held: readonly number[]
  readonly closeReason: CloseReason | null
}

export interface HeldWrite {
  readonly n: number
  readonly bytes: number
}

export type SessionEvent =
  | { readonly type: 'PREPARED' }
  | { readonly type: 'TAKE_OVER' }
  | { readonly type: 'TAKEN_OVER'; readonly missing: readonly number[]; readonly nextN: number }
  | { readonly type: 'FAILED'; readonly error: ErrorName }
  | { readonly type: 'READ'; readonly request: RequestRef; readonly n: number; readonly ackOf: number | null }
  | { readonly type: 'FETCHED'; readonly request: RequestRef; readonly count: number }
  | { readonly type: 'FETCH_FAILED'; readonly request: RequestRef; readonly error: ErrorName }
  | { readonly type: 'ACK'; readonly request: RequestRef; readonly n: number; readonly count: number | null }
  | { readonly type: 'NACK'; readonly request: RequestRef; readonly n: number; readonly restMs: number }
  | {
      readonly type: 'WRITE'
      readonly request: RequestRef
      readonly n: number
      readonly bytes: number
      readonly commit: boolean
    }
  | { readonly type: 'PUBLISH'; readonly request: RequestRef; readonly n: number }
  | { readonly type: 'SETTLED'; readonly n: number; readonly how: 'landed' | 'refused' | 'held' }
  | { readonly type: 'EXTEND'; readonly request: RequestRef }
  | { readonly type: 'DISPOSE'; readonly request: RequestRef }
  | { readonly type: 'LEASE_EXPIRED' }
  | { readonly type: 'RELEASE' }
  | { readonly type: 'SUPERSEDE' }
  | { readonly type: 'NODE_CLOSED' }
  | { readonly type: 'QUIET' }

export interface SessionOutput {
  readonly reason: CloseReason
}
