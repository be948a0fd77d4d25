// Owns: the Clock port. Everything that waits or asks the time does it here, so that a simulation can own time.

export interface Timer {
  /** Idempotent; after it the callback never runs. */
  cancel(): void
}

export interface Clock {
  /** Wall time, ms since 1970; may jump. For timestamps and expiry that outlive the process. */
  nowMs(): number
  /** Never jumps back. For leases, deadlines, durations. */
  monotonicMs(): number
  /** Runs `callback` once after `delayMs` (≥ 0). A pending timer never keeps a process alive by itself. */
  after(delayMs: number, callback: () => void): Timer
}

/** Resolves after `delayMs`, or at once when `signal` aborts: it never rejects, ask the signal. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve()
    const done = (): void => {
      timer.cancel()
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = clock.after(delayMs, done)
    signal?.addEventListener('abort', done)
  })
}
