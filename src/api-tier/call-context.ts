// Owns: what every front tells the core about one call besides its request.
import type { Span } from '../observability/tracing.ts'
import type { ConnectionOwner } from './quotas/connection-places.ts'

export interface CallContext {
  /** Chosen by the front or accepted from the caller; 1..64 plain characters. */
  readonly requestId: string
  /** W3C trace context, already checked. */
  readonly traceparent?: string
  /** What runs now, when this is traced: the parent of what comes of it, instead of `traceparent`. */
  readonly span?: Span | undefined
  /** A bearer that came outside the request (HTTP Authorization); the request's own proof wins. */
  readonly bearer?: string
  /** Address of the caller, for logs and for counting what fails from there. */
  readonly remote?: string
  /** What it came by is told whose it is. */
  readonly connection?: ConnectionOwner
  /**
   * Gets what frees the place that an answer takes; the front runs it when the answer has left for good, or never will.
   * Default: it is free as soon as the call ends.
   */
  readonly whenSent?: (free: () => void) => void
  /** Hears whose request it is, before it waits for its turn. */
  readonly askedBy?: (tenant: string) => void
  /** How many times larger the front makes events than they are. Default 1. */
  readonly answerFactor?: number
  /** The caller is gone: nobody waits for the answer any more. What runs at the node goes on. */
  readonly signal?: AbortSignal
}

/** The trace context of what is called next. */
export function parentOf(context: CallContext): string | undefined {
  return context.span?.traceparent ?? context.traceparent
}
