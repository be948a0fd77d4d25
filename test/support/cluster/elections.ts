// Owns: what Kafka itself says of a topic's partitions: who leads them, whether every copy is there. Asked of brokers that
// are well, by kafkajs and not by the code under test.
import { Kafka, logLevel } from 'kafkajs'
import type { Stack } from '../../../scripts/stack/stack.ts'

interface PartitionState {
  readonly leader: number
  readonly replicas: readonly number[]
  readonly isr: readonly number[]
}

const askMs = 2_000
const pollMs = 50

/** Resolves with the time it took until none of the partitions is led by that broker, and all have a leader. */
export async function untilElected(stack: Stack, topics: readonly string[], lost: string): Promise<number> {
  const startedMs = performance.now()
  const node = stack.kafka.find(({ name }) => name === lost)
  if (node === undefined) throw new RangeError(`there is no ${lost}`)
  await untilAll(stack, topics, lost, 60_000, ({ leader }) => leader >= 0 && leader !== node.nodeId)
  return performance.now() - startedMs
}

/** Every copy is there again: the next broker may go. */
export async function untilInSync(stack: Stack, topics: readonly string[], withinMs = 60_000): Promise<void> {
  await untilAll(
    stack,
    topics,
    undefined,
    withinMs,
    ({ leader, isr, replicas }) => leader >= 0 && isr.length === replicas.length,
  )
}

async function untilAll(
  stack: Stack,
  topics: readonly string[],
  without: string | undefined,
  withinMs: number,
  holds: (partition: PartitionState) => boolean,
): Promise<void> {
  const endMs = performance.now() + withinMs
  const brokers = stack.kafka.filter(({ name }) => name !== without).map(({ address }) => address)
  const kafka = new Kafka({
    brokers,
    clientId: 'referee',
    logLevel: logLevel.NOTHING,
    connectionTimeout: askMs,
    requestTimeout: askMs,
    retry: { retries: 2, initialRetryTime: pollMs },
  })
  const admin = kafka.admin()
  await admin.connect()
  try {
    for (let last: unknown; ; ) {
      try {
        const answer = await admin.fetchTopicMetadata({ topics: [...topics] })
        last = answer.topics.map(({ name, partitions }) => [name, partitions])
        if (answer.topics.every(({ partitions }) => partitions.every(holds))) return
      } catch (thrown) {
        // kafkajs throws while a partition has no leader.
        last = thrown
      }
      if (performance.now() > endMs) throw new Error(`not within ${withinMs} ms: ${JSON.stringify(last)}`)
      await new Promise((resolve) => setTimeout(resolve, pollMs))
    }
  } finally {
    await admin.disconnect()
  }
}
