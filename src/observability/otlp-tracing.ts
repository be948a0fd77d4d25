// Owns: spans to an OpenTelemetry collector over OTLP/HTTP, behind the interface of tracing.ts.
// 1. Without an endpoint nothing is loaded, made or sent.
// 2. Spans that are not yet sent are bounded (`spansMax`); beyond it a span is dropped and counted. A collector that is
//    slow or away costs that memory and no more: nothing waits for it, nothing throws into the work that is traced.
// 3. Only the attributes of tracing.ts leave, cut to `textCharsMax`; an error leaves as its name in idl/errors.json.
// 4. Every export is bounded in time and in number; what fails for good is counted and forgotten.
// Leaves out: logs and metrics over OTLP (metrics are scraped), baggage and tracestate, which are not passed on.
import type * as otelApi from '@opentelemetry/api'
import type { Context, Link, SpanContext, Tracer, Span as VendorSpan } from '@opentelemetry/api'
import type { Sampler, TracerConfig } from '@opentelemetry/sdk-trace-base'
import { CountedSpans, type TracingMetrics } from './counted-spans.ts'
import { mayBegin, noTracing, type Span, type SpanKind, spanAttributes, type Traced, type Tracing } from './tracing.ts'

export interface TracingOptions {
  /** http(s)://host:port[/path] of a collector; `/v1/traces` is added. Undefined: off. */
  readonly endpoint?: string | undefined
  readonly serviceName: string
  readonly serviceVersion?: string
  /** Tells processes of one service apart. */
  readonly instanceId?: string
  /** Of requests that come without a trace context; 0 to 1, default 1. A caller's own sampling is always followed. */
  readonly sampleRatio?: number
  readonly metrics?: TracingMetrics
  readonly clock: { after(delayMs: number, run: () => void): { cancel(): void } }
  /** Spans that wait for the collector. Default 4,096. */
  readonly spansMax?: number
  /** One export with its retries. Default 5 s. */
  readonly exportTimeoutMs?: number
  /** Between two exports. Default 1 s. */
  readonly exportEveryMs?: number
  /** How long `close` waits for the collector. Default 2 s. */
  readonly closeTimeoutMs?: number
}

const batchSpansMax = 512
const exportsMax = 4
const linksMax = 128
const textCharsMax = 256
const traceparentPattern = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/

/** Loads the exporter only when there is an endpoint. Rejects with a TypeError for an endpoint that is no URL. */
export async function createTracing(options: TracingOptions): Promise<Tracing> {
  if (options.endpoint === undefined) return noTracing
  const url = tracesUrl(options.endpoint)
  const api = await import('@opentelemetry/api')
  const sdk = await import('@opentelemetry/sdk-trace-base')
  const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-http')
  const { spansMax = 4_096, exportTimeoutMs = 5_000, exportEveryMs = 1_000, closeTimeoutMs = 2_000 } = options
  const counted = new CountedSpans(spansMax, options.metrics)
  const exporter = new OTLPTraceExporter({ url, timeoutMillis: exportTimeoutMs, concurrencyLimit: exportsMax })
  const processor = counted.before(
    new sdk.BatchSpanProcessor(counted.around(exporter), {
      // Ours is the bound that counts: below it this one never drops.
      maxQueueSize: spansMax,
      maxExportBatchSize: Math.min(batchSpansMax, spansMax),
      scheduledDelayMillis: exportEveryMs,
      exportTimeoutMillis: exportTimeoutMs + 1_000,
    }),
  )
  const provider = new sdk.BasicTracerProvider({
    sampler: samplerOf(
      new sdk.TraceIdRatioBasedSampler(options.sampleRatio ?? 1),
      api,
      sdk.SamplingDecision.RECORD_AND_SAMPLED,
    ),
    spanProcessors: [processor],
    spanLimits: { linkCountLimit: linksMax, attributeValueLengthLimit: textCharsMax },
    resource: resourceOf(options),
  })
  const tracer = provider.getTracer('trunkline', options.serviceVersion)
  return new OtlpTracing(tracer, api, () => closeWithin(provider.shutdown(), closeTimeoutMs, options.clock))
}

type Api = typeof otelApi

class OtlpTracing implements Tracing {
  readonly #tracer: Tracer
  readonly #api: Api
  readonly #shutdown: () => Promise<void>
  #closed: Promise<void> | undefined

  constructor(tracer: Tracer, api: Api, shutdown: () => Promise<void>) {
    this.#tracer = tracer
    this.#api = api
    this.#shutdown = shutdown
  }

  start(kind: SpanKind, name: string, parent: string | undefined): Span | undefined {
    const { ROOT_CONTEXT, trace } = this.#api
    if (parent === undefined) return mayBegin(kind) ? this.#begin(kind, name, ROOT_CONTEXT, []) : undefined
    const above = contextOf(parent)
    return above === undefined ? undefined : this.#begin(kind, name, trace.setSpanContext(ROOT_CONTEXT, above), [])
  }

  startLinked(kind: SpanKind, name: string, of: readonly Traced[]): Span | undefined {
    const links: Link[] = []
    for (const { span } of of) {
      const context = span === undefined ? undefined : contextOf(span.traceparent)
      if (context !== undefined && links.length < linksMax) links.push({ context })
    }
    return links.length === 0 ? undefined : this.#begin(kind, name, this.#api.ROOT_CONTEXT, links)
  }

  close(): Promise<void> {
    this.#closed ??= this.#shutdown()
    return this.#closed
  }

  #begin(kind: SpanKind, name: string, context: Context, links: Link[]): Span | undefined {
    if (this.#closed !== undefined) return undefined
    const title = kind === 'http' ? name : `${kind} ${name}`
    const span = this.#tracer.startSpan(title, { kind: this.#vendorKind(kind, context), links }, context)
    return span.isRecording() ? new OtlpSpan(span, this.#api) : undefined
  }

  #vendorKind(kind: SpanKind, context: Context): number {
    const { SpanKind: vendor, trace } = this.#api
    switch (kind) {
      case 'http':
      case 'node':
        return vendor.SERVER
      case 'request':
        // Over HTTP it is a part of that request; over TCP it is the first that the gateway sees.
        return trace.getSpanContext(context) === undefined ? vendor.SERVER : vendor.INTERNAL
      case 'switch':
        return vendor.CLIENT
      case 'batch':
        return vendor.PRODUCER
      case 'append':
      case 'take-over':
        return vendor.INTERNAL
    }
  }
}

class OtlpSpan implements Span {
  readonly traceparent: string
  readonly #span: VendorSpan
  readonly #api: Api
  #ended = false

  constructor(span: VendorSpan, api: Api) {
    this.#span = span
    this.#api = api
    const { traceId, spanId } = span.spanContext()
    this.traceparent = `00-${traceId}-${spanId}-01`
  }

  set(attribute: keyof typeof spanAttributes, value: string | number): void {
    if (!this.#ended) this.#span.setAttribute(spanAttributes[attribute], value)
  }

  end(outcome: string): void {
    if (this.#ended) return
    this.#span.setAttribute(spanAttributes.outcome, outcome)
    if (outcome !== 'ok') {
      this.#span.setAttribute('error.type', outcome)
      this.#span.setStatus({ code: this.#api.SpanStatusCode.ERROR })
    }
    this.#ended = true
    this.#span.end()
  }
}

/** Of a sampled parent; undefined for one that is not, and for what is no trace context. */
function contextOf(traceparent: string): SpanContext | undefined {
  const [, traceId, spanId, flags] = traceparentPattern.exec(traceparent) ?? []
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined
  const isSampled = (Number.parseInt(flags, 16) & 1) === 1
  return isSampled ? { traceId, spanId, traceFlags: 1, isRemote: true } : undefined
}

/** Everything with a parent or links: only sampled ones come so far. The rest by the ratio. */
function samplerOf(ratio: Sampler, api: Api, sampled: number): Sampler {
  return {
    shouldSample: (context, traceId, name, kind, attributes, links) =>
      api.trace.getSpanContext(context) !== undefined || links.length > 0
        ? { decision: sampled }
        : ratio.shouldSample(context, traceId, name, kind, attributes, links),
    toString: () => 'TrunklineSampler',
  }
}

/** What the exporter reads of a resource, with nothing that is looked up in the machine or its environment. */
function resourceOf(options: TracingOptions): NonNullable<TracerConfig['resource']> {
  const attributes = {
    'service.name': options.serviceName,
    ...(options.serviceVersion === undefined ? {} : { 'service.version': options.serviceVersion }),
    ...(options.instanceId === undefined ? {} : { 'service.instance.id': options.instanceId }),
  }
  const resource: NonNullable<TracerConfig['resource']> = {
    attributes,
    asyncAttributesPending: false,
    merge: () => resource,
    getRawAttributes: () => Object.entries(attributes),
  }
  return resource
}

function tracesUrl(endpoint: string): string {
  const url = new URL(endpoint)
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/v1/traces`
  return url.href
}

function closeWithin(shutdown: Promise<void>, limitMs: number, clock: TracingOptions['clock']): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.after(limitMs, resolve)
    const done = (): void => {
      timer.cancel()
      resolve()
    }
    // A collector that is away at the end was counted as such; there is nothing more to do about it.
    shutdown.then(done, done)
  })
}
