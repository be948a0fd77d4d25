// Owns: the Random of a running process: the operating system's generator for bytes, V8's for jitter.
import { randomFillSync } from 'node:crypto'
import type { Random } from '../../ports/random.ts'

export const systemRandom: Random = {
  // Not randomBytes: a Buffer may come from a pool that others can reach.
  bytes: (count: number): Uint8Array => randomFillSync(new Uint8Array(count)),
  fraction: () => Math.random(),
}
