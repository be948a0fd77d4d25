// Owns: which spans are made and what leaves with them, and that a collector that is slow or away costs nothing but spans.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { tracingMetrics } from '../../../src/observability/adapter-metrics.ts'
import { createMetrics, type MetricsRegistry } from '../../../src/observability/metrics.ts'
import { createTracing, type TracingOptions } from '../../../src/observability/otlp-tracing.ts'
import { mayBegin, noTracing, type SpanKind, spanMeanings, type Tracing } from '../../../src/observability/tracing.ts'
import { type Manner, OtlpCollector } from '../../support/otlp-collector.ts'

const traceId = '0af7651916cd43dd8448eb211c80319c'
const parentId = 'b7ad6b7169203331'
const sampled = `00-${traceId}-${parentId}-01`
const unsampled = `00-${traceId}-${parentId}-00`
const kinds = Object.keys(spanMeanings) as SpanKind[]

let collector: OtlpCollector
let registry: MetricsRegistry
beforeEach(async () => {
  collector = await OtlpCollector.start()
  registry = createMetrics({ processDefaults: false })
})
afterEach(() => collector.close())

async function tracingTo(options: Partial<TracingOptions> = {}, manner: Manner = 'well'): Promise<Tracing> {
  collector.manner = manner
  const tracing = await createTracing({
    endpoint: collector.endpoint,
    serviceName: 'trunkline-test',
    clock: systemClock,
    metrics: tracingMetrics(registry.metrics),
    exportEveryMs: 10,
    ...options,
  })
  onTestFinished(() => tracing.close())
  return tracing
}

async function count(series: string): Promise<number> {
  const line = (await registry.text()).split('\n').find((each) => each.startsWith(`${series} `))
  return line === undefined ? 0 : Number(line.slice(series.length + 1))
}

const spansThat = (outcome: string): Promise<number> => count(`trunkline_trace_spans_total{outcome="${outcome}"}`)

describe('tracing that is off', () => {
  it('Given no endpoint, then it is the one that does nothing, and no package is loaded', async () => {
    expect(await createTracing({ serviceName: 'x', clock: systemClock })).toBe(noTracing)
    for (const kind of kinds) expect(noTracing.start(kind, 'x', sampled)).toBeUndefined()
    expect(noTracing.startLinked('batch', 'x', [{ span: undefined }])).toBeUndefined()
    const code = `
      import { createRequire } from 'node:module'
      import { createTracing } from './src/observability/otlp-tracing.ts'
      const tracing = await createTracing({ serviceName: 'x', endpoint: process.argv[1], clock: { after: () => ({ cancel() {} }) } })
      await tracing.close()
      const loaded = Object.keys(createRequire(import.meta.url).cache).filter((path) => path.includes('@opentelemetry'))
      console.log(loaded.length > 0)`
    const run = async (...endpoint: string[]): Promise<string> => {
      const args = ['--import', 'tsx', '--input-type=module', '-e', code, ...endpoint]
      return (await promisify(execFile)(process.execPath, args)).stdout.trim()
    }
    expect(await run()).toBe('false')
    // The search finds them when they are there.
    expect(await run(collector.endpoint)).toBe('true')
  })
})

describe('spans', () => {
  it('Given a sampled caller, when each kind is started, then all are in its trace and below its span', async () => {
    const tracing = await tracingTo()
    for (const kind of kinds) tracing.start(kind, 'thing', sampled)?.end('ok')
    await tracing.close()
    expect(collector.spans.map(({ name }) => name)).toEqual(
      kinds.map((kind) => (kind === 'http' ? 'thing' : `${kind} thing`)),
    )
    for (const span of collector.spans) {
      expect(span).toMatchObject({ traceId, parentSpanId: parentId, isError: false, service: 'trunkline-test' })
      expect(span.attributes).toEqual({ 'trunkline.outcome': 'ok' })
    }
    expect(collector.bodies[0]).toMatch(/^\/v1\/traces\n/)
    expect(await spansThat('exported')).toBe(kinds.length)
    expect(await count('trunkline_trace_spans_pending')).toBe(0)
  })

  it('Given a caller that is not sampled, or no trace context at all, then nothing of it is traced', async () => {
    const tracing = await tracingTo()
    for (const parent of [unsampled, 'canary', '00-x-y-01', `${sampled}-more`]) {
      for (const kind of kinds) expect(tracing.start(kind, 'thing', parent)).toBeUndefined()
    }
    await tracing.close()
    expect(collector.bodies).toEqual([])
  })

  it('Given no caller, then only what stands at the edge begins a trace', async () => {
    const tracing = await tracingTo()
    expect(kinds.filter((kind) => tracing.start(kind, 'thing', undefined) !== undefined)).toEqual(
      kinds.filter(mayBegin),
    )
    expect(kinds.filter(mayBegin)).toEqual(['http', 'request', 'batch'])
  })

  it('Given a span, when another is started under it, then it is its child', async () => {
    const tracing = await tracingTo()
    const request = tracing.start('request', 'write', undefined)
    const node = tracing.start('node', 'write', request?.traceparent)
    node?.end('ok')
    request?.end('ok')
    await tracing.close()
    const [above] = collector.named('request write')
    expect(collector.named('node write')).toMatchObject([{ traceId: above?.traceId, parentSpanId: above?.spanId }])
    // A request that nobody is above is what the gateway serves; below an HTTP request it is a part of it.
    expect(above).toMatchObject({ kind: 2, parentSpanId: undefined })
  })

  it('Given a batch of three writes of which two are traced, then it is a trace of its own with two links', async () => {
    const tracing = await tracingTo({ sampleRatio: 0 })
    const one = tracing.start('append', 'write', sampled)
    const two = tracing.start('append', 'write', sampled.replace('0af7', '1af7'))
    const batch = tracing.startLinked('batch', 'log', [{ span: one }, {}, { span: two }])
    for (const span of [one, two, batch]) span?.end('ok')
    expect(tracing.startLinked('batch', 'log', [{}, { span: undefined }])).toBeUndefined()
    await tracing.close()
    const [joined] = collector.named('batch log')
    expect(joined?.parentSpanId).toBeUndefined()
    expect(joined?.links).toEqual(
      collector.named('append write').map(({ spanId, ...at }) => ({ traceId: at.traceId, spanId })),
    )
    expect(joined?.links.map((link) => link.traceId)).not.toContain(joined?.traceId)
  })

  it('Given a batch of a thousand traced writes, then its links are bounded', async () => {
    const tracing = await tracingTo()
    const span = tracing.start('append', 'write', sampled)
    tracing
      .startLinked(
        'batch',
        'log',
        Array.from({ length: 1_000 }, () => ({ span })),
      )
      ?.end('ok')
    await tracing.close()
    expect(collector.named('batch log')[0]?.links.length).toBe(128)
  })

  it('Given a ratio of 0, then nobody begins a trace, and the traces of callers go on', async () => {
    const tracing = await tracingTo({ sampleRatio: 0 })
    expect(tracing.start('request', 'read', undefined)).toBeUndefined()
    expect(tracing.start('request', 'read', sampled)).toBeDefined()
  })

  it('Given an error and a long text, then the error leaves by its name and the text is cut', async () => {
    const tracing = await tracingTo()
    const span = tracing.start('node', 'read', sampled)
    span?.set('topic', 'x'.repeat(10_000))
    span?.end('SESSION_GONE')
    span?.end('ok')
    span?.set('topic', 'late')
    await tracing.close()
    expect(collector.spans).toMatchObject([
      {
        isError: true,
        attributes: {
          'messaging.destination.name': 'x'.repeat(256),
          'trunkline.outcome': 'SESSION_GONE',
          'error.type': 'SESSION_GONE',
        },
      },
    ])
  })
})

describe('a collector that does not take them', () => {
  async function end(tracing: Tracing, spans: number): Promise<void> {
    for (let index = 0; index < spans; index++) tracing.start('node', 'read', sampled)?.end('ok')
    expect(await count('trunkline_trace_spans_pending')).toBeLessThanOrEqual(10)
  }

  it('Given one that never answers, when more spans end than may wait, then the rest is dropped, and all are counted', async () => {
    const tracing = await tracingTo({ spansMax: 10, exportTimeoutMs: 200 }, 'silent')
    await end(tracing, 25)
    expect(await spansThat('dropped')).toBe(15)
    expect(await count('trunkline_trace_spans_pending')).toBe(10)
    await expect.poll(() => spansThat('failed'), { timeout: 5_000 }).toBe(10)
    expect(await count('trunkline_trace_spans_pending')).toBe(0)
    // And it goes on when it is back.
    collector.manner = 'well'
    await end(tracing, 5)
    await expect.poll(() => spansThat('exported'), { timeout: 5_000 }).toBe(5)
  })

  it('Given one that refuses, then what it refused is counted and not sent again', async () => {
    const tracing = await tracingTo({}, 'refusing')
    await end(tracing, 3)
    await tracing.close()
    expect(await spansThat('failed')).toBe(3)
    expect(collector.bodies.length).toBe(1)
  })

  it('Given one that is away, when the gateway ends, then it waits for it no longer than it may', async () => {
    const tracing = await tracingTo({ closeTimeoutMs: 100 })
    await collector.close()
    await end(tracing, 3)
    const startedMs = systemClock.monotonicMs()
    await tracing.close()
    await tracing.close()
    expect(systemClock.monotonicMs() - startedMs).toBeLessThan(2_000)
    expect(tracing.start('request', 'read', undefined)).toBeUndefined()
    collector = await OtlpCollector.start()
  })
})

describe('an endpoint', () => {
  it.each([
    ['http://h:4318', '/v1/traces'],
    ['http://h:4318/', '/v1/traces'],
    ['http://h:4318/otlp/', '/otlp/v1/traces'],
  ])('Given %s, then spans go to its %s', async (endpoint, path) => {
    const url = new URL(endpoint)
    const tracing = await tracingTo({ endpoint: endpoint.replace(url.origin, collector.endpoint) })
    tracing.start('node', 'read', sampled)?.end('ok')
    await tracing.close()
    expect(collector.bodies[0]?.split('\n')[0]).toBe(path)
  })
})
