// Owns: record batches, with kafkajs' own codec as the second opinion, and everything that may be wrong with one.
import { createRequire } from 'node:module'
import { gzipSync } from 'node:zlib'
import { crc32c } from '@node-rs/crc32'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { batchesOf, encodeBatch } from '../../../../src/adapters/kafka/record-batch.ts'
import type { AppendRecord } from '../../../../src/ports/event-log.ts'

const load = createRequire(import.meta.url)
interface KafkajsRecord {
  readonly offset: string
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Readonly<Record<string, Buffer | Buffer[] | null>>
}
const Decoder = load('kafkajs/src/protocol/decoder')
const decodeOracle = load('kafkajs/src/protocol/recordBatch/v0/decoder')
const { RecordBatch } = load('kafkajs/src/protocol/recordBatch/v0')
const OracleRecord = load('kafkajs/src/protocol/recordBatch/record/v0')

const numbers = { pid: 4_711, epoch: 3, firstSequence: 2 ** 31 - 2, timestampMs: 1_700_000_000_123 }
const bytes = fc.uint8Array({ maxLength: 300 })
const record: fc.Arbitrary<AppendRecord> = fc.record({
  key: fc.option(bytes, { nil: null }),
  value: bytes,
  header: fc.option(bytes, { nil: null }),
  headers: fc.array(fc.tuple(fc.string({ minLength: 1, maxLength: 8 }), fc.option(bytes, { nil: null })), {
    maxLength: 3,
  }),
})

const hexOf = (one: Uint8Array | null | undefined): string | null =>
  one === null || one === undefined ? null : Buffer.from(one).toString('hex')

function withOffset(batch: Buffer, offset: bigint): Buffer {
  const copy = Buffer.from(batch)
  copy.writeBigInt64BE(offset, 0)
  return copy
}

/** The checksum as it should be: what is wrong behind it is found by its shape alone. */
function resealed(batch: Buffer): Buffer {
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17)
  return batch
}

function readAll(buffer: Buffer, from = 0): ReturnType<ReturnType<typeof one>['records']> {
  return [...batchesOf(buffer)].flatMap((batch) => batch.records(from))
}

function one(buffer: Buffer) {
  const [batch] = [...batchesOf(buffer)]
  if (batch === undefined) throw new Error('no batch')
  return batch
}

describe('record batches', () => {
  it('Given any records, then they are read back, and kafkajs reads the same', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(record, { minLength: 1, maxLength: 12 }), async (records) => {
        const encoded = withOffset(encodeBatch(records, numbers), 1_000n)
        const batch = one(encoded)
        expect(batch).toMatchObject({ baseOffset: 1_000, nextOffset: 1_000 + records.length, damaged: false })
        const read = batch.records(0)
        expect(read.map(({ offset }) => offset)).toEqual(records.map((_, index) => 1_000 + index))
        expect(read.map((got) => [got.pid, got.epoch, got.appendTimeMs])).toEqual(
          records.map(() => [4_711, 3, 1_700_000_000_123]),
        )
        const shape = ({ key, value, header, headers = [] }: AppendRecord): unknown => {
          // The first of our name is ours.
          const all = [...(header === null ? [] : [['tl', header] as const]), ...headers]
          return [hexOf(key), hexOf(value), all.map(([name, content]) => [name, hexOf(content)])]
        }
        expect(read.map(shape)).toEqual(records.map(shape))
        const whole: { readonly records: readonly KafkajsRecord[] } = await decodeOracle(new Decoder(encoded))
        expect(whole.records.map((got) => [got.offset, hexOf(got.key), hexOf(got.value)])).toEqual(
          records.map((given, index) => [String(1_000 + index), hexOf(given.key), hexOf(given.value)]),
        )
      }),
      { numRuns: 60 },
    )
  })

  it('Given what kafkajs writes, also compressed with gzip, then it is read', async () => {
    for (const compression of [0, 1]) {
      const encoder = await RecordBatch({
        compression,
        firstTimestamp: 1_000,
        maxTimestamp: 1_005,
        producerId: 9,
        producerEpoch: 1,
        lastOffsetDelta: 1,
        records: [
          OracleRecord({
            offsetDelta: 0,
            timestampDelta: 0,
            key: 'k',
            value: 'v'.repeat(500),
            headers: { a: ['1', '2'] },
          }),
          OracleRecord({ offsetDelta: 1, timestampDelta: 5, key: null, value: null, headers: {} }),
        ],
      })
      const read = readAll(encoder.buffer)
      expect(read).toMatchObject([
        { offset: 0, appendTimeMs: 1_000, pid: 9, epoch: 1, header: null },
        { offset: 1, appendTimeMs: 1_005, key: null, nullValue: true },
      ])
      expect(Buffer.from(read[0]?.value ?? []).toString()).toBe('v'.repeat(500))
      expect(read[0]?.headers?.map(([name, value]) => [name, Buffer.from(value ?? []).toString()])).toEqual([
        ['a', '1'],
        ['a', '2'],
      ])
    }
  })

  it('Given a flipped bit, then each offset of that batch is damaged, and the next batch is served', () => {
    const records = ['a', 'b', 'c'].map((text) => ({ key: null, value: Buffer.from(text), header: null }))
    const first = withOffset(encodeBatch(records, numbers), 10n)
    const second = withOffset(encodeBatch(records, numbers), 13n)
    for (let at = 21; at < first.length; at++) {
      // The span of the batch's offsets is all that says where the next one begins.
      if (at >= 23 && at < 27) continue
      const flipped = Buffer.from(first)
      flipped[at] = (flipped[at] ?? 0) ^ 0x10
      const read = readAll(Buffer.concat([flipped, second]), 11)
      expect(read.map(({ offset }) => offset)).toEqual([11, 12, 13, 14, 15])
      expect(read.map(({ damaged }) => damaged === true)).toEqual([true, true, false, false, false])
    }
  })

  it('Given a batch whose shape lies under a right checksum, then it is damaged and nothing else happens', () => {
    const records = ['a', 'b'].map((text) => ({ key: Buffer.from('k'), value: Buffer.from(text), header: null }))
    const batch = encodeBatch(records, numbers)
    fc.assert(
      fc.property(fc.integer({ min: 57, max: batch.length - 1 }), fc.integer({ min: 0, max: 255 }), (at, byte) => {
        const changed = Buffer.from(batch)
        changed[at] = byte
        const read = readAll(resealed(changed))
        expect(read.length).toBeGreaterThan(0)
        expect(read.every(({ offset }) => offset >= 0 && offset < 2)).toBe(true)
      }),
      { numRuns: 1_000 },
    )
    const many = Buffer.from(batch)
    many.writeInt32BE(0x7fff_ffff, 57)
    expect(one(resealed(many)).damaged).toBe(true)
  })

  it('Given a count of offsets that cannot be, then it costs one record, not millions', () => {
    const batch = encodeBatch([{ key: null, value: Buffer.from('a'), header: null }], numbers)
    batch.writeInt32BE(0x7fff_fff0, 23)
    expect(readAll(batch)).toMatchObject([{ offset: 0, damaged: true }])
  })

  it('Given an answer that is cut off anywhere, then whole batches are served and the rest is left out', () => {
    const records = [{ key: null, value: Buffer.alloc(100, 1), header: null }]
    const both = Buffer.concat([encodeBatch(records, numbers), withOffset(encodeBatch(records, numbers), 1n)])
    for (let length = 0; length <= both.length; length++) {
      const whole = Math.floor(length / (both.length / 2))
      expect(readAll(both.subarray(0, length))).toHaveLength(whole)
    }
  })

  it('Given what opens to more than any batch may hold, then it is damaged', () => {
    const batch = encodeBatch([{ key: null, value: Buffer.from('a'), header: null }], numbers)
    const bomb = Buffer.concat([batch.subarray(0, 61), gzipSync(Buffer.alloc(80 * 1024 * 1024))])
    bomb.writeInt32BE(bomb.length - 12, 8)
    bomb.writeInt16BE(1, 21)
    expect(readAll(resealed(bomb))).toMatchObject([{ offset: 0, damaged: true }])
  })

  it('Given bytes of an answer, when a reader writes into a record, then nobody else sees it', () => {
    const batch = encodeBatch([{ key: null, value: Buffer.from('aaaa'), header: null }], numbers)
    readAll(batch)[0]?.value.fill(0)
    expect(Buffer.from(readAll(batch)[0]?.value ?? []).toString()).toBe('aaaa')
  })
})
