// Owns: what travels through the switchboard between the tiers (and between nodes): envelope in, answer out.
// Encoded with the Thrift codec and the schemas of ./thrift/internal-schemas.ts; versioned: another version answers BAD_REQUEST.
import type { ErrorStruct, MethodName } from './messages.ts'

export const envelopeVersion = 1

/** Who calls, as the API tier proved it. */
export interface Principal {
  /** Stable name of the caller inside its tenant. */
  subject: string
  clientId: string
  tenant: string
  /** The bearer's expiry; a session never outlives it unless refreshed by extend. */
  expiresAtMs: number
}

/** topic-*: bodies of ./topic-admin.ts, for any node, without a session. */
export type InternalMethod = MethodName | 'release' | 'topic-create' | 'topic-list' | 'topic-delete'

export interface Envelope {
  version: number
  method: InternalMethod
  requestId: string
  traceparent?: string | undefined
  principal: Principal
  /** Public id of the session, from its opened token; absent for allocate, describe, release. */
  sessionId?: string | undefined
  /** The request struct of the method, without its bearer. */
  body: Uint8Array
  /** extend carried a new bearer, already checked; `principal` is the refreshed one. */
  refreshed?: boolean | undefined
}

/** Exactly one field is set. `body` is the reply struct of the method. */
export interface Answer {
  body?: Uint8Array | undefined
  error?: ErrorStruct | undefined
}

/** One node asks another to end a producer's session for good (design.md §3, Release). */
export interface ReleaseRequest {
  producerId: Uint8Array
  sessionId: string
}

export interface ReleaseReply {
  /** True: nothing of the producer is in flight at that node, and nothing ever will be again under that session. False: ask again. */
  released: boolean
}
