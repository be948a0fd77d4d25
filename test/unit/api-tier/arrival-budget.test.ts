// Places for unfinished requests: never more than the budget, the newest first, whoever stalls is cut when somebody waits,
// and nothing is left when all have gone.
import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { ArrivalBudget, type ArrivalPlace } from '../../../src/api-tier/arrival-budget.ts'

let clock: SimulatedClock
let budget: ArrivalBudget
let told: string[]
let gauge: number
beforeEach(() => {
  clock = new SimulatedClock()
  told = []
  gauge = 0
  const metrics = { arriving: (bytes: number) => (gauge = bytes), cut: () => told.push('counted') }
  budget = new ArrivalBudget({ clock, bytesMax: 100, waitingMax: 2, graceMs: 1_000, metrics })
})

const claim = (name: string, bytes: number): ArrivalPlace =>
  budget.claim(bytes, { granted: () => told.push(`${name} granted`), cut: () => told.push(`${name} cut`) })

describe('the arrival budget', () => {
  it('gives places while there is room, and the rest wait until one is given back', () => {
    const [a, b] = [claim('a', 60), claim('b', 40)]
    const c = claim('c', 50)
    expect([a.isGranted, b.isGranted, c.isGranted, budget.bytes, budget.waiting]).toEqual([true, true, false, 100, 1])
    b.release()
    expect(c.isGranted).toBe(false)
    a.release()
    expect([c.isGranted, told, gauge]).toEqual([true, ['c granted'], 50])
  })

  it('serves the newest of those that wait first, and cuts the oldest above their number', () => {
    const a = claim('a', 100)
    claim('b', 60)
    claim('c', 60)
    claim('d', 60)
    expect(told).toEqual(['counted', 'b cut'])
    a.release()
    expect(told.slice(2)).toEqual(['d granted'])
  })

  it('takes a place away for who waits, once its time is over, the oldest first', async () => {
    claim('a', 50)
    await clock.advance(500)
    claim('b', 50)
    claim('c', 50)
    await clock.advance(499)
    expect(told).toEqual([])
    await clock.advance(1)
    expect(told).toEqual(['counted', 'a cut', 'c granted'])
    expect(budget.bytes).toBe(100)
  })

  it('takes one away at once from who has long had it, and leaves it alone while nobody waits', async () => {
    claim('a', 100)
    await clock.advance(60_000)
    expect(told).toEqual([])
    expect(claim('b', 30).isGranted).toBe(true)
    expect(told).toEqual(['counted', 'a cut'])
  })

  it('gives the whole budget to a request that is longer than it', () => {
    expect(claim('a', 101).isGranted).toBe(true)
    expect(budget.bytes).toBe(100)
  })

  it('is given back once, also by who was cut and says so at once', async () => {
    const place = budget.claim(100, { granted: () => {}, cut: () => place.release() })
    claim('waits', 60)
    await clock.advance(1_000)
    expect([budget.bytes, budget.waiting]).toEqual([60, 0])
    place.release()
    expect(budget.bytes).toBe(60)
  })

  it('never exceeds its bounds, tells everyone who waits one thing, and ends at nothing', async () => {
    const step = fc.record({
      what: fc.constantFrom('claim', 'claim', 'release', 'wait'),
      bytes: fc.integer({ min: 1, max: 120 }),
      pick: fc.nat(),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 120 }), async (walk) => {
        const time = new SimulatedClock()
        const under = new ArrivalBudget({ clock: time, bytesMax: 100, waitingMax: 5, graceMs: 1_000 })
        const open: { readonly place: ArrivalPlace; granted: number; cut: number }[] = []
        for (const { what, bytes, pick } of walk) {
          if (what === 'claim') {
            const counts = { granted: 0, cut: 0 }
            const place = under.claim(bytes, {
              granted: () => {
                counts.granted += 1
              },
              cut: () => {
                counts.cut += 1
              },
            })
            open.push(Object.assign(counts, { place }))
          } else if (what === 'release') open[pick % Math.max(1, open.length)]?.place.release()
          else await time.advance(pick % 700)
          expect(under.bytes).toBeGreaterThanOrEqual(0)
          expect(under.bytes).toBeLessThanOrEqual(100)
          expect(under.waiting).toBeLessThanOrEqual(5)
          for (const { granted, cut } of open) expect(granted <= 1 && cut <= 1).toBe(true)
        }
        for (const { place } of open) place.release()
        expect([under.bytes, under.waiting]).toEqual([0, 0])
      }),
    )
  })
})
