// Owns: moving simulated time until a promise has settled, also when real I/O (a disk) has a part in it.
import type { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'

/** Simulated time after which a promise counts as stuck. */
const stuckAfterMs = 10 * 60_000
const stepMs = 5

/** Moves `clock` in steps until `work` settles. Before each step `quiet` may wait for real I/O, for which time stands. */
export async function drive<T>(
  clock: SimulatedClock,
  work: Promise<T>,
  quiet: () => Promise<void> = () => Promise.resolve(),
): Promise<T> {
  let settled = false
  const watched = work.finally(() => {
    settled = true
  })
  watched.catch(() => {})
  const untilMs = clock.monotonicMs() + stuckAfterMs
  for (;;) {
    await clock.settle()
    await quiet()
    await clock.settle()
    if (settled) return watched
    if (clock.monotonicMs() >= untilMs) throw new Error('stuck: simulated time passes and nothing happens')
    await clock.advance(stepMs)
  }
}
