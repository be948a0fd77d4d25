// Owns: small helpers of the tests on real Kafka: an opened log, records, reading everything back.
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { type KafkaLog, type KafkaLogOptions, openKafkaLog } from '../../../src/adapters/kafka/open.ts'
import { systemRandom } from '../../../src/adapters/random/system-random.ts'
import type { AppendRecord, EventLog, LogRecord, TopicPartition } from '../../../src/ports/event-log.ts'
import { type Incarnation, makeIncarnation } from '../../../src/protocol/ids.ts'

export function openLog(brokers: readonly string[], options: Partial<KafkaLogOptions> = {}): Promise<KafkaLog> {
  const copies = Math.min(3, brokers.length)
  return openKafkaLog({
    brokers,
    clientId: 'test',
    clock: systemClock,
    random: systemRandom,
    topicDefaults: { replication: copies, minInsyncReplicas: Math.min(2, copies) },
    unsafeTopics: copies === 1 ? ['*'] : [],
    ...options,
  })
}

let incarnations = 0

export function newIncarnation(): Incarnation {
  return makeIncarnation('node', `e${systemClock.nowMs().toString(36)}x${++incarnations}`)
}

export function recordOf(text: string): AppendRecord {
  return { key: null, value: Buffer.from(text), header: null }
}

export function textOf(record: LogRecord): string {
  return Buffer.from(record.value).toString()
}

/** All that is kept of a partition, or from `from` on. */
export async function readAll(log: EventLog, at: TopicPartition, from?: number): Promise<readonly LogRecord[]> {
  const [start] = from === undefined ? await log.offsets([at], 'earliest') : [from]
  const all: LogRecord[] = []
  for (let offset = start ?? 0; ; ) {
    const [fetched] = await log.fetch([{ ...at, offset }], { lane: 'catchup', waitMs: 0, bytesMax: 1024 * 1024 })
    if (fetched === undefined || fetched.error !== undefined)
      throw new Error(`a position without answer: ${fetched?.error}`)
    all.push(...fetched.records)
    if (fetched.nextOffset === offset) return all
    offset = fetched.nextOffset
  }
}
