// Owns: removing records: by age and size at a partition's start, and all of a deleted topic's.
// 1. A partition's start moves in the same transaction that removes the records below it.
// 2. Removal goes in chunks, so that appends are never kept waiting for a long one; a deleted topic whose removal was
//    cut off is finished when the folder is opened again (table `gone`).
import { decodePartition, encodePartition, type PartitionRow, partitionKey, recordKey, topicKey } from './layout.ts'
import type { Partition, Partitions, Topic } from './partitions.ts'
import { offsetAtOrAfter, offsetWithin } from './read.ts'
import type { Store, Table } from './store.ts'

const chunkRows = 1_000

/** Moves the start to what age and size allow. */
export async function sweepPartition(
  store: Store,
  partitions: Partitions,
  topic: Topic,
  partition: Partition,
  nowMs: number,
): Promise<void> {
  const { retentionMs, retentionBytes } = topic.row
  const byAge =
    retentionMs === undefined ? 0 : offsetAtOrAfter(store.tables, partition, Math.max(0, nowMs - retentionMs))
  const bySize = retentionBytes === undefined ? 0 : offsetWithin(store.tables, partition, retentionBytes)
  const keepFrom = Math.max(byAge, bySize)
  while (partition.row.start < keepFrom && partitions.topic(topic.row.name) === topic) {
    const to = Math.min(keepFrom, partition.row.start + chunkRows)
    await store.commit(
      0,
      () => moveStart(store, partition, to),
      (row) => {
        if (row !== undefined) partitions.moved(topic, partition.partition, row)
      },
    )
  }
}

function moveStart(store: Store, { topic, partition }: Partition, to: number): PartitionRow | undefined {
  const { partitions, records } = store.tables
  const key = partitionKey(topic.number, partition)
  const bytes = partitions.getBinary(key)
  if (bytes === undefined) return undefined
  const row = decodePartition(bytes)
  for (let offset = row.start; offset < to; offset++) records.removeSync(recordKey(topic.number, partition, offset))
  const moved = { ...row, start: to }
  partitions.putSync(key, encodePartition(moved))
  return moved
}

/** Everything that a topic's number stands in, then the note that it is gone. Idempotent. */
export async function removeTopicRecords(store: Store, topic: number): Promise<void> {
  const { records, producers, partitions, gone } = store.tables
  for (const table of [records, producers, partitions]) {
    for (;;) {
      const removed = await store.commit(0, () => removeSome(table, topic))
      if (removed < chunkRows) break
    }
  }
  await store.commit(0, () => {
    gone.removeSync(topicKey(topic))
  })
}

function removeSome(table: Table, topic: number): number {
  const keys = [...table.getKeys({ start: topicKey(topic), end: topicKey(topic + 1), limit: chunkRows })]
  for (const key of keys) table.removeSync(key)
  return keys.length
}

/** Finishes the removals that a crash cut off. */
export async function finishRemovals(store: Store): Promise<void> {
  for (const key of [...store.tables.gone.getKeys({})]) {
    await removeTopicRecords(store, Buffer.from(key).readUInt32BE(0))
  }
}
