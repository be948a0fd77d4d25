// Owns: random values of any schema, and random events.
import fc from 'fast-check'
import type { Event } from '../../../../src/protocol/messages.ts'
import { type AnySchema, op, type StructSchema, type WireType } from '../../../../src/protocol/thrift/schema.ts'

const bytes = (sizeMax: number) => fc.uint8Array({ maxLength: sizeMax })
const text = fc.oneof(
  fc.string({ maxLength: 40, unit: 'grapheme' }),
  fc.string({ maxLength: 40 }),
  fc.constantFrom('__proto__', 'hasOwnProperty', '', '\ufeff€🔑'),
)
const i32 = fc.oneof(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), fc.constantFrom(-(2 ** 31), -1, 0, 2 ** 31 - 1))
const i64 = fc.oneof(
  fc.maxSafeInteger(),
  fc.constantFrom(-Number.MAX_SAFE_INTEGER, -(2 ** 32), -1, 0, 2 ** 31, 2 ** 32, Number.MAX_SAFE_INTEGER),
)
const textMap = fc.array(fc.tuple(text, text), { maxLength: 5 }).map((pairs) => new Map(pairs))

export function anyValueOf<T>(schema: StructSchema<T>): fc.Arbitrary<T> {
  return structOf(schema) as fc.Arbitrary<T>
}

function structOf(schema: AnySchema): fc.Arbitrary<unknown> {
  if (schema.union) {
    const one = schema.fields.map((field) => fc.record({ [field.name]: wireOf(field.wire) }))
    return fc.oneof(...one)
  }
  const fields = Object.fromEntries(schema.fields.map((field) => [field.name, wireOf(field.wire)]))
  const requiredKeys = schema.fields.filter((field) => field.required).map((field) => field.name)
  return fc.record(fields, { requiredKeys, noNullPrototype: true })
}

function wireOf(wire: WireType<unknown>): fc.Arbitrary<unknown> {
  switch (wire.op) {
    case op.bool:
      return fc.boolean()
    case op.i32:
      return i32
    case op.i64:
      return i64.map((value) => (value === 0 ? 0 : value))
    case op.string:
      return text
    case op.binary:
      return bytes(60)
    case op.struct:
      if (wire.schema === undefined) throw new Error('a struct type without a schema')
      return structOf(wire.schema)
    case op.list:
      if (wire.element === undefined) throw new Error('a list type without an element')
      return fc.array(wireOf(wire.element), { maxLength: 4 })
    case op.map:
      return textMap
  }
}

/** Events as an application makes them; headers, when there are some, are not empty. */
export const eventArbitrary: fc.Arbitrary<Event> = fc.record(
  {
    key: bytes(30),
    payload: bytes(200),
    headers: fc
      .array(
        fc.tuple(
          text.filter((name) => name !== ''),
          text,
        ),
        { minLength: 1, maxLength: 5 },
      )
      .map((pairs) => new Map(pairs)),
    timestampMs: i64.map((value) => (value === 0 ? 0 : value)),
    id: text,
    type: text,
    source: text,
  },
  { requiredKeys: [], noNullPrototype: true },
)
