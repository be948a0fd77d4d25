// Proves that the number of places follows how long turns of the event loop are, within its bounds.
import { describe, expect, it } from 'vitest'
import { ConcurrencyLimit, placesMin, turnMs } from '../../../src/api-tier/quotas/concurrency-limit.ts'

function world(placesMax = 100) {
  let nowMs = 0
  let ends: (() => void)[] = []
  const told: number[] = []
  const limit = new ConcurrencyLimit({
    placesMax,
    clock: { monotonicMs: () => nowMs },
    metrics: { places: (places) => void told.push(places) },
    afterTurn: (run) => void ends.push(run),
  })
  /** One turn with `taken` places in use. */
  const turn = (busyMs: number, { taken = placesMin, waits = true } = {}): void => {
    limit.used(taken, false)
    nowMs += busyMs
    limit.used(taken, waits)
    for (const end of ends.splice(0)) end()
  }
  return { limit, told, turn, measured: () => ends.length, drop: () => (ends = []) }
}

describe('the concurrency limit', () => {
  it('given long turns, then there are fewer places, but never fewer than the least', () => {
    const { limit, turn, told } = world()
    const before = limit.places
    turn(turnMs + 1)
    expect(limit.places).toBeCloseTo(before * 0.9)
    for (let count = 0; count < 100; count++) turn(50)
    expect(limit.places).toBe(placesMin)
    expect(told.at(-1)).toBe(placesMin)
  })

  it('given short turns and somebody who waits, then there is one more place a turn, up to the most', () => {
    const { limit, turn } = world(80)
    const before = limit.places
    turn(1)
    expect(limit.places).toBe(before + 1)
    for (let count = 0; count < 100; count++) turn(1)
    expect(limit.places).toBe(80)
  })

  it('given short turns and nobody who waits, then the number stays', () => {
    const { limit, turn } = world()
    const before = limit.places
    turn(1, { waits: false })
    expect(limit.places).toBe(before)
  })

  it('given one long turn among many short ones, then little is lost', () => {
    const { limit, turn } = world(64)
    for (let count = 0; count < 20; count++) turn(1)
    turn(200)
    expect(limit.places).toBeGreaterThan(57)
  })

  it('given few places in use, then nothing is measured', () => {
    const { limit, measured } = world()
    limit.used(placesMin - 1, true)
    expect(measured()).toBe(0)
    limit.used(placesMin, true)
    limit.used(placesMin, true)
    expect(measured()).toBe(1)
  })

  it('given a most below the least, then it is always that', () => {
    const { limit, turn } = world(1)
    expect(limit.places).toBe(1)
    turn(50, { taken: 1 })
    turn(1, { taken: 1 })
    expect(limit.places).toBe(1)
  })
})
