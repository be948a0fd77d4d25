// Owns: what a MAC covers, for every request, reply and error (docs/formats.md "Signed bytes"), and sign and verify.
// 1. All fields that have meaning are covered, whatever codec carried them; only bearer and mac are left out.
//    A block's data counts as its SHA-256.
// 2. A reply or error is bound to the request that it answers (slot, seq, challenge, and its MAC, so everything in it):
//    no other one can stand in, not even that to a request which spent no seq.
// 3. No two different messages have the same signed bytes: everything is length-prefixed, maps are sorted.
// 4. They are written into one scratch buffer that all share: it is synchronous and calls nobody.
// Leaves out: when a missing MAC is refused (api-tier/session-proofs.ts), challenges and sequences (the machines), what is
// signed over JSON (signed-http.ts).
import { hash, hkdfSync, timingSafeEqual } from 'node:crypto'
import { labelFor, type MacAlgorithm, macAlgorithm, macOf } from './mac-algorithm.ts'
import type { ErrorStruct, MethodName, Proof, ReplyOf, RequestOf } from './messages.ts'
import { type AnySchema, type FieldSpec, op, type WireType } from './thrift/schema.ts'
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

/**
 * HKDF-SHA256 of the session's secret (allocate's `secret`), no salt, info "tl1 c2s" and "tl1 s2c" (for HMAC-MD5
 * "tl1 c2s md5" and "tl1 s2c md5"), 32 bytes each.
 */
export function deriveMacKeys(secret: Uint8Array, algorithm: MacAlgorithm = macAlgorithm.sha256): MacKeys {
  const keyFor = (label: `tl1 ${string}`): Uint8Array => derive(secret, labelFor(algorithm, label))
  return { c2s: keyFor('tl1 c2s'), s2c: keyFor('tl1 s2c'), algorithm }
}

export function requestSignedBytes<M extends MethodName>(method: M, request: RequestOf<M>): Uint8Array {
  return copied(requestBytes(method, request))
}

/** `answered` is the proof of the request, with its MAC; absent parts count as slot 0, seq 0, empty challenge and MAC. */
export function replySignedBytes<M extends MethodName>(
  method: M,
  answered: Proof | undefined,
  reply: ReplyOf<M>,
): Uint8Array {
  return copied(answerBytes(method, 'reply', answered, methodSchemas[method].reply, reply))
}

/** As replySignedBytes, for the exception. */
export function errorSignedBytes(method: MethodName, answered: Proof | undefined, error: ErrorStruct): Uint8Array {
  return copied(answerBytes(method, 'error', answered, schemas.TrunklineError, error))
}

/** Goes into `proof.mac`, which it does not cover. */
export function requestMac<M extends MethodName>(keys: MacKeys, method: M, request: RequestOf<M>): Uint8Array {
  return mac(keys, keys.c2s, requestBytes(method, request))
}

/** Goes into `turn.mac`. */
export function replyMac<M extends MethodName>(
  keys: MacKeys,
  method: M,
  answered: Proof | undefined,
  reply: ReplyOf<M>,
): Uint8Array {
  return mac(keys, keys.s2c, answerBytes(method, 'reply', answered, methodSchemas[method].reply, reply))
}

/** Goes into the error's `turn.mac`; into its own `mac` when it has no turn. */
export function errorMac(
  keys: MacKeys,
  method: MethodName,
  answered: Proof | undefined,
  error: ErrorStruct,
): Uint8Array {
  return mac(keys, keys.s2c, answerBytes(method, 'error', answered, schemas.TrunklineError, error))
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

/** Own memory: the scratch buffer is written over by the next message. */
function copied(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes)
}

function requestBytes(method: MethodName, request: object): Uint8Array {
  out.begin(method, 'request')
  writeStruct(methodSchemas[method].request, request)
  return out.written()
}

function answerBytes(
  method: MethodName,
  direction: 'reply' | 'error',
  answered: Proof | undefined,
  schema: AnySchema,
  answer: object,
): Uint8Array {
  out.begin(method, direction)
  out.i32(answered?.slot ?? 0)
  out.i64(answered?.seq ?? 0)
  out.prefixed(answered?.challenge ?? nothing)
  out.prefixed(answered?.mac ?? nothing)
  writeStruct(schema, answer)
  return out.written()
}

/** Covered fields that are set, by id: id u16 │ lp(value). */
function writeStruct(schema: AnySchema, value: object): void {
  const source = value as Readonly<Record<string, unknown>>
  for (const field of schema.fields) {
    const item = source[field.name]
    if (item === undefined || uncovered.has(field)) continue
    out.u16(field.id)
    if (field === hashed) out.prefixed(sha256(item as Uint8Array))
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
      if (wire.schema === undefined) throw new Error('a struct type without a schema')
      writeStruct(wire.schema, item as object)
      return
    case op.list:
      writeList(wire.element, item as readonly unknown[])
      return
    case op.map:
      writeMap(item as ReadonlyMap<string, string>)
      return
  }
}

/** count u32 │ lp(element)*. */
function writeList(element: WireType<unknown> | undefined, items: readonly unknown[]): void {
  if (element === undefined) throw new Error('a list type without an element')
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

const scratchBytesStart = 16 * 1024
/** A scratch buffer that grew beyond this is given back at the next message. */
const scratchBytesKept = 512 * 1024

class Scratch {
  private buffer = Buffer.allocUnsafeSlow(scratchBytesStart)
  private at = 0

  begin(method: MethodName, direction: 'request' | 'reply' | 'error'): void {
    this.at = 0
    if (this.buffer.length > scratchBytesKept) this.buffer = Buffer.allocUnsafeSlow(scratchBytesStart)
    for (const part of ['tl1', method, direction]) {
      const mark = this.open()
      this.text(part)
      this.close(mark)
    }
  }

  /** Valid until the next `begin`. */
  written(): Uint8Array {
    return this.buffer.subarray(0, this.at)
  }

  /** Room for a length, which `close` fills in. */
  open(): number {
    this.reserve(4)
    this.at += 4
    return this.at
  }

  close(mark: number): void {
    this.buffer.writeUInt32BE(this.at - mark, mark - 4)
  }

  prefixed(bytes: Uint8Array): void {
    this.i32(bytes.length)
    this.bytes(bytes)
  }

  byte(value: number): void {
    this.reserve(1)
    this.buffer[this.at++] = value
  }

  u16(value: number): void {
    this.reserve(2)
    this.at = this.buffer.writeUInt16BE(value, this.at)
  }

  i32(value: number): void {
    this.reserve(4)
    this.at = this.buffer.writeInt32BE(value, this.at)
  }

  i64(value: number): void {
    this.reserve(8)
    const high = Math.floor(value / twoTo32)
    this.buffer.writeInt32BE(high, this.at)
    this.at = this.buffer.writeUInt32BE(value - high * twoTo32, this.at + 4)
  }

  text(value: string): void {
    // A UTF-16 unit takes at most 3 bytes.
    this.reserve(value.length * 3)
    this.at += this.buffer.write(value, this.at, 'utf8')
  }

  bytes(value: Uint8Array): void {
    this.reserve(value.length)
    this.buffer.set(value, this.at)
    this.at += value.length
  }

  private reserve(bytes: number): void {
    if (this.at + bytes <= this.buffer.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(2 * this.buffer.length, this.at + bytes))
    grown.set(this.buffer.subarray(0, this.at))
    this.buffer = grown
  }
}

const nothing = new Uint8Array(0)
const twoTo32 = 2 ** 32
const out = new Scratch()

function sha256(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer')
}

/** By the one algorithm that the keys are for. */
export function mac({ algorithm }: MacKeys, key: Uint8Array, bytes: Uint8Array): Uint8Array {
  return macOf(algorithm ?? macAlgorithm.sha256, key, bytes)
}

function derive(secret: Uint8Array, label: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, new Uint8Array(0), label, keySize))
}

/** In constant time for a given size. */
export function sameMac(given: Uint8Array | undefined, expected: Uint8Array): boolean {
  return given !== undefined && given.length === expected.length && timingSafeEqual(given, expected)
}

function fieldNamed(schema: AnySchema, name: string): FieldSpec {
  const field = schema.fields.find((each) => each.name === name)
  if (field === undefined) throw new Error(`${schema.name} has no field ${name}`)
  return field
}
