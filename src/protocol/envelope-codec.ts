// Owns: envelopes, answers and releases ⇄ bytes. Decoded binary fields are views into the given bytes.
// Leaves out: the request and reply bodies inside (decodeStruct with methodSchemas), what a version means.
import type { Answer, Envelope, InternalMethod, ReleaseReply, ReleaseRequest } from './envelope.ts'
import { envelopeVersion } from './envelope.ts'
import { errorToStruct } from './error-struct.ts'
import { TrunklineError } from './errors.ts'
import { frameBytesMax } from './limits.ts'
import { type DecodeBudget, decodeStruct, defaultDecodeBudget, encodeStruct, startEncoding } from './thrift/codec.ts'
import { answerBodyId, internalSchemas } from './thrift/internal-schemas.ts'
import type { StructSchema } from './thrift/schema.ts'

/** A body of a full frame, with room for what the envelope adds. */
const internalBudget: DecodeBudget = { ...defaultDecodeBudget, bytesMax: frameBytesMax + 64 * 1024 }

export function encodeEnvelope(envelope: Envelope): Uint8Array {
  return encodeStruct(internalSchemas.Envelope, envelope)
}

/**
 * The method may be one that only a newer node knows: the receiver answers UNKNOWN_METHOD for it.
 * Errors: MALFORMED_FRAME; BAD_REQUEST for another envelope version.
 */
export function decodeEnvelope(bytes: Uint8Array): Envelope {
  const envelope = decodeStruct(internalSchemas.Envelope, bytes, internalBudget)
  if (envelope.version !== envelopeVersion) {
    throw new TrunklineError('BAD_REQUEST', { details: { envelopeVersion: String(envelope.version) } })
  }
  return { ...envelope, method: envelope.method as InternalMethod }
}

export function encodeAnswer(answer: Answer): Uint8Array {
  return encodeStruct(internalSchemas.Answer, answer)
}

/** As encodeAnswer around an encoded reply, without a copy of the reply between the two. */
export function encodeReplyAnswer<T>(schema: StructSchema<T>, reply: T): Uint8Array {
  const encoder = startEncoding()
  encoder.structInBinary(answerBodyId, schema, reply)
  encoder.stop()
  return encoder.finish()
}

/** The answer that carries an error. */
export function encodeErrorAnswer(error: TrunklineError): Uint8Array {
  return encodeAnswer({ error: errorToStruct(error) })
}

/** Errors: MALFORMED_FRAME. */
export function decodeAnswer(bytes: Uint8Array): Answer {
  return decodeStruct(internalSchemas.Answer, bytes, internalBudget)
}

export function encodeReleaseRequest(request: ReleaseRequest): Uint8Array {
  return encodeStruct(internalSchemas.ReleaseRequest, request)
}

/** Errors: MALFORMED_FRAME. */
export function decodeReleaseRequest(bytes: Uint8Array): ReleaseRequest {
  return decodeStruct(internalSchemas.ReleaseRequest, bytes)
}

export function encodeReleaseReply(reply: ReleaseReply): Uint8Array {
  return encodeStruct(internalSchemas.ReleaseReply, reply)
}

/** Errors: MALFORMED_FRAME. */
export function decodeReleaseReply(bytes: Uint8Array): ReleaseReply {
  return decodeStruct(internalSchemas.ReleaseReply, bytes)
}
