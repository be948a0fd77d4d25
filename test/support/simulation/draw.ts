// Owns: small helpers of the simulation: numbers between two bounds (both included), errors as text.
import type { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import type { Range } from './profile.ts'

export function within(random: SeededRandom, { min, max }: Range): number {
  return min + random.below(max - min + 1)
}

/** Whole, or with a fraction where the bounds are below one. */
export function shareWithin(random: SeededRandom, { min, max }: Range): number {
  return min + (max - min) * random.fraction()
}

/** What was thrown, for a person. */
export function textOfThrown(thrown: unknown): string {
  return thrown instanceof Error ? (thrown.stack ?? thrown.message) : JSON.stringify(thrown)
}
