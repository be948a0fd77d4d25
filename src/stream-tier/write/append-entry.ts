// Owns: what goes into a lane and what comes of it.
import type { Traced } from '../../observability/tracing.ts'
import type { AppendRecord, RetireReason } from '../../ports/event-log.ts'
import type { ErrorName } from '../../protocol/errors.ts'
import type { ProducerId, SessionId } from '../../protocol/ids.ts'

export interface AppendEntry extends Traced {
  readonly producerId: ProducerId
  readonly session: SessionId
  readonly n: number
  /** At least one; they never span two batches. */
  readonly records: readonly AppendRecord[]
}

export type EntryOutcome =
  /** `offset` is that of its first record; the others follow it one by one. */
  | { readonly kind: 'landed'; readonly offset: number; readonly appendTimeMs: number }
  /** Certainly not in the log; the session sends nothing more until `resume`. */
  | { readonly kind: 'refused'; readonly error: ErrorName }
  /** Certainly never sent: an earlier entry of the session was refused, or the session was released. */
  | { readonly kind: 'held' }
  /** The incarnation is over: only a successor's look-up can tell. */
  | { readonly kind: 'retired'; readonly reason: RetireReason }
