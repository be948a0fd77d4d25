// One trace through a whole gateway: from a caller's traceparent over the API tier, the switchboard and the node to the
// log, as a collector sees it. And nothing at all where nobody asked for it.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { mode } from '../../../src/protocol/messages.ts'
import { decodeReply, encodeCall } from '../../../src/protocol/thrift/message.ts'
import { type CollectedSpan, OtlpCollector } from '../../support/otlp-collector.ts'
import { blockOf, Harness, resumeOf } from '../sessions/harness.ts'

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const callerSpan = '00f067aa0ba902b7'
const traceparent = `00-${traceId}-${callerSpan}-01`
const server = 2
const topic = 'traced'

let collector: OtlpCollector
beforeEach(async () => {
  collector = await OtlpCollector.start()
})
afterEach(() => collector.close())

async function tracedGateway(): Promise<Harness> {
  const at = await Harness.start({ otlpEndpoint: collector.endpoint })
  await at.createTopic(topic)
  return at
}

/** A gateway that ends sends what it has. */
async function spansOf(at: Harness): Promise<readonly CollectedSpan[]> {
  await at.end()
  return collector.spans
}

function only(spans: readonly CollectedSpan[], name: string): CollectedSpan {
  const found = spans.filter((span) => span.name === name)
  expect(found.map(({ name: each }) => each)).toEqual([name])
  return found[0] as CollectedSpan
}

/** Names from the span up to the one that the caller named, or that began the trace. */
function lineage(spans: readonly CollectedSpan[], from: CollectedSpan): string[] {
  const names: string[] = []
  for (let span: CollectedSpan | undefined = from; span !== undefined; ) {
    const { parentSpanId }: CollectedSpan = span
    names.push(span.name)
    if (parentSpanId === callerSpan) names.push('caller')
    span = spans.find(({ spanId }) => spanId === parentSpanId)
  }
  return names
}

const publishJson = (at: Harness, headers: Record<string, string>): Promise<Response> =>
  at.http(`/v1/topics/${topic}/events`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ payload: { text: 'x' }, partition: 0 }),
  })

describe('a traced gateway', () => {
  it('Given a publish over HTTP with a traceparent, then one trace leads from the caller to the log', async () => {
    const at = await tracedGateway()
    const answer = await publishJson(at, { traceparent, 'x-request-id': 'mine' })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('traceparent')).toBe(traceparent)
    const spans = await spansOf(at)
    const mine = spans.filter((span) => span.traceId === traceId)
    const append = only(mine, 'append write')
    const http = only(mine, 'POST /v1/topics/:topic/events')
    expect(lineage(mine, append)).toEqual([
      'append write',
      'node write',
      'switch write',
      'request write',
      'POST /v1/topics/:topic/events',
      'caller',
    ])
    for (const method of ['allocate', 'write', 'dispose']) {
      expect(lineage(mine, only(mine, `node ${method}`)).slice(1)).toEqual([
        `switch ${method}`,
        `request ${method}`,
        http.name,
        'caller',
      ])
    }
    expect(http).toMatchObject({
      kind: server,
      service: 'trunkline-dev',
      attributes: { 'http.response.status_code': 200, 'trunkline.request_id': 'mine', 'trunkline.outcome': 'ok' },
    })
    expect(only(mine, 'request write').attributes).toMatchObject({ 'messaging.destination.name': topic })
    expect(only(mine, 'node write').attributes).toMatchObject({ 'trunkline.request_id': 'mine', 'rpc.method': 'write' })
    // The batch may hold writes of many: a trace of its own, that names each.
    const batch = only(spans, 'batch log')
    expect(batch.traceId).not.toBe(traceId)
    expect(batch.links).toEqual([{ traceId, spanId: append.spanId }])
    expect(batch.attributes).toMatchObject({ 'messaging.destination.name': topic, 'messaging.batch.message_count': 1 })
    expect(spans.filter(({ isError }) => isError)).toEqual([])
  })

  it('Given a call by POST /thrift with a traceparent, then it is in the trace of its caller', async () => {
    const at = await tracedGateway()
    const request = { topic, mode: mode.write, proof: { bearer: at.bearer } }
    const body = Buffer.from(encodeCall('allocate', 1, request))
    const headers = { 'content-type': 'application/x-thrift', traceparent }
    const answer = await at.http('/thrift', { method: 'POST', body, headers })
    expect(decodeReply('allocate', new Uint8Array(await answer.arrayBuffer()))).toHaveProperty('reply')
    const spans = await spansOf(at)
    const mine = spans.filter((span) => span.traceId === traceId)
    expect(lineage(mine, only(mine, 'node allocate'))).toEqual([
      'node allocate',
      'switch allocate',
      'request allocate',
      'POST /thrift',
      'caller',
    ])
  })

  it('Given a caller that is not sampled, then nothing of its publish is sent', async () => {
    const at = await tracedGateway()
    const before = traceparent.replace(/01$/, '00')
    expect((await publishJson(at, { traceparent: before })).status).toBe(200)
    const spans = await spansOf(at)
    expect(spans.filter((span) => span.traceId === traceId)).toEqual([])
    expect(spans.filter(({ name }) => name === 'batch log' || name.endsWith(' write'))).toEqual([])
  })

  it('Given calls over TCP, then each begins a trace of its own; a staged write is appended under its ack', async () => {
    const at = await tracedGateway()
    const writer = await at.writer(topic)
    await writer.call('write', { n: 1, blocks: [blockOf(0, 'a')] })
    await writer.call('ack', { n: 1 })
    const spans = await spansOf(at)
    const requests = ['request allocate', 'request write', 'request ack'].map((name) => only(spans, name))
    expect(new Set(requests.map((span) => span.traceId)).size).toBe(3)
    for (const span of requests) expect(span).toMatchObject({ kind: server, parentSpanId: undefined })
    expect(lineage(spans, only(spans, 'append write'))).toEqual([
      'append write',
      'node ack',
      'switch ack',
      'request ack',
    ])
  })

  it('Given a producer that comes back with an unanswered write, then its take-over is below its allocate', async () => {
    const at = await tracedGateway()
    const writer = await at.writer(topic)
    await writer.call('write', { n: 1, blocks: [blockOf(0, 'a')], commit: true })
    await at.writer(topic, resumeOf(writer, undefined, [{ n: 1, partitions: [0] }]))
    const spans = await spansOf(at)
    const takeOver = only(spans, 'take-over producer')
    expect(lineage(spans, takeOver).slice(0, 3)).toEqual(['take-over producer', 'node allocate', 'switch allocate'])
    expect(takeOver.attributes).toMatchObject({
      'trunkline.take_over': 'released',
      'messaging.destination.name': topic,
    })
  })

  it('Given a request that fails, then its spans say so, and a text that is no topic stays out', async () => {
    const at = await tracedGateway()
    const noTopic = 'no topic has such a name'
    const body = Buffer.from(
      encodeCall('allocate', 1, { topic: noTopic, mode: mode.read, proof: { bearer: at.bearer } }),
    )
    await at.http('/thrift', { method: 'POST', body, headers: { 'content-type': 'application/x-thrift', traceparent } })
    expect((await at.http(`/v1/topics/${encodeURIComponent(noTopic)}`, { headers: { traceparent } })).status).toBe(400)
    await at.http('/v1/nothing/here', { headers: { traceparent } })
    const spans = (await spansOf(at)).filter((span) => span.traceId === traceId)
    expect(only(spans, 'request allocate')).toMatchObject({
      isError: true,
      attributes: { 'error.type': 'BAD_TOPIC_NAME' },
    })
    expect(only(spans, 'GET no route').attributes).toMatchObject({ 'http.response.status_code': 404 })
    expect(collector.bodies.join('')).not.toContain(noTopic)
    expect(collector.bodies.join('')).not.toContain(encodeURIComponent(noTopic))
  })

  it('Given a collector that never answers, then publishing goes on and the gateway ends in time', async () => {
    collector.manner = 'silent'
    const at = await tracedGateway()
    for (let index = 0; index < 20; index++) expect((await publishJson(at, { traceparent })).status).toBe(200)
    const startedMs = performance.now()
    await at.end()
    expect(performance.now() - startedMs).toBeLessThan(6_000)
  })
})

describe('a gateway without an endpoint', () => {
  afterEach(() => {
    vi.unstubAllEnvs()
  })

  it('Given a traceparent, and variables that name a collector, then nothing is sent anywhere and it is still echoed', async () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', collector.endpoint)
    vi.stubEnv('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', `${collector.endpoint}/v1/traces`)
    const at = await Harness.start()
    await at.createTopic(topic)
    const answer = await publishJson(at, { traceparent })
    expect(answer.headers.get('traceparent')).toBe(traceparent)
    expect(await at.metric('trunkline_trace_spans_total')).toBe(0)
    await at.end()
    expect(collector.bodies).toEqual([])
  })
})
