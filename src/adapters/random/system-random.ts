// Owns: the Random of a running process: the operating system's generator for bytes, V8's for jitter.
// 1. Small requests (challenges, ids) are cut from a block that is filled at once: asking the system costs microseconds.
//    What was handed out is wiped from the block, and nothing as long as a key ever comes from it.
import { randomFillSync } from 'node:crypto'
import type { Random } from '../../ports/random.ts'

const blockBytes = 4_096
const smallBytesMax = 16

const block = new Uint8Array(blockBytes)
let at = blockBytes

export const systemRandom: Random = {
  // Not randomBytes: a Buffer may come from a pool that others can reach.
  bytes: (count: number): Uint8Array => (count > smallBytesMax ? randomFillSync(new Uint8Array(count)) : small(count)),
  fraction: () => Math.random(),
}

function small(count: number): Uint8Array {
  if (at + count > blockBytes) {
    randomFillSync(block)
    at = 0
  }
  const bytes = block.slice(at, at + count)
  block.fill(0, at, at + count)
  at += count
  return bytes
}
