// Traces through real processes: one publish from its caller's traceparent over an API process, RabbitMQ and a stream
// process to the append, and one take-over to the node that is asked to release, as a collector sees them.
import { mkdtempSync, realpathSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Stack } from '../../../scripts/stack/stack.ts'
import { type AllocateReply, mode, type Resume } from '../../../src/protocol/messages.ts'
import { decodeReply, encodeCall } from '../../../src/protocol/thrift/message.ts'
import {
  type ApiProcess,
  type ClusterProcess,
  makeCluster,
  startApi,
  startStream,
} from '../../support/cluster-process.ts'
import { removeFolder } from '../../support/gateway-process.ts'
import { type CollectedSpan, OtlpCollector } from '../../support/otlp-collector.ts'
import { fetchToken } from '../../support/raw-client.ts'
import { privateStack, stackRequirement, stackStartMs } from '../../support/stack.ts'

const publishTrace = '4bf92f3577b34da6a3ce929d0e0e4736'
const takeOverTrace = '5bf92f3577b34da6a3ce929d0e0e4737'
const callerSpan = '00f067aa0ba902b7'
const topic = 'traced'

stackRequirement.describe('a trace through a cluster', () => {
  let dir: string
  let stack: Stack
  let collector: OtlpCollector
  let api: ApiProcess
  let streams: readonly ClusterProcess[] = []
  let bearer: string
  beforeAll(async () => {
    dir = realpathSync(mkdtempSync(join(tmpdir(), 'trunkline-traced-')))
    stack = await privateStack({ kafka: 1, rabbit: 1 })
    collector = await OtlpCollector.start()
    const cluster = await makeCluster(dir, stack, { TRUNKLINE_OTLP_ENDPOINT: collector.endpoint })
    const starting = startApi(cluster)
    streams = await Promise.all(['one', 'two'].map((nodeId) => startStream(cluster, { nodeId })))
    api = await starting
    bearer = await fetchToken(api.urls.http, cluster.credentials.clientId, cluster.credentials.clientSecret)
    expect((await postJson('/v1/topics', { name: topic, partitions: 1 })).status).toBe(201)
  }, stackStartMs)
  afterAll(async () => {
    await Promise.all([api, ...streams].map((one) => one?.kill()))
    await collector?.close()
    await stack?.stop()
    removeFolder(dir)
  }, 300_000)

  function post(path: string, body: RequestInit['body'], headers: Record<string, string>): Promise<Response> {
    return fetch(api.urls.http + path, {
      method: 'POST',
      body: body ?? null,
      headers: { authorization: `Bearer ${bearer}`, ...headers },
    })
  }

  function postJson(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
    return post(path, JSON.stringify(body), { 'content-type': 'application/json', ...headers })
  }

  async function allocateWriter(resume: Resume | undefined): Promise<AllocateReply> {
    const request = { topic, mode: mode.write, proof: { bearer }, ...(resume === undefined ? {} : { resume }) }
    const answer = await post('/thrift', Buffer.from(encodeCall('allocate', 1, request)), {
      'content-type': 'application/x-thrift',
      traceparent: `00-${takeOverTrace}-${callerSpan}-01`,
    })
    const decoded = decodeReply('allocate', new Uint8Array(await answer.arrayBuffer()))
    if ('error' in decoded) throw decoded.error
    return decoded.reply
  }

  it('given a publish over HTTP and a producer that goes from node to node, then each is one trace over both tiers', async () => {
    const published = await postJson(
      `/v1/topics/${topic}/events`,
      { payload: { text: 'x' }, partition: 0 },
      { traceparent: `00-${publishTrace}-${callerSpan}-01` },
    )
    expect(published.status).toBe(200)
    // The nodes take turns: some of these come to another one than the one before.
    let resume: Resume | undefined
    for (let turn = 0; turn < 12; turn++) {
      const { session, writeCursor } = await allocateWriter(resume)
      if (writeCursor === undefined) throw new Error('a writer has a write cursor')
      resume = { session, writeCursor, writes: [], nextN: 1 }
    }
    // A process that ends sends what it has.
    for (const one of [api, ...streams]) expect(await one.stop()).toEqual({ code: 0, signal: null })

    const { spans } = collector
    const append = one(spans, publishTrace, 'append write')
    expect(lineage(spans, append)).toEqual([
      'trunkline-stream: append write',
      'trunkline-stream: node write',
      'trunkline-api: switch write',
      'trunkline-api: request write',
      'trunkline-api: POST /v1/topics/:topic/events',
      'caller',
    ])
    const release = spans.find(({ name, traceId }) => name === 'node release' && traceId === takeOverTrace)
    if (release === undefined) throw new Error('no node was asked to release')
    const names = lineage(spans, release)
    expect(names).toEqual([
      'trunkline-stream: node release',
      'trunkline-stream: take-over producer',
      'trunkline-stream: node allocate',
      'trunkline-api: switch allocate',
      'trunkline-api: request allocate',
      'trunkline-api: POST /thrift',
      'caller',
    ])
    const asking = spans.find(({ spanId }) => spanId === release.parentSpanId)
    const allocating = spans.find(({ spanId }) => spanId === asking?.parentSpanId)
    expect(release.attributes['trunkline.node_id']).not.toBe(allocating?.attributes['trunkline.node_id'])
    expect(collector.bodies.join('')).not.toContain(bearer)
  })
})

function one(spans: readonly CollectedSpan[], traceId: string, name: string): CollectedSpan {
  const found = spans.filter((span) => span.traceId === traceId && span.name === name)
  expect(found.map((span) => span.name)).toEqual([name])
  return found[0] as CollectedSpan
}

/** From the span up to the caller's, each with its process. */
function lineage(spans: readonly CollectedSpan[], from: CollectedSpan): string[] {
  const names: string[] = []
  for (let span: CollectedSpan | undefined = from; span !== undefined; ) {
    const { parentSpanId, service, name }: CollectedSpan = span
    names.push(`${service}: ${name}`)
    if (parentSpanId === callerSpan) names.push('caller')
    span = spans.find(({ spanId }) => spanId === parentSpanId)
  }
  return names
}
