// Owns: what is left of deadlines when clocks disagree and processes freeze.
import { describe, expect, test } from 'vitest'
import { SimulatedClock } from '../../../../src/adapters/clock/simulated-clock.ts'
import { SenderClocks } from '../../../../src/adapters/rabbitmq/sender-clocks.ts'

describe('deadlines of senders', () => {
  test.each([0, 1e9, -1e6])(
    'given a clock that differs by %d ms, then only the waiting counts',
    async (differenceMs) => {
      const clock = new SimulatedClock()
      const clocks = new SenderClocks(clock)
      const theirs = (): number => clock.monotonicMs() + differenceMs
      expect(clocks.leftMs('a', theirs() - 1, 500)).toBe(500)
      // As fast as the first.
      await clock.advance(1_000)
      expect(clocks.leftMs('a', theirs() - 1, 500)).toBe(500)
      // 300 ms slower, then much too late.
      await clock.advance(1_000)
      expect(clocks.leftMs('a', theirs() - 301, 500)).toBe(200)
      expect(clocks.leftMs('a', theirs() - 2_001, 500)).toBe(-1_500)
      // One that is faster than all before sets the measure anew.
      expect(clocks.leftMs('a', theirs(), 500)).toBe(500)
      expect(clocks.leftMs('a', theirs() - 1, 500)).toBe(499)
      // Another sender's requests say nothing about it.
      expect(clocks.leftMs('b', theirs() - 2_001, 500)).toBe(500)
    },
  )

  test('given a clock that drifts away, then the measure follows within two minutes', async () => {
    const clock = new SimulatedClock()
    const clocks = new SenderClocks(clock)
    const lefts: number[] = []
    for (let second = 0; second < 1_000; second += 1) {
      // It loses 1 ms every second.
      lefts.push(clocks.leftMs('a', clock.monotonicMs() - second, 500))
      await clock.advance(1_000)
    }
    expect(Math.min(...lefts)).toBeGreaterThanOrEqual(500 - 121)
  })

  test('given a sender after a silence of any length, then what waited still shows', async () => {
    const clock = new SimulatedClock()
    const clocks = new SenderClocks(clock)
    clocks.leftMs('a', clock.monotonicMs(), 500)
    await clock.advance(3_600_000)
    expect(clocks.leftMs('a', clock.monotonicMs() - 20_000, 500)).toBe(-19_500)
  })

  test('given more senders than are kept, then the oldest is measured anew', () => {
    const clock = new SimulatedClock()
    const clocks = new SenderClocks(clock)
    for (let sender = 0; sender < 5_000; sender += 1) clocks.leftMs(`s${sender}`, 0, 500)
    expect(clocks.leftMs('s4999', -1_000, 500)).toBe(-500)
    expect(clocks.leftMs('s0', -1_000, 500)).toBe(500)
  })
})
