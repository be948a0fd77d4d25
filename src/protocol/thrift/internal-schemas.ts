// Owns: the field tables of what travels between the tiers; idl/internal.thrift documents them, a test holds both together.
import type { Answer, Envelope, Principal, ReleaseReply, ReleaseRequest } from '../envelope.ts'
import { binary, bool, defineStruct, defineUnion, i32, i64, optional, required, string, struct } from './schema.ts'
import { schemas } from './schemas.ts'

/** An envelope on the wire: a method of a newer node is still text here. */
export type EnvelopeStruct = Omit<Envelope, 'method'> & { method: string }

const principal = defineStruct<Principal>('Principal', {
  subject: required(1, string),
  clientId: required(2, string),
  tenant: required(3, string),
  expiresAtMs: required(4, i64),
})

const envelope = defineStruct<EnvelopeStruct>('Envelope', {
  version: required(1, i32),
  method: required(2, string),
  requestId: required(3, string),
  traceparent: optional(4, string),
  principal: required(5, struct(principal)),
  sessionId: optional(6, string),
  body: required(7, binary),
  refreshed: optional(8, bool),
})

export const answerBodyId = 1

const answer = defineUnion<Answer>('Answer', {
  body: optional(answerBodyId, binary),
  error: optional(2, struct(schemas.TrunklineError)),
})

const releaseRequest = defineStruct<ReleaseRequest>('ReleaseRequest', {
  producerId: required(1, binary),
  sessionId: required(2, string),
})

const releaseReply = defineStruct<ReleaseReply>('ReleaseReply', {
  released: required(1, bool),
})

export const internalSchemas = {
  Principal: principal,
  Envelope: envelope,
  Answer: answer,
  ReleaseRequest: releaseRequest,
  ReleaseReply: releaseReply,
} as const
