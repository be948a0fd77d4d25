import { describe, expect, it } from 'vitest'
import { decodeStruct, encodeStruct } from '../../../../src/protocol/thrift/codec.ts'
import {
  binary,
  defineStruct,
  list,
  optional,
  required,
  string,
  struct,
} from '../../../../src/protocol/thrift/schema.ts'
import { schemas } from '../../../../src/protocol/thrift/schemas.ts'
import { errorOf } from '../support/thrown.ts'

const bool = 2
const i32 = 8
const i64 = 10
const text = 11
const inner = 12
const map = 13
const listType = 15

/** Bytes by hand: numbers are bytes, arrays nest, text is latin1. */
function wire(...parts: readonly (number | string | readonly number[] | Uint8Array)[]): Uint8Array {
  const bytes = parts.flatMap((part) => {
    if (typeof part === 'number') return [part]
    return typeof part === 'string' ? [...Buffer.from(part, 'latin1')] : [...part]
  })
  return Uint8Array.from(bytes)
}

const field = (type: number, id: number) => [type, id >> 8, id & 0xff]
const u32 = (value: number) => [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff]
const lp = (value: string) => [...u32(value.length), ...Buffer.from(value, 'latin1')]

/** A PartResult with its three required fields and whatever comes before the stop byte. */
function partResult(...more: readonly (number | string | readonly number[])[]): Uint8Array {
  return wire(field(i32, 1), u32(1), field(i32, 2), u32(2), field(i32, 3), u32(3), ...more, 0)
}

function whyOf(run: () => unknown): string {
  const error = errorOf(run)
  expect(error.name).toBe('MALFORMED_FRAME')
  expect(error.cause).toBeUndefined()
  expect(Object.keys(error.details).filter((name) => name !== 'why' && name !== 'field')).toEqual([])
  return [error.details['field'], error.details['why']].filter((part) => part !== undefined).join(': ')
}

const whyNot = (schema: Parameters<typeof decodeStruct>[0], bytes: Uint8Array) =>
  whyOf(() => decodeStruct(schema, bytes))

describe('decoding is strict', () => {
  it('Given a whole struct, When it is decoded, Then its fields are there', () => {
    expect(decodeStruct(schemas.PartResult, partResult())).toEqual({ part: 1, partition: 2, state: 3 })
  })

  it('Given a required field that is absent, When decoded, Then it is refused by its name', () => {
    expect(whyNot(schemas.PartResult, wire(field(i32, 1), u32(1), 0))).toBe(
      'PartResult.partition: required field is missing',
    )
  })

  it('Given a known field of another type, When decoded, Then it is refused', () => {
    expect(whyNot(schemas.PartResult, partResult(field(i32, 4), u32(9)))).toBe('PartResult.offset: wrong type')
  })

  it('Given a field that comes twice, When decoded, Then it is refused', () => {
    expect(whyNot(schemas.PartResult, partResult(field(i32, 3), u32(9)))).toBe('PartResult.state: field comes twice')
  })

  it('Given bytes after the struct, When decoded, Then they are refused', () => {
    expect(whyNot(schemas.PartResult, wire(partResult(), 0))).toBe('bytes after the end')
  })

  it('Given a struct cut at any byte, When decoded, Then it is refused', () => {
    const whole = partResult(field(i64, 4), u32(0), u32(7))
    for (let size = 0; size < whole.length; size += 1) {
      expect(whyNot(schemas.PartResult, whole.subarray(0, size))).toMatch(/ends too early/)
    }
  })

  it('Given a bool that is neither 0 nor 1, When decoded, Then it is refused', () => {
    expect(whyNot(schemas.StartAt, wire(field(bool, 3), 2, 0))).toBe('StartAt.earliest: not a bool')
  })

  it('Given an i64 beyond 2^53, When decoded, Then it is refused, and the largest below it is exact', () => {
    const offset = (high: number, low: number) => partResult(field(i64, 4), u32(high), u32(low))
    expect(whyNot(schemas.PartResult, offset(0x200000, 0))).toBe('PartResult.offset: integer beyond 2^53')
    expect(whyNot(schemas.PartResult, offset(0x80000000, 0))).toBe('PartResult.offset: integer beyond 2^53')
    expect(decodeStruct(schemas.PartResult, offset(0x1fffff, 0xffffffff)).offset).toBe(Number.MAX_SAFE_INTEGER)
    expect(decodeStruct(schemas.PartResult, offset(0xffffffff, 0xffffffff)).offset).toBe(-1)
  })

  it('Given a union with no field, or with two, When decoded, Then it is refused', () => {
    expect(whyNot(schemas.StartAt, wire(0))).toBe('StartAt: a union needs exactly one field')
    const two = wire(field(bool, 3), 1, field(bool, 4), 1, 0)
    expect(whyNot(schemas.StartAt, two)).toBe('StartAt: a union needs exactly one field')
  })

  it('Given a union with an unknown field beside its own, When decoded, Then the unknown one is skipped', () => {
    expect(decodeStruct(schemas.StartAt, wire(field(bool, 3), 1, field(bool, 99), 1, 0))).toEqual({ earliest: true })
  })

  it('Given text that is not UTF-8, When decoded, Then it is refused', () => {
    for (const bad of ['\xc3\x28', '\xed\xa0\x80', '\xff', '\xc0\x80', `${'a'.repeat(30)}\x80`]) {
      expect(whyNot(schemas.DescribeRequest, wire(field(text, 2), lp(bad), 0))).toBe('DescribeRequest.topic: not UTF-8')
    }
  })

  it('Given text that starts with a byte order mark, When decoded, Then the mark is kept', () => {
    const long = `\xef\xbb\xbf${'a'.repeat(40)}`
    expect(decodeStruct(schemas.DescribeRequest, wire(field(text, 2), lp(long), 0)).topic?.charCodeAt(0)).toBe(0xfeff)
  })

  it('Given a list with another type of elements, When decoded, Then it is refused', () => {
    const bytes = wire(field(i64, 1), u32(0), u32(1), field(listType, 2), i64, u32(0), 0)
    expect(whyNot(schemas.UnansweredWrite, bytes)).toBe('UnansweredWrite.partitions: wrong type of elements')
  })
})

describe('headers are a map of any names', () => {
  const event = (...pairs: readonly (readonly [string, string])[]) =>
    wire(field(map, 3), text, text, u32(pairs.length), ...pairs.flatMap(([name, value]) => [lp(name), lp(value)]), 0)

  it('Given "__proto__" and "hasOwnProperty", When decoded, Then they are names like any other', () => {
    const decoded = decodeStruct(schemas.Event, event(['__proto__', 'a'], ['hasOwnProperty', 'b']))
    expect([...(decoded.headers ?? [])]).toEqual([
      ['__proto__', 'a'],
      ['hasOwnProperty', 'b'],
    ])
  })

  it('Given a name that comes twice, When decoded, Then it is refused', () => {
    expect(whyNot(schemas.Event, event(['a', '1'], ['a', '2']))).toBe('Event.headers: name comes twice')
  })

  it('Given an empty map whose types are left open, When decoded, Then it is an empty map', () => {
    expect(decodeStruct(schemas.Event, wire(field(map, 3), 0, 0, u32(0), 0)).headers?.size).toBe(0)
  })
})

describe('unknown fields are skipped, within bounds', () => {
  it('Given an unknown field of every type, When decoded, Then the known ones are as without it', () => {
    const unknown: readonly (readonly [number, readonly number[]])[] = [
      [2, [1]],
      [3, [7]],
      [4, [0, 0, 0, 0, 0, 0, 0, 0]],
      [6, [0, 1]],
      [i32, u32(5)],
      [i64, [0, 0, 0, 0, 0, 0, 0, 5]],
      [text, lp('skip me')],
      [inner, [...field(i32, 1), ...u32(1), ...field(inner, 2), 0, 0]],
      [map, [text, listType, ...u32(1), ...lp('k'), i32, ...u32(2), ...u32(1), ...u32(2)]],
      [14, [i32, ...u32(1), ...u32(9)]],
      [listType, [inner, ...u32(2), 0, 0]],
      [16, Array.from({ length: 16 }, () => 9)],
    ]
    for (const [type, bytes] of unknown) {
      expect(decodeStruct(schemas.PartResult, partResult(field(type, 77), bytes))).toEqual({
        part: 1,
        partition: 2,
        state: 3,
      })
      expect(decodeStruct(schemas.PartResult, partResult(field(type, -3), bytes))).toEqual({
        part: 1,
        partition: 2,
        state: 3,
      })
    }
  })

  it('Given an unknown field of a type that does not exist, When decoded, Then it is refused', () => {
    expect(whyNot(schemas.PartResult, partResult(field(99, 77), u32(0)))).toBe('PartResult: unknown type')
  })

  it('Given an unknown struct that nests 16 deep, When decoded, Then it is skipped, and 17 deep is refused', () => {
    const nested = (depth: number) => [
      ...Array.from({ length: depth }, () => field(inner, 70)).flat(),
      ...Array.from({ length: depth }, () => 0),
    ]
    expect(decodeStruct(schemas.PartResult, partResult(nested(16)))).toEqual({ part: 1, partition: 2, state: 3 })
    expect(whyNot(schemas.PartResult, partResult(nested(17)))).toBe('PartResult: nested too deeply')
    expect(whyNot(schemas.PartResult, partResult(nested(100_000)))).toBe('PartResult: nested too deeply')
  })
})

describe('declared sizes are never believed', () => {
  it('Given a list of 2^31 - 1 events in a few bytes, When decoded, Then it is refused at once', () => {
    const bytes = wire(field(listType, 6), inner, u32(0x7fffffff), 0)
    expect(whyNot(schemas.ReadReply, bytes)).toBe('ReadReply.events: count beyond the frame')
  })

  it('Given a negative count or length, When decoded, Then it is refused', () => {
    expect(whyNot(schemas.ReadReply, wire(field(listType, 6), inner, u32(-1), 0))).toBe(
      'ReadReply.events: count beyond the frame',
    )
    expect(whyNot(schemas.Event, wire(field(text, 1), u32(-1), 0))).toBe('Event.key: length beyond the frame')
    expect(whyNot(schemas.Event, wire(field(map, 3), text, text, u32(-1), 0))).toBe(
      'Event.headers: count beyond the frame',
    )
  })

  it('Given a length beyond the frame, When decoded, Then it is refused even where more memory lies behind', () => {
    const longer = wire(field(text, 1), u32(5), 'key', 0, 'secrets of another frame')
    const frame = longer.subarray(0, longer.length - 24)
    expect(whyNot(schemas.Event, frame)).toBe('Event.key: length beyond the frame')
    expect(whyNot(schemas.Event, wire(field(text, 1), u32(0x7fffffff), 'key', 0))).toBe(
      'Event.key: length beyond the frame',
    )
    expect(whyNot(schemas.Event, wire(field(text, 5), u32(9), 'id', 0))).toBe('Event.id: length beyond the frame')
  })

  it('Given a megabyte of zeros as a list of events, When decoded, Then the element budget refuses it', () => {
    const bytes = wire(field(listType, 6), inner, u32(1_000_000), new Uint8Array(1_000_001))
    expect(whyNot(schemas.ReadReply, bytes)).toBe('ReadReply.events: too many elements')
  })

  it('Given the same as an unknown field, When decoded, Then the element budget refuses it too', () => {
    const bytes = wire(field(listType, 60), inner, u32(1_000_000), new Uint8Array(1_000_001))
    expect(whyNot(schemas.ReadReply, bytes)).toBe('ReadReply: too many elements')
  })

  it('Given many lists below the budget, When together they exceed it, Then they are refused', () => {
    const one = [
      ...field(i64, 1),
      ...u32(0),
      ...u32(1),
      ...field(listType, 2),
      i32,
      ...u32(6),
      ...u32(0),
      ...u32(0),
      ...u32(0),
      ...u32(0),
      ...u32(0),
      ...u32(0),
      0,
    ]
    const writes = wire(field(listType, 4), inner, u32(2), one, one, 0)
    const whole = wire(field(text, 1), lp(''), field(text, 2), lp(''), field(i64, 3), u32(0), u32(1), writes)
    const budget = { bytesMax: 1_000, elementsMax: 14 }
    expect(decodeStruct(schemas.Resume, whole, budget).writes).toHaveLength(2)
    expect(whyOf(() => decodeStruct(schemas.Resume, whole, { ...budget, elementsMax: 13 }))).toMatch(
      /too many elements/,
    )
  })

  it('Given more bytes than the budget, When decoded, Then they are refused', () => {
    expect(whyNot(schemas.Event, new Uint8Array(2_000_000))).toBe('too large')
  })
})

describe('decoded binary fields', () => {
  it('Given a frame, When it is decoded, Then its binary fields are views of it', () => {
    const frame = wire(field(text, 1), lp('key'), 0)
    const { key } = decodeStruct(schemas.Event, frame)
    frame[7] = 'K'.charCodeAt(0)
    expect(Buffer.from(key ?? []).toString()).toBe('Key')
  })

  it('Given a frame inside a larger buffer, When it is decoded, Then offsets are those of the frame', () => {
    const larger = wire(9, 9, 9, field(text, 1), lp('key'), 0, 9)
    const { key } = decodeStruct(schemas.Event, larger.subarray(3, larger.length - 1))
    expect(Buffer.from(key ?? []).toString()).toBe('key')
  })
})

describe('encoding is strict', () => {
  const whyNotEncoded = (schema: Parameters<typeof encodeStruct>[0], value: unknown) =>
    whyOf(() => encodeStruct(schema, value))

  it('Given values that do not fit their field, When encoded, Then they are refused by name', () => {
    const good = { part: 1, partition: 2, state: 3 }
    expect(whyNotEncoded(schemas.PartResult, { ...good, part: 1.5 })).toBe('PartResult.part: not an i32')
    expect(whyNotEncoded(schemas.PartResult, { ...good, part: 2 ** 31 })).toBe('PartResult.part: not an i32')
    expect(whyNotEncoded(schemas.PartResult, { ...good, part: Number.NaN })).toBe('PartResult.part: not an i32')
    expect(whyNotEncoded(schemas.PartResult, { ...good, offset: 2 ** 53 })).toBe(
      'PartResult.offset: not an integer below 2^53',
    )
    expect(whyNotEncoded(schemas.PartResult, { part: 1, partition: 2 })).toBe(
      'PartResult.state: required field is missing',
    )
    expect(whyNotEncoded(schemas.Event, { payload: 'text' })).toBe('Event.payload: not bytes')
    expect(whyNotEncoded(schemas.Event, { id: 7 })).toBe('Event.id: not a string')
    expect(whyNotEncoded(schemas.Event, { id: '\ud800' })).toBe('Event.id: text is not well-formed')
    expect(whyNotEncoded(schemas.Event, { headers: { a: 'b' } })).toBe('Event.headers: not a map')
    expect(whyNotEncoded(schemas.Event, { headers: new Map([['a', 1]]) })).toBe('Event.headers: not a map of strings')
    expect(whyNotEncoded(schemas.StartAt, { earliest: 1 })).toBe('StartAt.earliest: not a bool')
    expect(whyNotEncoded(schemas.StartAt, {})).toBe('StartAt: a union needs exactly one field')
    expect(whyNotEncoded(schemas.UnansweredWrite, { n: 1, partitions: 3 })).toBe(
      'UnansweredWrite.partitions: not a list',
    )
    expect(whyNotEncoded(schemas.DescribeRequest, { proof: null })).toBe('Proof: not a struct')
  })

  it('Given an encoding that failed half way, When the next one runs, Then nothing of the first is in it', () => {
    errorOf(() => encodeStruct(schemas.PartResult, { part: 1, partition: 2, state: 0.5 }))
    expect(encodeStruct(schemas.PartResult, { part: 1, partition: 2, state: 3 })).toEqual(partResult())
  })

  it('Given a value above every limit, When encoded, Then it is refused, and the next encoding works', () => {
    expect(whyNotEncoded(schemas.Event, { payload: new Uint8Array(16 * 1024 * 1024) })).toBe('too large')
    expect(encodeStruct(schemas.PartResult, { part: 1, partition: 2, state: 3 })).toEqual(partResult())
  })

  it('Given a value larger than the scratch buffer, When encoded, Then it comes back whole', () => {
    const payload = Uint8Array.from({ length: 3_000_000 }, (_, at) => at & 0xff)
    const bytes = encodeStruct(schemas.Event, { id: 'x', payload })
    expect(Buffer.compare(bytes.subarray(7, 7 + payload.length), payload)).toBe(0)
    expect(encodeStruct(schemas.Event, { id: 'y' })).toHaveLength(9)
  })

  it('Given two encodings, When the second runs, Then the first bytes stay as they were', () => {
    const first = encodeStruct(schemas.Event, { id: 'first' })
    const before = first.slice()
    encodeStruct(schemas.Event, { id: 'other' })
    expect(first).toEqual(before)
  })
})

describe('schemas are checked when they are made', () => {
  it('Given two fields with one id, a negative id or a list of lists, When defined, Then it throws', () => {
    expect(() =>
      defineStruct<{ a: string; b: string }>('X', { a: required(1, string), b: required(1, string) }),
    ).toThrow('taken')
    expect(() => defineStruct<{ a: string }>('X', { a: required(-1, string) })).toThrow('negative')
    expect(() => list(list(binary))).toThrow('not supported')
  })

  it('Given structs that nest 17 deep, When defined, Then it throws', () => {
    interface Nested {
      inner?: object | undefined
    }
    let schema = defineStruct<Nested>('Leaf', { inner: optional(1, struct<object>(schemas.StartAt)) })
    const deepen = () => {
      for (let depth = 0; depth < 20; depth += 1) {
        schema = defineStruct<Nested>('Nested', { inner: optional(1, struct<object>(schema)) })
      }
    }
    expect(deepen).toThrow('deeper than 16')
  })
})
