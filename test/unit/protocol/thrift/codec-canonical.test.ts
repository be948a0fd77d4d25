// Proves that bytes which are called canonical are those that our encoder makes of what they hold.
import { describe, expect, it } from 'vitest'
import { TrunklineError } from '../../../../src/protocol/errors.ts'
import { decodeCanonical, encodeStruct } from '../../../../src/protocol/thrift/codec.ts'
import type { StructSchema } from '../../../../src/protocol/thrift/schema.ts'
import { schemas } from '../../../../src/protocol/thrift/schemas.ts'
import { scale } from '../../../support/scale.ts'
import { anyValueOf } from '../support/arbitraries.ts'
import { mutations } from '../support/mutations.ts'
import { forAll, runSeed, seededNumbers } from '../support/seed.ts'

const all = Object.values(schemas) as readonly StructSchema<object>[]
const { mutated } = mutations(seededNumbers(runSeed()))

const i32Field = (id: number, value: number) => [8, 0, id, 0, 0, 0, value]
const partResult = (...fields: readonly number[][]) => Uint8Array.from([...fields.flat(), 0])
const isCanonical = (bytes: Uint8Array) => decodeCanonical(schemas.PartResult, bytes).isCanonical

describe('canonical bytes', () => {
  it.each(all.map((schema) => [schema.name, schema] as const))(
    'Given any %s, When it is encoded, Then its bytes are canonical',
    (_, schema) => {
      forAll(scale(50, 2_000), anyValueOf(schema), (value) => {
        expect(decodeCanonical(schema, encodeStruct(schema, value)).isCanonical).toBe(true)
      })
    },
  )

  it('Given mutated bytes that are still canonical, When what they hold is encoded, Then the same bytes come', () => {
    let canonical = 0
    let decoded = 0
    for (const schema of all)
      forAll(scale(300, 10_000), anyValueOf(schema), (value) => {
        const bytes = mutated(encodeStruct(schema, value))
        try {
          const { value: found, isCanonical: is } = decodeCanonical(schema, bytes)
          decoded += 1
          if (!is) return
          canonical += 1
          expect(Buffer.from(encodeStruct(schema, found)).toString('hex')).toBe(Buffer.from(bytes).toString('hex'))
        } catch (error) {
          if (!(error instanceof TrunklineError && error.name === 'MALFORMED_FRAME')) throw error
        }
      })
    // Both kinds have to come up.
    expect(canonical).toBeGreaterThan(100)
    expect(decoded).toBeGreaterThan(canonical)
  })

  it('Given fields that are out of order, of a newer IDL, or of an empty map without types, When decoded, Then they are not', () => {
    const [part, partition, state] = [i32Field(1, 1), i32Field(2, 2), i32Field(3, 3)]
    expect(isCanonical(partResult(part, partition, state))).toBe(true)
    expect(isCanonical(partResult(partition, part, state))).toBe(false)
    expect(isCanonical(partResult(part, state, partition))).toBe(false)
    expect(isCanonical(partResult(part, partition, state, i32Field(99, 4)))).toBe(false)
    const headers = (...types: readonly [number, number]) => Uint8Array.from([13, 0, 3, ...types, 0, 0, 0, 0, 0])
    expect(decodeCanonical(schemas.Event, headers(11, 11)).isCanonical).toBe(true)
    expect(decodeCanonical(schemas.Event, headers(0, 0)).isCanonical).toBe(false)
    expect(decodeCanonical(schemas.Event, headers(11, 0)).isCanonical).toBe(false)
  })
})
