// API and stream processes on real Kafka and RabbitMQ: who they let in, what they serve, when they are ready, and how
// they stop under load.
import { chmodSync, mkdtempSync, realpathSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Stack } from '../../../scripts/stack/stack.ts'
import { connect } from '../../../sdk/typescript/src/index.ts'
import {
  type ApiProcess,
  type Cluster,
  type ClusterProcess,
  makeCluster,
  startApi,
  startStream,
} from '../../support/cluster-process.ts'
import { accessToken, removeFolder } from '../../support/gateway-process.ts'
import { RawClient, RawSession } from '../../support/raw-client.ts'
import { privateStack, stackRequirement, stackStartMs } from '../../support/stack.ts'
import { blockOf, payloadsOf } from '../sessions/harness.ts'
import { steadyPublishing } from './steady-publishing.ts'

stackRequirement.describe('the processes of a cluster', () => {
  let dir: string
  let stack: Stack
  let cluster: Cluster
  let apis: readonly [ApiProcess, ApiProcess]
  let streams: readonly [ClusterProcess, ClusterProcess]
  const topic = 'orders'
  /** Nothing is ever published to it. */
  const quietTopic = 'quiet'

  beforeAll(async () => {
    dir = realpathSync(mkdtempSync(join(tmpdir(), 'trunkline-cluster-')))
    stack = await privateStack({ kafka: 1, rabbit: 2, secured: true })
    cluster = await makeCluster(dir, stack)
    // API processes first: nothing has to be started in an order.
    const waiting = Promise.all([startApi(cluster), startApi(cluster)])
    streams = await Promise.all([startStream(cluster, { nodeId: 'one' }), startStream(cluster, { nodeId: 'two' })])
    apis = await waiting
    for (const name of [topic, quietTopic])
      expect((await post(apis[0], '/v1/topics', { name, partitions: 4 })).status).toBe(201)
  }, stackStartMs)
  afterAll(async () => {
    await Promise.all([...(apis ?? []), ...(streams ?? [])].map((one) => one.kill()))
    await stack?.stop()
    removeFolder(dir)
  }, 300_000)

  const tokenOf = (api: ApiProcess): Promise<string> => accessToken({ ...api, credentials: cluster.credentials })

  async function post(api: ApiProcess, path: string, body: unknown, bearer?: string): Promise<Response> {
    return await fetch(api.urls.http + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${bearer ?? (await tokenOf(api))}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
  }

  it('given a token of one API process, when another is asked, then it takes the token, and serves what was published at the first', async () => {
    const [one, two] = apis
    const bearer = await tokenOf(one)
    const published = await post(one, `/v1/topics/${topic}/events`, { key: 'k', payload: { text: 'here' } }, bearer)
    expect(published.status).toBe(200)
    const read = await fetch(`${two.urls.http}/v1/topics/${topic}/events?from=earliest`, {
      headers: { authorization: `Bearer ${bearer}` },
    })
    expect(read.status).toBe(200)
    expect(JSON.stringify(await read.json())).toContain('here')
  })

  it('given a session, when every request of it goes to the other API process, then it serves them', async () => {
    const [one, two] = apis
    const client = connect(one.urls.thrift, { ...cluster.credentials, tokenUrl: two.urls.token })
    const other = connect(two.urls.thrift, { ...cluster.credentials, tokenUrl: one.urls.token })
    const producer = client.producer(topic)
    const position = await producer.publish({ key: 'sdk', payload: 'over thrift' })
    await producer.close()
    const reader = other.reader(topic, { from: 'earliest', waitMs: 500 })
    const seen: string[] = []
    for (let batch = await reader.pull(); batch !== undefined; batch = await reader.pull()) {
      seen.push(...batch.events.map((event) => `${event.position.toString()} ${event.text()}`))
      await batch.ack()
      if (batch.atEnd) break
    }
    expect(seen).toContain(`${position.toString()} over thrift`)
    await Promise.all([reader.close(), client.close(), other.close()])
  })

  it('given sessions whose every request goes to another API process than the one before, then they see no difference', async () => {
    const bearer = await tokenOf(apis[0])
    const clients = await Promise.all(apis.map((api) => RawClient.open(api.urls.thrift)))
    const inTurn = alternating(clients)
    expect((await post(apis[0], '/v1/topics', { name: 'in-turn', partitions: 1 })).status).toBe(201)
    const writer = await RawSession.write(inTurn, bearer, 'in-turn')
    for (let n = 1; n <= 10; n++) await writer.call('write', { n, blocks: [blockOf(0, `event ${n}`)], commit: true })
    // A challenge that one process gave is good at the other, and so is an answer that has to be given again.
    const proof = writer.proof()
    const request = { n: 11, blocks: [blockOf(0, 'event 11')], commit: true }
    const first = await writer.call('write', request)
    const again = await inTurn.call('write', { ...request, proof, session: writer.allocated.session })
    expect(again).toEqual(first)

    const reader = await RawSession.read(inTurn, bearer, 'in-turn', { earliest: true })
    const seen: string[] = []
    for (let n = 1; seen.length < 11; n++) {
      const batch = await reader.call('read', { n, maxEvents: 3, ...(n === 1 ? {} : { ackOf: n - 1 }) })
      seen.push(...payloadsOf(batch))
    }
    expect(seen).toEqual(Array.from({ length: 11 }, (_, index) => `event ${index + 1}`))
    await writer.call('dispose', {}, 1)
    await reader.call('dispose', {}, 1)
    for (const client of clients) client.close()
  })

  it('given credentials that a broker refuses, when a process starts, then it ends with BROKER_REFUSED and 4', async () => {
    const { plan, kafka } = stack
    const user = plan.users.find(({ mechanism }) => mechanism === 'scram-sha-512')
    const ca = plan.certificates?.ca
    const address = kafka[0]?.securedAddress
    if (user === undefined || ca === undefined || address === undefined) throw new Error('the stack is secured')
    const passwordFile = join(dir, 'kafka-password')
    const secured = (password: string): Record<string, string> => {
      writeFileSync(passwordFile, password)
      chmodSync(passwordFile, 0o600)
      return {
        TRUNKLINE_KAFKA_BROKERS: address,
        TRUNKLINE_KAFKA_TLS: 'true',
        TRUNKLINE_KAFKA_CA_FILE: ca,
        TRUNKLINE_KAFKA_SASL_MECHANISM: 'scram-sha-512',
        TRUNKLINE_KAFKA_SASL_USERNAME: user.username,
        TRUNKLINE_KAFKA_SASL_PASSWORD_FILE: passwordFile,
      }
    }
    const shards = stack.plan.rabbit.map(({ name, tlsPort }) => `${name}=amqps://127.0.0.1:${tlsPort}`).join(',')
    const overTls = { TRUNKLINE_RABBIT_SHARDS: shards }
    // The right ones serve: what follows is refused for what is wrong with it.
    const env = { ...secured(user.password), ...overTls, TRUNKLINE_RABBIT_CA_FILE: ca }
    const right = await startStream(cluster, { nodeId: 'three', env })
    expect(await right.stop()).toEqual({ code: 0, signal: null })

    const wrongFile = join(dir, 'wrong-password')
    writeFileSync(wrongFile, 'wrong')
    chmodSync(wrongFile, 0o600)
    const { TRUNKLINE_KAFKA_CA_FILE: _, ...foreignCa } = secured(user.password)
    for (const wrong of [secured('wrong'), foreignCa, { TRUNKLINE_RABBIT_PASSWORD_FILE: wrongFile }, overTls]) {
      const refused = startStream(cluster, { nodeId: 'three', env: wrong, until: 'ended' })
      await expect(refused).resolves.toMatchObject({ isRunning: false })
      const ended = await refused
      expect(ended.output()).toContain('BROKER_REFUSED: ')
      expect(ended.output()).not.toContain(user.password)
      expect(await ended.exited).toEqual({ code: 4, signal: null })
    }
  })

  it('given shards and nodes that come and go, when readiness is asked, then it follows and says why', async () => {
    const [api] = apis
    const [one, two] = streams
    for (const process of [api, one, two]) expect(await process.health()).toEqual({ status: 200, reasons: [] })

    await Promise.all([one.kill(), two.kill()])
    await api.untilHealth(({ reasons }) => reasons.join() === 'no stream node is there', 20_000)
    await one.restart()
    await api.untilHealth(({ status }) => status === 200, 20_000)

    await stack.kill('rabbit-1')
    // One shard is enough.
    expect((await post(api, `/v1/topics/${topic}/events`, { payload: { text: 'one shard' } })).status).toBe(200)
    expect((await api.health()).status).toBe(200)
    await stack.kill('rabbit-2')
    for (const process of [api, one])
      await process.untilHealth(({ reasons }) => reasons.includes('no shard of the switchboard is up'), 20_000)
    await stack.startAll()
    for (const process of [api, one]) await process.untilHealth(({ status }) => status === 200, 60_000)

    await stack.pause('kafka-1')
    await one.untilHealth(({ reasons }) => reasons.includes('the log is not reachable'), 60_000)
    await stack.resume('kafka-1')
    await one.untilHealth(({ status }) => status === 200, 60_000)
    await two.restart()
  })

  it('given callers at work, when an API process is told to stop, then every request was answered and it ends with 0', async () => {
    const [one, two] = apis
    const load = await steadyPublishing({ apis: [one, two], bearer: await tokenOf(one), topic, callers: 12 })
    const parked = fetch(`${one.urls.http}/v1/topics/${quietTopic}/events?from=latest&waitMs=25000`, {
      headers: { authorization: `Bearer ${await tokenOf(one)}` },
    })
    await load.untilAnswered(100)
    const startedMs = performance.now()
    one.signal('SIGTERM')
    expect(await one.exited).toEqual({ code: 0, signal: null })
    // The read that waited has not held it up.
    expect(performance.now() - startedMs).toBeLessThan(20_000)
    expect((await parked).status).toBe(503)
    await load.untilAnswered(100)
    const { unanswered, statuses } = await load.stop()
    expect(unanswered).toEqual([])
    expect(Object.keys(statuses).filter((status) => status !== '200' && status !== '503')).toEqual([])
    await one.restart()
  })

  it('given callers at work, when a stream process is told to stop, then every request was answered, the SDK saw nothing, and it ends with 0', async () => {
    const [one] = streams
    const [api] = apis
    const load = await steadyPublishing({ apis, bearer: await tokenOf(api), topic, callers: 8 })
    const client = connect(api.urls.thrift, { ...cluster.credentials, tokenUrl: api.urls.token })
    const producers = Array.from({ length: 4 }, () => client.producer(topic))
    let publishing = true
    let published = 0
    const sdk = producers.map(async (producer, index) => {
      while (publishing) {
        await producer.publish({ key: `p${index}`, payload: 'x' })
        published += 1
      }
    })
    await load.untilAnswered(100)
    one.signal('SIGTERM')
    expect(await one.exited).toEqual({ code: 0, signal: null })
    await load.untilAnswered(100)
    const before = published
    await load.untilAnswered(50)
    const { unanswered, statuses } = await load.stop()
    publishing = false
    await Promise.all(sdk)
    expect(published).toBeGreaterThan(before)
    expect(unanswered).toEqual([])
    expect(Object.keys(statuses).filter((status) => status !== '200' && status !== '503')).toEqual([])
    await client.close()
    await one.restart()
  })
})

/** One client that takes another process for every call. */
function alternating(clients: readonly RawClient[]): RawClient {
  let calls = 0
  const next = (): RawClient => clients[calls++ % clients.length] as RawClient
  return Object.create(clients[0] as RawClient, {
    call: { value: (...args: Parameters<RawClient['call']>) => next().call(...args) },
  }) as RawClient
}
