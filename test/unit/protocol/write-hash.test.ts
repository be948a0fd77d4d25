import { describe, expect, it } from 'vitest'
import { type Block, encoding } from '../../../src/protocol/messages.ts'
import { schemas } from '../../../src/protocol/thrift/schemas.ts'
import { writeHash, writeHashSize } from '../../../src/protocol/write-hash.ts'
import { bytesToHex, fromJson, type Json, readVectors } from './support/json-values.ts'

const block: Block = {
  partition: 1,
  packing: 1,
  count: 1,
  encoding: encoding.none,
  rawSize: 2,
  data: Uint8Array.of(1, 2),
}

describe('write hash', () => {
  it('Given the vectors, When hashed, Then they are as drawn', () => {
    const { cases } = readVectors<{ cases: readonly { blocks: readonly Json[]; hash: string }[] }>('write-hash')
    expect(cases.length).toBeGreaterThan(3)
    for (const { blocks, hash } of cases) {
      expect(bytesToHex(writeHash(blocks.map((each) => fromJson(schemas.Block, each))))).toBe(hash)
    }
  })

  it('Given a write, When anything of it that lands is changed, Then the hash changes', () => {
    const other = { ...block, partition: 2 }
    const hashes = [
      [block],
      [other],
      [block, other],
      [other, block],
      [block, block],
      [{ ...block, packing: 2 }],
      [{ ...block, count: 2 }],
      [{ ...block, encoding: encoding.gzip }],
      [{ ...block, rawSize: 3 }],
      [{ ...block, data: Uint8Array.of(1, 3) }],
      [{ ...block, data: Uint8Array.of(1, 2, 0) }],
      [],
    ].map((blocks) => bytesToHex(writeHash(blocks)))
    expect(new Set(hashes).size).toBe(hashes.length)
    for (const hash of hashes) expect(hash).toHaveLength(writeHashSize * 2)
  })

  it('Given fields that only a read sets, When hashed, Then they do not count', () => {
    expect(writeHash([{ ...block, offset: 5, first: 0, take: 1, appendTimeMs: 9 }])).toEqual(writeHash([block]))
  })
})
