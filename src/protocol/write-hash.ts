// Owns: the 8 bytes that name a write's content in every record header (docs/formats.md "Write hash").
// SHA-256, first 8 bytes, of: lp("tl1 write") │ parts u32 │ per part: partition u32 │ packing u32 │ encoding u32 │
//   count u32 │ rawSize u32 │ lp(data); lp = u32 length + bytes, all big-endian.
// 1. Over unsealed blocks: a repeat hashes the same whichever node seals it. It finds changes, it is no signature.
import { createHash } from 'node:crypto'
import type { Block } from './messages.ts'

export const writeHashSize = 8

const domain = Buffer.from('\0\0\0\x09tl1 write', 'latin1')
const partHeadSize = 24

/** The hash of a write whose part i is blocks[i]. Read-only fields of the blocks do not count. */
export function writeHash(blocks: readonly Block[]): Uint8Array {
  const head = new Uint8Array(partHeadSize)
  const view = new DataView(head.buffer)
  const hash = createHash('sha256').update(domain)
  view.setUint32(0, blocks.length)
  hash.update(head.subarray(0, 4))
  for (const { partition, packing, encoding, count, rawSize, data } of blocks) {
    view.setUint32(0, partition)
    view.setUint32(4, packing)
    view.setUint32(8, encoding)
    view.setUint32(12, count)
    view.setUint32(16, rawSize)
    view.setUint32(20, data.length)
    hash.update(head).update(data)
  }
  return new Uint8Array(hash.digest().subarray(0, writeHashSize))
}
