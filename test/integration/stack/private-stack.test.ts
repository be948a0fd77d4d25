import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { connect } from 'amqplib'
import { ConfigResourceTypes, Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { holds, processesOf } from '../../../scripts/stack/processes.ts'
import { type Stack, startStack } from '../../../scripts/stack/stack.ts'
import { privateStack, stackRequirement, stackStartMs } from '../../support/stack.ts'

const topic = 'stack-test'

function client(brokers: readonly string[], retries = 5): Kafka {
  return new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING, requestTimeout: 5000, retry: { retries } })
}

/** At the first attempt: a broker that was started serves. */
async function opens(stack: Stack): Promise<void> {
  const connection = await connect(stack.rabbitUrls[0] ?? '')
  await connection.close()
}

stackRequirement.describe('a private stack of three Kafka brokers', () => {
  let stack: Stack
  beforeAll(async () => {
    stack = await privateStack({ kafka: 3, rabbit: 0 })
  }, stackStartMs)
  afterAll(() => stack?.stop())

  it('Given a topic made without settings, when a broker is killed, then writes to all replicas go on', async () => {
    const kafka = client(stack.kafkaAddresses)
    const admin = kafka.admin()
    // Patient: on a busy machine other leaders are there only after many seconds.
    const producer = client(stack.kafkaAddresses, 20).producer()
    onTestFinished(async () => {
      await Promise.all([admin.disconnect(), producer.disconnect()])
    })
    await admin.connect()
    await admin.createTopics({ topics: [{ topic, numPartitions: 3 }], waitForLeaders: true })
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
    expect(topics[0]?.partitions.map(({ replicas }) => replicas.length)).toEqual([3, 3, 3])
    const configured = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [
        {
          type: ConfigResourceTypes.TOPIC,
          name: topic,
          configNames: ['min.insync.replicas', 'unclean.leader.election.enable'],
        },
      ],
    })
    const values = configured.resources[0]?.configEntries.map(({ configName, configValue }) => [
      configName,
      configValue,
    ])
    expect(Object.fromEntries(values ?? [])).toEqual({
      'min.insync.replicas': '2',
      'unclean.leader.election.enable': 'false',
    })

    await stack.kill('kafka-2')
    expect(stack.state('kafka-2')).toBe('dead')
    await producer.connect()
    const messages = Array.from({ length: 3 }, (_, partition) => ({ partition, value: 'after' }))
    await producer.send({ topic, acks: -1, messages })

    await stack.start('kafka-2')
    expect(stack.kafka.map(({ state }) => state)).toEqual(['running', 'running', 'running'])
    const asked = client(stack.kafkaAddresses.slice(1, 2), 0).admin()
    onTestFinished(() => asked.disconnect())
    await asked.connect()
    expect((await asked.describeCluster()).brokers.map(({ nodeId }) => nodeId)).toContain(2)
  })

  it('Given a topic that keeps records for a second, when it passes, then they are gone soon', async () => {
    const kafka = client(stack.kafkaAddresses)
    const admin = kafka.admin()
    const producer = kafka.producer()
    onTestFinished(async () => {
      await Promise.all([admin.disconnect(), producer.disconnect()])
    })
    await Promise.all([admin.connect(), producer.connect()])
    const short = 'stack-test-short'
    const configEntries = [{ name: 'retention.ms', value: '1000' }]
    await admin.createTopics({ topics: [{ topic: short, numPartitions: 1, configEntries }], waitForLeaders: true })
    await producer.send({ topic: short, messages: [{ value: 'short-lived' }] })
    const isGone = await holds(async () => (await admin.fetchTopicOffsets(short))[0]?.low === '1', 20_000, 200)
    expect(isGone).toBe(true)
  })

  it('Given a name that is not there, when it is to be killed, then the names are told', async () => {
    await expect(async () => stack.kill('kafka-4')).rejects.toThrow('kafka-1, kafka-2, kafka-3')
  })
})

stackRequirement.describe('a private stack of RabbitMQ', () => {
  it('Given two stacks, when one is stopped, then nothing of it is left and the other one goes on', async () => {
    const [one, other] = await Promise.all([
      privateStack({ kafka: 0, rabbit: 1 }),
      privateStack({ kafka: 0, rabbit: 1 }),
    ])
    onTestFinished(async () => {
      await Promise.all([one.stop(), other.stop()])
    })
    await one.stop()
    expect(existsSync(one.dir)).toBe(false)
    expect(processesOf(join(one.dir, 'rabbit-1'))).toEqual([])
    expect(processesOf(join(one.dir, 'epmd'))).toEqual([])
    await opens(other)
    await other.kill('rabbit-1')
    // Refused; or reset, while the system still takes the dead process apart.
    await expect(opens(other)).rejects.toThrow(/ECONN(REFUSED|RESET)/)
    await other.start('rabbit-1')
    await opens(other)
    await other.pause('rabbit-1')
    expect(other.state('rabbit-1')).toBe('paused')
    await expect(other.start('rabbit-1')).rejects.toThrow('paused')
    await other.resume('rabbit-1')
    expect(other.state('rabbit-1')).toBe('running')
  })

  it('Given a broker that cannot start, when the stack starts, then its log is shown and nothing is left', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'trunkline-stack-test-'))
    onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
    const starting = startStack({ dir, kafka: 0, rabbit: 1, rabbitSettings: { 'no.such.setting': '1' } })
    await expect(starting).rejects.toThrow(/rabbit-1 ended:[\s\S]*no\.such\.setting/)
    expect(['rabbit-1', 'epmd'].flatMap((name) => processesOf(join(realpathSync(dir), name)))).toEqual([])
  })

  describe.each(['SIGKILL', 'SIGTERM', 'SIGINT'] as const)('when its process ends by %s', (signal) => {
    it('Given a running stack, then its brokers and its folder are gone too', async () => {
      const entry = fileURLToPath(new URL('holder.ts', import.meta.url))
      const holder = spawn(process.execPath, ['--import', 'tsx', entry], { stdio: ['ignore', 'pipe', 'inherit'] })
      onTestFinished(() => {
        holder.kill('SIGKILL')
      })
      const line = await new Promise<string>((resolve, reject) => {
        createInterface(holder.stdout).once('line', resolve)
        holder.once('exit', (code) => reject(new Error(`the holder ended with ${code}`)))
      })
      const { dir, pid } = JSON.parse(line) as { dir: string; pid: number }
      expect(processesOf(join(dir, 'rabbit-1')).map((one) => one.pid)).toContain(pid)
      holder.kill(signal)
      const isGone = (): boolean =>
        !existsSync(dir) && ['rabbit-1', 'epmd'].every((name) => processesOf(join(dir, name)).length === 0)
      expect(await holds(isGone, 15_000)).toBe(true)
    })
  })
})
