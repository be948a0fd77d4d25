// Proves that a rate is a rate whatever the pattern, that what is held is bounded, and that a flood of one tenant refuses
// no other.
import { describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { type Admitted, type Demand, type QuotaSettings, Quotas } from '../../../src/api-tier/quotas/quotas.ts'
import { TokenBucket } from '../../../src/api-tier/quotas/token-bucket.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'

const unlimited: QuotaSettings = {
  tenantRequestsPerSecond: 0,
  tenantBytesPerSecond: 0,
  clientRequestsPerSecond: 0,
  clientBytesPerSecond: 0,
  sessionRequestsPerSecond: 0,
  sessionBytesPerSecond: 0,
  tenantHeldBytesMax: 0,
  clientHeldBytesMax: 0,
  tenantWaitingReadsMax: 0,
  clientWaitingReadsMax: 0,
  heldBytesMax: 1_000_000,
}

function world(settings: Partial<QuotaSettings>) {
  const clock = new SimulatedClock()
  const refused: string[] = []
  let heldBytes = 0
  const quotas = new Quotas({ ...unlimited, ...settings }, clock, {
    refused: (limit) => void refused.push(limit),
    held: (bytes) => {
      heldBytes = bytes
    },
  })
  const ask = (tenant: string, client: string, over: Partial<Demand> & { session?: string } = {}): Admitted => {
    const { session, ...demand } = over
    return quotas.admit(
      { tenant, client: `${tenant}/${client}`, session },
      { bytes: 100, waits: false, unpacks: false, ...demand },
    )
  }
  const refusal = (...args: Parameters<typeof ask>): TrunklineError => {
    try {
      ask(...args)
    } catch (thrown) {
      if (thrown instanceof TrunklineError) return thrown
      throw thrown
    }
    throw new Error('it was admitted')
  }
  return { clock, refused, ask, refusal, held: () => heldBytes }
}

describe('a token bucket', () => {
  it('lets a second’s worth through at once and the rate ever after, however it is asked', () => {
    const random = new SeededRandom(7)
    for (let round = 0; round < 200; round++) {
      const perSecond = 1 + Math.floor(random.fraction() * 1_000)
      const bucket = new TokenBucket(perSecond, 0)
      let nowMs = 0
      let taken = 0
      while (nowMs < 20_000) {
        const amount = 1 + Math.floor(random.fraction() * perSecond)
        if (bucket.waitMs(amount, nowMs) === 0) {
          bucket.take(amount, nowMs)
          taken += amount
        }
        nowMs += random.fraction() * 200
      }
      expect(taken).toBeLessThanOrEqual(perSecond * (1 + nowMs / 1_000) + 1e-6)
    }
  })

  it('says how long to wait, and then lets through', () => {
    const random = new SeededRandom(8)
    const bucket = new TokenBucket(50, 0)
    let nowMs = 0
    for (let ask = 0; ask < 500; ask++) {
      const amount = 1 + Math.floor(random.fraction() * 200)
      nowMs += bucket.waitMs(amount, nowMs)
      expect(bucket.waitMs(amount, nowMs)).toBe(0)
      bucket.take(amount, nowMs)
    }
  })

  it('owes a second at most, and goes on when the clock stands still or jumps', () => {
    const bucket = new TokenBucket(10, 1_000)
    bucket.take(1_000_000, 1_000)
    expect(bucket.waitMs(1, 1_000)).toBe(1_100)
    expect(bucket.waitMs(1, 500)).toBe(1_100)
    expect(bucket.waitMs(10, 10_000_000)).toBe(0)
  })
})

describe('rates', () => {
  it.each([
    ['tenant requests per second', { tenantRequestsPerSecond: 3 }],
    ['client requests per second', { clientRequestsPerSecond: 3 }],
    ['session requests per second', { sessionRequestsPerSecond: 3 }],
    ['tenant bytes per second', { tenantBytesPerSecond: 300 }],
    ['client bytes per second', { clientBytesPerSecond: 300 }],
    ['session bytes per second', { sessionBytesPerSecond: 300 }],
  ])('refuses above the %s, says so and when to come again', async (limit, settings) => {
    const { clock, ask, refusal, refused } = world(settings)
    for (let at = 0; at < 3; at++) ask('blue', 'app', { session: 's' }).release()
    const error = refusal('blue', 'app', { session: 's' })
    expect([error.name, error.details, refused]).toEqual(['TOO_MANY_REQUESTS', { limit }, [limit]])
    await clock.advance(error.retryAfterMs ?? 0)
    ask('blue', 'app', { session: 's' }).release()
  })

  it('counts an answer against the bytes of what follows', () => {
    const { ask, refusal } = world({ clientBytesPerSecond: 1_000 })
    const read = ask('blue', 'app')
    read.answered(1_500, 1_500)
    read.release()
    expect(refusal('blue', 'app').details).toEqual({ limit: 'client bytes per second' })
    ask('blue', 'other').release()
  })

  it('takes nothing from a caller for what was refused', async () => {
    const { clock, ask, refusal } = world({ tenantRequestsPerSecond: 100, clientRequestsPerSecond: 1 })
    ask('blue', 'greedy').release()
    for (let at = 0; at < 500; at++) refusal('blue', 'greedy')
    for (let at = 0; at < 99; at++) ask('blue', `c${at}`).release()
    expect(refusal('blue', 'c100').details).toEqual({ limit: 'tenant requests per second' })
    await clock.advance(1_000)
    ask('blue', 'greedy').release()
  })
})

describe('what is held', () => {
  it('is bounded for a client and a tenant, and one request always fits', () => {
    const { ask, refusal } = world({ clientHeldBytesMax: 250, tenantHeldBytesMax: 400 })
    const first = ask('blue', 'app', { bytes: 10_000 })
    expect(refusal('blue', 'app').details).toEqual({ limit: 'tenant held bytes' })
    first.release()
    const two = [ask('blue', 'app'), ask('blue', 'app')]
    expect(refusal('blue', 'app').details).toEqual({ limit: 'client held bytes' })
    const others = [ask('blue', 'b'), ask('blue', 'b')]
    expect(refusal('blue', 'c').details).toEqual({ limit: 'tenant held bytes' })
    for (const one of [...two, ...others]) one.release()
    ask('blue', 'app').release()
  })

  it('counts reads that wait apart', () => {
    const { ask, refusal } = world({ clientWaitingReadsMax: 2, tenantWaitingReadsMax: 3 })
    const waiting = [ask('blue', 'app', { waits: true }), ask('blue', 'app', { waits: true })]
    expect(refusal('blue', 'app', { waits: true }).details).toEqual({ limit: 'client waiting reads' })
    ask('blue', 'app').release()
    ask('blue', 'b', { waits: true })
    expect(refusal('blue', 'c', { waits: true }).details).toEqual({ limit: 'tenant waiting reads' })
    waiting[0]?.release()
    ask('blue', 'app', { waits: true })
  })

  it('lets a flood of one tenant refuse no other, and stays below twice the bound', () => {
    const random = new SeededRandom(9)
    const { ask, held } = world({ heldBytesMax: 100_000 })
    const noisy: Admitted[] = []
    let refusals = 0
    const flood = (): void => {
      for (let at = 0; at < 50; at++) {
        try {
          noisy.push(ask('noisy', `c${at % 7}`, { bytes: 1_000 }))
        } catch {
          refusals += 1
        }
      }
    }
    for (let round = 0; round < 200; round++) {
      flood()
      const quiet = [ask('quiet', 'a', { bytes: 10_000 }), ask('calm', 'a', { bytes: 10_000 })]
      expect(held()).toBeLessThanOrEqual(200_000)
      for (const one of quiet) one.release()
      while (noisy.length > 0 && random.fraction() < 0.9) noisy.shift()?.release()
    }
    expect(refusals).toBeGreaterThan(1_000)
    for (const one of noisy) one.release()
    expect(held()).toBe(0)
  })

  it('counts an answer until it has left; one that finds no place is refused, and a small one always has one', () => {
    const { ask, held } = world({ clientHeldBytesMax: 50_000 })
    const large = [ask('blue', 'app'), ask('blue', 'app'), ask('blue', 'app')]
    large[0]?.answered(40_000, 40_000)
    expect(() => large[1]?.answered(40_000, 40_000)).toThrow(
      expect.objectContaining({ name: 'TOO_MANY_REQUESTS', details: { limit: 'client held bytes' } }),
    )
    large[2]?.answered(4_000, 4_000)
    expect(held()).toBe(44_000)
    large[0]?.release()
    const again = ask('blue', 'app')
    again.answered(40_000, 40_000)
    for (const one of [...large, again]) one.release()
    expect(held()).toBe(0)
  })

  it('bounds the answers of all together, however few clients there are', () => {
    const { ask, held } = world({ heldBytesMax: 100_000 })
    const many = Array.from({ length: 100 }, (_, at) => ask('blue', `c${at}`))
    let refusals = 0
    for (const one of many) {
      try {
        one.answered(30_000, 30_000)
      } catch {
        refusals += 1
        one.release()
      }
      expect(held()).toBeLessThanOrEqual(200_000)
    }
    expect(refusals).toBeGreaterThan(90)
    for (const one of many) one.release()
    expect(held()).toBe(0)
  })

  it('is released once', () => {
    const { ask, held } = world({})
    const one = ask('blue', 'app')
    const other = ask('blue', 'app')
    one.release()
    one.release()
    expect(held()).toBe(100)
    other.release()
    expect(held()).toBe(0)
  })
})
