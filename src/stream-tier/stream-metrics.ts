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
}
