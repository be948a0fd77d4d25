// Owns: values of test vectors (JSON: binary is hex, a map is a list of pairs) as the codec's values.
import { readFileSync } from 'node:fs'
import { type AnySchema, op, type StructSchema, type WireType } from '../../../../src/protocol/thrift/schema.ts'

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json }

export function readVectors<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../../../vectors/${name}.json`, import.meta.url), 'utf8')) as T
}

export function fromJson<T>(schema: StructSchema<T>, json: Json): T {
  return structFrom(schema, json) as T
}

export function hexToBytes(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, 'hex'))
}

export function bytesToHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

function structFrom(schema: AnySchema, json: Json): Record<string, unknown> {
  const value: Record<string, unknown> = {}
  for (const [name, item] of Object.entries(json as Readonly<Record<string, Json>>)) {
    const field = schema.fields.find((each) => each.name === name)
    if (field === undefined) throw new Error(`${schema.name} has no field ${name}`)
    value[name] = valueFrom(field.wire, item)
  }
  return value
}

function valueFrom(wire: WireType<unknown>, json: Json): unknown {
  switch (wire.op) {
    case op.binary:
      return hexToBytes(json as string)
    case op.struct:
      if (wire.schema === undefined) throw new Error('a struct type without a schema')
      return structFrom(wire.schema, json)
    case op.list: {
      const { element } = wire
      if (element === undefined) throw new Error('a list type without an element')
      return (json as readonly Json[]).map((item) => valueFrom(element, item))
    }
    case op.map:
      return new Map(json as unknown as readonly [string, string][])
    case op.bool:
    case op.i32:
    case op.i64:
    case op.string:
      return json
  }
}
