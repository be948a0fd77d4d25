// Owns: who passes the Random suite, and that a seed replays.
import { describe, expect, test } from 'vitest'
import { SeededRandom } from '../../src/adapters/random/seeded-random.ts'
import { systemRandom } from '../../src/adapters/random/system-random.ts'
import { describeRandom } from './random-suite.ts'

const seedOneHex = 'ff80df4352d0a619472bf1f2d0e7e970'

describeRandom('seeded', () => new SeededRandom(42))
describeRandom('system', () => systemRandom)

describe('the seeded random', () => {
  test('given the same seed, then the same numbers; another seed, others', () => {
    const draw = (seed: number | string): readonly unknown[] => {
      const random = new SeededRandom(seed)
      return [[...random.bytes(16)], random.fraction(), random.below(1_000), random.shuffle([1, 2, 3, 4, 5])]
    }
    expect(draw(7)).toEqual(draw('7'))
    expect(draw(7)).not.toEqual(draw(8))
  })

  // Written down so that an old seed replays for ever: a change here makes printed seeds worthless.
  test('given seed 1, then these are its first bytes', () => {
    expect(Buffer.from(new SeededRandom(1).bytes(16)).toString('hex')).toBe(seedOneHex)
  })

  test('given a fork, then it depends on the label, not on what was drawn before', () => {
    const [fresh, used] = [new SeededRandom(1), new SeededRandom(1)]
    used.bytes(100)
    expect(used.fork('a').bytes(8)).toEqual(fresh.fork('a').bytes(8))
    expect(fresh.fork('b').bytes(8)).not.toEqual(fresh.fork('a').bytes(8))
    expect(new SeededRandom(fresh.fork('a').seed).bytes(8)).toEqual(fresh.fork('a').bytes(8))
  })

  test('given the helpers, then they keep their bounds', () => {
    const random = new SeededRandom('bounds')
    const drawn = new Set(Array.from({ length: 200 }, () => random.below(3)))
    expect(drawn).toEqual(new Set([0, 1, 2]))
    expect(random.chance(0)).toBe(false)
    expect(random.chance(1)).toBe(true)
    expect(['a', 'b']).toContain(random.pick(['a', 'b']))
    expect(() => random.pick([])).toThrow('empty')
    expect(new Set(random.shuffle([1, 2, 3]))).toEqual(new Set([1, 2, 3]))
  })
})
