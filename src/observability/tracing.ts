// Owns: what the tiers know of traces: spans by a closed list of names and attributes. The packages that export them are
// known to otlp-tracing.ts only.
// 1. Closed, like the fields of the log: only the attributes listed here leave. No payload, key, header or id of an
//    event, no bearer and no session token has a way in; a topic's name has.
// 2. Off costs nothing: `start` answers undefined, nothing is made per call, no package is loaded.
// 3. Only `http` and `request` may begin a trace. Everything behind them needs a sampled parent, so that what the edge
//    did not sample is not sampled by halves further in.
// Leaves out: ids, sampling, export (otlp-tracing.ts).

/** One line each: what a span measures. Names are part of the operators' interface. */
export const spanMeanings = {
  http: 'one HTTP request, to its answer',
  request: 'one call at the API tier, decoded, to its answer',
  switch: 'one envelope to a stream node and its answer, with the retries of what certainly did not run',
  node: 'one call at the stream node, to its answer',
  'take-over': 'ending a session of a producer elsewhere and looking up what landed; may outlast its call',
  append: 'one write from its hand-over to the log to its outcome, sealing and waiting included',
  batch: 'one batch at the log; a trace of its own, linked to the writes that it joins',
} as const

export type SpanKind = keyof typeof spanMeanings

/** By our name: the name that leaves, after OpenTelemetry's conventions where there is one. */
export const spanAttributes = {
  method: 'rpc.method',
  outcome: 'trunkline.outcome',
  requestId: 'trunkline.request_id',
  sessionId: 'trunkline.session_id',
  nodeId: 'trunkline.node_id',
  route: 'http.route',
  httpMethod: 'http.request.method',
  status: 'http.response.status_code',
  topic: 'messaging.destination.name',
  partition: 'messaging.destination.partition.id',
  entries: 'messaging.batch.message_count',
  bytes: 'messaging.message.body.size',
  how: 'trunkline.take_over',
} as const

export type SpanAttribute = keyof typeof spanAttributes

export interface Span {
  /** W3C trace context that names this span: the parent of what runs elsewhere. */
  readonly traceparent: string
  set(attribute: SpanAttribute, value: string | number): void
  /** Once; `ok` or the name of an error. */
  end(outcome: string): void
}

/** What a batch joins. */
export interface Traced {
  readonly span?: Span | undefined
}

export interface Tracing {
  /**
   * Undefined when this is not traced. `parent` is a W3C trace context, already checked; one that says "not sampled" is
   * obeyed.
   */
  start(kind: SpanKind, name: string, parent: string | undefined): Span | undefined
  /** A trace of its own with a link to each traced one; undefined when none is. */
  startLinked(kind: SpanKind, name: string, of: readonly Traced[]): Span | undefined
  /** Sends what is left, for a bounded time. Never rejects. Idempotent. */
  close(): Promise<void>
}

/** Tracing that is off. */
export const noTracing: Tracing = {
  start: () => undefined,
  startLinked: () => undefined,
  close: () => Promise.resolve(),
}

/** Whether a trace begins here when nobody brought one (invariant 3). */
export function mayBegin(kind: SpanKind): boolean {
  switch (kind) {
    case 'http':
    case 'request':
    case 'batch':
      return true
    case 'switch':
    case 'node':
    case 'take-over':
    case 'append':
      return false
  }
}
