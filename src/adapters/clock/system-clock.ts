// Owns: the Clock of a running process.
// 1. A callback never runs before its delay has passed on monotonicMs(): Node's timers may be a fraction early.
// 2. Delays above Node's 2^31-1 ms are waited in parts; Node itself would run them at once.
// 3. A pending timer never keeps the process alive (unref).
import { performance } from 'node:perf_hooks'
import type { Clock, Timer } from '../../ports/clock.ts'

const nodeTimerMaxMs = 2 ** 31 - 1

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs: number, callback: () => void): Timer {
    if (!(delayMs >= 0)) throw new Error(`a delay of ${delayMs} ms`)
    const dueAtMs = performance.now() + delayMs
    let handle = arm(delayMs)
    function arm(leftMs: number): NodeJS.Timeout {
      return setTimeout(fire, Math.min(Math.ceil(leftMs), nodeTimerMaxMs)).unref()
    }
    function fire(): void {
      const leftMs = dueAtMs - performance.now()
      if (leftMs > 0) handle = arm(leftMs)
      else callback()
    }
    return { cancel: () => clearTimeout(handle) }
  },
}
