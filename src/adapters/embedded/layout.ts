// Owns: every byte of the embedded log's tables (format version 1). Big-endian; u48 unless said otherwise.
//   meta        key: utf8 name                              value: JSON
//   topics      key: utf8 name                              value: JSON (TopicRow)
//   gone        key: topic u32                              value: empty; a deleted topic whose records are being removed
//   identities  key: utf8 incarnation                       value: pid, epoch u16
//   partitions  key: topic u32 │ partition u32              value: start, end, lastAppendTimeMs, bytesEnd
//   producers   key: topic u32 │ partition u32 │ pid        value: epoch u16, lastUseMs, count u8, then per batch:
//                                                                  firstSequence u32, count u32, baseOffset, appendTimeMs
//   records     key: topic u32 │ partition u32 │ offset     value: version u8 = 1 │ flags u8 (1 key, 2 header) │ epoch u16 │
//                 pid │ appendTimeMs │ bytesBefore │ headerSize u16 │ keySize u32 │ header │ key │ value
// 1. `bytesBefore` counts the value bytes (as stored) of all earlier records of the partition, those removed included: with
//    the append time it grows with the offset, so the records themselves are the index by time and by size.
// Leaves out: what is checked when rows change (append.ts, topics.ts).
import type { AppendRecord, TopicSpec } from '../../ports/event-log.ts'
import type { TopicId } from '../../protocol/ids.ts'
import type { BrokerRecord } from '../log-core/log-broker.ts'

export const formatVersion = 1

/** Keys of table `meta`. */
export const metaKeys = {
  format: Buffer.from('format'),
  clusterId: Buffer.from('clusterId'),
  nextPid: Buffer.from('nextPid'),
  nextTopic: Buffer.from('nextTopic'),
} as const

export interface TopicRow extends TopicSpec {
  /** Never used again, not even by a topic of the same name. */
  readonly number: number
  readonly topicId: TopicId
  readonly createdAtMs: number
}

export interface PartitionRow {
  /** First offset that is kept. */
  readonly start: number
  /** One past the last record. */
  readonly end: number
  readonly lastAppendTimeMs: number
  /** bytesBefore of the next record. */
  readonly bytesEnd: number
}

export interface IdentityRow {
  readonly pid: number
  readonly epoch: number
}

export interface BatchNumbers {
  readonly firstSequence: number
  readonly count: number
  readonly baseOffset: number
  readonly appendTimeMs: number
}

export interface ProducerRow {
  readonly epoch: number
  readonly lastUseMs: number
  /** The last five of this epoch, oldest first. */
  readonly batches: readonly BatchNumbers[]
}

export const emptyPartition: PartitionRow = { start: 0, end: 0, lastAppendTimeMs: 0, bytesEnd: 0 }

export function partitionKey(topic: number, partition: number): Buffer {
  const key = Buffer.allocUnsafe(8)
  key.writeUInt32BE(topic, 0)
  key.writeUInt32BE(partition, 4)
  return key
}

export function topicKey(topic: number): Buffer {
  const key = Buffer.allocUnsafe(4)
  key.writeUInt32BE(topic, 0)
  return key
}

export function recordKey(topic: number, partition: number, offset: number): Buffer {
  return partitionNumberKey(topic, partition, offset)
}

export function producerKey(topic: number, partition: number, pid: number): Buffer {
  return partitionNumberKey(topic, partition, pid)
}

function partitionNumberKey(topic: number, partition: number, number: number): Buffer {
  const key = Buffer.allocUnsafe(14)
  key.writeUInt32BE(topic, 0)
  key.writeUInt32BE(partition, 4)
  key.writeUIntBE(number, 8, 6)
  return key
}

export interface SplitKey {
  readonly topic: number
  readonly partition: number
  /** Offset or pid. */
  readonly number: number
}

/** Of a record's or a producer's key; undefined when the bytes are none. */
export function splitKey(key: Uint8Array): SplitKey | undefined {
  if (key.length !== 14) return undefined
  const bytes = Buffer.from(key.buffer, key.byteOffset, key.byteLength)
  return { topic: bytes.readUInt32BE(0), partition: bytes.readUInt32BE(4), number: bytes.readUIntBE(8, 6) }
}

const partitionRowSize = 24

export function encodePartition(row: PartitionRow): Buffer {
  const bytes = Buffer.allocUnsafe(partitionRowSize)
  bytes.writeUIntBE(row.start, 0, 6)
  bytes.writeUIntBE(row.end, 6, 6)
  bytes.writeUIntBE(row.lastAppendTimeMs, 12, 6)
  bytes.writeUIntBE(row.bytesEnd, 18, 6)
  return bytes
}

export function decodePartition(bytes: Buffer): PartitionRow {
  if (bytes.length !== partitionRowSize) throw new DamagedRow('partitions')
  return {
    start: bytes.readUIntBE(0, 6),
    end: bytes.readUIntBE(6, 6),
    lastAppendTimeMs: bytes.readUIntBE(12, 6),
    bytesEnd: bytes.readUIntBE(18, 6),
  }
}

export function encodeIdentity(row: IdentityRow): Buffer {
  const bytes = Buffer.allocUnsafe(8)
  bytes.writeUIntBE(row.pid, 0, 6)
  bytes.writeUInt16BE(row.epoch, 6)
  return bytes
}

export function decodeIdentity(bytes: Buffer): IdentityRow {
  if (bytes.length !== 8) throw new DamagedRow('identities')
  return { pid: bytes.readUIntBE(0, 6), epoch: bytes.readUInt16BE(6) }
}

const producerHeadSize = 9
const batchSize = 20

export function encodeProducer(row: ProducerRow): Buffer {
  const bytes = Buffer.allocUnsafe(producerHeadSize + batchSize * row.batches.length)
  bytes.writeUInt16BE(row.epoch, 0)
  bytes.writeUIntBE(row.lastUseMs, 2, 6)
  bytes.writeUInt8(row.batches.length, 8)
  row.batches.forEach((batch, index) => {
    const at = producerHeadSize + batchSize * index
    bytes.writeUInt32BE(batch.firstSequence, at)
    bytes.writeUInt32BE(batch.count, at + 4)
    bytes.writeUIntBE(batch.baseOffset, at + 8, 6)
    bytes.writeUIntBE(batch.appendTimeMs, at + 14, 6)
  })
  return bytes
}

export function decodeProducer(bytes: Buffer): ProducerRow {
  const count = bytes.length < producerHeadSize ? -1 : bytes.readUInt8(8)
  if (bytes.length !== producerHeadSize + batchSize * count) throw new DamagedRow('producers')
  const batches = Array.from({ length: count }, (_, index) => {
    const at = producerHeadSize + batchSize * index
    return {
      firstSequence: bytes.readUInt32BE(at),
      count: bytes.readUInt32BE(at + 4),
      baseOffset: bytes.readUIntBE(at + 8, 6),
      appendTimeMs: bytes.readUIntBE(at + 14, 6),
    }
  })
  return { epoch: bytes.readUInt16BE(0), lastUseMs: bytes.readUIntBE(2, 6), batches }
}

const recordVersion = 1
const recordHeadSize = 28
const flagKey = 1
const flagHeader = 2

export interface RecordHead {
  readonly pid: number
  readonly epoch: number
  readonly appendTimeMs: number
  readonly bytesBefore: number
}

/** Size of a record's value in the table. */
export function recordSize(record: AppendRecord): number {
  return recordHeadSize + record.value.length + (record.key?.length ?? 0) + (record.header?.length ?? 0)
}

/** Writes the record's value into `into` (at least recordSize bytes) and returns the used part of it. */
export function encodeRecord(record: AppendRecord, head: RecordHead, into: Buffer): Buffer {
  const headerSize = record.header?.length ?? 0
  const keySize = record.key?.length ?? 0
  into.writeUInt8(recordVersion, 0)
  into.writeUInt8((record.key === null ? 0 : flagKey) | (record.header === null ? 0 : flagHeader), 1)
  into.writeUInt16BE(head.epoch, 2)
  into.writeUIntBE(head.pid, 4, 6)
  into.writeUIntBE(head.appendTimeMs, 10, 6)
  into.writeUIntBE(head.bytesBefore, 16, 6)
  into.writeUInt16BE(headerSize, 22)
  into.writeUInt32BE(keySize, 24)
  let at = recordHeadSize
  if (record.header !== null) into.set(record.header, at)
  at += headerSize
  if (record.key !== null) into.set(record.key, at)
  at += keySize
  into.set(record.value, at)
  return into.subarray(0, at + record.value.length)
}

/** The parts are views of `bytes`, which the caller owns. Throws DamagedRow. */
export function decodeRecord(offset: number, bytes: Uint8Array): BrokerRecord {
  const head = decodeRecordHead(bytes)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const flags = view.getUint8(1)
  const keyAt = recordHeadSize + view.getUint16(22)
  const valueAt = keyAt + view.getUint32(24)
  if (valueAt > bytes.length) throw new DamagedRow('records')
  const part = (from: number, to: number): Uint8Array =>
    new Uint8Array(bytes.buffer, bytes.byteOffset + from, to - from)
  return {
    offset,
    pid: head.pid,
    epoch: head.epoch,
    appendTimeMs: head.appendTimeMs,
    header: (flags & flagHeader) === 0 ? null : part(recordHeadSize, keyAt),
    key: (flags & flagKey) === 0 ? null : part(keyAt, valueAt),
    value: part(valueAt, bytes.length),
  }
}

/** Throws DamagedRow. */
export function decodeRecordHead(bytes: Uint8Array): RecordHead {
  if (bytes.length < recordHeadSize || bytes[0] !== recordVersion) throw new DamagedRow('records')
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return {
    epoch: view.readUInt16BE(2),
    pid: view.readUIntBE(4, 6),
    appendTimeMs: view.readUIntBE(10, 6),
    bytesBefore: view.readUIntBE(16, 6),
  }
}

/** A row that cannot have been written by this code: the folder is damaged. */
export class DamagedRow extends Error {
  constructor(table: string) {
    super(`a row of table ${table} is damaged`)
  }
}
