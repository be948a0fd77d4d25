// Owns: what an append checks and writes, inside its own transaction: a Kafka partition leader's rules.
// 1. An older epoch than the partition has seen of the PID is refused, re-sends included.
// 2. A higher epoch begins at sequence 0. A PID that the partition does not know may begin anywhere.
// 3. One of the last five batches again is answered with its first offset; any other gap or repeat is out of order.
// 4. Offsets grow by one per record, append times never decrease.

import type { BrokerCode, ProduceAnswer, ProduceRequest } from '../log-core/log-broker.ts'
import { sequenceAfter } from '../log-core/log-broker.ts'
import {
  type BatchNumbers,
  decodePartition,
  decodeProducer,
  emptyPartition,
  encodePartition,
  encodeProducer,
  encodeRecord,
  type PartitionRow,
  type ProducerRow,
  partitionKey,
  producerKey,
  recordKey,
  recordSize,
  type TopicRow,
} from './layout.ts'
import type { Tables } from './store.ts'

export interface AppendResult {
  readonly answer: ProduceAnswer
  /** Undefined when nothing was written. */
  readonly partition?: PartitionRow
}

const batchesKept = 5

/** Runs inside a write transaction. `scratch` holds at least the largest record. */
export function appendInTransaction(
  tables: Tables,
  topic: TopicRow,
  request: ProduceRequest,
  nowMs: number,
  scratch: Buffer,
): AppendResult {
  const { pid, epoch, firstSequence, records } = request
  const { partition } = request.at
  const rowKey = partitionKey(topic.number, partition)
  const rowBytes = tables.partitions.getBinary(rowKey)
  const row = rowBytes === undefined ? emptyPartition : decodePartition(rowBytes)
  const ofProducer = producerKey(topic.number, partition, pid)
  const producerBytes = tables.producers.getBinary(ofProducer)
  const known = producerBytes === undefined ? undefined : decodeProducer(producerBytes)

  const verdict = checkNumbers(known, epoch, firstSequence, records.length)
  if (verdict.kind === 'refused') return { answer: { kind: 'failed', code: verdict.code, appended: false } }
  if (verdict.kind === 'repeated') {
    const { baseOffset, appendTimeMs } = verdict.batch
    return { answer: { kind: 'landed', baseOffset, appendTimeMs } }
  }

  const appendTimeMs = Math.max(row.lastAppendTimeMs, nowMs)
  let offset = row.end
  let bytesBefore = row.bytesEnd
  for (const record of records) {
    const value = encodeRecord(record, { pid, epoch, appendTimeMs, bytesBefore }, scratch)
    tables.records.putSync(recordKey(topic.number, partition, offset), value)
    bytesBefore += value.length
    offset += 1
  }
  const after: PartitionRow = { start: row.start, end: offset, lastAppendTimeMs: appendTimeMs, bytesEnd: bytesBefore }
  tables.partitions.putSync(rowKey, encodePartition(after))
  const batch: BatchNumbers = { firstSequence, count: records.length, baseOffset: row.end, appendTimeMs }
  const batches = [...(known?.epoch === epoch ? known.batches : []), batch].slice(-batchesKept)
  tables.producers.putSync(ofProducer, encodeProducer({ epoch, lastUseMs: appendTimeMs, batches }))
  return { answer: { kind: 'landed', baseOffset: row.end, appendTimeMs }, partition: after }
}

export function requestBytes(request: ProduceRequest): number {
  let bytes = 0
  for (const record of request.records) bytes += recordSize(record)
  return bytes
}

type Verdict =
  | { readonly kind: 'append' }
  | { readonly kind: 'repeated'; readonly batch: BatchNumbers }
  | { readonly kind: 'refused'; readonly code: BrokerCode }

function checkNumbers(known: ProducerRow | undefined, epoch: number, firstSequence: number, count: number): Verdict {
  if (known === undefined) return { kind: 'append' }
  if (epoch < known.epoch) return { kind: 'refused', code: 'INVALID_PRODUCER_EPOCH' }
  if (epoch > known.epoch) {
    return firstSequence === 0 ? { kind: 'append' } : { kind: 'refused', code: 'OUT_OF_ORDER_SEQUENCE_NUMBER' }
  }
  const batch = known.batches.find((one) => one.firstSequence === firstSequence && one.count === count)
  if (batch !== undefined) return { kind: 'repeated', batch }
  const last = known.batches.at(-1)
  if (last !== undefined && sequenceAfter(last.firstSequence, last.count) === firstSequence) return { kind: 'append' }
  return { kind: 'refused', code: 'OUT_OF_ORDER_SEQUENCE_NUMBER' }
}
