// Owns: which topics and partitions there are and how far each is visible, in memory, with whoever waits for more.
// 1. Rows change only after they are durable: what is seen here survives a power cut.
// 2. A waiter is called once, at the first change of any of its partitions, and costs nothing until then.
import type { TopicName } from '../../protocol/ids.ts'
import { decodePartition, emptyPartition, type PartitionRow, partitionKey, type TopicRow } from './layout.ts'
import type { Tables } from './store.ts'

export interface Partition {
  readonly topic: TopicRow
  readonly partition: number
  row: PartitionRow
  readonly waiters: Set<() => void>
}

export interface Topic {
  readonly row: TopicRow
  readonly partitions: readonly Partition[]
}

export class Partitions {
  readonly #topics = new Map<TopicName, Topic>()

  static load(tables: Tables): Partitions {
    const partitions = new Partitions()
    for (const { value } of tables.topics.getRange({})) partitions.add(parseTopicRow(value), tables)
    return partitions
  }

  add(row: TopicRow, tables?: Tables): Topic {
    const topic: Topic = {
      row,
      partitions: Array.from({ length: row.partitions }, (_, partition) => {
        const bytes = tables?.partitions.getBinary(partitionKey(row.number, partition))
        return {
          topic: row,
          partition,
          row: bytes === undefined ? emptyPartition : decodePartition(bytes),
          waiters: new Set<() => void>(),
        }
      }),
    }
    this.#topics.set(row.name, topic)
    return topic
  }

  remove(topic: Topic): void {
    if (this.#topics.get(topic.row.name) === topic) this.#topics.delete(topic.row.name)
    for (const partition of topic.partitions) wake(partition)
  }

  topic(name: TopicName): Topic | undefined {
    return this.#topics.get(name)
  }

  /** Sorted by name. */
  all(): readonly Topic[] {
    return [...this.#topics.values()].sort((a, b) => (a.row.name < b.row.name ? -1 : 1))
  }

  /** Of a durable change: moves what is visible and wakes who waits. */
  moved(topic: Topic, partition: number, row: PartitionRow): void {
    const one = topic.partitions[partition]
    if (one === undefined) throw new Error('a partition that the topic does not have')
    one.row = row
    wake(one)
  }

  wakeAll(): void {
    for (const topic of this.#topics.values()) for (const partition of topic.partitions) wake(partition)
  }
}

export function encodeTopicRow(row: TopicRow): Buffer {
  return Buffer.from(JSON.stringify(row))
}

export function parseTopicRow(bytes: Buffer): TopicRow {
  // Written by encodeTopicRow; check.ts looks at its fields.
  return JSON.parse(bytes.toString()) as TopicRow
}

function wake(partition: Partition): void {
  const waiters = [...partition.waiters]
  partition.waiters.clear()
  for (const waiter of waiters) waiter()
}
