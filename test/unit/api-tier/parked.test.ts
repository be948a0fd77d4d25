// Reads that wait at a node while the API process in front of it stops.
import { describe, expect, it } from 'vitest'
import { Parked } from '../../../src/api-tier/parked.ts'

describe('parked calls', () => {
  it('given no drain, then a call ends as it ends', async () => {
    const parked = new Parked()
    expect(await parked.untilDrained(async () => 1)).toBe(1)
    await expect(parked.untilDrained(() => Promise.reject(new RangeError('own')))).rejects.toThrow('own')
  })

  it('given calls that wait, when it drains, then each ends as DRAINING, and later ones do not begin', async () => {
    const parked = new Parked()
    let lateFailure: (error: Error) => void = () => {}
    const waiting = [
      parked.untilDrained(() => new Promise<never>(() => {})),
      parked.untilDrained(
        () =>
          new Promise<never>((_, reject) => {
            lateFailure = reject
          }),
      ),
    ]
    parked.drain()
    for (const one of waiting) await expect(one).rejects.toMatchObject({ name: 'DRAINING', retryable: true })
    // Nobody waits for it any more; it must not end the process.
    lateFailure(new Error('late'))
    let begun = false
    const later = parked.untilDrained(async () => {
      begun = true
    })
    await expect(later).rejects.toMatchObject({ name: 'DRAINING' })
    expect(begun).toBe(false)
  })

  it('given a call that has ended, when it drains, then its answer stays', async () => {
    const parked = new Parked()
    const answered = await parked.untilDrained(async () => 'kept')
    parked.drain()
    expect(answered).toBe('kept')
  })
})
