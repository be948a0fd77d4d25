// Owns: what a MAC covers, for every request, reply and error (docs/formats.md "Signed bytes"), and sign and verify.
// 1. All fields that have meaning are covered, whatever codec carried them; only bearer and mac are left out.
//    A block's data counts as its SHA-256.
// 2. A reply or error is bound to the request that it answers (slot, seq, challenge, and its MAC, so everything in it):
//    no other one can stand in, not even that to a request which spent no seq.
// 3. No two different messages have the same signed bytes: everything is length-prefixed, maps are sorted.
// 4. They are written into one scratch buffer that all share: it is synchronous and calls nobody.
// Leaves out: when a missing MAC is refused (api-tier/session-proofs.ts), challenges and sequences (the machines), what is
// signed over JSON (signed-http.ts).
import { hkdfSync, timingSafeEqual } from 'node:crypto'
import { labelFor, type MacAlgorithm, macAlgorithm } from './mac-algorithm.ts'
import type { ErrorStruct, MethodName, Proof, ReplyOf, RequestOf } from './messages.ts'
import { SignedScratch } from './signed-scratch.ts'
import { type AnySchema, elementOf, type FieldSpec, op, schemaOf, type WireType } from './thrift/schema.ts'
import { methodSchemas, schemas } from './thrift/schemas.ts'

/** The keys of one session: derive once, keep beside the session (HKDF costs as much as several MACs). */
export interface MacKeys {
  /** Client to server. */
  readonly c2s: Uint8Array
  /** Server to client. */
  readonly s2c: Uint8Array
  /** Default HMAC-SHA256. */
  readonly algorithm?: MacAlgorithm | undefined
}

const keySize = 32

const hashed = fieldNamed(schemas.Block, 'data')
const uncovered: ReadonlySet<FieldSpec> = new Set([
  fieldNamed(schemas.Proof, 'bearer'),
  fieldNamed(schemas.Proof, 'mac'),
  fieldNamed(schemas.Turn, 'mac'),
  fieldNamed(schemas.TrunklineError, 'mac'),
])

/** What begins the signed bytes: lp("tl1") │ lp(method) │ lp(direction). */
const openings = { request: openingsOf('request'), reply: openingsOf('reply'), error: openingsOf('error') }

/** Of each schema that was met, the fields that a MAC covers. */
const coveredFields = new Map<AnySchema, readonly FieldSpec[]>()

/**
 * HKDF-SHA256 of the session's secret (allocate's `secret`), no salt, info "tl1 c2s" and "tl1 s2c" (for HMAC-MD5
 * "tl1 c2s md5" and "tl1 s2c md5"), 32 bytes each.
 */
export function deriveMacKeys(secret: Uint8Array, algorithm: MacAlgorithm = macAlgorithm.sha256): MacKeys {
  const keyFor = (label: `tl1 ${string}`): Uint8Array => derive(secret, labelFor(algorithm, label))
  return { c2s: keyFor('tl1 c2s'), s2c: keyFor('tl1 s2c'), algorithm }
}

export function requestSignedBytes<M extends MethodName>(method: M, request: RequestOf<M>): Uint8Array {
  writeRequest(method, request)
  return out.copied()
}

/** `answered` is the proof of the request, with its MAC; absent parts count as slot 0, seq 0, empty challenge and MAC. */
export function replySignedBytes<M extends MethodName>(
  method: M,
  answered: Proof | undefined,
  reply: ReplyOf<M>,
): Uint8Array {
  writeAnswer(method, 'reply', answered, methodSchemas[method].reply, reply)
  return out.copied()
}

/** As replySignedBytes, for the exception. */
export function errorSignedBytes(method: MethodName, answered: Proof | undefined, error: ErrorStruct): Uint8Array {
  writeAnswer(method, 'error', answered, schemas.TrunklineError, error)
  return out.copied()
}

/** Goes into `proof.mac`, which it does not cover. */
export function requestMac<M extends MethodName>(keys: MacKeys, method: M, request: RequestOf<M>): Uint8Array {
  writeRequest(method, request)
  return out.mac(keys.algorithm, keys.c2s)
}

/** Goes into `turn.mac`. */
export function replyMac<M extends MethodName>(
  keys: MacKeys,
  method: M,
  answered: Proof | undefined,
  reply: ReplyOf<M>,
): Uint8Array {
  writeAnswer(method, 'reply', answered, methodSchemas[method].reply, reply)
  return out.mac(keys.algorithm, keys.s2c)
}

/** Goes into the error's `turn.mac`; into its own `mac` when it has no turn. */
export function errorMac(
  keys: MacKeys,
  method: MethodName,
  answered: Proof | undefined,
  error: ErrorStruct,
): Uint8Array {
  writeAnswer(method, 'error', answered, schemas.TrunklineError, error)
  return out.mac(keys.algorithm, keys.s2c)
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

/** True when `error.turn.mac`, or of an error without a turn `error.mac`, is there and right. */
export function verifyError(
  keys: MacKeys,
  method: MethodName,
  answered: Proof | undefined,
  error: ErrorStruct,
): boolean {
  return sameMac(error.turn === undefined ? error.mac : error.turn.mac, errorMac(keys, method, answered, error))
}

function writeRequest(method: MethodName, request: object): void {
  out.begin(openings.request[method])
  writeStruct(methodSchemas[method].request, request)
}

function writeAnswer(
  method: MethodName,
  direction: 'reply' | 'error',
  answered: Proof | undefined,
  schema: AnySchema,
  answer: object,
): void {
  out.begin(openings[direction][method])
  out.i32(answered?.slot ?? 0)
  out.i64(answered?.seq ?? 0)
  out.prefixed(answered?.challenge ?? nothing)
  out.prefixed(answered?.mac ?? nothing)
  writeStruct(schema, answer)
}

/** Covered fields that are set, by id: id u16 │ lp(value). */
function writeStruct(schema: AnySchema, value: object): void {
  const source = value as Readonly<Record<string, unknown>>
  for (const field of coveredOf(schema)) {
    const item = source[field.name]
    if (item === undefined) continue
    out.u16(field.id)
    if (field === hashed) out.prefixedSha256(item as Uint8Array)
    else writePrefixed(field.wire, item)
  }
}

function writePrefixed(wire: WireType<unknown>, item: unknown): void {
  const mark = out.open()
  writeValue(wire, item)
  out.close(mark)
}

function writeValue(wire: WireType<unknown>, item: unknown): void {
  switch (wire.op) {
    case op.bool:
      out.byte(item === true ? 1 : 0)
      return
    case op.i32:
      out.i32(item as number)
      return
    case op.i64:
      out.i64(item as number)
      return
    case op.string:
      out.text(item as string)
      return
    case op.binary:
      out.bytes(item as Uint8Array)
      return
    case op.struct:
      writeStruct(schemaOf(wire), item as object)
      return
    case op.list:
      writeList(elementOf(wire), item as readonly unknown[])
      return
    case op.map:
      writeMap(item as ReadonlyMap<string, string>)
      return
  }
}

/** count u32 │ lp(element)*. */
function writeList(element: WireType<unknown>, items: readonly unknown[]): void {
  out.i32(items.length)
  for (const item of items) writePrefixed(element, item)
}

/** count u32 │ (lp(name) │ lp(value))*, sorted by the bytes of the names. */
function writeMap(items: ReadonlyMap<string, string>): void {
  const entries = Array.from(items, ([name, value]) => [Buffer.from(name), Buffer.from(value)] as const)
  entries.sort(([a], [b]) => Buffer.compare(a, b))
  out.i32(entries.length)
  for (const [name, value] of entries) {
    out.prefixed(name)
    out.prefixed(value)
  }
}

const nothing = new Uint8Array(0)
const out = new SignedScratch()

function derive(secret: Uint8Array, label: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, new Uint8Array(0), label, keySize))
}

/** In constant time for a given size. */
export function sameMac(given: Uint8Array | undefined, expected: Uint8Array): boolean {
  return given !== undefined && given.length === expected.length && timingSafeEqual(given, expected)
}

function coveredOf(schema: AnySchema): readonly FieldSpec[] {
  const known = coveredFields.get(schema)
  if (known !== undefined) return known
  const covered = schema.fields.filter((field) => !uncovered.has(field))
  coveredFields.set(schema, covered)
  return covered
}

function openingsOf(direction: 'request' | 'reply' | 'error'): Readonly<Record<MethodName, Uint8Array>> {
  const names = Object.keys(methodSchemas) as MethodName[]
  const opening = (method: MethodName): Uint8Array =>
    Buffer.concat(['tl1', method, direction].flatMap((text) => [lengthOf(text), Buffer.from(text)]))
  return Object.fromEntries(names.map((name) => [name, opening(name)])) as Record<MethodName, Uint8Array>
}

function lengthOf(text: string): Uint8Array {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(text.length)
  return length
}

function fieldNamed(schema: AnySchema, name: string): FieldSpec {
  const field = schema.fields.find((each) => each.name === name)
  if (field === undefined) throw new Error(`${schema.name} has no field ${name}`)
  return field
}
