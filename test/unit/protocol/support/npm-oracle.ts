// Owns: npm thrift's binary protocol, driven by our schemas as generated code would drive it: the oracle.
import thrift, { type Int64, type TBinaryProtocol } from 'thrift'
import { type AnySchema, op, type StructSchema, type WireType } from '../../../../src/protocol/thrift/schema.ts'

export function npmEncode<T>(schema: StructSchema<T>, value: T): Uint8Array {
  return npmWrite((protocol) => writeStruct(protocol, schema, value as Readonly<Record<string, unknown>>))
}

export function npmDecode<T>(schema: StructSchema<T>, bytes: Uint8Array): T {
  return npmRead(bytes, (protocol) => readStruct(protocol, schema)) as T
}

/** A message with one struct field, as args and result structs are. */
export function npmEncodeMessage<T>(
  header: { name: string; type: number; seqid: number },
  fieldId: number,
  schema: StructSchema<T>,
  value: T,
): Uint8Array {
  return npmWrite((protocol) => {
    protocol.writeMessageBegin(header.name, header.type, header.seqid)
    protocol.writeFieldBegin('', 12, fieldId)
    writeStruct(protocol, schema, value as Readonly<Record<string, unknown>>)
    protocol.writeFieldStop()
    protocol.writeMessageEnd()
  })
}

export function npmDecodeMessage<T>(
  bytes: Uint8Array,
  schema: StructSchema<T>,
): { name: string; type: number; seqid: number; fieldId: number; value: T } {
  return npmRead(bytes, (protocol) => {
    const { fname, mtype, rseqid } = protocol.readMessageBegin()
    const { fid } = protocol.readFieldBegin()
    const value = readStruct(protocol, schema) as T
    return { name: fname, type: mtype, seqid: rseqid, fieldId: fid, value }
  })
}

function npmWrite(write: (protocol: TBinaryProtocol) => void): Uint8Array {
  let written: Buffer | undefined
  const transport = new thrift.TBufferedTransport(undefined, (bytes) => {
    written = bytes
  })
  const protocol = new thrift.TBinaryProtocol(transport, true, true)
  write(protocol)
  protocol.flush()
  if (written === undefined) throw new Error('the oracle wrote nothing')
  return new Uint8Array(written)
}

function npmRead<T>(bytes: Uint8Array, read: (protocol: TBinaryProtocol) => T): T {
  let result: { value: T } | undefined
  thrift.TBufferedTransport.receiver((transport) => {
    result = { value: read(new thrift.TBinaryProtocol(transport, true, true)) }
  })(Buffer.from(bytes))
  if (result === undefined) throw new Error('the oracle read nothing')
  return result.value
}

function writeStruct(protocol: TBinaryProtocol, schema: AnySchema, value: Readonly<Record<string, unknown>>): void {
  for (const field of schema.fields) {
    const item = value[field.name]
    if (item === undefined) continue
    protocol.writeFieldBegin(field.name, field.type, field.id)
    writeValue(protocol, field.wire, item)
  }
  protocol.writeFieldStop()
}

function writeValue(protocol: TBinaryProtocol, wire: WireType<unknown>, item: unknown): void {
  switch (wire.op) {
    case op.bool:
      protocol.writeBool(item as boolean)
      return
    case op.i32:
      protocol.writeI32(item as number)
      return
    case op.i64:
      protocol.writeI64(item as number)
      return
    case op.string:
      protocol.writeString(item as string)
      return
    case op.binary:
      // Its flush copies with Buffer methods: a plain Uint8Array crashes it.
      protocol.writeBinary(Buffer.from(item as Uint8Array))
      return
    case op.struct:
      writeStruct(protocol, schemaOf(wire), item as Readonly<Record<string, unknown>>)
      return
    case op.list: {
      const element = elementOf(wire)
      const items = item as readonly unknown[]
      protocol.writeListBegin(element.type, items.length)
      for (const each of items) writeValue(protocol, element, each)
      return
    }
    case op.map: {
      const items = item as ReadonlyMap<string, string>
      protocol.writeMapBegin(11, 11, items.size)
      for (const [name, each] of items) {
        protocol.writeString(name)
        protocol.writeString(each)
      }
      return
    }
  }
}

function readStruct(protocol: TBinaryProtocol, schema: AnySchema): Record<string, unknown> {
  const value: Record<string, unknown> = {}
  for (;;) {
    const { ftype, fid } = protocol.readFieldBegin()
    if (ftype === 0) return value
    const field = schema.byId[fid]
    if (field === undefined || field.type !== ftype) protocol.skip(ftype)
    else value[field.name] = readValue(protocol, field.wire)
  }
}

function readValue(protocol: TBinaryProtocol, wire: WireType<unknown>): unknown {
  switch (wire.op) {
    case op.bool:
      return protocol.readBool()
    case op.i32:
      return protocol.readI32()
    case op.i64:
      return int64Value(protocol.readI64())
    case op.string:
      return protocol.readString()
    case op.binary:
      return new Uint8Array(protocol.readBinary())
    case op.struct:
      return readStruct(protocol, schemaOf(wire))
    case op.list: {
      const element = elementOf(wire)
      const { size } = protocol.readListBegin()
      return Array.from({ length: size }, () => readValue(protocol, element))
    }
    case op.map: {
      const { size } = protocol.readMapBegin()
      return new Map(Array.from({ length: size }, () => [protocol.readString(), protocol.readString()] as const))
    }
  }
}

function int64Value(value: Int64): number {
  return Number(value.buffer.readBigInt64BE(value.offset))
}

function schemaOf(wire: WireType<unknown>): AnySchema {
  if (wire.schema === undefined) throw new Error('a struct type without a schema')
  return wire.schema
}

function elementOf(wire: WireType<unknown>): WireType<unknown> {
  if (wire.element === undefined) throw new Error('a list type without an element')
  return wire.element
}
