// Owns: the numbers of log-core, with their reasons.
import { appendDeadlineMs } from '../../protocol/limits.ts'

export interface LogCoreSettings {
  /** How long one append is tried before its incarnation gives up. */
  readonly appendDeadlineMs: number
  /** How long one fence is tried before it answers UNAVAILABLE: a coordinator may be gone for 10 s. */
  readonly fenceDeadlineMs: number
  /** First pause before a re-send; doubles up to `pauseMsMax`. */
  readonly pauseMs: number
  readonly pauseMsMax: number
  /** A process that stood still longer may find its fence deleted by retention (kept for at least 1 h). */
  readonly standStillMs: number
  /** Kafka forgets a transactional id after 7 idle days: an incarnation ends well before. */
  readonly lifeMs: number
  /** Finished fences that are remembered, to be shared; forgetting one costs a producer epoch, nothing else. */
  readonly fencesMax: number
}

const hourMs = 60 * 60_000

export const defaultLogCoreSettings: LogCoreSettings = {
  appendDeadlineMs,
  fenceDeadlineMs: 30_000,
  pauseMs: 10,
  pauseMsMax: 1_000,
  standStillMs: 10 * 60_000,
  lifeMs: 5 * 24 * hourMs,
  fencesMax: 1_024,
}

/** Pause before try number `attempt` (from 1): doubles, with jitter, so that nodes do not re-send in step. */
export function pauseBefore(attempt: number, settings: LogCoreSettings, fraction: number): number {
  const fullMs = Math.min(settings.pauseMsMax, settings.pauseMs * 2 ** Math.min(attempt - 1, 20))
  return fullMs / 2 + (fullMs / 2) * fraction
}
