// Owns: strict Thrift binary messages: version word, name, seqid, then the args or result struct.
// A frame here is the content of one frame: the 4-byte length before it belongs to the transport.
// 1. Only version 0x80010000 is accepted; a call must be a CALL (nothing of the service is oneway).
// 2. args: field 1 = request. result: field 0 = success or 1 = error, exactly one.
// 3. A frame above frameBytesMax is not made (FRAME_TOO_LARGE) and not read (MALFORMED_FRAME).
import { errorFromStruct, errorToStruct, unsigned } from '../error-struct.ts'
import { TrunklineError } from '../errors.ts'
import { frameBytesMax } from '../limits.ts'
import type { ErrorStruct, MethodName, ReplyOf, RequestOf } from '../messages.ts'
import { type DecodeBudget, Decoder, decodeStruct, defaultDecodeBudget, type Encoder, startEncoding } from './codec.ts'
import { malformed } from './malformed.ts'
import {
  type AnySchema,
  defineStruct,
  defineUnion,
  i32,
  optional,
  required,
  string,
  struct,
  wireType,
} from './schema.ts'
import { methodSchemas, schemas } from './schemas.ts'

export const messageType = { call: 1, reply: 2, exception: 3 } as const

/** Types of TApplicationException that we send or understand. */
export const applicationException = {
  unknown: 0,
  unknownMethod: 1,
  invalidMessageType: 2,
  wrongMethodName: 3,
  badSequenceId: 4,
  missingResult: 5,
  internalError: 6,
  protocolError: 7,
} as const

export interface CallMessage {
  /** Any name: whether there is such a method is the dispatcher's to say (`isMethodName`). */
  readonly method: string
  readonly seqid: number
  readonly type: typeof messageType.call
  /** The args struct, a view; `decodeRequest` reads it. */
  readonly body: Uint8Array
}

export type ReplyMessage<M extends MethodName> =
  | { readonly seqid: number; readonly reply: ReplyOf<M> }
  | {
      readonly seqid: number
      readonly error: TrunklineError
      /** The declared exception as it came, for verifying its MAC; absent for a TApplicationException. */
      readonly struct?: ErrorStruct
    }

interface ApplicationException {
  message?: string | undefined
  type?: number | undefined
}

const version1 = 0x80010000
const versionMask = 0xffff0000
const methodBytesMax = 64
const requestField = 1
const successField = 0
const errorField = 1

const applicationExceptionSchema = defineStruct<ApplicationException>('TApplicationException', {
  message: optional(1, string),
  type: optional(2, i32),
})

const argsSchemas = mapMethods((method) =>
  defineStruct<{ request: object }>(`${method}_args`, {
    request: required(requestField, struct<object>(methodSchemas[method].request)),
  }),
)

const resultSchemas = mapMethods((method) =>
  defineUnion<{ success?: unknown; error?: unknown }>(`${method}_result`, {
    success: optional(successField, struct<unknown>(methodSchemas[method].reply)),
    error: optional(errorField, struct<unknown>(schemas.TrunklineError)),
  }),
)

/** The header of a call and its undecoded args. Errors: MALFORMED_FRAME. */
export function decodeCall(frame: Uint8Array, budget: DecodeBudget = defaultDecodeBudget): CallMessage {
  const decoder = new Decoder(frame, budget)
  const { type, method, seqid } = readHeader(decoder)
  if (type !== messageType.call) throw malformed('not a call')
  return { method, seqid, type, body: decoder.rest() }
}

/** The request in a call's args. Its binary fields are views into `body`. Errors: MALFORMED_FRAME. */
export function decodeRequest<M extends MethodName>(
  method: M,
  body: Uint8Array,
  budget: DecodeBudget = defaultDecodeBudget,
): RequestOf<M> {
  const decoder = new Decoder(body, budget)
  const args = decoder.struct(argsSchemas[method])
  decoder.expectEnd()
  return args['request'] as RequestOf<M>
}

/** Errors: MALFORMED_FRAME (a value does not fit the IDL), FRAME_TOO_LARGE. */
export function encodeCall<M extends MethodName>(method: M, seqid: number, request: RequestOf<M>): Uint8Array {
  const encoder = startMessage(messageType.call, method, seqid)
  encoder.fieldHeader(wireType.struct, requestField)
  encoder.struct(methodSchemas[method].request, request)
  return finishMessage(encoder)
}

/** Errors: MALFORMED_FRAME (a value does not fit the IDL), FRAME_TOO_LARGE. */
export function encodeReply<M extends MethodName>(method: M, seqid: number, reply: ReplyOf<M>): Uint8Array {
  const encoder = startMessage(messageType.reply, method, seqid)
  encoder.fieldHeader(wireType.struct, successField)
  encoder.struct(methodSchemas[method].reply, reply)
  return finishMessage(encoder)
}

/** The reply that carries the declared exception. */
export function encodeErrorReply(method: MethodName, seqid: number, error: TrunklineError): Uint8Array {
  return encodeErrorStructReply(method, seqid, errorToStruct(error))
}

/** As encodeErrorReply, for an error that was signed. */
export function encodeErrorStructReply(method: MethodName, seqid: number, error: ErrorStruct): Uint8Array {
  const encoder = startMessage(messageType.reply, method, seqid)
  encoder.fieldHeader(wireType.struct, errorField)
  encoder.struct(schemas.TrunklineError, error)
  return finishMessage(encoder)
}

/** For calls that reach no method: `text` is ours, never a library's. */
export function encodeApplicationException(method: string, seqid: number, type: number, text: string): Uint8Array {
  const encoder = startMessage(messageType.exception, method, seqid)
  encoder.struct(applicationExceptionSchema, { message: text, type } satisfies ApplicationException)
  return encoder.finish()
}

/**
 * The answer to a call of `method`; the caller matches `seqid`. A declared error and a TApplicationException both come
 * as `error`. Errors thrown: MALFORMED_FRAME.
 */
export function decodeReply<M extends MethodName>(
  method: M,
  frame: Uint8Array,
  budget: DecodeBudget = defaultDecodeBudget,
): ReplyMessage<M> {
  const decoder = new Decoder(frame, budget)
  const { type, method: answered, seqid } = readHeader(decoder)
  if (type === messageType.exception) {
    const exception = decodeStruct(applicationExceptionSchema, decoder.rest(), budget)
    return { seqid, error: unsigned(errorOfApplicationException(exception.type ?? applicationException.unknown)) }
  }
  if (type !== messageType.reply) throw malformed('not a reply')
  if (answered !== method) throw malformed('reply of another method')
  const result = decoder.struct(resultSchemas[method])
  decoder.expectEnd()
  const { success, error } = result
  if (error !== undefined) {
    const struct = error as ErrorStruct
    return { seqid, error: errorFromStruct(struct), struct }
  }
  return { seqid, reply: success as ReplyOf<M> }
}

/** The seqid of any message, to match a reply before it is decoded; undefined when the header does not parse. */
export function peekSeqid(frame: Uint8Array): number | undefined {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  if (frame.length < 12) return undefined
  const nameSize = view.getInt32(4)
  if (nameSize < 0 || nameSize > methodBytesMax || frame.length < 12 + nameSize) return undefined
  return view.getInt32(8 + nameSize)
}

function errorOfApplicationException(type: number): TrunklineError {
  const details = { applicationException: String(type) }
  switch (type) {
    case applicationException.unknownMethod:
      return new TrunklineError('UNKNOWN_METHOD', { details })
    case applicationException.protocolError:
    case applicationException.invalidMessageType:
      return new TrunklineError('MALFORMED_FRAME', { details })
    default:
      return new TrunklineError('INTERNAL', { details })
  }
}

function mapMethods<S extends AnySchema>(make: (method: MethodName) => S): Readonly<Record<MethodName, S>> {
  const names = Object.keys(methodSchemas) as MethodName[]
  return Object.fromEntries(names.map((name) => [name, make(name)])) as Record<MethodName, S>
}

function readHeader(decoder: Decoder): { type: number; method: string; seqid: number } {
  const word = decoder.i32() >>> 0
  if ((word & versionMask) >>> 0 !== version1) throw malformed('not version 1 of the strict binary protocol')
  const method = decoder.text()
  if (method.length > methodBytesMax) throw malformed('method name too long')
  return { type: word & 0xffff, method, seqid: decoder.i32() }
}

function startMessage(type: number, method: string, seqid: number): Encoder {
  const encoder = startEncoding()
  encoder.i32((version1 | type) >> 0)
  encoder.text(method)
  encoder.i32(seqid)
  return encoder
}

function finishMessage(encoder: Encoder): Uint8Array {
  encoder.stop()
  if (encoder.size > frameBytesMax) {
    throw new TrunklineError('FRAME_TOO_LARGE', {
      details: { bytes: String(encoder.size), bytesMax: String(frameBytesMax) },
    })
  }
  return encoder.finish()
}
