// Owns: the shape of a clock that xstate takes (`createActor(machine, { clock })`), over the Clock port, so that the
// `after` transitions of the machines run on the same time as everything else.
import type { Clock, Timer } from '../../ports/clock.ts'

export interface TimerFunctions {
  setTimeout(callback: () => void, delayMs: number): Timer
  /** Takes what setTimeout gave; anything else is ignored, as with timers of the platform. */
  clearTimeout(timer: Timer | undefined): void
}

export function timerFunctions(clock: Clock): TimerFunctions {
  return {
    setTimeout: (callback, delayMs) => clock.after(Math.max(0, delayMs), callback),
    clearTimeout: (timer) => timer?.cancel(),
  }
}
