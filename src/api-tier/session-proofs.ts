// Owns: that a call of a session comes from who allocated it, and that its answer comes from us: the MACs of
// docs/formats.md "Signed bytes", with keys derived from the session token and kept beside it.
// 1. A MAC that is there is always checked, whether or not one is wanted; a wrong one is BAD_PROOF before anything else
//    of the request is looked at.
// 2. Who signed gets a signed answer, errors too. Nothing is signed for a request that was not proven, nor what is about
//    its bearer, which the MAC does not cover and anybody on the way can replace: an answer to a stranger must not be of
//    use against the client.
// 3. allocate and describe have no secret yet: their bearer is the proof.
// Leaves out: whether the proof is fresh (seq and challenge: the node), the keys themselves (opened-tokens.ts).
import { errorToStruct } from '../protocol/error-struct.ts'
import { type ErrorName, TrunklineError } from '../protocol/errors.ts'
import type { ErrorStruct, MethodName, Proof, ReplyOf, RequestOf } from '../protocol/messages.ts'
import { errorMac, type MacKeys, replyMac, verifyRequest } from '../protocol/signed-bytes.ts'
import { partsWithMac } from '../protocol/signed-reply.ts'
import { encodeStruct } from '../protocol/thrift/codec.ts'
import type { StructSchema } from '../protocol/thrift/schema.ts'
import { methodSchemas } from '../protocol/thrift/schemas.ts'
import type { ApiMetrics } from './api-metrics.ts'
import type { OpenedTokens } from './opened-tokens.ts'

/** Who has to sign. thrift: calls of a session over Thrift. all: over JSON too. optional: nobody. */
export type SignaturesWanted = 'thrift' | 'all' | 'optional'

export class SessionProofs {
  readonly #tokens: OpenedTokens
  readonly #wanted: SignaturesWanted
  readonly #metrics: ApiMetrics

  constructor(tokens: OpenedTokens, wanted: SignaturesWanted, metrics: ApiMetrics) {
    this.#tokens = tokens
    this.#wanted = wanted
    this.#metrics = metrics
  }

  /** Keys to sign the answer with; undefined: not signed, and allowed. Errors: BAD_SESSION_TOKEN, BAD_PROOF. */
  ofThrift<M extends MethodName>(method: M, request: RequestOf<M>): MacKeys | undefined {
    if (!('session' in request)) return undefined
    if (request.proof?.mac !== undefined)
      return this.#verified(request.session, (keys) => verifyRequest(keys, method, request))
    this.#unsigned(this.#wanted !== 'optional')
    return undefined
  }

  /**
   * As `ofThrift`, of a request over JSON, whose own bytes are signed (protocol/signed-http.ts).
   * Errors: BAD_SESSION_TOKEN, BAD_PROOF.
   */
  ofHttp(session: Uint8Array, verify: (keys: MacKeys) => boolean): MacKeys {
    return this.#verified(session, verify)
  }

  /** Errors: BAD_PROOF when JSON has to be signed. */
  ofUnsignedHttp(): void {
    this.#unsigned(this.#wanted === 'all')
  }

  #unsigned(isWanted: boolean): void {
    this.#metrics.proof(isWanted ? 'missing' : 'unsigned')
    if (isWanted) throw new TrunklineError('BAD_PROOF', { details: { why: 'not signed' } })
  }

  #verified(session: Uint8Array, verify: (keys: MacKeys) => boolean): MacKeys {
    const keys = this.#tokens.macKeys(session)
    const isRight = verify(keys)
    this.#metrics.proof(isRight ? 'signed' : 'wrong')
    if (!isRight) throw new TrunklineError('BAD_PROOF')
    return keys
  }
}

/** Invariant 2. All of them make a client leave its session; none answers a request. */
const neverSigned: ReadonlySet<ErrorName> = new Set([
  'UNAUTHENTICATED',
  'TOKEN_EXPIRED',
  'BAD_SESSION_TOKEN',
  'BAD_PROOF',
  'FORBIDDEN',
])

export function isSignable({ name }: TrunklineError): boolean {
  return !neverSigned.has(name)
}

/**
 * The encoded reply with the MAC in its turn, in parts that follow each other. `encoded`: the bytes of `reply`, when they
 * are those that our encoder makes of it.
 */
export function signedReply<M extends MethodName>(
  keys: MacKeys,
  method: M,
  answered: Proof | undefined,
  reply: ReplyOf<M>,
  encoded: Uint8Array | undefined,
): readonly Uint8Array[] {
  const schema: StructSchema<ReplyOf<M>> = methodSchemas[method].reply
  if (!('turn' in reply)) return [encodeStruct(schema, reply)]
  const mac = replyMac(keys, method, answered, reply)
  if (encoded !== undefined && reply.turn.mac === undefined) return partsWithMac(encoded, reply.turn, mac)
  return [encodeStruct(schema, { ...reply, turn: { ...reply.turn, mac } })]
}

/** The struct of an error, signed when there are keys and it may be. */
export function signedError(
  keys: MacKeys | undefined,
  method: MethodName,
  answered: Proof | undefined,
  error: TrunklineError,
): ErrorStruct {
  const struct = errorToStruct(error)
  if (keys === undefined || !isSignable(error)) return struct
  const mac = errorMac(keys, method, answered, struct)
  return struct.turn === undefined ? { ...struct, mac } : { ...struct, turn: { ...struct.turn, mac } }
}
