import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkBlock, readBlock } from '../../../src/protocol/block.ts'
import { blockBytesMax, blockEventsMax, eventBytesMax, writePartsMax } from '../../../src/protocol/limits.ts'
import { type Event, encoding } from '../../../src/protocol/messages.ts'
import { murmur2, packWrite, packWriteWithPlaces, partitionForKey } from '../../../src/protocol/partitioning.ts'
import { scale } from '../../support/scale.ts'
import { eventArbitrary } from './support/arbitraries.ts'
import { hexToBytes, readVectors } from './support/json-values.ts'
import { forAll, runSeed, seededNumbers } from './support/seed.ts'
import { errorOf } from './support/thrown.ts'

interface Vectors {
  readonly partitionCounts: readonly number[]
  readonly keys: readonly { key: string; hash: number; partitions: readonly number[] }[]
}

const options = { partitions: 8, keylessPartition: 5, encoding: encoding.none }

describe('the partition of a key', () => {
  it("Given the hashes of Kafka's own client, When ours are computed, Then they are the same", () => {
    const { keys, partitionCounts } = readVectors<Vectors>('murmur2')
    expect(keys.length).toBeGreaterThan(100)
    for (const { key, hash, partitions } of keys) {
      const bytes = hexToBytes(key)
      expect({ key, hash: murmur2(bytes) }).toEqual({ key, hash })
      expect({ key, partitions: partitionCounts.map((count) => partitionForKey(bytes, count)) }).toEqual({
        key,
        partitions,
      })
    }
  })

  it('Given a key inside a larger buffer, When hashed, Then only its own bytes count', () => {
    const larger = Buffer.from('xxfoobaryy')
    expect(murmur2(larger.subarray(2, 8))).toBe(murmur2(Buffer.from('foobar')))
  })
})

describe('packing a write', () => {
  it('Given any events, When packed, Then each is where its place says and partitions keep their order', () => {
    const routed = fc
      .tuple(eventArbitrary, fc.option(fc.nat(7), { nil: undefined }))
      .map(([event, partition]): Event => (partition === undefined ? event : { ...event, partition }))
    const input = fc.tuple(
      fc.array(routed, { minLength: 1, maxLength: 30 }),
      fc.boolean(),
      fc.integer({ min: 800, max: 5_000 }),
    )
    forAll(scale(200, 5_000), input, ([events, gzip, bytesMax]) => {
      const packed = packWriteWithPlaces(events, {
        ...options,
        encoding: gzip ? encoding.gzip : encoding.none,
        blockBytesMax: bytesMax,
      })
      const blocks = packed.blocks.map((block) => {
        checkBlock(block, 8)
        expect(block.data.length).toBeLessThanOrEqual(bytesMax)
        return readBlock(block)
      })
      const lastOf = new Map<number, number>()
      for (const [at, event] of events.entries()) {
        const { part, index } = packed.places[at] ?? { part: -1, index: -1 }
        const partition = event.partition ?? (event.key === undefined ? 5 : partitionForKey(event.key, 8))
        expect(blocks[part]?.[index]).toEqual({ ...event, partition, index })
        const order = part * 1_000_000 + index
        expect(order).toBeGreaterThan(lastOf.get(partition) ?? -1)
        lastOf.set(partition, order)
      }
      expect(blocks.reduce((sum, block) => sum + block.length, 0)).toBe(events.length)
      expect(packWriteWithPlaces(events, { ...options, encoding: gzip ? 1 : 0, blockBytesMax: bytesMax })).toEqual(
        packed,
      )
    })
  })

  it('Given events of three partitions below every limit, When packed, Then one block each, by first appearance', () => {
    const events = [{ partition: 7 }, {}, { partition: 2 }, { partition: 7 }, {}]
    const blocks = packWrite(events, options)
    expect(blocks.map(({ partition, count }) => [partition, count])).toEqual([
      [7, 2],
      [5, 2],
      [2, 1],
    ])
  })

  it('Given two of the largest events, When packed, Then they are two blocks', () => {
    const event = { payload: new Uint8Array(eventBytesMax - 24) }
    expect(packWrite([event, event], options).map(({ count }) => count)).toEqual([1, 1])
    expect(packWrite([event, event], { ...options, encoding: encoding.gzip }).map(({ count }) => count)).toEqual([2])
  })

  it('Given more noise than one block holds, When packed with gzip, Then it is halved until it fits', () => {
    const below = seededNumbers(runSeed())
    const noise = Array.from({ length: 30 }, () => ({
      payload: Uint8Array.from({ length: 100_000 }, () => below(256)),
    }))
    const blocks = packWrite(noise, { ...options, encoding: encoding.gzip })
    expect(blocks.length).toBe(4)
    for (const block of blocks) expect(block.data.length).toBeLessThanOrEqual(blockBytesMax)
    const payloads = blocks.flatMap((block) => readBlock(block).map((event) => event.payload ?? new Uint8Array(0)))
    const sent = noise.map((event) => event.payload)
    expect(payloads.length).toBe(sent.length)
    expect(Buffer.compare(Buffer.concat(payloads), Buffer.concat(sent))).toBe(0)
  })

  it('Given more events than a block counts, When packed, Then the rest is in a second block', () => {
    const events: Event[] = Array.from({ length: blockEventsMax + 2 }, () => ({}))
    expect(packWrite(events, { ...options, encoding: encoding.gzip }).map(({ count }) => count)).toEqual([
      blockEventsMax,
      2,
    ])
  })

  it('Given a write that no blocks can hold, When packed, Then a typed error names what', () => {
    const refusal = (events: Event[], more = {}) => errorOf(() => packWrite(events, { ...options, ...more }))
    expect(refusal([]).name).toBe('EMPTY_BATCH')
    expect(refusal([{}, { partition: 8 }]).name).toBe('UNKNOWN_PARTITION')
    expect(refusal([{ partition: -1 }]).name).toBe('UNKNOWN_PARTITION')
    expect(refusal([{}, { payload: new Uint8Array(eventBytesMax) }])).toMatchObject({
      name: 'EVENT_TOO_LARGE',
      details: { event: '1' },
    })
    expect(refusal([{}, { payload: new Uint8Array(80) }], { blockBytesMax: 100 })).toMatchObject({
      name: 'BLOCK_TOO_LARGE',
      details: { event: '1', bytesMax: '100' },
    })
    const many = Array.from({ length: writePartsMax + 1 }, (_, partition) => ({ partition }))
    expect(refusal(many, { partitions: 1_000 }).name).toBe('BATCH_TOO_LARGE')
    expect(packWrite(many.slice(1), { ...options, partitions: 1_000 })).toHaveLength(writePartsMax)
  })

  it('Given a block limit above the protocol, When packed, Then the protocol limit holds', () => {
    const events = Array.from({ length: 3 }, () => ({ payload: new Uint8Array(500_000) }))
    expect(packWrite(events, { ...options, blockBytesMax: 10_000_000 })).toHaveLength(3)
  })
})
