// Owns: reading the embedded log: batches from an offset, and offsets by time or by size.
// 1. Nothing below a partition's start or at and beyond its visible end is ever answered.
// 2. What is answered is a copy: no view of LMDB's map leaves this file.
// 3. `bytesMax` bounds a whole answer; each position with data gets one record all the same.
import type { FetchPosition } from '../../ports/event-log.ts'
import type { BrokerFetch, BrokerRecord } from '../log-core/log-broker.ts'
import { DamagedRow, decodeRecord, decodeRecordHead, type RecordHead, recordKey } from './layout.ts'
import type { Partition, Partitions } from './partitions.ts'
import type { Tables } from './store.ts'

/** Bounds the objects of one answer: tiny records would make many of `bytesMax`. */
const recordsMaxPerPosition = 10_000

export function readPositions(
  tables: Tables,
  partitions: Partitions,
  at: readonly FetchPosition[],
  bytesMax: number,
): readonly BrokerFetch[] {
  let bytesLeft = bytesMax
  return at.map((position) => {
    const topic = partitions.topic(position.topic)
    if (topic === undefined) return failed(position, 'UNKNOWN_TOPIC')
    const partition = topic.partitions[position.partition]
    if (partition === undefined) return failed(position, 'UNKNOWN_PARTITION')
    const { start, end } = partition.row
    if (position.offset < start || position.offset > end) {
      return { ...failed(position, 'CURSOR_OUT_OF_RANGE'), logStart: start, highWatermark: end }
    }
    const { records, bytes } = readRecords(tables, partition, position.offset, bytesLeft)
    bytesLeft = Math.max(0, bytesLeft - bytes)
    return {
      topic: position.topic,
      partition: position.partition,
      logStart: start,
      highWatermark: end,
      nextOffset: position.offset + records.length,
      records,
    }
  })
}

function failed(at: FetchPosition, error: 'UNKNOWN_TOPIC' | 'UNKNOWN_PARTITION' | 'CURSOR_OUT_OF_RANGE'): BrokerFetch {
  return {
    topic: at.topic,
    partition: at.partition,
    error,
    logStart: 0,
    highWatermark: 0,
    nextOffset: at.offset,
    records: [],
  }
}

function readRecords(
  tables: Tables,
  { topic, partition, row }: Partition,
  from: number,
  bytesMax: number,
): { readonly records: readonly BrokerRecord[]; readonly bytes: number } {
  const records: BrokerRecord[] = []
  let bytes = 0
  const to = Math.min(row.end, from + recordsMaxPerPosition)
  for (let offset = from; offset < to; offset++) {
    const stored = tables.records.getBinary(recordKey(topic.number, partition, offset))
    if (stored === undefined) throw new DamagedRow('records')
    if (records.length > 0 && bytes + stored.length > bytesMax) break
    bytes += stored.length
    records.push(decodeRecord(offset, stored))
    if (bytes >= bytesMax) break
  }
  return { records, bytes }
}

/** First kept offset appended at or after `timeMs`, else the end. */
export function offsetAtOrAfter(tables: Tables, partition: Partition, timeMs: number): number {
  return firstOffset(tables, partition, (head) => head.appendTimeMs >= timeMs)
}

/** First kept offset such that it and all behind it take at most `bytesMax`. */
export function offsetWithin(tables: Tables, partition: Partition, bytesMax: number): number {
  const { bytesEnd } = partition.row
  return firstOffset(tables, partition, (head) => bytesEnd - head.bytesBefore <= bytesMax)
}

/** Times and sizes grow with the offset: the first record that fits is found by halving. */
function firstOffset(
  tables: Tables,
  { topic, partition, row }: Partition,
  fits: (head: RecordHead) => boolean,
): number {
  let low = row.start
  let high = row.end
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const stored = tables.records.getBinaryFast(recordKey(topic.number, partition, middle))
    if (stored === undefined) throw new DamagedRow('records')
    if (fits(decodeRecordHead(stored))) high = middle
    else low = middle + 1
  }
  return low
}
