// Owns: the Switchboard port: how the API tier reaches stream nodes, and how nodes reach each other.
// Bodies are bytes (src/protocol/envelope.ts); the port never looks inside. In-process and RabbitMQ adapters pass the
// one suite in test/conformance/switchboard.
// 1. A call is answered at most once here, but may have run although it was not answered: callers repeat, servers dedupe.
// 2. Work whose deadline has passed is dropped, not served.
// 3. `unroutable` means that nobody serves the key now: nothing ran.
import type { Incarnation } from '../protocol/ids.ts'

export type CallOutcome =
  | { readonly kind: 'answered'; readonly body: Uint8Array }
  /** No node serves that key on any shard. Nothing ran. */
  | { readonly kind: 'unroutable' }
  /** The node died or the shard was lost while the call was out. It may have run. */
  | { readonly kind: 'lost' }
  /** It may have run. */
  | { readonly kind: 'timeout' }

export type AllocateOutcome =
  | CallOutcome
  /** Every node is at its capacity. Nothing ran. */
  | { readonly kind: 'no-capacity' }

export interface CallOptions {
  /** Measured from now; the server sees what is left of it. */
  readonly deadlineMs: number
  /** Picks the preferred shard; any text, the session's cookie. */
  readonly cookie?: string
  readonly signal?: AbortSignal
}

export interface ServeContext {
  /** Monotonic time at which the caller gives up. */
  readonly deadlineAtMs: number
}

export interface ServeHandlers {
  /** One allocation. Counts against the capacity until it settles. A rejection is a bug: answers are bodies. */
  allocate(body: Uint8Array, context: ServeContext): Promise<Uint8Array>
  /** Session traffic and calls of other nodes. */
  call(body: Uint8Array, context: ServeContext): Promise<Uint8Array>
}

export interface Serving {
  /** Concurrent allocations; 0 takes no more (the node is full or drains). Default 64. */
  setCapacity(allocations: number): void
  /** Takes no allocation any more, still serves calls. Idempotent. */
  drain(): void
  /** Unbinds: later calls are unroutable. Calls that run are answered first. Idempotent. */
  close(): Promise<void>
}

export interface NodePresence {
  readonly key: Incarnation
  readonly shards: readonly string[]
}

export interface Switchboard {
  allocate(body: Uint8Array, options: CallOptions): Promise<AllocateOutcome>
  call(key: Incarnation, body: Uint8Array, options: CallOptions): Promise<CallOutcome>
  /** A key is served once: a second serve of the same key is an Error. */
  serve(key: Incarnation, handlers: ServeHandlers): Promise<Serving>
  /** Nodes seen now. */
  presence(): readonly NodePresence[]
  /** Serving ends, calls that are out settle as lost. */
  close(): Promise<void>
}
