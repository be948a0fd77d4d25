// Owns: what the API tier counts, as a narrow interface, so that a test can count nothing.
// Labels are of bounded cardinality: methods, error names, fronts.
import type { ErrorName } from '../protocol/errors.ts'

export type Front = 'thrift-tcp' | 'thrift-http' | 'json'

/** Given; no such client; a known client, not its secret; not looked at after too many of these; no request that could be judged; a defect of ours. */
export type LoginOutcome = 'ok' | 'unknown_client' | 'wrong_secret' | 'slowed' | 'bad_request' | 'failed'

export interface ApiMetrics {
  /** One finished call; `outcome` is 'ok' or the error's name. */
  call(method: string, outcome: 'ok' | ErrorName, durationMs: number): void
  /** A connection of the Thrift listener opened (+1) or closed (-1). */
  tcpConnections(delta: 1 | -1): void
  /** A frame or body that did not decode. */
  decodeFailure(front: Front): void
  /** A call of a session: signed; unsigned and allowed to be; without the MAC it needs; with a wrong one. */
  proof(outcome: 'signed' | 'unsigned' | 'missing' | 'wrong'): void
  /** A request for an access token of the own issuer. */
  login(outcome: LoginOutcome): void
  /** An envelope waits for a stream node (+1) or no longer (-1): any node, or the one of a session. */
  switchWaiting(kind: 'allocate' | 'call', change: 1 | -1): void
}

export const nullApiMetrics: ApiMetrics = {
  call: () => {},
  tcpConnections: () => {},
  decodeFailure: () => {},
  proof: () => {},
  login: () => {},
  switchWaiting: () => {},
}
