// Owns: structs ⇄ bytes of the Thrift binary protocol, strictly, driven by schemas.
// 1. Nothing is allocated by a declared size: a count or length is first held against the bytes that are there and
//    against an element budget.
// 2. Known fields must have their type, come once and, when required, be there; unknown fields are skipped.
// 3. Every failure is MALFORMED_FRAME with {field?, why}, both ways; no other throw is possible for any bytes.
// 4. Decoded binary fields are VIEWS into the given bytes: whoever keeps one longer than the frame copies it.
// Leaves out: message headers (message.ts), meaning (each call's owner).

import { frameBytesMax } from '../limits.ts'
import { decodeUtf8, encodeUtf8Into } from '../utf8.ts'
import { malformed } from './malformed.ts'
import { type AnySchema, elementOf, op, type StructSchema, schemaOf, type WireType, wireType } from './schema.ts'

/** What one decode may cost. */
export interface DecodeBudget {
  /** Longest input; default frameBytesMax. */
  readonly bytesMax: number
  /** List elements and map entries in all, nested and skipped ones too; default 100,000. */
  readonly elementsMax: number
}

export const defaultDecodeBudget: DecodeBudget = { bytesMax: frameBytesMax, elementsMax: 100_000 }

/** Containers and structs inside an unknown field. */
const skipDepthMax = 16
/** No encoded struct is larger: beyond it encoding fails as MALFORMED_FRAME "too large". */
const encodedBytesMax = 16 * 1024 * 1024
const scratchBytesStart = 64 * 1024
/** A scratch buffer that grew beyond this is given back after use. */
const scratchBytesKept = 2 * 1024 * 1024
/** A binary field from this size on is copied once, by `finish`, and not into the scratch buffer before. */
const spliceBytesMin = 2 * 1024
const twoTo32 = 2 ** 32

/** The bytes of a struct, own memory. Errors: MALFORMED_FRAME when the value does not fit its schema. */
export function encodeStruct<T>(schema: StructSchema<T>, value: T): Uint8Array {
  const encoder = startEncoding()
  encoder.struct(schema, value)
  return encoder.finish()
}

/** One struct that fills `bytes` exactly. Binary fields are views (header, 4). Errors: MALFORMED_FRAME. */
export function decodeStruct<T>(
  schema: StructSchema<T>,
  bytes: Uint8Array,
  budget: DecodeBudget = defaultDecodeBudget,
): T {
  return decodeCanonical(schema, bytes, budget).value
}

/** As decodeStruct, and whether encodeStruct makes these very bytes of the value. */
export function decodeCanonical<T>(
  schema: StructSchema<T>,
  bytes: Uint8Array,
  budget: DecodeBudget = defaultDecodeBudget,
): { readonly value: T; readonly isCanonical: boolean } {
  const decoder = new Decoder(bytes, budget)
  const value = decoder.struct(schema)
  decoder.expectEnd()
  return { value: value as T, isCanonical: decoder.isCanonical }
}

/**
 * Writes into one scratch buffer that all encodings share: encoding is synchronous and calls nobody, so only one is
 * under way at a time; `finish` copies the result out. Large binary fields wait beside it, where they belong
 * (`splices`), so that a block is copied once. `startEncoding` resets what a failed encoding left.
 */
export class Encoder {
  private scratch: Buffer = Buffer.allocUnsafeSlow(scratchBytesStart)
  private view: DataView = viewOf(this.scratch)
  private at = 0
  private splices: { readonly at: number; readonly bytes: Uint8Array }[] = []
  private splicedBytes = 0

  reset(): void {
    this.at = 0
    this.splices = []
    this.splicedBytes = 0
    if (this.scratch.length > scratchBytesKept) this.resize(scratchBytesStart)
  }

  finish(): Uint8Array {
    // Unfilled memory, and filled whole at once: zeros first would cost as much as the copy.
    const bytes = new Uint8Array(Buffer.allocUnsafeSlow(this.size).buffer)
    let from = 0
    let filled = 0
    for (const splice of this.splices) {
      bytes.set(this.scratch.subarray(from, splice.at), filled)
      filled += splice.at - from
      bytes.set(splice.bytes, filled)
      filled += splice.bytes.length
      from = splice.at
    }
    bytes.set(this.scratch.subarray(from, this.at), filled)
    // Nothing of a caller's is held until the next encoding.
    this.splices = []
    this.splicedBytes = 0
    return bytes
  }

  get size(): number {
    return this.at + this.splicedBytes
  }

  /** A binary field that holds an encoded struct, written in place. */
  structInBinary<T>(id: number, schema: StructSchema<T>, value: T): void {
    this.fieldHeader(wireType.string, id)
    this.i32(0)
    const lengthAt = this.at - 4
    const before = this.size
    this.struct(schema, value)
    this.view.setInt32(lengthAt, this.size - before)
  }

  i32(value: number): void {
    this.reserve(4)
    this.view.setInt32(this.at, value)
    this.at += 4
  }

  text(text: string, field?: string): void {
    // A UTF-16 unit takes at most 3 bytes.
    this.reserve(4 + text.length * 3)
    const size = encodeUtf8Into(text, this.scratch, this.at + 4)
    if (size < 0) throw malformed('text is not well-formed', field)
    this.view.setInt32(this.at, size)
    this.at += 4 + size
  }

  fieldHeader(type: number, id: number): void {
    this.reserve(3)
    this.view.setUint8(this.at, type)
    this.view.setInt16(this.at + 1, id)
    this.at += 3
  }

  stop(): void {
    this.reserve(1)
    this.view.setUint8(this.at, wireType.stop)
    this.at += 1
  }

  struct(schema: AnySchema, value: unknown): void {
    if (typeof value !== 'object' || value === null) throw malformed('not a struct', schema.name)
    const source = value as Readonly<Record<string, unknown>>
    let set = 0
    for (const field of schema.fields) {
      const item = source[field.name]
      if (item === undefined) {
        if (field.required) throw malformed('required field is missing', field.path)
        continue
      }
      set += 1
      this.fieldHeader(field.type, field.id)
      this.value(field.wire, item, field.path)
    }
    if (schema.union && set !== 1) throw malformed('a union needs exactly one field', schema.name)
    this.stop()
  }

  private value(wire: WireType<unknown>, item: unknown, path: string): void {
    switch (wire.op) {
      case op.bool:
        if (typeof item !== 'boolean') throw malformed('not a bool', path)
        this.reserve(1)
        this.view.setUint8(this.at, item ? 1 : 0)
        this.at += 1
        return
      case op.i32:
        if (typeof item !== 'number' || (item | 0) !== item) throw malformed('not an i32', path)
        this.i32(item)
        return
      case op.i64:
        if (!Number.isSafeInteger(item)) throw malformed('not an integer below 2^53', path)
        this.i64(item as number)
        return
      case op.string:
        if (typeof item !== 'string') throw malformed('not a string', path)
        this.text(item, path)
        return
      case op.binary:
        if (!(item instanceof Uint8Array)) throw malformed('not bytes', path)
        this.i32(item.length)
        this.bytes(item)
        return
      case op.struct:
        this.struct(schemaOf(wire), item)
        return
      case op.list:
        this.list(wire, item, path)
        return
      case op.map:
        this.map(item, path)
        return
    }
  }

  private bytes(item: Uint8Array): void {
    if (item.length >= spliceBytesMin) {
      if (this.size + item.length > encodedBytesMax) throw malformed('too large')
      this.splices.push({ at: this.at, bytes: item })
      this.splicedBytes += item.length
      return
    }
    this.reserve(item.length)
    this.scratch.set(item, this.at)
    this.at += item.length
  }

  private list(wire: WireType<unknown>, item: unknown, path: string): void {
    if (!Array.isArray(item)) throw malformed('not a list', path)
    const element = elementOf(wire)
    this.reserve(5)
    this.view.setUint8(this.at, element.type)
    this.view.setInt32(this.at + 1, item.length)
    this.at += 5
    for (const each of item as readonly unknown[]) this.value(element, each, path)
  }

  private map(item: unknown, path: string): void {
    if (!(item instanceof Map)) throw malformed('not a map', path)
    this.reserve(6)
    this.view.setUint8(this.at, wireType.string)
    this.view.setUint8(this.at + 1, wireType.string)
    this.view.setInt32(this.at + 2, item.size)
    this.at += 6
    for (const [name, value] of item as ReadonlyMap<unknown, unknown>) {
      if (typeof name !== 'string' || typeof value !== 'string') throw malformed('not a map of strings', path)
      this.text(name, path)
      this.text(value, path)
    }
  }

  private i64(value: number): void {
    this.reserve(8)
    this.view.setInt32(this.at, Math.floor(value / twoTo32))
    this.view.setUint32(this.at + 4, value >>> 0)
    this.at += 8
  }

  private reserve(size: number): void {
    const needed = this.at + size
    if (needed <= this.scratch.length) return
    if (needed + this.splicedBytes > encodedBytesMax) throw malformed('too large')
    this.resize(Math.min(Math.max(needed, this.scratch.length * 2), encodedBytesMax))
  }

  private resize(size: number): void {
    const larger = Buffer.allocUnsafeSlow(size)
    larger.set(this.scratch.subarray(0, this.at))
    this.scratch = larger
    this.view = viewOf(larger)
  }
}

const sharedEncoder = new Encoder()

/** The shared encoder, empty. Use it up (`finish`) before anything else encodes. */
export function startEncoding(): Encoder {
  sharedEncoder.reset()
  return sharedEncoder
}

/** Reads one frame. Errors: MALFORMED_FRAME from every method. */
export class Decoder {
  private readonly bytes: Uint8Array
  private readonly view: DataView
  private readonly end: number
  private at = 0
  private elementsLeft: number
  /** What was read so far is as our encoder writes it: known fields only, in the order of their ids. */
  isCanonical = true

  constructor(bytes: Uint8Array, budget: DecodeBudget) {
    if (bytes.length > budget.bytesMax) throw malformed('too large')
    this.bytes = bytes
    this.view = viewOf(bytes)
    this.end = bytes.length
    this.elementsLeft = budget.elementsMax
  }

  expectEnd(): void {
    if (this.at !== this.end) throw malformed('bytes after the end')
  }

  /** The bytes not read yet, as a view. */
  rest(): Uint8Array {
    return this.bytes.subarray(this.at, this.end)
  }

  u8(path?: string): number {
    this.need(1, path)
    const value = this.view.getUint8(this.at)
    this.at += 1
    return value
  }

  i32(path?: string): number {
    this.need(4, path)
    const value = this.view.getInt32(this.at)
    this.at += 4
    return value
  }

  text(path?: string): string {
    const size = this.size(path)
    const text = decodeUtf8(this.bytes, this.at, this.at + size)
    if (text === undefined) throw malformed('not UTF-8', path)
    this.at += size
    return text
  }

  struct(schema: AnySchema): Record<string, unknown> {
    const value: Record<string, unknown> = {}
    const byId = schema.byId
    let seen = 0
    let count = 0
    for (;;) {
      const type = this.u8(schema.name)
      if (type === wireType.stop) break
      this.need(2, schema.name)
      const id = this.view.getInt16(this.at)
      this.at += 2
      const field = id >= 0 && id < byId.length ? byId[id] : undefined
      if (field === undefined) {
        this.isCanonical = false
        this.skip(type, 0, schema.name)
        continue
      }
      if (field.type !== type) throw malformed('wrong type', field.path)
      if ((seen & field.bit) !== 0) throw malformed('field comes twice', field.path)
      // Bits are in the order of ids: a higher one was seen before. The highest is never the sign: 31 fields at most.
      if (seen > field.bit) this.isCanonical = false
      seen |= field.bit
      count += 1
      value[field.name] = this.value(field.wire, field.path)
    }
    if ((seen & schema.requiredBits) !== schema.requiredBits) throw this.missing(schema, seen)
    if (schema.union && count !== 1) throw malformed('a union needs exactly one field', schema.name)
    return value
  }

  private value(wire: WireType<unknown>, path: string): unknown {
    switch (wire.op) {
      case op.bool: {
        const byte = this.u8(path)
        if (byte > 1) throw malformed('not a bool', path)
        return byte === 1
      }
      case op.i32:
        return this.i32(path)
      case op.i64:
        return this.i64(path)
      case op.string:
        return this.text(path)
      case op.binary: {
        const size = this.size(path)
        const bytes = new Uint8Array(this.bytes.buffer, this.bytes.byteOffset + this.at, size)
        this.at += size
        return bytes
      }
      case op.struct:
        return this.struct(schemaOf(wire))
      case op.list:
        return this.list(wire, path)
      case op.map:
        return this.map(path)
    }
  }

  private i64(path: string): number {
    this.need(8, path)
    const value = this.view.getInt32(this.at) * twoTo32 + this.view.getUint32(this.at + 4)
    if (!Number.isSafeInteger(value)) throw malformed('integer beyond 2^53', path)
    this.at += 8
    return value
  }

  private list(wire: WireType<unknown>, path: string): unknown[] {
    const element = elementOf(wire)
    if (this.u8(path) !== element.type) throw malformed('wrong type of elements', path)
    const count = this.count(element.sizeMin, path)
    const items: unknown[] = []
    for (let at = 0; at < count; at += 1) items.push(this.value(element, path))
    return items
  }

  private map(path: string): Map<string, string> {
    const keyType = this.u8(path)
    const valueType = this.u8(path)
    const count = this.count(8, path)
    const items = new Map<string, string>()
    // Some runtimes leave the types of an empty map open.
    if (count === 0 && (keyType === wireType.stop || valueType === wireType.stop)) {
      this.isCanonical = false
      return items
    }
    if (keyType !== wireType.string || valueType !== wireType.string) throw malformed('wrong type of elements', path)
    for (let at = 0; at < count; at += 1) {
      const name = this.text(path)
      if (items.has(name)) throw malformed('name comes twice', path)
      items.set(name, this.text(path))
    }
    return items
  }

  private skip(type: number, depth: number, path: string): void {
    const size = fixedSize(type)
    if (size > 0) {
      this.need(size, path)
      this.at += size
      return
    }
    if (depth >= skipDepthMax) throw malformed('nested too deeply', path)
    switch (type) {
      case wireType.string: {
        // Not `this.at += …`: that would read `at` before `size` moves it.
        const length = this.size(path)
        this.at += length
        return
      }
      case wireType.struct:
        for (;;) {
          const inner = this.u8(path)
          if (inner === wireType.stop) return
          this.need(2, path)
          this.at += 2
          this.skip(inner, depth + 1, path)
        }
      case wireType.list:
      case wireType.set:
        this.skipElements([this.u8(path)], depth, path)
        return
      case wireType.map:
        this.skipElements([this.u8(path), this.u8(path)], depth, path)
        return
      default:
        throw malformed('unknown type', path)
    }
  }

  private skipElements(types: readonly number[], depth: number, path: string): void {
    const count = this.count(types.length, path)
    for (let at = 0; at < count; at += 1) for (const type of types) this.skip(type, depth + 1, path)
  }

  /** A declared length, held against what is there. */
  private size(path: string | undefined): number {
    const size = this.i32(path)
    if (size < 0 || size > this.end - this.at) throw malformed('length beyond the frame', path)
    return size
  }

  /** A declared count, held against what is there and the budget. */
  private count(sizeMin: number, path: string): number {
    const count = this.i32(path)
    if (count < 0 || count * sizeMin > this.end - this.at) throw malformed('count beyond the frame', path)
    this.elementsLeft -= count
    if (this.elementsLeft < 0) throw malformed('too many elements', path)
    return count
  }

  private need(size: number, path: string | undefined): void {
    if (this.end - this.at < size) throw malformed('ends too early', path)
  }

  private missing(schema: AnySchema, seen: number): Error {
    const field = schema.fields.find((each) => each.required && (seen & each.bit) === 0)
    return malformed('required field is missing', field?.path ?? schema.name)
  }
}

function fixedSize(type: number): number {
  switch (type) {
    case wireType.bool:
    case wireType.byte:
      return 1
    case wireType.i16:
      return 2
    case wireType.i32:
      return 4
    case wireType.i64:
    case wireType.double:
      return 8
    case wireType.uuid:
      return 16
    default:
      return 0
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
