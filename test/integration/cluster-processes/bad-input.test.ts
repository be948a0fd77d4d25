// What the world behind the gateway can do wrong, met through real processes: records in Kafka that are not as they were
// written, topics that are not there or not safe, copies that are missing. Each is typed, says what to do, and stays local.
import { mkdtempSync, realpathSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Stack } from '../../../scripts/stack/stack.ts'
import { connect } from '../../../sdk/typescript/src/index.ts'
import { isErrorNamed } from '../../../src/protocol/errors.ts'
import { metricOf } from '../../support/cluster/chaos-cluster.ts'
import {
  type ApiProcess,
  type Cluster,
  type ClusterProcess,
  makeCluster,
  startApi,
  startStream,
} from '../../support/cluster-process.ts'
import { accessToken, removeFolder } from '../../support/gateway-process.ts'
import { privateStack, stackRequirement, stackStartMs } from '../../support/stack.ts'

interface Problem {
  readonly name?: string
  readonly advice?: string
  readonly retryable?: boolean
}

stackRequirement.describe('a cluster over a log that is not as it should be', () => {
  let dir: string
  let stack: Stack
  let cluster: Cluster
  let api: ApiProcess
  let stream: ClusterProcess
  let bearer: string
  let kafka: Kafka

  beforeAll(async () => {
    dir = realpathSync(mkdtempSync(join(tmpdir(), 'trunkline-bad-')))
    stack = await privateStack({ kafka: 3, rabbit: 1 })
    cluster = await makeCluster(dir, stack)
    ;[stream, api] = await Promise.all([startStream(cluster, { nodeId: 'one' }), startApi(cluster)])
    bearer = await accessToken({ ...api, credentials: cluster.credentials })
    kafka = new Kafka({ brokers: [...stack.kafkaAddresses], clientId: 'stranger', logLevel: logLevel.NOTHING })
  }, stackStartMs)
  afterAll(async () => {
    await Promise.all([api, stream].map((one) => one?.kill()))
    await stack?.stop()
    removeFolder(dir)
  }, 300_000)

  async function post(path: string, body: unknown): Promise<{ readonly status: number; readonly body: Problem }> {
    const answer = await fetch(api.urls.http + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    return { status: answer.status, body: (await answer.json()) as Problem }
  }

  const publish = (topic: string, text: string) => post(`/v1/topics/${topic}/events`, { payload: { text } })

  async function withAdmin<T>(work: (admin: ReturnType<Kafka['admin']>) => Promise<T>): Promise<T> {
    const admin = kafka.admin()
    await admin.connect()
    try {
      return await work(admin)
    } finally {
      await admin.disconnect()
    }
  }

  it('given a topic that nobody made, when somebody publishes or reads, then UNKNOWN_TOPIC', async () => {
    const { status, body } = await publish('nowhere', 'x')
    expect([status, body.name]).toEqual([404, 'UNKNOWN_TOPIC'])
    const client = connect(api.urls.thrift, { token: bearer })
    const thrown = await client
      .reader('nowhere', { from: 'earliest' })
      .pull()
      .catch((error: unknown) => error)
    expect(isErrorNamed(thrown, 'UNKNOWN_TOPIC')).toBe(true)
    await client.close()
  })

  it('given a topic made with one copy, when somebody publishes, then TOPIC_UNSAFE says what to set, and it is read all the same', async () => {
    await withAdmin((admin) =>
      admin.createTopics({
        topics: [{ topic: 'single', numPartitions: 1, replicationFactor: 1 }],
        waitForLeaders: true,
      }),
    )
    const { status, body } = await publish('single', 'x')
    expect(status).toBe(409)
    expect(body.name).toBe('TOPIC_UNSAFE')
    expect(JSON.stringify(body)).toContain('min.insync.replicas')
    const read = await fetch(`${api.urls.http}/v1/topics/single/events?from=earliest`, {
      headers: { authorization: `Bearer ${bearer}` },
    })
    expect(read.status).toBe(200)
  })

  it('given sealed records that are damaged, cut, or of nobody, when the topic is read, then each is told with its place, can be skipped, is counted, and the rest is served', async () => {
    expect((await post('/v1/topics', { name: 'damaged', partitions: 1 })).status).toBe(201)
    expect((await publish('damaged', 'before')).status).toBe(200)
    const [good] = await consumed(kafka, 'damaged', 1)
    if (good === undefined) throw new Error('the topic has a record')
    const flipped = Buffer.from(good.value)
    flipped[flipped.length - 20] = (flipped[flipped.length - 20] ?? 0) ^ 1
    const bad = [
      { value: flipped, headers: { tl: good.header } },
      { value: good.value.subarray(0, good.value.length >> 1), headers: { tl: good.header } },
      // Whole, and moved: what its seal is bound to says another place.
      { value: good.value, headers: { tl: good.header.subarray(0, good.header.length - 1) } },
      { value: Buffer.from('garbage'), headers: { tl: Buffer.from([99, 1, 2, 3]) } },
    ]
    const producer = kafka.producer()
    await producer.connect()
    for (const message of bad)
      await producer.send({ topic: 'damaged', acks: -1, messages: [{ partition: 0, ...message }] })
    await producer.disconnect()
    expect((await publish('damaged', 'behind')).status).toBe(200)

    const client = connect(api.urls.thrift, { token: bearer })
    const strict = client.reader('damaged', { from: 'earliest', waitMs: 200 })
    const thrown: unknown = await (async () => {
      for await (const batch of strict) await batch.ack()
    })().catch((error: unknown) => error)
    expect(isErrorNamed(thrown, 'BLOCK_DAMAGED') && thrown.details['at']).toBe('0:1')

    const skipping = client.reader('damaged', { from: 'earliest', waitMs: 200, onDamaged: 'skip' })
    const seen: string[] = []
    for await (const batch of skipping) {
      seen.push(...batch.events.map((event) => event.text()))
      await batch.ack()
      if (seen.includes('behind')) break
    }
    expect(seen).toEqual(['before', 'behind'])
    expect(skipping.skippedCount).toBe(bad.length)
    expect(await metricOf(stream, 'trunkline_blocks_opened_total', 'outcome="damaged"')).toBeGreaterThanOrEqual(
      bad.length,
    )
    await client.close()
  })

  it('given copies that are missing below min.insync.replicas, when somebody publishes, then it is told to come again, and lands once when they are back', async () => {
    expect((await post('/v1/topics', { name: 'isr', partitions: 1 })).status).toBe(201)
    expect((await publish('isr', 'before')).status).toBe(200)
    const leader = await withAdmin(async (admin) => {
      const { topics } = await admin.fetchTopicMetadata({ topics: ['isr'] })
      return topics[0]?.partitions[0]?.leader
    })
    const others = stack.kafka.filter(({ nodeId }) => nodeId !== leader)
    // A third broker keeps the quorum of controllers only while one of the two runs: it is stopped, not killed, so that
    // the leader stays leader without its followers.
    const client = connect(api.urls.thrift, { ...cluster.credentials, tokenUrl: api.urls.token })
    const producer = client.producer('isr')
    await producer.publish({ payload: 'with all copies' })
    for (const { name } of others) await stack.pause(name)
    const waiting = producer.publish({ payload: 'without copies' })
    const refused = await publish('isr', 'one shot')
    expect(refused.status).toBe(503)
    expect(refused.body.retryable).toBe(true)
    for (const { name } of others) await stack.resume(name)
    await waiting
    await producer.publish({ payload: 'with copies again' })
    await client.close()
    const read = connect(api.urls.thrift, { token: bearer })
    const reader = read.reader('isr', { from: 'earliest', waitMs: 200 })
    const seen: string[] = []
    for await (const batch of reader) {
      seen.push(...batch.events.map((event) => event.text()))
      await batch.ack()
      if (seen.includes('with copies again')) break
    }
    const sdks = seen.filter((text) => text.includes('cop'))
    expect(sdks).toEqual(['with all copies', 'without copies', 'with copies again'])
    // It was told nothing certain: it may have landed, once at most.
    expect(seen.filter((text) => text === 'one shot').length).toBeLessThanOrEqual(1)
    await read.close()
  }, 300_000)
})

async function consumed(
  kafka: Kafka,
  topic: string,
  count: number,
): Promise<readonly { readonly value: Buffer; readonly header: Buffer }[]> {
  const consumer = kafka.consumer({ groupId: `raw-${topic}` })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const records: { value: Buffer; header: Buffer }[] = []
  try {
    await new Promise<void>((resolve, reject) => {
      consumer
        .run({
          eachMessage: async ({ message: { value, headers } }) => {
            const header = headers?.['tl']
            if (value === null || !Buffer.isBuffer(header)) throw new Error('a record of ours has both')
            records.push({ value: Buffer.from(value), header: Buffer.from(header) })
            if (records.length >= count) resolve()
          },
        })
        .catch(reject)
    })
    return records
  } finally {
    await consumer.disconnect()
  }
}
