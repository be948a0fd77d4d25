// Owns: what only Kafka's topics have: their settings, topics that others made, the registry, retention by segments, and
// what native producers put into them.
import { spawn } from 'node:child_process'
import zlib from 'node:zlib'
import { type Admin, Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { kafkaClassPath } from '../../../scripts/stack/jars.ts'
import type { Stack } from '../../../scripts/stack/stack.ts'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { noMetrics } from '../../../src/adapters/kafka/metrics.ts'
import type { KafkaLog } from '../../../src/adapters/kafka/open.ts'
import { sleep } from '../../../src/ports/clock.ts'
import { parseTopicName, type TopicName } from '../../../src/protocol/ids.ts'
import { newIncarnation, openLog, readAll, recordOf, textOf } from '../../support/kafka/kafka-node.ts'
import { privateStack, stackRequirement, stackStartMs } from '../../support/stack.ts'

stackRequirement.describe('topics of the Kafka log', () => {
  let stack: Stack
  let log: KafkaLog
  let kafka: Kafka
  let admin: Admin
  let topics = 0

  beforeAll(async () => {
    stack = await privateStack({ kafka: 1, rabbit: 0 })
    kafka = new Kafka({ brokers: [...stack.kafkaAddresses], logLevel: logLevel.NOTHING })
    admin = kafka.admin()
    await admin.connect()
    log = await openLog(stack.kafkaAddresses)
  }, stackStartMs)
  afterAll(async () => {
    await log?.close()
    await admin?.disconnect()
    await stack?.stop()
  })

  const newName = (): TopicName => parseTopicName(`topic-${++topics}`)
  const native = async (
    name: TopicName,
    configs: Readonly<Record<string, string>> = {},
    numPartitions = 1,
  ): Promise<void> => {
    const configEntries = Object.entries(configs).map(([key, value]) => ({ name: key, value }))
    await admin.createTopics({ topics: [{ topic: name, numPartitions, replicationFactor: 1, configEntries }] })
  }
  const configsOf = async (name: string): Promise<Record<string, string>> => {
    const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: 2, name }] })
    const entries = resources[0]?.configEntries ?? []
    return Object.fromEntries(entries.map(({ configName, configValue }) => [configName, configValue]))
  }

  it('Given a topic of ours, then Kafka has it with the settings that exactly-once needs', async () => {
    const name = newName()
    const made = await log.createTopic({ name, partitions: 3, format: 'sealed', retentionMs: 7_200_000 })
    expect(made).toMatchObject({ partitions: 3, retentionMs: 7_200_000, retentionBytes: undefined })
    expect(made.unsafe).toBeUndefined()
    expect(await configsOf(name)).toMatchObject({
      'cleanup.policy': 'delete',
      'min.insync.replicas': '1',
      'unclean.leader.election.enable': 'false',
      'compression.type': 'producer',
      'message.timestamp.type': 'LogAppendTime',
      'max.message.bytes': '1114112',
      'retention.ms': '7200000',
      'retention.bytes': '-1',
      'segment.ms': '720000',
    })
    const kept = await log.createTopic({ name: newName(), partitions: 1, format: 'sealed' })
    expect(await configsOf(kept.name)).toMatchObject({ 'retention.ms': '-1', 'retention.bytes': '-1' })
  })

  it('Given settings that keep exactly-once from holding, then each is told, unless the topic is allowed by name', async () => {
    const name = newName()
    const allowed = newName()
    const configs = {
      'unclean.leader.election.enable': 'true',
      'cleanup.policy': 'compact,delete',
      'retention.ms': '60000',
    }
    await native(name, configs)
    await native(allowed, configs)
    const strict = await openLog(stack.kafkaAddresses, { unsafeTopics: [allowed] })
    const info = await strict.topic(name)
    expect(Object.keys(info?.unsafe ?? {}).sort()).toEqual([
      'cleanup.policy',
      'min.insync.replicas',
      'replication',
      'retention.ms',
      'unclean.leader.election.enable',
    ])
    expect((await strict.topic(allowed))?.unsafe).toBeUndefined()
    // One broker: no topic can be safe, so none is made.
    await expect(strict.createTopic({ name: newName(), partitions: 1, format: 'sealed' })).rejects.toMatchObject({
      name: 'TOPIC_UNSAFE',
    })
    expect((await strict.topic(parseTopicName(`topic-${topics}`))) === undefined).toBe(true)
    await strict.close()
  })

  it('Given a topic that nobody told us of, then it is sealed, made at 0; adopted as plain, every node knows, also a new one', async () => {
    const name = newName()
    await native(name, {}, 2)
    const other = await openLog(stack.kafkaAddresses)
    expect(await other.topic(name)).toMatchObject({ format: 'sealed', createdAtMs: 0, partitions: 2 })
    const adopted = await log.createTopic({ name, partitions: 9, format: 'plain', retentionMs: 1 })
    expect(adopted).toMatchObject({ format: 'plain', partitions: 2, retentionMs: 7 * 24 * 3_600_000 })
    expect(adopted.createdAtMs).toBeGreaterThan(0)
    await expect(log.createTopic({ name, partitions: 9, format: 'plain' })).rejects.toMatchObject({
      name: 'TOPIC_EXISTS',
    })
    const third = await openLog(stack.kafkaAddresses)
    expect(await third.topic(name)).toEqual(adopted)
    // One that was asked a moment ago looks again soon.
    await sleep(systemClock, 1_200)
    expect(await other.topic(name)).toEqual(adopted)
    await other.close()
    await third.close()
  })

  it('Given topics of Kafka itself and ours, then they are not listed, and their names are not taken', async () => {
    await log.open(newIncarnation())
    const names = (await log.topics()).map(({ name }) => name as string)
    const all = await admin.listTopics()
    expect(all).toContain('__transaction_state')
    expect(all).toContain('trunkline.topics')
    expect(names.filter((name) => name.startsWith('__') || name === 'trunkline.topics')).toEqual([])
    for (const name of ['trunkline.topics', '__transaction_state', '__mine']) {
      const create = log.createTopic({ name: parseTopicName(name), partitions: 1, format: 'sealed' })
      await expect(create).rejects.toMatchObject({ name: 'BAD_TOPIC_NAME' })
      await expect(log.deleteTopic(parseTopicName(name))).rejects.toMatchObject({ name: 'UNKNOWN_TOPIC' })
    }
  })

  it('Given a topic that somebody else deletes and makes anew, then a waiting fetch is told within seconds', async () => {
    const name = newName()
    await log.createTopic({ name, partitions: 1, format: 'sealed' })
    const waiting = log.fetch([{ topic: name, partition: 0, offset: 0 }], {
      lane: 'tail',
      waitMs: 30_000,
      bytesMax: 1_000,
    })
    await sleep(systemClock, 500)
    const sinceMs = systemClock.monotonicMs()
    await admin.deleteTopics({ topics: [name] })
    expect((await waiting)[0]?.error).toBe('UNKNOWN_TOPIC')
    // Not only when its wait was over.
    expect(systemClock.monotonicMs() - sinceMs).toBeLessThan(20_000)
  })

  it('Given retentionMs, when records are older, then they go, offsets stay, and reading below the start says so', async () => {
    const at = { topic: newName(), partition: 0 }
    await log.createTopic({ name: at.topic, partitions: 1, format: 'sealed', retentionMs: 4_000 })
    const writer = await log.open(newIncarnation())
    await writer.append(at, [recordOf('old'), recordOf('old')])
    await sleep(systemClock, 3_000)
    await writer.append(at, [recordOf('young')])
    const untilMs = systemClock.monotonicMs() + 20_000
    let start = 0
    while (start < 2 && systemClock.monotonicMs() < untilMs) {
      await sleep(systemClock, 100)
      start = (await log.offsets([at], 'earliest'))[0] ?? 0
    }
    expect(start).toBeGreaterThanOrEqual(2)
    const [below] = await log.fetch([{ ...at, offset: 1 }], { lane: 'catchup', waitMs: 0, bytesMax: 1_000 })
    expect(below).toMatchObject({ error: 'CURSOR_OUT_OF_RANGE', highWatermark: 3 })
    expect(below?.logStart).toBeGreaterThanOrEqual(2)
    expect(await writer.append(at, [recordOf('next')])).toMatchObject({ kind: 'landed', baseOffset: 3 })
    await writer.close()
  }, 300_000)

  it('Given a transaction of a stranger in a plain topic, then only what was committed is read, at the end as well', async () => {
    const name = newName()
    await native(name)
    await log.createTopic({ name, partitions: 1, format: 'plain' })
    const at = { topic: name, partition: 0 }
    const stranger = kafka.producer({ transactionalId: 'stranger', maxInFlightRequests: 1, idempotent: true })
    await stranger.connect()
    const send = async (values: readonly string[], ends: 'commit' | 'abort'): Promise<void> => {
      const transaction = await stranger.transaction()
      for (const value of values) await transaction.send({ topic: name, messages: [{ value, partition: 0 }] })
      await transaction[ends]()
    }
    await send(['a', 'b'], 'commit')
    await send(['gone', 'gone too'], 'abort')
    const writer = await log.open(newIncarnation())
    await writer.append({ ...at }, [
      {
        ...recordOf('ours'),
        headers: [
          ['h', Buffer.from('1')],
          ['h', null],
        ],
      },
    ])
    const all = await readAll(log, at)
    expect(all.map(textOf)).toEqual(['a', 'b', 'ours'])
    expect(all.at(-1)?.headers?.map(([key, value]) => [key, value && Buffer.from(value).toString()])).toEqual([
      ['h', '1'],
      ['h', null],
    ])
    const [end] = await log.offsets([at], 'latest')
    const tail = log.fetch([{ ...at, offset: end ?? 0 }], { lane: 'tail', waitMs: 20_000, bytesMax: 1_000 })
    await sleep(systemClock, 400)
    await send(['gone as well'], 'abort')
    await send(['c'], 'commit')
    let [answer] = await tail
    for (let turns = 0; answer?.records.length === 0 && turns < 5; turns++) {
      const offset = answer.nextOffset
      ;[answer] = await log.fetch([{ ...at, offset }], { lane: 'tail', waitMs: 20_000, bytesMax: 1_000 })
    }
    expect(answer?.records.map(textOf)).toEqual(['c'])
    await stranger.disconnect()
    await writer.close()
  }, 300_000)

  const withZstd = 'zstdDecompressSync' in zlib
  for (const codec of ['gzip', 'snappy', 'lz4', 'zstd']) {
    it(`Given records that Kafka's own producer compressed with ${codec}, then they are read, or told as damaged where Node cannot`, async () => {
      let damagedBatches = 0
      const counting = await openLog(stack.kafkaAddresses, {
        metrics: { ...noMetrics, damagedBatch: () => (damagedBatches += 1) },
      })
      const name = newName()
      await native(name)
      await counting.createTopic({ name, partitions: 1, format: 'plain' })
      const lines = Array.from({ length: 400 }, (_, n) => `${n} ${'abc'.repeat(n % 90)}${'x'.repeat(n)} ${n * 7919}`)
      await produceNatively(stack, name, codec, lines)
      const all = await readAll(counting, { topic: name, partition: 0 })
      expect(all).toHaveLength(lines.length)
      if (codec === 'zstd' && !withZstd) {
        expect(all.every(({ damaged }) => damaged === true)).toBe(true)
        expect(damagedBatches).toBeGreaterThan(0)
      } else {
        expect(all.map(textOf)).toEqual(lines)
        expect(damagedBatches).toBe(0)
      }
      await counting.close()
    }, 300_000)
  }
})

async function produceNatively(stack: Stack, topic: string, codec: string, lines: readonly string[]): Promise<void> {
  const args = ['-cp', await kafkaClassPath('4.1.1'), 'org.apache.kafka.tools.ConsoleProducer']
  args.push('--bootstrap-server', stack.kafkaAddresses.join(','), '--topic', topic, '--compression-codec', codec)
  const child = spawn('java', args, { stdio: ['pipe', 'ignore', 'pipe'] })
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-4_000)
  })
  child.stdin.end(`${lines.join('\n')}\n`)
  const code = await new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve))
  if (code !== 0) throw new Error(errors)
}
