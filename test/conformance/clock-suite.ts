// Owns: the specification of the Clock port, for every adapter. `pass` lets time go by: the simulated clock is
// advanced, the system clock is waited for (with its own timers, so that a slow machine makes it longer, never wrong).
import { beforeEach, describe, expect, test } from 'vitest'
import { type Clock, sleep } from '../../src/ports/clock.ts'

export interface ClockFixture {
  readonly clock: Clock
  /** At least `ms` of the clock's monotonic time go by, and what became due has run. */
  pass(ms: number): Promise<void>
}

export function describeClock(name: string, factory: () => ClockFixture): void {
  describe(`${name}: the Clock port`, () => {
    let clock: Clock
    let pass: (ms: number) => Promise<void>

    beforeEach(() => {
      const fixture = factory()
      clock = fixture.clock
      pass = (ms) => fixture.pass(ms)
    })

    test('given a delay, then the callback runs once, in a later turn, and never before the delay has passed', async () => {
      const ranAtMs: number[] = []
      const beganAtMs = clock.monotonicMs()
      clock.after(5, () => ranAtMs.push(clock.monotonicMs()))
      expect(ranAtMs).toEqual([])
      await pass(20)
      expect(ranAtMs.length).toBe(1)
      expect((ranAtMs[0] ?? 0) - beganAtMs).toBeGreaterThanOrEqual(5)
    })

    test('given many delays, then none is early', async () => {
      const early: number[] = []
      for (let delayMs = 0; delayMs < 20; delayMs += 0.37) {
        const dueAtMs = clock.monotonicMs() + delayMs
        clock.after(delayMs, () => {
          if (clock.monotonicMs() < dueAtMs) early.push(delayMs)
        })
      }
      await pass(40)
      expect(early).toEqual([])
    })

    test('given delay 0, then the callback still runs in a later turn', async () => {
      let ran = false
      clock.after(0, () => {
        ran = true
      })
      await Promise.resolve()
      expect(ran).toBe(false)
      await pass(5)
      expect(ran).toBe(true)
    })

    test('given a delay beyond 2^31 ms, then it does not run at once', async () => {
      let ran = false
      const timer = clock.after(2 ** 31 + 5, () => {
        ran = true
      })
      await pass(5)
      expect(ran).toBe(false)
      timer.cancel()
    })

    test('given a cancelled timer, then it never runs, and cancelling again or after the run does nothing', async () => {
      let ran = 0
      const cancelled = clock.after(1, () => (ran += 1))
      cancelled.cancel()
      cancelled.cancel()
      const runs = clock.after(1, () => (ran += 10))
      await pass(10)
      runs.cancel()
      expect(ran).toBe(10)
    })

    test('given two timers due together, when one cancels the other, then the other never runs', async () => {
      const ran: string[] = []
      const one = clock.after(1, () => {
        ran.push('one')
        other.cancel()
      })
      const other = clock.after(1, () => {
        ran.push('other')
        one.cancel()
      })
      await pass(10)
      // Which of them is first is not promised.
      expect(ran.length).toBe(1)
    })

    test.each([-1, Number.NaN])('given a delay of %d, then that is an Error', (delayMs) => {
      expect(() => clock.after(delayMs, () => undefined)).toThrow(Error)
    })

    test('given time that passes, then the monotonic clock went on by at least as much', async () => {
      const beforeMs = clock.monotonicMs()
      await pass(5)
      expect(clock.monotonicMs() - beforeMs).toBeGreaterThanOrEqual(5)
    })

    test('given a sleep, then it ends after its delay or with its signal, and leaves no listener', async () => {
      const ended: string[] = []
      const abort = new AbortController()
      void sleep(clock, 2).then(() => ended.push('slept'))
      void sleep(clock, 60_000, abort.signal).then(() => ended.push('aborted'))
      await pass(10)
      expect(ended).toEqual(['slept'])
      abort.abort()
      await pass(1)
      expect(ended).toEqual(['slept', 'aborted'])
    })
  })
}
