// What a cluster hands to its brokers: canaries in every part of an event, and every secret that a client or a process has,
// are looked for in the headers and properties of every AMQP message, in every byte of every Kafka record, in logs and
// metrics of all processes. Bodies of AMQP messages carry events (to the switch, over TLS), but no bearer.
import { mkdtempSync, readFileSync, realpathSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ConsumeMessage, connect } from 'amqplib'
import { Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Stack } from '../../../scripts/stack/stack.ts'
import { connect as connectSdk } from '../../../sdk/typescript/src/index.ts'
import { deriveMacKeys } from '../../../src/protocol/signed-bytes.ts'
import {
  type ApiProcess,
  type Cluster,
  type ClusterProcess,
  makeCluster,
  startApi,
  startStream,
} from '../../support/cluster-process.ts'
import { removeFolder } from '../../support/gateway-process.ts'
import { canaries, canary, leaked } from '../../support/leaks.ts'
import { fetchToken, RawClient, RawSession } from '../../support/raw-client.ts'
import { privateStack, stackRequirement, stackStartMs } from '../../support/stack.ts'
import { rabbitTool } from '../rabbitmq/rabbitmqctl.ts'

const topic = 'canaries'
const secretBytesMin = 16
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const event = {
  key: bytes(canary.key),
  payload: bytes(canary.payload),
  headers: new Map([[canary.headerName, canary.headerValue]]),
  id: canary.id,
  type: canary.type,
  source: canary.source,
}

stackRequirement.describe('what a cluster hands to its brokers', () => {
  let dir: string
  let stack: Stack
  let cluster: Cluster
  let api: ApiProcess
  let stream: ClusterProcess
  const secrets: Record<string, Uint8Array> = {}
  const messages: ConsumeMessage[] = []
  let stopTracing: () => Promise<void> = async () => undefined

  beforeAll(async () => {
    dir = realpathSync(mkdtempSync(join(tmpdir(), 'trunkline-cluster-canary-')))
    stack = await privateStack({ kafka: 1, rabbit: 1 })
    stopTracing = await traceEverything()
    cluster = await makeCluster(dir, stack, { TRUNKLINE_LOG_LEVEL: 'debug' })
    const starting = startApi(cluster)
    stream = await startStream(cluster, { nodeId: 'one' })
    api = await starting
    await publishAndRead()
    for (const [variable, path] of Object.entries(cluster.env)) if (variable.endsWith('_FILE')) noteKeys(path)
  }, stackStartMs)
  afterAll(async () => {
    await Promise.all([api, stream].map((one) => one?.kill()))
    await stack?.stop()
    removeFolder(dir)
  }, 300_000)

  /** RabbitMQ's firehose: a copy of every message that is published or delivered, whoever it is for. */
  async function traceEverything(): Promise<() => Promise<void>> {
    await rabbitTool(stack, 'rabbit-1', 'rabbitmqctl', 'trace_on')
    const connection = await connect(stack.rabbitUrls[0] ?? '')
    const amqpChannel = await connection.createChannel()
    const { queue } = await amqpChannel.assertQueue('', { exclusive: true })
    await amqpChannel.bindQueue(queue, 'amq.rabbitmq.trace', '#')
    await amqpChannel.consume(queue, (message) => void (message === null || messages.push(message)), { noAck: true })
    return () => connection.close()
  }

  async function publishAndRead(): Promise<void> {
    const { clientId, clientSecret } = cluster.credentials
    const bearer = await fetchToken(api.urls.http, clientId, clientSecret)
    const headers = { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' }
    const post = (path: string, body: unknown): Promise<Response> =>
      fetch(api.urls.http + path, { method: 'POST', headers, body: JSON.stringify(body) })
    expect((await post('/v1/topics', { name: topic, partitions: 1 })).status).toBe(201)
    const { headerName, headerValue, payload, ...fields } = canary
    const json = { ...fields, payload: { text: payload }, headers: { [headerName]: headerValue } }
    expect((await post(`/v1/topics/${topic}/events`, json)).status).toBe(200)
    const raw = await RawClient.open(api.urls.thrift)
    const writer = await RawSession.write(raw, bearer, topic)
    await writer.call('write', { n: 1, events: [event], commit: true })
    const reader = await RawSession.read(raw, bearer, topic, { earliest: true })
    let count = 0
    for (let n = 1; count < 2; n++)
      count += (await reader.call('read', { n, waitMs: 5_000, ...(n === 1 ? {} : { ackOf: n - 1 }) })).count
    await reader.call('extend', {}, 1)
    raw.close()
    await using sdk = connectSdk(api.urls.thrift, { clientId, clientSecret, tokenUrl: `${api.urls.http}/oauth/token` })
    await sdk.producer(topic, { encoding: 'none' }).publish(event)
    for (const { allocated } of [writer, reader]) {
      const keys = deriveMacKeys(allocated.secret)
      Object.assign(secrets, {
        'session secret': allocated.secret,
        'key of requests': keys.c2s,
        'key of answers': keys.s2c,
      })
    }
    Object.assign(secrets, {
      'client secret': bytes(clientSecret),
      bearer: bytes(bearer),
      'signature of the bearer': bytes(bearer.split('.')[2] ?? ''),
    })
  }

  /** Every value of a key file that could be a secret. */
  function noteKeys(path: string): void {
    const walk = (value: unknown, at: string): void => {
      if (typeof value === 'object' && value !== null)
        for (const [name, inner] of Object.entries(value)) walk(inner, `${at}/${name}`)
      else if (typeof value === 'string' && /\/(key|secret|d)$/.test(at)) secrets[at] = Buffer.from(value, 'base64')
    }
    try {
      walk(JSON.parse(readFileSync(path, 'utf8')), path.slice(dir.length))
    } catch {
      // A password by itself; that of the test's broker is a word that stands everywhere.
      const password = bytes(readFileSync(path, 'utf8').trim())
      if (password.length >= secretBytesMin) secrets[path.slice(dir.length)] = password
    }
  }

  it('Given every AMQP message, then its headers and properties hold no canary and no secret, and its body no bearer or key', async () => {
    await expect.poll(() => messages.length, { timeout: 10_000 }).toBeGreaterThan(20)
    await stopTracing()
    const { 'session secret': _, ...neverSent } = secrets
    for (const { content, fields, properties } of messages) {
      // The firehose puts the traced message's own properties and headers into its headers.
      const head = Buffer.from(JSON.stringify([fields, properties], (_name, value: unknown) => text(value)))
      expect(leaked(head, { ...canaries, ...secrets })).toEqual([])
      // allocate's answer carries the session's secret to the API tier.
      expect(leaked(content, neverSent)).toEqual([])
    }
    expect(leaked(Buffer.concat(messages.map(({ content }) => content)), canaries)).toContain('payload')
    expect(Object.keys(secrets).length).toBeGreaterThan(8)
  })

  it('Given every Kafka record, then no byte of it is a canary or a secret', async () => {
    const kafka = new Kafka({ brokers: [...stack.kafkaAddresses], logLevel: logLevel.NOTHING })
    const consumer = kafka.consumer({ groupId: 'canary' })
    const records: Buffer[] = []
    await consumer.connect()
    try {
      await consumer.subscribe({ topics: [/^[^_].*/], fromBeginning: true })
      await consumer.run({
        eachMessage: async ({ message: { key, value, headers } }) => {
          const named = Object.entries(headers ?? {}).flatMap(([name, header]) => [name, String(header)])
          records.push(Buffer.concat([key ?? Buffer.alloc(0), value ?? Buffer.alloc(0), Buffer.from(named.join('\n'))]))
        },
      })
      await expect.poll(() => records.length, { timeout: 30_000 }).toBeGreaterThanOrEqual(3)
    } finally {
      await consumer.disconnect()
    }
    for (const record of records) expect(leaked(record, { ...canaries, ...secrets })).toEqual([])
  }, 300_000)

  it('Given logs at debug level and metrics of both processes, then none holds a canary or a secret', async () => {
    for (const one of [api, stream]) {
      const metrics = await one.metrics()
      expect(metrics).toContain('trunkline_')
      expect(leaked(Buffer.from(metrics), { ...canaries, ...secrets })).toEqual([])
      expect(one.output().length).toBeGreaterThan(500)
      expect(leaked(Buffer.from(one.output()), { ...canaries, ...secrets })).toEqual([])
    }
  })
})

function text(value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value
}
