// Proves, on real Kafka and RabbitMQ: a thousand sessions at the end of one topic, over two stream processes, ask no more
// of Kafka than twenty do, and each block is opened once per process however many get it.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { mode } from '../../../src/protocol/messages.ts'
import { blockOf } from '../../integration/sessions/harness.ts'
import { ChaosCluster, metricOf } from '../../support/cluster/chaos-cluster.ts'
import { RawClient, RawSession } from '../../support/raw-client.ts'
import { stackRequirement, stackStartMs } from '../../support/stack.ts'

const fewTails = 20
const manyTails = 1_000
const sessionsPerConnection = 50
const partitions = 4
const blocks = 40
const windowMs = 6_000
const atEnd = { topic: 'tails', mode: mode.read, startAt: { latest: true } }

const fetchRequests = ['trunkline_kafka_requests_total', 'api="Fetch"'] as const

interface Asked {
  readonly fetches: number
  readonly connections: number
}

stackRequirement.describe('many tails of one topic', () => {
  let world: ChaosCluster
  let bearer: string
  const connections: RawClient[] = []
  beforeAll(async () => {
    world = await ChaosCluster.start({ seed: 'tails', kafka: 1, rabbit: 1, apis: 1, streams: 2 })
    await world.createTopic('tails', partitions)
    bearer = await world.bearer()
  }, stackStartMs)
  afterAll(async () => {
    for (const connection of connections) connection.close()
    await world?.stop()
  }, 60_000)

  /** Of both stream processes. */
  async function sum(name: string, labels = ''): Promise<number> {
    const each = await Promise.all(world.streams.map((stream) => metricOf(stream, name, labels)))
    return each.reduce((total, one) => total + one, 0)
  }

  async function open(count: number): Promise<Tail[]> {
    const [api] = world.apis
    if (api === undefined) throw new Error('there is an API process')
    const tails: Tail[] = []
    while (tails.length < count) {
      const connection = await RawClient.open(api.urls.thrift)
      connections.push(connection)
      for (let i = 0; i < sessionsPerConnection && tails.length < count; i++)
        tails.push(new Tail(await RawSession.openPatiently(connection, bearer, atEnd)))
    }
    for (const tail of tails) tail.start()
    return tails
  }

  /** What waiting costs, while nothing is published. */
  async function asked(): Promise<Asked> {
    const before = await sum(...fetchRequests)
    await new Promise((resolve) => setTimeout(resolve, windowMs))
    const fetches = (await sum(...fetchRequests)) - before
    return { fetches, connections: await sum('trunkline_kafka_connections') }
  }

  it('given a thousand tails over two stream processes, then Kafka sees what it sees of twenty, and each gets every event once', async () => {
    const tails = await open(fewTails)
    const few = await asked()
    tails.push(...(await open(manyTails - fewTails)))
    for (const stream of world.streams) {
      const sessions = await metricOf(stream, 'trunkline_sessions')
      expect(sessions, 'both stream processes have their share').toBeGreaterThan(manyTails / 5)
    }
    const many = await asked()
    process.stdout.write(
      `fetches in ${windowMs / 1_000} s and connections to Kafka, of 2 stream processes: ` +
        `${few.fetches} and ${few.connections} with ${fewTails} tails, ${many.fetches} and ${many.connections} with ${manyTails}\n`,
    )
    expect(few.fetches).toBeGreaterThan(0)
    expect(many.fetches).toBeLessThanOrEqual(few.fetches * 1.5)
    expect(many.connections).toBeLessThanOrEqual(few.connections)

    const openedBefore = await sum('trunkline_blocks_opened_total', 'outcome="block"')
    const writer = await RawSession.write(await connection(), bearer, 'tails')
    for (let n = 1; n <= blocks; n++)
      await writer.call('write', { n, blocks: [blockOf(n % partitions, `event ${n}`)], commit: true })
    const endMs = performance.now() + 60_000
    while (tails.some((tail) => tail.events < blocks)) {
      if (performance.now() > endMs) throw new Error(`events that came: ${tails.map((tail) => tail.events).join(' ')}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    expect(tails.map((tail) => tail.events)).toEqual(tails.map(() => blocks))
    expect(tails.flatMap((tail) => tail.failures)).toEqual([])
    const opened = (await sum('trunkline_blocks_opened_total', 'outcome="block"')) - openedBefore
    process.stdout.write(
      `${blocks} blocks delivered ${manyTails} times, opened ${opened} times by 2 stream processes\n`,
    )
    expect(opened).toBe(blocks * world.streams.length)
  }, 300_000)

  async function connection(): Promise<RawClient> {
    const client = await RawClient.open(world.apis[0]?.urls.thrift ?? '')
    connections.push(client)
    return client
  }
})

/** A session that waits at the end, acks with the next read, and counts. */
class Tail {
  readonly failures: string[] = []
  events = 0
  readonly #session: RawSession

  constructor(session: RawSession) {
    this.#session = session
  }

  start(): void {
    this.#run().catch((thrown: unknown) => {
      const text = String(thrown)
      // The test is over.
      if (!text.includes('connection closed')) this.failures.push(text)
    })
  }

  async #run(): Promise<void> {
    for (let n = 1; ; n++) {
      const ackOf = n === 1 ? {} : { ackOf: n - 1 }
      this.events += (await this.#session.call('read', { n, waitMs: 30_000, ...ackOf })).count
    }
  }
}
