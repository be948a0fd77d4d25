// Holds idl/*.thrift, the schemas and the TypeScript shapes together.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { envelopeVersion } from '../../../../src/protocol/envelope.ts'
import { encoding, mode, packing, partState, slot } from '../../../../src/protocol/messages.ts'
import { internalSchemas } from '../../../../src/protocol/thrift/internal-schemas.ts'
import { type AnySchema, op, type WireType } from '../../../../src/protocol/thrift/schema.ts'
import { methodSchemas, schemas } from '../../../../src/protocol/thrift/schemas.ts'

interface IdlField {
  readonly id: number
  readonly required: boolean
  readonly type: string
  readonly name: string
}

interface Idl {
  readonly structs: ReadonlyMap<string, { readonly union: boolean; readonly fields: readonly IdlField[] }>
  readonly methods: ReadonlyMap<string, { readonly request: string; readonly reply: string; readonly error: string }>
  readonly constants: ReadonlyMap<string, number>
}

const root = new URL('../../../../', import.meta.url)
const idl = parseIdl(readFileSync(new URL('idl/trunkline.thrift', root), 'utf8'))
const internal = parseIdl(readFileSync(new URL('idl/internal.thrift', root), 'utf8'))

describe('idl/trunkline.thrift', () => {
  it('Given the IDL, When it is parsed, Then it holds what this test is about', () => {
    expect(idl.structs.size).toBe(28)
    expect(idl.methods.size).toBe(8)
  })

  it('Given the structs of the IDL, When they are compared with the schemas, Then fields, ids and types are the same', () => {
    expect(tableOf(schemas)).toEqual(Object.fromEntries(idl.structs))
  })

  it('Given the methods of the IDL, When they are compared with methodSchemas, Then they name the same structs', () => {
    const ours = Object.entries(methodSchemas).map(([name, { request, reply }]) => [
      name,
      { request: request.name, reply: reply.name, error: 'TrunklineError' },
    ])
    expect(Object.fromEntries(ours)).toEqual(Object.fromEntries(idl.methods))
  })

  it('Given the constants of the IDL, When they are compared with messages.ts, Then they are the same', () => {
    expect(Object.fromEntries(idl.constants)).toEqual({
      MODE_READ: mode.read,
      MODE_WRITE: mode.write,
      SLOT_DATA: slot.data,
      SLOT_CONTROL: slot.control,
      ENCODING_NONE: encoding.none,
      ENCODING_GZIP: encoding.gzip,
      PACKING_1: packing.v1,
      PART_LANDED: partState.landed,
      PART_MISSING: partState.missing,
      PART_UNKNOWN: partState.unknown,
    })
  })
})

describe('idl/internal.thrift', () => {
  it('Given its structs, When they are compared with the schemas, Then fields, ids and types are the same', () => {
    expect(internal.structs.size).toBe(5)
    expect(tableOf(internalSchemas)).toEqual(Object.fromEntries(internal.structs))
    expect(Object.fromEntries(internal.constants)).toEqual({ ENVELOPE_VERSION: envelopeVersion })
  })
})

describe('src/protocol/messages.ts', () => {
  it('Given its interfaces, When they are compared with the schemas, Then names and optional marks are the same', () => {
    const text = readFileSync(new URL('src/protocol/messages.ts', root), 'utf8')
    const shapes = new Map<string, Record<string, boolean>>()
    for (const [, name = '', body = ''] of text.matchAll(/export interface (\w+) \{\n(( {2}.*\n)*)\}/g)) {
      const fields = [...body.matchAll(/^ {2}(\w+)(\??): /gm)].map(
        ([, field = '', mark]) => [field, mark === ''] as const,
      )
      shapes.set(name, Object.fromEntries(fields))
    }
    for (const schema of Object.values<AnySchema>(schemas)) {
      const name = schema.name === 'TrunklineError' ? 'ErrorStruct' : schema.name
      const fields = schema.fields.map((field) => [field.name, field.required] as const)
      expect({ [name]: shapes.get(name) }).toEqual({ [name]: Object.fromEntries(fields) })
    }
  })
})

function tableOf(all: Readonly<Record<string, AnySchema>>): Record<string, unknown> {
  const rows = Object.entries(all).map(([key, schema]) => {
    expect(schema.name).toBe(key)
    const fields = schema.fields.map(({ id, required, wire, name }) => ({ id, required, type: typeName(wire), name }))
    return [key, { union: schema.union, fields }] as const
  })
  return Object.fromEntries(rows)
}

function typeName(wire: WireType<unknown>): string {
  switch (wire.op) {
    case op.bool:
      return 'bool'
    case op.i32:
      return 'i32'
    case op.i64:
      return 'i64'
    case op.string:
      return 'string'
    case op.binary:
      return 'binary'
    case op.struct:
      return wire.schema?.name ?? '?'
    case op.list:
      return `list<${wire.element === undefined ? '?' : typeName(wire.element)}>`
    case op.map:
      return 'map<string,string>'
  }
}

function parseIdl(source: string): Idl {
  const text = source.replaceAll(/\/\/.*$/gm, '')
  const structs = [...text.matchAll(/\b(struct|union|exception)\s+(\w+)\s*\{([^}]*)\}/g)].map(
    ([, kind, name = '', body = '']) => [name, { union: kind === 'union', fields: parseFields(body) }] as const,
  )
  const [, service = ''] = /\bservice\s+\w+\s*\{([^}]*)\}/.exec(text) ?? []
  const method = /(\w+)\s+(\w+)\(1: (\w+) request\) throws \(1: (\w+) error\)/g
  const methods = [...service.matchAll(method)].map(
    ([, reply = '', name = '', request = '', error = '']) => [name, { request, reply, error }] as const,
  )
  const constants = [...text.matchAll(/const i32 (\w+) = (-?\d+)/g)].map(
    ([, name = '', value]) => [name, Number(value)] as const,
  )
  return { structs: new Map(structs), methods: new Map(methods), constants: new Map(constants) }
}

function parseFields(body: string): IdlField[] {
  const lines = body.split('\n').filter((line) => line.trim() !== '')
  return lines.map((line) => {
    const [, id, requiredness = '', type = '', name = ''] =
      /^\s*(\d+):\s+(required |optional )?(.+) (\w+)\s*$/.exec(line) ?? []
    if (id === undefined) throw new Error(`a line of the IDL that this test cannot read: ${line}`)
    return {
      id: Number(id),
      required: requiredness === 'required ',
      type: type.replaceAll(' ', '').replace('trunkline.', ''),
      name,
    }
  })
}
