// Topics of format plain on a real Kafka, shared with native producers and consumers (kafkajs): what the gateway writes is
// what they expect to find, what they write is what its readers get, and taking a producer over doubles nothing.
import { randomUUID } from 'node:crypto'
import { type Admin, Kafka, type KafkaMessage, logLevel, type Producer as NativeProducer } from 'kafkajs'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import type { Stack } from '../../scripts/stack/stack.ts'
import type { ReceivedEvent } from '../../sdk/typescript/src/events.ts'
import type { Incarnation } from '../../src/protocol/ids.ts'
import { parseTopicName } from '../../src/protocol/ids.ts'
import { decodeRecordHeader, type RecordHeader } from '../../src/protocol/record-header.ts'
import { KafkaWorld } from '../support/cluster/kafka-world.ts'
import { sharedStack, stackRequirement, stackStartMs } from '../support/stack.ts'

const text = (bytes: Uint8Array | null | undefined): string | undefined =>
  bytes === undefined || bytes === null ? undefined : Buffer.from(bytes).toString()

stackRequirement.describe('a plain topic on Kafka', () => {
  let stack: Stack
  let kafka: Kafka
  let admin: Admin
  let native: NativeProducer
  let world: KafkaWorld
  let first: Incarnation
  let topic: string

  beforeAll(async () => {
    stack = await sharedStack({ kafka: 1, rabbit: 0 })
    kafka = new Kafka({ clientId: 'native', brokers: [...stack.kafkaAddresses], logLevel: logLevel.NOTHING })
    admin = kafka.admin()
    await admin.connect()
    native = kafka.producer()
    await native.connect()
    world = new KafkaWorld(stack.kafkaAddresses)
    first = await world.startNode('n1')
  }, stackStartMs)

  afterAll(async () => {
    await world?.close()
    await native?.disconnect()
    await admin?.disconnect()
    await stack?.stop()
  }, 300_000)

  /** Made natively, with one partition, and adopted as it is. */
  beforeEach(async () => {
    topic = `plain-${randomUUID()}`
    await admin.createTopics({ topics: [{ topic, numPartitions: 1, replicationFactor: 1 }] })
    const log = await world.openLog('admin')
    const name = parseTopicName(topic)
    expect(await log.createTopic({ name, partitions: 8, format: 'plain' })).toMatchObject({
      format: 'plain',
      partitions: 1,
    })
    await log.close()
  })

  /** Everything in the topic as a native consumer sees it, up to what is there now. */
  async function consume(): Promise<readonly KafkaMessage[]> {
    const [offsets] = await admin.fetchTopicOffsets(topic)
    const end = Number(offsets?.high ?? 0)
    const consumer = kafka.consumer({ groupId: randomUUID() })
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    const seen: KafkaMessage[] = []
    await new Promise<void>((resolve, reject) => {
      consumer
        .run({
          eachMessage: async ({ message }) => {
            seen.push(message)
            if (Number(message.offset) + 1 >= end) resolve()
          },
        })
        .catch(reject)
    })
    await consumer.disconnect()
    return seen
  }

  /** Reads on until `count` events are there. */
  async function readUp(count: number, onDamaged: 'throw' | 'skip' = 'throw'): Promise<ReceivedEvent[]> {
    const reader = world.client('reader').reader(topic, { from: 'earliest', waitMs: 2_000, autoAck: true, onDamaged })
    const events: ReceivedEvent[] = []
    while (events.length < count) {
      const batch = await reader.pull()
      if (batch === undefined) throw new Error(`only ${events.length} of ${count} events came`)
      events.push(...batch.events)
    }
    await reader.close()
    return events
  }

  it('Given events published through the gateway, when a native consumer reads them, then each is one record as it expects', async () => {
    const producer = world.client('writer').producer(topic, { source: '/tests' })
    const positions = await producer.publish([
      {
        key: 'k',
        payload: '{"a":1}',
        id: 'e-1',
        timestamp: 1_700_000_000_123,
        headers: { 'content-type': 'application/json' },
      },
      { payload: 'no key', id: 'e-2', headers: { 'bin;base64': '/wA=' } },
      { key: 'k', payload: null, id: 'e-3' },
    ])
    expect(positions.map(String)).toEqual(['0:0:0', '0:1:0', '0:2:0'])
    const records = await consume()
    expect(records.map(({ offset, key, value }) => [offset, text(key), text(value)])).toEqual([
      ['0', 'k', '{"a":1}'],
      ['1', undefined, 'no key'],
      ['2', 'k', undefined],
    ])
    const { tl, ...headers } = records[0]?.headers ?? {}
    expect(Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))).toEqual({
      ce_specversion: '1.0',
      ce_id: 'e-1',
      ce_type: 'event',
      ce_source: '/tests',
      ce_time: '2023-11-14T22:13:20.123Z',
      'content-type': 'application/json',
    })
    expect(records[1]?.headers?.['bin']).toEqual(Buffer.from([0xff, 0]))
    expect(records.map((record) => indexIn(record))).toEqual([0, 1, 2])
    expect(Buffer.isBuffer(tl)).toBe(true)
    const events = await readUp(3)
    expect(events.map(({ position, id, key, payload }) => [String(position), id, text(key), text(payload)])).toEqual([
      ['0:0:0', 'e-1', 'k', '{"a":1}'],
      ['0:1:0', 'e-2', undefined, 'no key'],
      ['0:2:0', 'e-3', 'k', ''],
    ])
    expect(events.map(({ isTombstone }) => isTombstone)).toEqual([false, false, true])
    expect(events[1]?.headers.get('bin;base64')).toBe('/wA=')
  })

  it('Given records of strangers between ours, with transactions committed and aborted, when read, then all that counts comes, in order', async () => {
    const producer = world.client('writer').producer(topic)
    await producer.publish({ payload: 'ours-1' })
    await native.send({ topic, messages: [{ value: 'bare' }, { key: 'dead', value: null }] })
    const transactional = kafka.producer({ transactionalId: randomUUID(), maxInFlightRequests: 1, idempotent: true })
    await transactional.connect()
    const aborted = await transactional.transaction()
    await aborted.send({ topic, messages: [{ value: 'aborted-1' }, { value: 'aborted-2' }] })
    await producer.publish({ payload: 'ours-2' })
    await aborted.abort()
    const committed = await transactional.transaction()
    await committed.send({
      topic,
      messages: [
        {
          value: 'committed',
          headers: { ce_specversion: '1.0', ce_id: 'c-1', ce_type: 'made', ce_source: '/them', ce_subject: 's' },
        },
      ],
    })
    await producer.publish([{ payload: 'ours-3' }, { payload: 'ours-4' }])
    // While the transaction is open nobody reads beyond it, and publishing goes on.
    const before = await readUp(4)
    expect(before.map(({ payload }) => text(payload))).toEqual(['ours-1', 'bare', '', 'ours-2'])
    await committed.commit()
    await transactional.disconnect()
    const events = await readUp(7)
    expect(events.map(({ payload }) => text(payload))).toEqual([
      ...['ours-1', 'bare', '', 'ours-2', 'committed', 'ours-3', 'ours-4'],
    ])
    const [, bare, dead, , made] = events
    expect([bare?.id, bare?.type, bare?.source]).toEqual([`0:${bare?.position.offset}`, 'event', `/topics/${topic}`])
    expect([text(dead?.key), dead?.isTombstone, bare?.isTombstone]).toEqual(['dead', true, false])
    expect([made?.id, made?.type, made?.source, made?.headers.get('ce_subject')]).toEqual(['c-1', 'made', '/them', 's'])
    const offsets = events.map(({ position }) => position.offset)
    expect(offsets).toEqual([...offsets].sort((a, b) => a - b))
  })

  it('Given a reader at the end, when a stranger writes in a transaction and commits, then it comes without another fetch of ours being stuck', async () => {
    const reader = world.client('tail').reader(topic, { from: 'latest', waitMs: 10_000, autoAck: true })
    const next = reader.pull()
    const transactional = kafka.producer({ transactionalId: randomUUID(), maxInFlightRequests: 1, idempotent: true })
    await transactional.connect()
    for (const value of ['t-1', 't-2', 't-3']) {
      const transaction = await transactional.transaction()
      await transaction.send({ topic, messages: [{ value }] })
      await transaction.commit()
    }
    const got = [...((await next)?.events ?? [])]
    while (got.length < 3) got.push(...((await reader.pull())?.events ?? []))
    expect(got.map(({ payload }) => text(payload))).toEqual(['t-1', 't-2', 't-3'])
    await transactional.disconnect()
    await reader.close()
  })

  it('Given a record of a stranger above the limits, when read, then its place is told, and can be gone behind', async () => {
    await native.send({ topic, messages: [{ value: 'before' }] })
    await native.send({ topic, messages: [{ value: Buffer.alloc(950_000) }] })
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, at) => [`h${at}`, 'x']))
    await native.send({ topic, messages: [{ value: 'headers', headers: many }, { value: 'after' }] })
    const reader = world.client('strict').reader(topic, { from: 'earliest', waitMs: 2_000, autoAck: true })
    expect((await reader.pull())?.events.map(({ payload }) => text(payload))).toEqual(['before'])
    await expect(reader.pull()).rejects.toMatchObject({
      name: 'BLOCK_DAMAGED',
      details: { at: '0:1', why: 'EVENT_TOO_LARGE' },
    })
    await reader.close()
    expect((await readUp(2, 'skip')).map(({ payload }) => text(payload))).toEqual(['before', 'after'])
  })

  it('Given an event that a record cannot hold, when published, then it is refused, and others go on', async () => {
    const producer = world.client('writer').producer(topic)
    await expect(producer.publish({ payload: 'x', headers: { tl: 'mine' } })).rejects.toMatchObject({
      name: 'BAD_EVENT',
    })
    expect(String(await producer.publish({ payload: 'y' }))).toBe('0:0:0')
  })

  it('Given many small events at once, when published, then they are packed so that every part fits, and positions are those of the log', async () => {
    const producer = world.client('writer').producer(topic)
    const events = Array.from({ length: 12_000 }, (_, at) => ({ payload: `${at}` }))
    const positions = await producer.publish(events)
    expect(positions.map(({ offset, index }) => [offset, index])).toEqual(events.map((_, at) => [at, 0]))
    const read = await readUp(12_000)
    expect(read.map(({ payload }) => text(payload))).toEqual(events.map(({ payload }) => payload))
    expect(read.map(({ position }) => position.offset)).toEqual(positions.map(({ offset }) => offset))
  })

  it('Given a node that is cut off while it publishes, when another takes over, then the raw records hold every event once, in order, parts whole', async () => {
    const second = await world.startNode('n2')
    const producer = world.client('moving').producer(topic, { retry: { backoffMsMin: 20, backoffMsMax: 200 } })
    const sent: string[] = []
    const answers: Promise<unknown>[] = []
    let count = 0
    const publishSome = async (rounds: number): Promise<void> => {
      for (let round = 0; round < rounds; round += 1) {
        const some = Array.from({ length: 1 + (round % 5) }, () => `${++count}`)
        sent.push(...some)
        answers.push(producer.publish(some.map((payload) => ({ payload }))).then((all) => all.map(String)))
        if (round % 3 === 0) await native.send({ topic, messages: [{ value: `stranger-${round}` }] })
      }
    }
    await publishSome(20)
    world.cutOff(first)
    await publishSome(20)
    await Promise.all(answers)
    first = await world.startNode('n3')
    world.cutOff(second)
    await publishSome(20)
    const positions = (await Promise.all(answers)).flat()
    const raw = await consume()
    expect(raw.filter(isBarrier).length, 'nobody was fenced').toBeGreaterThan(0)
    const ours = raw.filter(
      (record) =>
        record.value !== null && !String(record.value).startsWith('stranger') && indexIn(record) !== undefined,
    )
    expect(ours.map(({ value }) => String(value))).toEqual(sent)
    expect(positions).toEqual(ours.map(({ offset }) => `0:${offset}:0`))
    for (const [at, record] of ours.entries()) {
      const index = indexIn(record) ?? 0
      if (index > 0) expect(Number(record.offset) - Number(ours[at - 1]?.offset)).toBe(1)
    }
    const read = await readUp(raw.filter(({ value }) => value !== null && value.length > 0).length)
    expect(read.map(({ payload }) => text(payload)).filter((one) => !one?.startsWith('stranger'))).toEqual(sent)
    expect(world.errors).toEqual([])
  }, 300_000)
})

/** Undefined: a barrier, or somebody else's. */
function indexIn(record: KafkaMessage): number | undefined {
  const header = headerOf(record)
  return header?.kind === 'data' ? header.index : undefined
}

function isBarrier(record: KafkaMessage): boolean {
  return headerOf(record)?.kind === 'barrier'
}

function headerOf({ headers }: KafkaMessage): RecordHeader | undefined {
  const tl = headers?.['tl']
  return Buffer.isBuffer(tl) ? decodeRecordHeader(tl) : undefined
}
