import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { blockOfRaw, buildBlock, checkBlock, readBlock } from '../../../src/protocol/block.ts'
import { packEvents } from '../../../src/protocol/event-packing.ts'
import { blockBytesMax, blockEventsMax, blockRawBytesMax } from '../../../src/protocol/limits.ts'
import { type Block, type Event, encoding } from '../../../src/protocol/messages.ts'
import { schemas } from '../../../src/protocol/thrift/schemas.ts'
import { scale } from '../../support/scale.ts'
import { eventArbitrary } from './support/arbitraries.ts'
import { fromJson, type Json, readVectors } from './support/json-values.ts'
import { forAll, runSeed, seededNumbers } from './support/seed.ts'
import { errorOf } from './support/thrown.ts'

interface Vectors {
  readonly cases: readonly { name: string; block: Json; events: readonly Json[] }[]
  readonly refused: readonly { name: string; error: string; block: Json }[]
}

const vectors = readVectors<Vectors>('block')
const words: Event = { payload: Buffer.from('the same words again and again, the same words again') }

describe('reading blocks', () => {
  for (const { name, block, events } of vectors.cases) {
    it(`Given the vector "${name}", When read, Then its events are as drawn`, () => {
      expect(readBlock(fromJson(schemas.Block, block))).toEqual(events.map((each) => fromJson(schemas.Event, each)))
    })
  }

  for (const { name, error, block } of vectors.refused) {
    it(`Given the damaged vector "${name}", When read, Then ${error}`, () => {
      expect(errorOf(() => readBlock(fromJson(schemas.Block, block))).name).toBe(error)
    })
  }

  it('Given first and take beyond the count or negative, When read, Then BAD_BLOCK', () => {
    const block = buildBlock(0, [words, words], encoding.none)
    expect(readBlock({ ...block, first: 2 })).toEqual([])
    for (const slice of [{ first: 3 }, { first: -1 }, { take: 3 }, { take: -1 }, { first: 1, take: 2 }]) {
      expect(errorOf(() => readBlock({ ...block, ...slice })).name).toBe('BAD_BLOCK')
    }
  })

  it('Given an event with its own time, When read, Then the time stays, and without one it is the append time', () => {
    const block = { ...buildBlock(0, [{ timestampMs: -7 }, {}], encoding.none), offset: 3, appendTimeMs: 50 }
    expect(readBlock(block).map((event) => event.timestampMs)).toEqual([-7, 50])
  })
})

describe('building blocks', () => {
  it('Given any events and encoding, When built, checked and read, Then they are the same events', () => {
    const input = fc.tuple(fc.array(eventArbitrary, { minLength: 1, maxLength: 20 }), fc.boolean(), fc.nat(7))
    forAll(scale(200, 5_000), input, ([events, gzip, partition]) => {
      const block = buildBlock(partition, events, gzip ? encoding.gzip : encoding.none)
      checkBlock(block, 8)
      expect(block.data.length).toBeLessThanOrEqual(block.rawSize)
      expect(readBlock(block)).toEqual(events.map((event, index) => ({ ...event, partition, index })))
    })
  })

  it('Given events that do not get smaller, When built with gzip, Then they stay as they are', () => {
    const below = seededNumbers(runSeed())
    const noise = { payload: Uint8Array.from({ length: 500 }, () => below(256)) }
    expect(buildBlock(0, [noise], encoding.gzip).encoding).toBe(encoding.none)
    expect(buildBlock(0, [words, words, words, words], encoding.gzip).encoding).toBe(encoding.gzip)
  })

  it('Given no events, or more than a block holds, When built, Then EMPTY_BATCH or BLOCK_TOO_LARGE', () => {
    expect(errorOf(() => buildBlock(0, [], encoding.none)).name).toBe('EMPTY_BATCH')
    const events: Event[] = Array.from({ length: blockEventsMax + 1 }, () => ({}))
    expect(errorOf(() => buildBlock(0, events, encoding.gzip)).name).toBe('BLOCK_TOO_LARGE')
    expect(readBlock(buildBlock(0, events.slice(1), encoding.gzip))).toHaveLength(blockEventsMax)
    expect(errorOf(() => blockOfRaw(0, new Uint8Array(blockBytesMax + 1), 1, encoding.none)).name).toBe(
      'BLOCK_TOO_LARGE',
    )
    expect(errorOf(() => blockOfRaw(0, new Uint8Array(blockRawBytesMax + 1), 1, encoding.gzip)).name).toBe(
      'BLOCK_TOO_LARGE',
    )
  })
})

describe('what a gateway checks without unpacking', () => {
  const good = buildBlock(3, [words, words, words, words], encoding.gzip)
  const refusal = (changed: Partial<Block>) => errorOf(() => checkBlock({ ...good, ...changed }, 8)).name

  it('Given a good block, When checked, Then nothing is thrown', () => {
    expect(good.encoding).toBe(encoding.gzip)
    checkBlock(good, 4)
  })

  it('Given a partition that is not there, When checked, Then UNKNOWN_PARTITION', () => {
    expect(errorOf(() => checkBlock(good, 3)).name).toBe('UNKNOWN_PARTITION')
    expect(refusal({ partition: -1 })).toBe('UNKNOWN_PARTITION')
    expect(refusal({ partition: 0.5 })).toBe('UNKNOWN_PARTITION')
  })

  it('Given declared numbers that cannot be, When checked, Then a typed error', () => {
    expect(refusal({ count: 0 })).toBe('EMPTY_BATCH')
    expect(refusal({ count: -1 })).toBe('BAD_BLOCK')
    expect(refusal({ count: 5_000 })).toBe('BAD_BLOCK')
    expect(refusal({ count: blockEventsMax + 1 })).toBe('BLOCK_TOO_LARGE')
    expect(refusal({ packing: 2 })).toBe('BAD_BLOCK')
    expect(refusal({ encoding: 2 })).toBe('BAD_BLOCK')
    expect(refusal({ encoding: encoding.none })).toBe('BAD_BLOCK')
    expect(refusal({ rawSize: blockRawBytesMax + 1 })).toBe('BLOCK_TOO_LARGE')
    expect(refusal({ rawSize: -1 })).toBe('BAD_BLOCK')
    expect(refusal({ data: new Uint8Array(blockBytesMax + 1) })).toBe('BLOCK_TOO_LARGE')
    expect(refusal({ data: new Uint8Array(100) })).toBe('BAD_BLOCK')
  })

  it('Given a field that only a read sets, When checked, Then BAD_BLOCK', () => {
    for (const field of ['offset', 'first', 'take', 'appendTimeMs']) expect(refusal({ [field]: 0 })).toBe('BAD_BLOCK')
  })
})

describe('bombs', () => {
  it('Given 4 MiB of zeros as gzip that declares less, When read, Then inflating stops: BAD_BLOCK', () => {
    const data = new Uint8Array(gzipSync(new Uint8Array(blockRawBytesMax)))
    const bomb: Block = { partition: 0, packing: 1, count: 1, encoding: encoding.gzip, rawSize: 100, data }
    const error = errorOf(() => readBlock(bomb))
    expect(error.name).toBe('BAD_BLOCK')
    expect(error.cause).toMatchObject({ code: 'ERR_BUFFER_TOO_LARGE' })
  })

  it('Given 48 bytes that declare 4 MiB, When checked or read, Then BAD_BLOCK before anything is inflated', () => {
    const head = gzipSync(new Uint8Array(20_000)).subarray(0, 48)
    const data = new Uint8Array(48)
    data.set(head)
    const bomb: Block = {
      partition: 0,
      packing: 1,
      count: 60_000,
      encoding: encoding.gzip,
      rawSize: blockRawBytesMax,
      data,
    }
    expect(errorOf(() => checkBlock(bomb, 1)).details).toEqual({ why: 'cannot inflate to its raw size' })
    expect(errorOf(() => readBlock(bomb)).name).toBe('BAD_BLOCK')
  })

  it('Given 4 MiB of zeros that declare 65,535 events, When read, Then the first event that cannot be is BAD_BLOCK', () => {
    const data = new Uint8Array(gzipSync(new Uint8Array(blockRawBytesMax)))
    const bomb: Block = {
      partition: 0,
      packing: 1,
      count: 65_535,
      encoding: encoding.gzip,
      rawSize: blockRawBytesMax,
      data,
    }
    checkBlock(bomb, 1)
    expect(errorOf(() => readBlock(bomb)).details).toEqual({ why: 'size of an event' })
  })

  it('Given a block whose every byte is flipped in turn, When read, Then BAD_BLOCK or the same events', () => {
    const events = Array.from({ length: 6 }, () => words)
    const block = buildBlock(0, events, encoding.gzip)
    const before = readBlock(block)
    for (let at = 0; at < block.data.length; at += 1) {
      const data = block.data.slice()
      data[at] = (data[at] ?? 0) ^ 0x10
      try {
        // The gzip header has bytes that mean nothing (time, system).
        expect(readBlock({ ...block, data })).toEqual(before)
      } catch (error) {
        expect(error).toMatchObject({ name: 'BAD_BLOCK' })
      }
    }
    expect(packEvents(events)).toHaveLength(block.rawSize)
  })
})
