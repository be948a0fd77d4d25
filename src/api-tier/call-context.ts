// Owns: what every front tells the core about one call besides its request.

export interface CallContext {
  /** Chosen by the front or accepted from the caller; 1..64 plain characters. */
  readonly requestId: string
  /** W3C trace context, already checked. */
  readonly traceparent?: string
  /** A bearer that came outside the request (HTTP Authorization); the request's own proof wins. */
  readonly bearer?: string
  /** Address of the caller, for logs. */
  readonly remote?: string
  /** The caller is gone: nobody waits for the answer any more. What runs at the node goes on. */
  readonly signal?: AbortSignal
}
