// Owns: what a MAC covers, for every request, reply and error (docs/formats.md "Signed bytes"), and sign and verify.
// 1. All fields that have meaning are covered, whatever codec carried them; only bearer and mac are left out.
//    A block's data counts as its SHA-256.
// 2. A reply or error is bound to the request that it answers (slot, seq, challenge): an older one cannot stand in.
// 3. No two different messages have the same signed bytes: everything is length-prefixed, maps are sorted.
// Leaves out: when a missing MAC is refused (security work), challenges and sequences (the machines).
import { createHash, createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'
import type { ErrorStruct, MethodName, Proof, ReplyOf, RequestOf } from './messages.ts'
import { type AnySchema, type FieldSpec, op, type WireType } from './thrift/schema.ts'
import { methodSchemas, schemas } from './thrift/schemas.ts'

/** The keys of one session: derive once, keep beside the session (HKDF costs as much as several MACs). */
export interface MacKeys {
  /** Client to server. */
  readonly c2s: Uint8Array
  /** Server to client. */
  readonly s2c: Uint8Array
}

const macSize = 32
const hashed = fieldNamed(schemas.Block, 'data')
const uncovered: ReadonlySet<FieldSpec> = new Set([
  fieldNamed(schemas.Proof, 'bearer'),
  fieldNamed(schemas.Proof, 'mac'),
  fieldNamed(schemas.Turn, 'mac'),
])

/** HKDF-SHA256 of the session's secret (allocate's `secret`), no salt, info "tl1 c2s" and "tl1 s2c", 32 bytes each. */
export function deriveMacKeys(secret: Uint8Array): MacKeys {
  return { c2s: derive(secret, 'tl1 c2s'), s2c: derive(secret, 'tl1 s2c') }
}

export function requestSignedBytes<M extends MethodName>(method: M, request: RequestOf<M>): Uint8Array {
  return joined([...opening(method, 'request'), ...structBytes(methodSchemas[method].request, request)])
}

/** `answered` is the proof of the request; absent parts count as slot 0, seq 0 and an empty challenge. */
export function replySignedBytes<M extends MethodName>(
  method: M,
  answered: Proof | undefined,
  reply: ReplyOf<M>,
): Uint8Array {
  return joined([
    ...opening(method, 'reply'),
    ...answeredBytes(answered),
    ...structBytes(methodSchemas[method].reply, reply),
  ])
}

/** As replySignedBytes, for the exception. */
export function errorSignedBytes(method: MethodName, answered: Proof | undefined, error: ErrorStruct): Uint8Array {
  return joined([
    ...opening(method, 'error'),
    ...answeredBytes(answered),
    ...structBytes(schemas.TrunklineError, error),
  ])
}

/** HMAC-SHA256, 32 bytes: goes into `proof.mac`, which it does not cover. */
export function requestMac<M extends MethodName>(keys: MacKeys, method: M, request: RequestOf<M>): Uint8Array {
  return mac(keys.c2s, requestSignedBytes(method, request))
}

/** Goes into `turn.mac`. */
export function replyMac<M extends MethodName>(
  keys: MacKeys,
  method: M,
  answered: Proof | undefined,
  reply: ReplyOf<M>,
): Uint8Array {
  return mac(keys.s2c, replySignedBytes(method, answered, reply))
}

/** Goes into the error's `turn.mac`. */
export function errorMac(
  keys: MacKeys,
  method: MethodName,
  answered: Proof | undefined,
  error: ErrorStruct,
): Uint8Array {
  return mac(keys.s2c, errorSignedBytes(method, answered, error))
}

/** True when `request.proof.mac` is there and right; in constant time for a given size. */
export function verifyRequest<M extends MethodName>(keys: MacKeys, method: M, request: RequestOf<M>): boolean {
  return sameMac(request.proof?.mac, requestMac(keys, method, request))
}

/** True when `reply.turn.mac` is there and right. describe's reply has no turn and cannot be verified. */
export function verifyReply<M extends MethodName>(
  keys: MacKeys,
  method: M,
  answered: Proof | undefined,
  reply: ReplyOf<M>,
): boolean {
  const turn = 'turn' in reply ? reply.turn : undefined
  return sameMac(turn?.mac, replyMac(keys, method, answered, reply))
}

/** True when `error.turn.mac` is there and right. */
export function verifyError(
  keys: MacKeys,
  method: MethodName,
  answered: Proof | undefined,
  error: ErrorStruct,
): boolean {
  return sameMac(error.turn?.mac, errorMac(keys, method, answered, error))
}

function opening(method: MethodName, direction: 'request' | 'reply' | 'error'): Uint8Array[] {
  return [...prefixed(utf8('tl1')), ...prefixed(utf8(method)), ...prefixed(utf8(direction))]
}

function answeredBytes(proof: Proof | undefined): Uint8Array[] {
  return [i32Bytes(proof?.slot ?? 0), i64Bytes(proof?.seq ?? 0), ...prefixed(proof?.challenge ?? new Uint8Array(0))]
}

/** Covered fields that are set, by id: id u16 │ lp(value). */
function structBytes(schema: AnySchema, value: object): Uint8Array[] {
  const source = value as Readonly<Record<string, unknown>>
  const parts: Uint8Array[] = []
  for (const field of schema.fields) {
    const item = source[field.name]
    if (item === undefined || uncovered.has(field)) continue
    parts.push(u16Bytes(field.id))
    parts.push(...prefixed(field === hashed ? sha256(item as Uint8Array) : joined(valueBytes(field.wire, item))))
  }
  return parts
}

function valueBytes(wire: WireType<unknown>, item: unknown): Uint8Array[] {
  switch (wire.op) {
    case op.bool:
      return [Uint8Array.of(item === true ? 1 : 0)]
    case op.i32:
      return [i32Bytes(item as number)]
    case op.i64:
      return [i64Bytes(item as number)]
    case op.string:
      return [utf8(item as string)]
    case op.binary:
      return [item as Uint8Array]
    case op.struct:
      if (wire.schema === undefined) throw new Error('a struct type without a schema')
      return structBytes(wire.schema, item as object)
    case op.list:
      return listBytes(wire.element, item as readonly unknown[])
    case op.map:
      return mapBytes(item as ReadonlyMap<string, string>)
  }
}

/** count u32 │ lp(element)*. */
function listBytes(element: WireType<unknown> | undefined, items: readonly unknown[]): Uint8Array[] {
  if (element === undefined) throw new Error('a list type without an element')
  return [i32Bytes(items.length), ...items.flatMap((item) => prefixed(joined(valueBytes(element, item))))]
}

/** count u32 │ (lp(name) │ lp(value))*, sorted by the bytes of the names. */
function mapBytes(items: ReadonlyMap<string, string>): Uint8Array[] {
  const entries = [...items].map(([name, value]) => [utf8(name), utf8(value)] as const)
  entries.sort(([a], [b]) => Buffer.compare(a, b))
  return [i32Bytes(entries.length), ...entries.flatMap(([name, value]) => [...prefixed(name), ...prefixed(value)])]
}

function prefixed(bytes: Uint8Array): [Uint8Array, Uint8Array] {
  return [i32Bytes(bytes.length), bytes]
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts))
}

function utf8(text: string): Uint8Array {
  return Buffer.from(text, 'utf8')
}

function u16Bytes(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff)
}

function i32Bytes(value: number): Uint8Array {
  return Uint8Array.of(value >> 24, value >> 16, value >> 8, value)
}

function i64Bytes(value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigInt64(0, BigInt(value))
  return bytes
}

function sha256(bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(bytes).digest()
}

function mac(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHmac('sha256', key).update(bytes).digest())
}

function derive(secret: Uint8Array, label: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, new Uint8Array(0), label, macSize))
}

function sameMac(given: Uint8Array | undefined, expected: Uint8Array): boolean {
  return given !== undefined && given.length === macSize && timingSafeEqual(given, expected)
}

function fieldNamed(schema: AnySchema, name: string): FieldSpec {
  const field = schema.fields.find((each) => each.name === name)
  if (field === undefined) throw new Error(`${schema.name} has no field ${name}`)
  return field
}
