// Owns: what the SDK needs of a transport. The core drives any: Thrift over TCP or HTTP, or a simulated lossy link.
import type { MethodName, ReplyOf, RequestOf } from '../../../src/protocol/messages.ts'

export interface CallOptions {
  /** From now; then the call rejects with DEADLINE. The request may still run, and its late answer is dropped. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

export interface Transport {
  /**
   * One call, sent once: a transport never repeats by itself. The promise always settles, and rejects only with
   * TrunklineError: the gateway's own, UNAVAILABLE (no connection, or lost with the answer missing), DEADLINE,
   * MALFORMED_FRAME. Binary fields of the reply may be views into the received frame.
   */
  call<M extends MethodName>(method: M, request: RequestOf<M>, options: CallOptions): Promise<ReplyOf<M>>
  /** Calls that are out reject with UNAVAILABLE. Idempotent. */
  close(): Promise<void>
}
