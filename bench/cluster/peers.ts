// Owns: the peers on the same broker in the same run: Kafka's own performance tools and kafkajs.
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { CompressionTypes, Kafka, logLevel } from 'kafkajs'
import { kafkaClassPath } from '../../scripts/stack/jars.ts'
import { rate } from '../measure.ts'

const run = promisify(execFile)
const toolMs = 120_000

async function tool(name: string, args: readonly string[]): Promise<string> {
  const classPath = await kafkaClassPath('4.1.1')
  const jvm = ['-Xmx512m', '-cp', classPath, '-Dorg.slf4j.simpleLogger.defaultLogLevel=error']
  const { stdout } = await run('java', [...jvm, `org.apache.kafka.tools.${name}`, ...args], { timeout: toolMs })
  return stdout
}

/** Records per second of Kafka's ProducerPerformance: acks=all, everything else as it comes. */
export async function producerPerformance(
  kafkaAddress: string,
  topic: string,
  recordBytes: number,
  records: number,
): Promise<number> {
  const out = await tool('ProducerPerformance', [
    ...['--topic', topic, '--num-records', String(records), '--record-size', String(recordBytes), '--throughput', '-1'],
    ...['--producer-props', `bootstrap.servers=${kafkaAddress}`, 'acks=all'],
  ])
  const last = out.trim().split('\n').at(-1) ?? ''
  return Number(/([\d.]+) records\/sec/.exec(last)?.[1] ?? Number.NaN)
}

/** Records per second of Kafka's ConsumerPerformance, without the time its group took to form. */
export async function consumerPerformance(kafkaAddress: string, topic: string, records: number): Promise<number> {
  const out = await tool('ConsumerPerformance', [
    ...['--bootstrap-server', kafkaAddress, '--topic', topic, '--messages', String(records), '--hide-header'],
  ])
  const line = out
    .trim()
    .split('\n')
    .find((text) => /^\d{4}-/.test(text))
  return Number(line?.split(',').at(-1) ?? Number.NaN)
}

/** Records per second of kafkajs: acks=all, uncompressed, `callers` sends at once. */
export async function kafkajsPublish(
  kafkaAddress: string,
  topic: string,
  shape: { readonly eventBytes: number; readonly batch: number; readonly sessions: number },
  durationMs: number,
): Promise<number> {
  const producer = kafka(kafkaAddress).producer()
  await producer.connect()
  const value = randomBytes(shape.eventBytes)
  let partition = 0
  const messages = Array.from({ length: 8 }, (_, at) =>
    Array.from({ length: shape.batch }, () => ({ value, partition: at })),
  )
  try {
    return await rate(shape.sessions, durationMs, async () => {
      partition = (partition + 1) % messages.length
      await producer.send({ topic, acks: -1, compression: CompressionTypes.None, messages: messages[partition] ?? [] })
      return shape.batch
    })
  } finally {
    await producer.disconnect()
  }
}

/** Records per second of a kafkajs consumer, batch by batch, from the first record of the topic on. */
export async function kafkajsRead(kafkaAddress: string, topic: string, records: number): Promise<number> {
  const consumer = kafka(kafkaAddress).consumer({ groupId: `bench-${topic}-${randomBytes(4).toString('hex')}` })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  try {
    return await new Promise<number>((resolve, reject) => {
      let count = 0
      let firstMs = 0
      let uncounted = 0
      consumer
        .run({
          eachBatch: async ({ batch }) => {
            if (firstMs === 0) {
              firstMs = performance.now()
              uncounted = batch.messages.length
            }
            count += batch.messages.length
            if (count >= records) resolve(((count - uncounted) * 1_000) / (performance.now() - firstMs))
          },
        })
        .catch(reject)
    })
  } finally {
    await consumer.disconnect()
  }
}

function kafka(kafkaAddress: string): Kafka {
  return new Kafka({ brokers: [kafkaAddress], clientId: 'trunkline-bench', logLevel: logLevel.NOTHING })
}
