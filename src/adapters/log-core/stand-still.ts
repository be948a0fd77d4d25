// Owns: finding out that this process stood still (stopped, suspended, a jumped clock) for too long to trust that its
// fence is still in the log.
// 1. The clocks are read every `beatMs` and by `check()` before anything is sent; a step above `standStillMs` on either
//    clock, forwards or (wall clock) backwards, is a stand-still.
// Leaves out: what follows (the writer retires).
import type { Clock, Timer } from '../../ports/clock.ts'

export class StandStillWatch {
  readonly #clock: Clock
  readonly #limitMs: number
  readonly #beatMs: number
  readonly #onStandStill: () => void
  #wallMs: number
  #monotonicMs: number
  #timer: Timer | undefined

  constructor(clock: Clock, limitMs: number, onStandStill: () => void) {
    this.#clock = clock
    this.#limitMs = limitMs
    // Often enough that an idle process is never taken for one that stood still.
    this.#beatMs = Math.max(1, Math.floor(limitMs / 10))
    this.#onStandStill = onStandStill
    this.#wallMs = clock.nowMs()
    this.#monotonicMs = clock.monotonicMs()
    this.#schedule()
  }

  /** True when time went on as usual since the last reading; otherwise `onStandStill` has been called. */
  check(): boolean {
    const wallMs = this.#clock.nowMs()
    const monotonicMs = this.#clock.monotonicMs()
    const stepMs = Math.max(Math.abs(wallMs - this.#wallMs), monotonicMs - this.#monotonicMs)
    this.#wallMs = wallMs
    this.#monotonicMs = monotonicMs
    if (stepMs <= this.#limitMs) return true
    this.stop()
    this.#onStandStill()
    return false
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #schedule(): void {
    this.#timer = this.#clock.after(this.#beatMs, () => {
      if (this.check()) this.#schedule()
    })
  }
}
