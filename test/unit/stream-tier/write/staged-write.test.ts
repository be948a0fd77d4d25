import { describe, expect, it } from 'vitest'
import { packForSession } from '../../../../src/api-tier/event-blocks.ts'
import { buildBlock } from '../../../../src/protocol/block.ts'
import { parseProducerId, parseTopicId } from '../../../../src/protocol/ids.ts'
import { frameBytesMax } from '../../../../src/protocol/limits.ts'
import { type Block, type Event, encoding } from '../../../../src/protocol/messages.ts'
import { decodeRecordHeader } from '../../../../src/protocol/record-header.ts'
import { equalBytes } from '../../../../src/protocol/turns.ts'
import { writeHash } from '../../../../src/protocol/write-hash.ts'
import { recordsOfWrite, type Sealer, stageWrite } from '../../../../src/stream-tier/write/staged-write.ts'

const place = {
  topicId: parseTopicId('1'.repeat(32)),
  tenant: 'default',
  producerId: parseProducerId('a'.repeat(32)),
  n: 7,
}
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
    const records = recordsOfWrite(sealer, place, staged)
    if (records instanceof Promise) throw new Error('sealed later')
    expect(places).toEqual([
      { ...place, partition: 0, part: 0 },
      { ...place, partition: 2, part: 1 },
    ])
    expect(records.map(([{ header } = { header: null }]) => decodeRecordHeader(header ?? new Uint8Array()))).toEqual([
      { kind: 'data', producerId: place.producerId, n: 7, part: 0, parts: 2, writeHash: staged.hash },
      { kind: 'data', producerId: place.producerId, n: 7, part: 1, parts: 2, writeHash: staged.hash },
    ])
    expect(records[1]?.[0]?.value[0]).toBe(9)
    expect(records[1]?.[0]?.key).toBeNull()
  })

  it('waits for a key, and refuses what is too large when sealed', async () => {
    const staged = stageWrite([block(0), block(1)], { partitions: 3 })
    const later: Sealer = { seal: async ({ data }) => data }
    expect(await recordsOfWrite(later, place, staged)).toHaveLength(2)
    const large: Sealer = { seal: () => new Uint8Array(1_000_001) }
    expect(() => recordsOfWrite(large, place, staged)).toThrow(expect.objectContaining({ name: 'BLOCK_TOO_LARGE' }))
  })
})

describe('what all blocks of a write unpack to', () => {
  const emptyEvents = (count: number): Event[] => Array.from({ length: count }, () => ({}))
  const zeros = (rawBytes: number): Block =>
    buildBlock(
      0,
      Array.from({ length: rawBytes / 65_536 }, () => ({ payload: new Uint8Array(65_536 - 24) })),
      1,
    )
  const many = buildBlock(0, emptyEvents(50_000), encoding.gzip)
  const large = zeros(4 * 1024 * 1024)
  const refusal = (field: string, max: number) =>
    expect.objectContaining({ name: 'BATCH_TOO_LARGE', details: { field, max: String(max) } })

  it('is bounded in events and in raw bytes: at the limits it is taken, above it is refused', () => {
    expect(stageWrite([many, many], { partitions: 1 }).events).toBe(100_000)
    expect(() => stageWrite([many, many, block(0)], { partitions: 1 })).toThrow(refusal('events', 100_000))
    expect(stageWrite([large, large, large, large], { partitions: 1 }).blocks).toHaveLength(4)
    expect(() => stageWrite([large, large, large, large, block(0)], { partitions: 1 })).toThrow(
      refusal('rawBytes', 16 * 1024 * 1024),
    )
  })

  it.each(['sealed', 'plain'] as const)('is held against the bounds before anything is inflated (%s)', (format) => {
    // Whoever inflates one of these answers BAD_BLOCK.
    const broken = (of: Block): Block => ({ ...of, data: of.data.map((byte, at) => (at < 20 ? byte : 0)) })
    const attack = (of: Block, count: number): Block[] => Array.from({ length: count }, () => broken(of))
    const some = buildBlock(0, emptyEvents(30_000), encoding.gzip)
    const staging = (blocks: Block[]) => () => stageWrite(blocks, { partitions: 1, format })
    expect(staging(attack(some, 1))).toThrow(expect.objectContaining({ name: 'BAD_BLOCK' }))
    expect(staging(attack(some, 4))).toThrow(refusal('events', 100_000))
    expect(staging(attack(large, 200))).toThrow(refusal('rawBytes', 16 * 1024 * 1024))
  })

  it('is far below the bounds in what the API tier packs of one frame', () => {
    // The smallest events there are: as many as fit, and one more.
    const events = Array.from({ length: Math.floor((frameBytesMax - 16 * 1024) / 24) }, () => ({ id: '', type: '' }))
    const { blocks } = packForSession(events, 4, place)
    expect(stageWrite(blocks, { partitions: 4 }).events).toBe(events.length)
    expect(events.length).toBeGreaterThan(50_000)
    expect(() => packForSession([...events, { id: '', type: '' }], 4, place)).toThrow(
      expect.objectContaining({
        name: 'BATCH_TOO_LARGE',
        details: expect.objectContaining({ packedBytesMax: expect.any(String) }),
      }),
    )
  })
})

describe('a staged write to a plain topic', () => {
  const sealer: Sealer = {
    seal: () => {
      throw new Error('nothing is sealed')
    },
  }
  const events = (count: number, size = 10): Event[] =>
    Array.from({ length: count }, (_, at) => ({ key: Buffer.from(`k${at}`), payload: new Uint8Array(size).fill(at) }))

  it.each([encoding.none, encoding.gzip])(
    'Given blocks (encoding %i), when handed over, then every event is a record with its place in its part',
    (wanted) => {
      const blocks = [buildBlock(0, events(300), wanted), buildBlock(2, events(2), wanted)]
      const staged = stageWrite(blocks, { partitions: 3, format: 'plain' })
      const records = recordsOfWrite(sealer, place, staged)
      if (records instanceof Promise) throw new Error('nothing to wait for')
      expect(records.map((part) => part.length)).toEqual([300, 2])
      for (const [part, all] of records.entries()) {
        for (const [index, { key, value, header, headers }] of all.entries()) {
          expect([Buffer.from(key ?? []).toString(), value, headers]).toEqual([
            `k${index}`,
            new Uint8Array(10).fill(index),
            [],
          ])
          expect(decodeRecordHeader(header ?? new Uint8Array())).toEqual({
            ...{ kind: 'data', producerId: place.producerId, n: 7, part, parts: 2, index },
            writeHash: staged.hash,
          })
        }
      }
      expect(staged.hash).toEqual(writeHash(blocks))
      expect(staged.heldBytes).toBeGreaterThan(staged.bytes)
    },
  )

  it('Given what a record or a batch cannot hold, then it is refused while staging, with the part', () => {
    const refusal = (blocks: readonly Block[], bytesMax = 4_000_000): unknown => {
      try {
        return stageWrite(blocks, { partitions: 1, format: 'plain', bytesMax })
      } catch (error) {
        return error
      }
    }
    const reserved = buildBlock(0, [{ payload: new Uint8Array() }, { headers: new Map([['tl', 'x']]) }], encoding.none)
    expect(refusal([buildBlock(0, events(1), 0), reserved])).toMatchObject({
      name: 'BAD_EVENT',
      details: { event: '1', part: '1' },
    })
    // 12,000 records are more than a batch although their block is small, packed or not.
    const tiny = buildBlock(0, events(12_000), encoding.gzip)
    expect(tiny.rawSize).toBeLessThan(500_000)
    for (const block of [tiny, buildBlock(0, events(4, 300_000), encoding.gzip)]) {
      expect(refusal([block])).toMatchObject({ name: 'BLOCK_TOO_LARGE', details: { part: '0' } })
    }
    const many = Array.from({ length: 12 }, () => buildBlock(0, events(9, 100_000), encoding.gzip))
    expect(refusal(many)).toMatchObject({ name: 'BATCH_TOO_LARGE', details: { field: 'plainBytes' } })
    expect(refusal([{ ...buildBlock(0, events(2), 0), count: 3 }])).toMatchObject({ name: 'BAD_BLOCK' })
  })
})
