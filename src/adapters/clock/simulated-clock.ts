// Owns: time in a simulation or a test. Nothing moves unless advance() or runUntilIdle() is called.
// 1. Timers run in order of their due time, then of their making, one at a time.
// 2. Between two timers every promise that can settle has settled (one turn of the event loop empties the microtask
//    queue whatever its length, which no fixed number of awaits can promise). So a run depends on nothing but its code,
//    as long as that code does no real I/O.
// 3. The monotonic clock never goes back; jumpWall moves only the wall clock.
import { setImmediate } from 'node:timers'
import type { Clock, Timer } from '../../ports/clock.ts'
import { type HeapTimer, TimerHeap } from './timer-heap.ts'

/** Timers that one instant may run: more is a loop of zero delays. */
const timersPerInstantMax = 1_000_000

export class SimulatedClock implements Clock {
  readonly #timers = new TimerHeap()
  #monotonicMs = 0
  #wallOffsetMs: number
  #sequence = 0
  #running = false

  /** @param startMs wall time at monotonic 0; default 2026-01-01T00:00:00Z. */
  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#wallOffsetMs = startMs
  }

  /** Timers that wait. */
  get pendingCount(): number {
    return this.#timers.size
  }

  nowMs(): number {
    return this.#wallOffsetMs + this.#monotonicMs
  }

  monotonicMs(): number {
    return this.#monotonicMs
  }

  after(delayMs: number, callback: () => void): Timer {
    if (!(delayMs >= 0)) throw new Error(`a delay of ${delayMs} ms`)
    this.#sequence += 1
    const timer: HeapTimer = {
      dueAtMs: this.#monotonicMs + delayMs,
      sequence: this.#sequence,
      callback,
      cancelled: false,
    }
    this.#timers.add(timer)
    return { cancel: () => this.#timers.cancel(timer) }
  }

  /** The wall clock jumps by `ms` (also back); monotonic time and timers do not notice. */
  jumpWall(ms: number): void {
    this.#wallOffsetMs += ms
  }

  /** Lets everything run that needs no time. */
  async settle(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve))
  }

  /**
   * Moves time by `ms` and runs what becomes due, in order. An error that a callback throws rejects here, with time
   * standing where it was thrown. Two moves at once are an Error.
   */
  async advance(ms: number): Promise<void> {
    if (!(ms >= 0)) throw new Error(`advancing by ${ms} ms`)
    await this.#exclusively(async () => {
      const targetMs = this.#monotonicMs + ms
      await this.#runUntil(targetMs)
      this.#monotonicMs = targetMs
    })
  }

  /**
   * Runs timers until none waits or `maxMs` have passed.
   * @returns true when no timer is left; time stands at the last timer that ran, or at the end of `maxMs`.
   */
  async runUntilIdle(maxMs: number): Promise<boolean> {
    return this.#exclusively(async () => {
      const endMs = this.#monotonicMs + maxMs
      await this.#runUntil(endMs)
      if (this.#timers.size === 0) return true
      this.#monotonicMs = endMs
      return false
    })
  }

  async #runUntil(targetMs: number): Promise<void> {
    let atInstant = 0
    await this.settle()
    for (;;) {
      const next = this.#timers.peek()
      if (next === undefined || next.dueAtMs > targetMs) return
      atInstant = next.dueAtMs === this.#monotonicMs ? atInstant + 1 : 0
      if (atInstant > timersPerInstantMax) throw new Error('a loop of timers without delay')
      this.#timers.take()
      this.#monotonicMs = next.dueAtMs
      next.callback()
      await this.settle()
    }
  }

  async #exclusively<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running) throw new Error('the simulated clock is already being moved')
    this.#running = true
    try {
      return await work()
    } finally {
      this.#running = false
    }
  }
}
