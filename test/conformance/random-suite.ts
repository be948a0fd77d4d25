// Owns: the specification of the Random port, for every adapter. Not a test of randomness: it finds constants, short
// ranges and shared arrays.
import { describe, expect, test } from 'vitest'
import type { Random } from '../../src/ports/random.ts'

export function describeRandom(name: string, factory: () => Random): void {
  describe(`${name}: the Random port`, () => {
    test.each([0, 1, 3, 12, 16, 4_096, 100_000])('given %i bytes asked, then so many come', (count) => {
      expect(factory().bytes(count).length).toBe(count)
    })

    test('given two calls, then the arrays differ, share no memory and fill their buffer', () => {
      const random = factory()
      const [one, two] = [random.bytes(32), random.bytes(32)]
      expect(one).not.toEqual(two)
      expect(one.buffer).not.toBe(two.buffer)
      expect(one.buffer.byteLength).toBe(32)
    })

    test('given many small requests, then no two answers are alike or share memory', () => {
      const random = factory()
      const drawn = Array.from({ length: 2_000 }, () => random.bytes(12))
      const before = new Set(drawn.map((bytes) => Buffer.from(bytes).toString('hex')))
      expect(before.size).toBe(drawn.length)
      expect(new Set(drawn.map(({ buffer }) => buffer)).size).toBe(drawn.length)
      expect(drawn.every(({ buffer }) => buffer.byteLength === 12)).toBe(true)
      // What comes later changes nothing of what was handed out.
      random.bytes(12)
      expect(new Set(drawn.map((bytes) => Buffer.from(bytes).toString('hex')))).toEqual(before)
    })

    test('given many bytes, then every value occurs about as often at every place of a word', () => {
      const random = factory()
      for (const place of [0, 1, 2, 3]) {
        const counts = Array.from({ length: 256 }, () => 0)
        const drawn = random.bytes(4 * 256 * 200)
        for (let index = place; index < drawn.length; index += 4) {
          const value = drawn[index] ?? 0
          counts[value] = (counts[value] ?? 0) + 1
        }
        // 200 expected, σ ≈ 14: nine σ never happens by chance.
        expect(Math.min(...counts)).toBeGreaterThan(200 - 127)
        expect(Math.max(...counts)).toBeLessThan(200 + 127)
      }
    })

    test('given many fractions, then all lie in [0, 1) and fill it', () => {
      const random = factory()
      const buckets = Array.from({ length: 10 }, () => 0)
      for (let index = 0; index < 10_000; index += 1) {
        const fraction = random.fraction()
        expect(fraction >= 0 && fraction < 1).toBe(true)
        const bucket = Math.floor(fraction * 10)
        buckets[bucket] = (buckets[bucket] ?? 0) + 1
      }
      expect(Math.min(...buckets)).toBeGreaterThan(700)
    })
  })
}
