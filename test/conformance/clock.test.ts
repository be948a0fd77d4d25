// Owns: who passes the Clock suite, and what each adapter promises beyond it.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, test, vi } from 'vitest'
import { createActor, createMachine } from 'xstate'
import { SimulatedClock } from '../../src/adapters/clock/simulated-clock.ts'
import { systemClock } from '../../src/adapters/clock/system-clock.ts'
import { timerFunctions } from '../../src/adapters/clock/xstate-clock.ts'
import { SeededRandom } from '../../src/adapters/random/seeded-random.ts'
import { sleep } from '../../src/ports/clock.ts'
import { describeClock } from './clock-suite.ts'

describeClock('simulated', () => {
  const clock = new SimulatedClock()
  return { clock, pass: (ms) => clock.advance(ms) }
})

describeClock('system', () => ({ clock: systemClock, pass: (ms) => passSystemTime(ms) }))

describe('the system clock', () => {
  test('given a pending timer, then the process ends without it', async () => {
    const clockUrl = new URL('../../src/adapters/clock/system-clock.ts', import.meta.url).href
    const program = `import { systemClock } from '${clockUrl}'
      systemClock.after(3_600_000, () => process.stdout.write('ran'))
      process.stdout.write('done')`
    const { stdout } = await promisify(execFile)(process.execPath, [
      '--import',
      'tsx',
      '--input-type=module',
      '-e',
      program,
    ])
    expect(stdout).toBe('done')
  })

  test('given a delay that Node cannot wait, then it is never asked to: it would wake every millisecond', () => {
    const armed = vi.spyOn(globalThis, 'setTimeout')
    systemClock.after(2 ** 40, () => undefined).cancel()
    expect(armed.mock.calls.map(([, delayMs]) => delayMs)).toEqual([2 ** 31 - 1])
    armed.mockRestore()
  })

  test('given the wall clock, then it is the time since 1970', () => {
    expect(Math.abs(systemClock.nowMs() - Date.now())).toBeLessThan(60_000)
  })
})

describe('the simulated clock', () => {
  test('given equal delays made in one turn, then they run in the order of their making', async () => {
    const clock = new SimulatedClock()
    const ran: number[] = []
    for (let index = 0; index < 10; index += 1) clock.after(3, () => ran.push(index))
    await clock.advance(3)
    expect(ran).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  })

  test('given timers that ran, when they are cancelled, then the count of pending ones does not notice', async () => {
    const clock = new SimulatedClock()
    const ran = clock.after(1, () => undefined)
    clock.after(9, () => undefined)
    await clock.advance(5)
    ran.cancel()
    expect(clock.pendingCount).toBe(1)
  })

  test('given timers in any order, then they run by due time, and time stands at each', async () => {
    const clock = new SimulatedClock()
    const ran: [number, number][] = []
    for (const delayMs of [30, 10, 20, 10.5]) clock.after(delayMs, () => ran.push([delayMs, clock.monotonicMs()]))
    await clock.advance(25)
    expect(ran).toEqual([
      [10, 10],
      [10.5, 10.5],
      [20, 20],
    ])
    expect(clock.monotonicMs()).toBe(25)
    expect(clock.pendingCount).toBe(1)
  })

  test('given a timer made by a long chain of promises, then it runs in the same advance at its own time', async () => {
    const clock = new SimulatedClock()
    const ran: number[] = []
    clock.after(10, () => {
      void (async () => {
        for (let hop = 0; hop < 5_000; hop += 1) await Promise.resolve()
        clock.after(5, () => ran.push(clock.monotonicMs()))
      })()
    })
    clock.after(12, () => ran.push(clock.monotonicMs()))
    await clock.advance(20)
    expect(ran).toEqual([12, 15])
  })

  test('given work begun before the move, then it may still make timers that are due', async () => {
    const clock = new SimulatedClock()
    const ran: number[] = []
    void Promise.resolve().then(() => clock.after(0, () => ran.push(clock.monotonicMs())))
    await clock.advance(0)
    expect(ran).toEqual([0])
  })

  test('given a jump of the wall clock, then monotonic time and timers do not notice', async () => {
    const clock = new SimulatedClock(1_000_000)
    let ranAtMs = -1
    clock.after(10, () => {
      ranAtMs = clock.monotonicMs()
    })
    clock.jumpWall(-3_600_000)
    await clock.advance(10)
    expect(ranAtMs).toBe(10)
    expect(clock.nowMs()).toBe(1_000_000 - 3_600_000 + 10)
  })

  test('given timers that end, then runUntilIdle stands at the last; given ones that go on, at its end', async () => {
    const clock = new SimulatedClock()
    clock.after(10, () => clock.after(20, () => undefined))
    expect(await clock.runUntilIdle(100)).toBe(true)
    expect(clock.monotonicMs()).toBe(30)
    const again = (): void => void clock.after(7, again)
    again()
    expect(await clock.runUntilIdle(100)).toBe(false)
    expect(clock.monotonicMs()).toBe(130)
  })

  test('given a callback that throws, then the move rejects with it and can be repeated', async () => {
    const clock = new SimulatedClock()
    const ran: string[] = []
    clock.after(5, () => {
      throw new Error('a defect')
    })
    clock.after(6, () => ran.push('after'))
    await expect(clock.advance(10)).rejects.toThrow('a defect')
    expect(clock.monotonicMs()).toBe(5)
    await clock.advance(5)
    expect(ran).toEqual(['after'])
  })

  test('given two moves at once, then the second is an Error', async () => {
    const clock = new SimulatedClock()
    const first = clock.advance(10)
    await expect(clock.advance(10)).rejects.toThrow('already being moved')
    await first
  })

  test.each([1, 2, 3, 4, 5])(
    'seed %i: given many timers made and cancelled, then order and count hold',
    async (seed) => {
      const random = new SeededRandom(`simulated-clock/${seed}`)
      const clock = new SimulatedClock()
      const timers = Array.from({ length: 5_000 }, (_, id) => {
        const dueAtMs = random.below(500)
        return { id, dueAtMs, timer: clock.after(dueAtMs, () => ran.push({ id, dueAtMs })) }
      })
      const ran: { id: number; dueAtMs: number }[] = []
      const cancelled = new Set(timers.filter(() => random.chance(0.8)).map(({ id }) => id))
      for (const { id, timer } of random.shuffle(timers)) if (cancelled.has(id)) timer.cancel()
      expect(clock.pendingCount, `seed ${seed}`).toBe(timers.length - cancelled.size)
      await clock.advance(500)
      const expected = timers
        .filter(({ id }) => !cancelled.has(id))
        .sort((a, b) => a.dueAtMs - b.dueAtMs || a.id - b.id)
        .map(({ id, dueAtMs }) => ({ id, dueAtMs }))
      expect(ran, `seed ${seed}`).toEqual(expected)
      expect(clock.pendingCount, `seed ${seed}`).toBe(0)
    },
  )
})

describe('the clock of the machines', () => {
  test('given a delayed transition, then it is taken when the clock says so, and not when the state was left', async () => {
    const clock = new SimulatedClock()
    const machine = createMachine({
      initial: 'waiting',
      states: { waiting: { after: { 100: 'late' }, on: { GO: 'gone' } }, late: {}, gone: {} },
    })
    const [waits, leaves] = [0, 1].map(() => createActor(machine, { clock: timerFunctions(clock) }).start())
    await clock.advance(99)
    expect(waits?.getSnapshot().value).toBe('waiting')
    leaves?.send({ type: 'GO' })
    expect(clock.pendingCount).toBe(1)
    await clock.advance(1)
    expect(waits?.getSnapshot().value).toBe('late')
    expect(leaves?.getSnapshot().value).toBe('gone')
    expect(clock.pendingCount).toBe(0)
  })
})

/** Real time, kept awake by an interval: the clock's own timers do not keep a process alive. */
async function passSystemTime(ms: number): Promise<void> {
  const awake = setInterval(() => undefined, 1_000)
  await sleep(systemClock, ms)
  clearInterval(awake)
}
