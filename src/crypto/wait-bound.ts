// Owns: bounding how long a key provider's answer is waited for.
// Leaves out: what happens to the answer that comes later (the caller's business: it still holds the promise).
import type { Clock } from '../ports/clock.ts'
import { TrunklineError } from '../protocol/errors.ts'

/** A provider that has not answered within this is away. */
export const keyWaitMs = 5_000

/** Rejects with KEY_UNAVAILABLE after `waitMs`; a stranger's error becomes KEY_UNAVAILABLE with the original as cause. */
export function keyAnswer<T>(clock: Clock, answer: Promise<T>, waitMs: number = keyWaitMs): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(waitMs, () =>
      reject(new TrunklineError('KEY_UNAVAILABLE', { details: { reason: 'timeout' } })),
    )
    answer.then(
      (value) => {
        timer.cancel()
        resolve(value)
      },
      (error: unknown) => {
        timer.cancel()
        reject(TrunklineError.from(error, 'KEY_UNAVAILABLE'))
      },
    )
  })
}
