import { describe, expect, it } from 'vitest'
import { buildBlock } from '../../../../src/protocol/block.ts'
import { parseProducerId, parseTopicId } from '../../../../src/protocol/ids.ts'
import type { Block } from '../../../../src/protocol/messages.ts'
import { decodeRecordHeader } from '../../../../src/protocol/record-header.ts'
import { equalBytes } from '../../../../src/protocol/turns.ts'
import { writeHash } from '../../../../src/protocol/write-hash.ts'
import { type Sealer, sealWrite, stageWrite } from '../../../../src/stream-tier/write/staged-write.ts'

const place = { topicId: parseTopicId('1'.repeat(32)), producerId: parseProducerId('a'.repeat(32)), n: 7 }
const block = (partition: number, text = 'hello'): Block => buildBlock(partition, [{ payload: Buffer.from(text) }], 0)

describe('a staged write', () => {
  it('keeps blocks, bytes and the hash over all of them', () => {
    const blocks = [block(0), block(2, 'other')]
    const staged = stageWrite(blocks, { partitions: 3 })
    expect(staged.partitions).toEqual([0, 2])
    expect(staged.events).toBe(2)
    expect(staged.bytes).toBe(blocks.reduce((sum, { data }) => sum + data.length, 0))
    expect(equalBytes(staged.hash, writeHash(blocks))).toBe(true)
    expect(equalBytes(staged.hash, stageWrite([block(0), block(2, 'othex')], { partitions: 3 }).hash)).toBe(false)
    expect(equalBytes(staged.hash, stageWrite([block(0), block(1, 'other')], { partitions: 3 }).hash)).toBe(false)
  })

  it.each([
    ['nothing', [], 'EMPTY_BATCH'],
    ['a partition that is not there', [block(0), block(3)], 'UNKNOWN_PARTITION'],
    ['a block without events', [{ ...block(0), count: 0 }], 'EMPTY_BATCH'],
    ['sizes that do not fit', [{ ...block(0), rawSize: 1 }], 'BAD_BLOCK'],
    ['too many parts', [block(0), block(1), block(2), block(0), block(1)], 'BATCH_TOO_LARGE'],
    ['too many bytes', [block(0, 'x'.repeat(600)), block(0, 'x'.repeat(600))], 'BATCH_TOO_LARGE'],
  ])('refuses %s before anything is queued', (_, blocks, name) => {
    expect(() => stageWrite(blocks, { partitions: 3, partsMax: 4, bytesMax: 1_000 })).toThrow(
      expect.objectContaining({ name }),
    )
  })

  it('names the part that is wrong', () => {
    expect(() => stageWrite([block(0), block(9)], { partitions: 3 })).toThrow(
      expect.objectContaining({ details: expect.objectContaining({ part: '1' }) }),
    )
  })

  it('does not keep a large frame alive for a small block', () => {
    const frame = new Uint8Array(100_000)
    const { data } = block(0)
    frame.set(data, 50)
    const staged = stageWrite([{ ...block(0), data: frame.subarray(50, 50 + data.length) }], { partitions: 1 })
    expect(staged.blocks[0]?.data.buffer.byteLength).toBe(data.length)
    expect(staged.blocks[0]?.data).toEqual(Uint8Array.from(data))
  })

  it('seals every part with the header of the whole write, at once when the key is at hand', () => {
    const staged = stageWrite([block(0), block(2)], { partitions: 3 })
    const places: unknown[] = []
    const sealer: Sealer = {
      seal: ({ data }, at) => {
        places.push(at)
        return Uint8Array.of(9, ...data)
      },
    }
    const records = sealWrite(sealer, place, staged)
    if (records instanceof Promise) throw new Error('sealed later')
    expect(places).toEqual([
      { ...place, partition: 0, part: 0 },
      { ...place, partition: 2, part: 1 },
    ])
    expect(records.map(({ header }) => decodeRecordHeader(header ?? new Uint8Array()))).toEqual([
      { kind: 'data', producerId: place.producerId, n: 7, part: 0, parts: 2, writeHash: staged.hash },
      { kind: 'data', producerId: place.producerId, n: 7, part: 1, parts: 2, writeHash: staged.hash },
    ])
    expect(records[1]?.value[0]).toBe(9)
    expect(records[1]?.key).toBeNull()
  })

  it('waits for a key, and refuses what is too large when sealed', async () => {
    const staged = stageWrite([block(0), block(1)], { partitions: 3 })
    const later: Sealer = { seal: async ({ data }) => data }
    expect(await sealWrite(later, place, staged)).toHaveLength(2)
    const large: Sealer = { seal: () => new Uint8Array(1_000_001) }
    expect(() => sealWrite(large, place, staged)).toThrow(expect.objectContaining({ name: 'BLOCK_TOO_LARGE' }))
  })
})
