// Owns: the seed of randomised tests: printed, and replayed with TRUNKLINE_TEST_SEED.
import fc from 'fast-check'

let chosen: number | undefined

/** The 31-bit seed of this run, printed once for each test file. */
export function runSeed(): number {
  if (chosen !== undefined) return chosen
  const given = process.env['TRUNKLINE_TEST_SEED']
  chosen = given === undefined ? Math.floor(Math.random() * 0x7fffffff) : Number(given)
  if (!Number.isInteger(chosen)) throw new Error('TRUNKLINE_TEST_SEED is not an integer')
  console.log(`replay with TRUNKLINE_TEST_SEED=${chosen}`)
  return chosen
}

/** Small, fast, seeded: numbers in [0, below). */
export function seededNumbers(seed: number): (below: number) => number {
  let state = seed | 0
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** fast-check over the printed seed. */
export function forAll<T>(runs: number, arbitrary: fc.Arbitrary<T>, check: (value: T) => void): void {
  fc.assert(fc.property(arbitrary, check), { seed: runSeed(), numRuns: runs })
}
