// Owns: Kafka's primitive types: what is written is read back, whatever its size; what lies about its length is refused.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { WireError, WireReader, WireWriter } from '../../../../src/adapters/kafka/wire.ts'

type Field = readonly [kind: string, value: unknown, write: (w: WireWriter) => void, read: (r: WireReader) => unknown]

const text = fc.string({ unit: 'grapheme', maxLength: 300 })
const bytes = fc.uint8Array({ maxLength: 6_000 }).map((array) => Buffer.from(array))
const field: fc.Arbitrary<Field> = fc.oneof(
  fc.integer({ min: -128, max: 127 }).map((n): Field => ['i8', n, (w) => w.int8(n), (r) => r.int8()]),
  fc.integer({ min: -32_768, max: 32_767 }).map((n): Field => ['i16', n, (w) => w.int16(n), (r) => r.int16()]),
  fc.integer().map((n): Field => ['i32', n, (w) => w.int32(n), (r) => r.int32()]),
  fc.maxSafeInteger().map((n): Field => ['i64', n, (w) => w.int64(n), (r) => r.int64()]),
  fc.nat().map((n): Field => ['uvarint', n, (w) => w.uvarint(n), (r) => r.uvarint()]),
  fc.boolean().map((b): Field => ['boolean', b, (w) => w.boolean(b), (r) => r.boolean()]),
  text.map((s): Field => ['string', s, (w) => w.string(s), (r) => r.nullableString()]),
  text.map((s): Field => ['compact', s, (w) => w.compactString(s), (r) => r.compactNullableString()]),
  fc.constant<Field>(['null', null, (w) => w.string(null), (r) => r.nullableString()]),
  fc.constant<Field>(['nullc', null, (w) => w.compactString(null), (r) => r.compactNullableString()]),
  bytes.map((b): Field => ['bytes', b, (w) => w.compactBytes(b), (r) => r.compactNullableBytes()]),
  fc
    .array(fc.integer(), { maxLength: 50 })
    .map((a): Field => ['array', a, (w) => w.array(a, (n) => w.int32(n)), (r) => r.array(() => r.int32())]),
  fc
    .array(text, { maxLength: 20 })
    .map(
      (a): Field => [
        'compactArray',
        a,
        (w) => w.compactArray(a, (s) => w.compactString(s)),
        (r) => r.compactArray(() => r.compactString()),
      ],
    ),
)

describe('the wire', () => {
  it('Given any fields, then they are read back as they were written, and nothing is left', () => {
    fc.assert(
      fc.property(fc.array(field, { maxLength: 60 }), (fields) => {
        const writer = new WireWriter()
        for (const [, , write] of fields) write(writer)
        const { length } = writer
        const written = Buffer.concat(writer.finish())
        expect(written.length).toBe(length)
        const reader = new WireReader(written)
        for (const [, value, , read] of fields) expect(read(reader)).toEqual(value)
        expect(reader.left).toBe(0)
      }),
      { numRuns: 300 },
    )
  })

  it('Given any bytes, then reading ends with a value or a WireError', () => {
    const reads: readonly ((r: WireReader) => unknown)[] = [
      (r) => r.compactArray(() => r.compactNullableString()),
      (r) => r.array(() => r.array(() => r.int64())),
      (r) => r.compactNullableBytes(),
      (r) => r.string(),
      (r) => r.tags(),
      (r) => r.uuid(),
    ]
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(reads.length - 1), (given, which) => {
        try {
          reads[which]?.(new WireReader(Buffer.from(given)))
        } catch (error) {
          expect(error).toBeInstanceOf(WireError)
        }
      }),
      { numRuns: 2_000 },
    )
  })

  it('Given a count above what is there, then it is refused before anything is made', () => {
    const huge = Buffer.from('7fffffff', 'hex')
    expect(() => new WireReader(huge).array(() => 0)).toThrow(WireError)
    expect(() => new WireReader(Buffer.from('ffffffff0f', 'hex')).compactArray(() => 0)).toThrow(WireError)
    expect(() => new WireReader(Buffer.from('ffffffffffff', 'hex')).uvarint()).toThrow(WireError)
    expect(() => new WireReader(Buffer.from('7fffffffffffffff', 'hex')).int64()).toThrow(WireError)
  })
})
