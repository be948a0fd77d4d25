// Owns: how many lines of one kind the log gets: at most `linesPerSecond`, and one a second that says how many more there
// were, so that a flood of requests cannot fill a disk.
// 1. Nothing is lost uncounted: what was left out is told within a second, or by close().
import type { Clock, Timer } from '../ports/clock.ts'

export const linesPerSecond = 20
const secondMs = 1_000

export class LineBudget {
  readonly #clock: Clock
  readonly #tell: (suppressed: number) => void
  #secondBeganMs = Number.NEGATIVE_INFINITY
  #written = 0
  #suppressed = 0
  #report: Timer | undefined

  /** `tell` is called with how many lines were left out since it was called before; never with 0. */
  constructor(clock: Clock, tell: (suppressed: number) => void) {
    this.#clock = clock
    this.#tell = tell
  }

  /** Whether one more line may be written now. When not, it is counted. */
  take(): boolean {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#secondBeganMs >= secondMs) {
      this.#secondBeganMs = nowMs
      this.#written = 0
    }
    if (this.#written >= linesPerSecond) {
      this.#suppressed += 1
      this.#report ??= this.#clock.after(secondMs, () => this.close())
      return false
    }
    this.#written += 1
    return true
  }

  /** Tells what was left out so far. Nothing is told later unless more is taken. */
  close(): void {
    this.#report?.cancel()
    this.#report = undefined
    const count = this.#suppressed
    if (count === 0) return
    this.#suppressed = 0
    this.#tell(count)
  }
}
