// Owns: waiting for what may never come (a log, a switchboard) no longer than was promised to whoever waits here.
// What is waited for is not stopped by it: its late end is heard and ignored.
import type { Clock } from '../ports/clock.ts'
import { type ErrorName, TrunklineError } from '../protocol/errors.ts'

/** The answer, or this error at `untilMs` (monotonic). Rejections are passed on. */
export function answeredBy<T>(
  clock: Pick<Clock, 'after' | 'monotonicMs'>,
  untilMs: number,
  error: ErrorName,
  answer: Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(Math.max(0, untilMs - clock.monotonicMs()), () => reject(new TrunklineError(error)))
    answer.then(resolve, reject).finally(() => timer.cancel())
  })
}

/** Whether it settles within `waitMs`. Rejections are passed on. */
export function settlesWithin(clock: Pick<Clock, 'after'>, waitMs: number, work: Promise<unknown>): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(waitMs, () => resolve(false))
    work.then(() => resolve(true), reject).finally(() => timer.cancel())
  })
}
