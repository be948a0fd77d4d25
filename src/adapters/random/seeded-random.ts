// Owns: the one generator of a simulation (xoshiro128**), so that a run is replayed from its printed seed.
// 1. The same seed gives the same numbers on every machine and Node version.
// 2. fork(label) depends on the seed and the label only, not on what was drawn before: adding a draw in one actor
//    does not change the others.
// Never for keys outside tests: it is predictable by design.
import { createHash } from 'node:crypto'
import type { Random } from '../../ports/random.ts'

export class SeededRandom implements Random {
  /** Text that makes the same generator again. */
  readonly seed: string
  readonly #state: Uint32Array

  constructor(seed: number | string) {
    this.seed = String(seed)
    const digest = createHash('sha256').update(`trunkline seeded random ${this.seed}`).digest()
    this.#state = Uint32Array.from([0, 4, 8, 12], (at) => digest.readUInt32LE(at))
  }

  /** An independent generator, for one actor or one purpose. */
  fork(label: string): SeededRandom {
    return new SeededRandom(`${this.seed}/${label}`)
  }

  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count)
    let word = 0
    for (let index = 0; index < count; index += 1) {
      word = index % 4 === 0 ? this.#next() : word >>> 8
      bytes[index] = word & 0xff
    }
    return bytes
  }

  fraction(): number {
    // 53 bits, as a double holds.
    return ((this.#next() >>> 5) * 2 ** 26 + (this.#next() >>> 6)) / 2 ** 53
  }

  /** An integer 0 ≤ x < `limit`. */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit)
  }

  /** True with that probability (0..1). */
  chance(probability: number): boolean {
    return this.fraction() < probability
  }

  /** One of the list; an empty list is an Error. */
  pick<T>(list: readonly T[]): T {
    const index = this.below(list.length)
    if (index >= list.length) throw new Error('picking from an empty list')
    return list[index] as T
  }

  /** A shuffled copy. */
  shuffle<T>(list: readonly T[]): T[] {
    const copy = [...list]
    for (let index = copy.length - 1; index > 0; index -= 1) {
      const other = this.below(index + 1)
      const held = copy[index] as T
      copy[index] = copy[other] as T
      copy[other] = held
    }
    return copy
  }

  #next(): number {
    const state = this.#state
    const s0 = state[0] ?? 0
    const s1 = state[1] ?? 0
    const s2 = state[2] ?? 0
    const s3 = state[3] ?? 0
    const result = Math.imul(rotateLeft(Math.imul(s1, 5), 7), 9) >>> 0
    const c = s2 ^ s0
    const d = s3 ^ s1
    state[0] = s0 ^ d
    state[1] = s1 ^ c
    state[2] = c ^ (s1 << 9)
    state[3] = rotateLeft(d, 11)
    return result
  }
}

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits))
}
