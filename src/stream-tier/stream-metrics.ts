// Owns: what the stream tier counts, as a narrow interface, so that a test can count nothing.
// Labels are of bounded cardinality: methods, modes, outcomes, error names.
import type { ErrorName } from '../protocol/errors.ts'
import type { ReadMetrics } from './read/read-metrics.ts'
import type { AppendMetrics } from './write/append-lanes.ts'
import type { TakeOverMetrics } from './write/take-over.ts'

export interface StreamMetrics extends AppendMetrics, ReadMetrics, TakeOverMetrics {
  /** One answered call. */
  call(method: string, outcome: 'ok' | ErrorName, durationMs: number): void
  sessionOpened(mode: 'read' | 'write'): void
  sessionClosed(mode: 'read' | 'write', reason: string): void
  published(events: number, bytes: number): void
  delivered(events: number, bytes: number): void
  /** A machine met an event that it does not know in its state: a bug, loud. */
  unknownEvent(machine: string, event: string): void
  /** A block was sealed, or was not. */
  sealed(outcome: 'ok' | ErrorName, durationMs: number): void
  openTook(durationMs: number): void
  /** An allocation began or ended. */
  allocating(change: 1 | -1): void
  /** finished: nothing was queued any more; cut: the deadline came first. */
  drained(outcome: 'finished' | 'cut', durationMs: number): void
  /** Gives the way to count the open sessions in a state of their machine; the newest incarnation's is asked. */
  sessionStates(count: (state: string) => number): void
}
