// Owns: how a struct is described to the codec: field tables that are computed once, checked against the TypeScript type.
// 1. A schema that does not fit its interface (a field too few, required for optional, another type) does not compile.
// 2. Nesting is bounded when the schema is made: schemas cannot be recursive, so decoding needs no depth counter.
// Leaves out: bytes (codec.ts), which structs there are (schemas.ts, internal-schemas.ts).

/** Type bytes of the binary protocol. */
export const wireType = {
  stop: 0,
  bool: 2,
  byte: 3,
  double: 4,
  i16: 6,
  i32: 8,
  i64: 10,
  string: 11,
  struct: 12,
  map: 13,
  set: 14,
  list: 15,
  uuid: 16,
} as const

/** What the codec does with a field; small integers, for one switch in the hot path. */
export const op = { bool: 0, i32: 1, i64: 2, string: 3, binary: 4, struct: 5, list: 6, map: 7 } as const
export type Op = (typeof op)[keyof typeof op]

const structDepthMax = 16
/** Required and seen fields are bits of one 32-bit number. */
const fieldsMax = 31

/** A type of the wire; `V` is its TypeScript value (carried for the compiler only). */
export interface WireType<V> {
  readonly op: Op
  /** Type byte on the wire. */
  readonly type: number
  /** The fewest bytes one value takes: bounds a declared count before anything is allocated. */
  readonly sizeMin: number
  /** Of `struct`. */
  readonly schema: AnySchema | undefined
  /** Of `list`. */
  readonly element: WireType<unknown> | undefined
  readonly phantom?: V
}

export interface FieldSpec {
  readonly id: number
  readonly name: string
  /** `Struct.field`, for errors. */
  readonly path: string
  readonly required: boolean
  /** This field's bit in the set of seen fields. */
  readonly bit: number
  readonly wire: WireType<unknown>
  readonly op: Op
  readonly type: number
}

export interface AnySchema {
  readonly name: string
  /** A union has exactly one field set. */
  readonly union: boolean
  /** In the order of their ids. */
  readonly fields: readonly FieldSpec[]
  readonly byId: readonly (FieldSpec | undefined)[]
  readonly requiredBits: number
  readonly depth: number
}

/** The field table of one struct whose TypeScript shape is `T`. */
export interface StructSchema<T> extends AnySchema {
  readonly phantom?: T
}

interface RequiredField<V> {
  readonly id: number
  readonly required: true
  readonly wire: WireType<V>
}

interface OptionalField<V> {
  readonly id: number
  readonly required: false
  readonly wire: WireType<V>
}

type FieldsOf<T> = {
  readonly [K in keyof T]-?: undefined extends T[K] ? OptionalField<Exclude<T[K], undefined>> : RequiredField<T[K]>
}

function scalar<V>(code: Op, type: number, sizeMin: number): WireType<V> {
  return { op: code, type, sizeMin, schema: undefined, element: undefined }
}

export const bool = scalar<boolean>(op.bool, wireType.bool, 1)
export const i32 = scalar<number>(op.i32, wireType.i32, 4)
/** Refused beyond ±(2^53 - 1), both ways. */
export const i64 = scalar<number>(op.i64, wireType.i64, 8)
export const string = scalar<string>(op.string, wireType.string, 4)
export const binary = scalar<Uint8Array>(op.binary, wireType.string, 4)
/** map<string,string>; a name that comes twice is refused. */
export const stringMap = scalar<ReadonlyMap<string, string>>(op.map, wireType.map, 6)

export function struct<T>(schema: StructSchema<T>): WireType<T> {
  return { op: op.struct, type: wireType.struct, sizeMin: 1, schema, element: undefined }
}

/** A list of scalars or structs; lists of lists are not part of our IDL. */
export function list<V>(element: WireType<V>): WireType<readonly V[]> {
  if (element.op === op.list || element.op === op.map) throw new Error('a list of containers is not supported')
  return { op: op.list, type: wireType.list, sizeMin: 5, schema: undefined, element }
}

export function required<V>(id: number, wire: WireType<V>): RequiredField<V> {
  return { id, required: true, wire }
}

export function optional<V>(id: number, wire: WireType<V>): OptionalField<V> {
  return { id, required: false, wire }
}

export function defineStruct<T>(name: string, fields: FieldsOf<T>): StructSchema<T> {
  return define(name, fields, false)
}

export function defineUnion<T>(name: string, fields: FieldsOf<T>): StructSchema<T> {
  return define(name, fields, true)
}

function define<T>(name: string, fields: FieldsOf<T>, union: boolean): StructSchema<T> {
  const entries = Object.entries<RequiredField<unknown> | OptionalField<unknown>>(fields)
  entries.sort(([, a], [, b]) => a.id - b.id)
  if (entries.length > fieldsMax) throw new Error(`${name}: more than ${fieldsMax} fields`)
  const specs = entries.map(
    ([fieldName, field], at): FieldSpec => ({
      id: field.id,
      name: fieldName,
      path: `${name}.${fieldName}`,
      required: field.required,
      bit: 1 << at,
      wire: field.wire,
      op: field.wire.op,
      type: field.wire.type,
    }),
  )
  const byId: (FieldSpec | undefined)[] = Array.from({ length: (specs.at(-1)?.id ?? 0) + 1 }, () => undefined)
  let requiredBits = 0
  let depth = 1
  for (const spec of specs) {
    if (spec.id < 0 || byId[spec.id] !== undefined)
      throw new Error(`${spec.path}: field id ${spec.id} is taken or negative`)
    byId[spec.id] = spec
    if (spec.required) requiredBits |= spec.bit
    const inner = spec.wire.schema ?? spec.wire.element?.schema
    if (inner !== undefined) depth = Math.max(depth, inner.depth + 1)
  }
  if (depth > structDepthMax) throw new Error(`${name}: structs nest deeper than ${structDepthMax}`)
  return { name, union, fields: specs, byId, requiredBits, depth }
}

/** Of a `struct`. */
export function schemaOf(wire: WireType<unknown>): AnySchema {
  if (wire.schema === undefined) throw new Error('a struct type without a schema')
  return wire.schema
}

/** Of a `list`. */
export function elementOf(wire: WireType<unknown>): WireType<unknown> {
  if (wire.element === undefined) throw new Error('a list type without an element')
  return wire.element
}
