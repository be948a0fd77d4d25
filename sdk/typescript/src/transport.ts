// Owns: what the SDK needs of a transport. The core drives any: Thrift over TCP or HTTP, several of them (endpoint-pool),
// or a simulated lossy link.
import type { WayFacts } from '../../../src/fsm/client/client-session.types.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import type { MethodName, ReplyOf, RequestOf } from '../../../src/protocol/messages.ts'

export interface CallOptions {
  /** From now; then the call rejects with DEADLINE. The request may still run, and its late answer is dropped. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

/** The way that a failed call took. */
export interface Way extends WayFacts {
  /** host:port, for people. */
  readonly endpoint: string
}

export interface Transport {
  /**
   * One call. What may have reached the gateway is never sent again here. The promise always settles, and rejects only
   * with TrunklineError: the gateway's own, UNAVAILABLE (no connection, or lost with the answer missing), DEADLINE,
   * MALFORMED_FRAME. Binary fields of the reply may be views into the received frame.
   */
  call<M extends MethodName>(method: M, request: RequestOf<M>, options: CallOptions): Promise<ReplyOf<M>>
  /** Of an error that `call` rejected with; absent: there is one way. */
  wayOf?(error: TrunklineError): Way | undefined
  /** Calls that are out reject with UNAVAILABLE. Idempotent. */
  close(): Promise<void>
}

/** How a call failed on its way. unsent: nothing of it reached the peer. unanswered: it may have run. */
export type CallFault = 'unsent' | 'unanswered'

const faults = new WeakMap<TrunklineError, CallFault>()

/** Marks an error of the way itself, so that it is told from one that the gateway answered. */
export function onTheWay(error: TrunklineError, fault: CallFault): TrunklineError {
  faults.set(error, fault)
  return error
}

/** Undefined: the peer answered. */
export function faultOf(error: TrunklineError): CallFault | undefined {
  return faults.get(error)
}

/** The peer was not reached, or its answer is missing. */
export function notReached(why: string, fault: CallFault, cause?: unknown): TrunklineError {
  const extras = { details: { why }, ...(cause === undefined ? {} : { cause }) }
  // Seen from here nobody asked us to wait: the session's own growing waits decide.
  return onTheWay(new TrunklineError('UNAVAILABLE', { ...extras, retryAfterMs: 0 }), fault)
}
