// Owns: the proofs of a client's sessions: every call of one is signed with its secret, and only a signed answer counts.
// P1 A reply without the right MAC was never given: the call is unanswered, as if the connection had been lost.
// P2 An error without the right MAC can come from anybody on the way. It can make a client leave its session or ask again,
//    which costs time and loses nothing; it never refuses a request, and its turn is not followed.
// P3 Errors made on this side (a request that cannot be encoded, a lost connection) pass as they are.
// P4 Keys are kept for the last `sessionsMax` sessions: answers of older ones are of no use to anybody.
import { structOf } from '../../../src/protocol/error-struct.ts'
import { type ErrorName, TrunklineError } from '../../../src/protocol/errors.ts'
import type { AllocateReply, MethodName, Proof, ReplyOf, RequestOf } from '../../../src/protocol/messages.ts'
import {
  deriveMacKeys,
  type MacKeys,
  requestMac,
  verifyError,
  verifyReply,
} from '../../../src/protocol/signed-bytes.ts'
import { type CallOptions, faultOf, notReached, type Transport } from './transport.ts'

export type SessionMethod = Exclude<MethodName, 'allocate' | 'describe'>

const sessionsMax = 4

/** What the way may say without a signature: none of it answers a request. */
const believedUnsigned: ReadonlySet<ErrorName> = new Set([
  'UNAUTHENTICATED',
  'TOKEN_EXPIRED',
  'BAD_SESSION_TOKEN',
  'BAD_PROOF',
  'FORBIDDEN',
  'UNAVAILABLE',
  'DRAINING',
  'NO_CAPACITY',
  'TOO_MANY_REQUESTS',
])

export class SignedSessions {
  readonly #transport: Transport
  readonly #keys = new Map<string, MacKeys>()

  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** From now on the session's calls can be made. */
  learn({ session, secret }: Pick<AllocateReply, 'session' | 'secret'>): void {
    this.#keys.set(nameOf(session), deriveMacKeys(secret))
    for (const name of this.#keys.keys()) if (this.#keys.size > sessionsMax) this.#keys.delete(name)
  }

  /** As Transport.call, signed. */
  async call<M extends SessionMethod>(method: M, request: RequestOf<M>, options: CallOptions): Promise<ReplyOf<M>> {
    const keys = this.#keys.get(nameOf(request.session))
    if (keys === undefined) throw new Error('a session whose secret is not known')
    const proof: Proof = { ...request.proof, mac: requestMac(keys, method, request) }
    let reply: ReplyOf<M>
    try {
      reply = await this.#transport.call(method, { ...request, proof }, options)
    } catch (thrown) {
      throw believed(keys, method, proof, TrunklineError.from(thrown))
    }
    if (!verifyReply(keys, method, proof, reply))
      throw notReached('an answer that is not signed as it should be', 'unanswered')
    return reply
  }
}

/** P2, P3. */
function believed(keys: MacKeys, method: SessionMethod, proof: Proof, error: TrunklineError): TrunklineError {
  const struct = structOf(error)
  if (struct === undefined || faultOf(error) !== undefined) return error
  if (struct !== 'unsigned' && verifyError(keys, method, proof, struct)) return error
  if (believedUnsigned.has(error.name)) {
    const { name, details, retryAfterMs } = error
    return new TrunklineError(name, { details, cause: error, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) })
  }
  return notReached(`an unsigned ${error.name}`, 'unanswered', error)
}

function nameOf(token: Uint8Array): string {
  return Buffer.from(token.buffer, token.byteOffset, token.byteLength).toString('latin1')
}
