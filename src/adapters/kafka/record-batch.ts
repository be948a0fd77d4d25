// Owns: Kafka's record batch (magic 2), written and read.
// 1. A batch whose CRC-32C or whose shape is wrong, or that cannot be decompressed, is never served: each of its offsets
//    is answered as a record that is `damaged`, so that readers go on behind it and say so.
// 2. Positions move by the batch's header, not by its last record: compaction leaves batches without records.
// 3. Every length is checked against what is there; what decompresses has a bound.
// Leaves out: transactions of strangers (committed.ts), which codecs there are (compression.ts).
import { crc32c } from '@node-rs/crc32'
import type { AppendRecord, RecordField } from '../../ports/event-log.ts'
import type { BrokerRecord } from '../log-core/log-broker.ts'
import { decompress } from './compression.ts'

export interface BatchNumbers {
  /** −1: not idempotent. */
  readonly pid: number
  readonly epoch: number
  readonly firstSequence: number
  readonly timestampMs: number
}

/** Name of our one header. */
const ourHeader = 'tl'

const headSize = 61
const crcAt = 17
const attributesAt = 21
const magic = 2
const codecMask = 0b111
const logAppendTimeBit = 0b1000
const transactionalBit = 0b1_0000
const controlBit = 0b10_0000
/** Placeholders of one damaged batch; its own count may be damaged too. */
const damagedOffsetsMax = 65_536

export function encodeBatch(records: readonly AppendRecord[], numbers: BatchNumbers): Buffer {
  const bodies = records.map((record, index) => bodySize(record, index))
  let size = headSize
  for (const body of bodies) size += varintSize(body) + body
  const batch = Buffer.allocUnsafe(size)
  batch.writeBigInt64BE(0n, 0)
  batch.writeInt32BE(size - 12, 8)
  batch.writeInt32BE(-1, 12)
  batch.writeInt8(magic, 16)
  batch.writeInt16BE(0, attributesAt)
  batch.writeInt32BE(records.length - 1, 23)
  const timestamp = BigInt(Math.floor(numbers.timestampMs))
  batch.writeBigInt64BE(timestamp, 27)
  batch.writeBigInt64BE(timestamp, 35)
  batch.writeBigInt64BE(BigInt(numbers.pid), 43)
  batch.writeInt16BE(numbers.epoch, 51)
  batch.writeInt32BE(numbers.firstSequence, 53)
  batch.writeInt32BE(records.length, 57)
  const pen = { batch, at: headSize }
  for (const [index, record] of records.entries()) {
    varint(pen, bodies[index] ?? 0)
    batch[pen.at++] = 0 // attributes
    batch[pen.at++] = 0 // time, against the batch's
    varint(pen, index)
    field(pen, record.key)
    field(pen, recordValue(record))
    varint(pen, headerCount(record))
    if (record.header !== null) {
      text(pen, ourHeader)
      field(pen, record.header)
    }
    for (const [name, value] of record.headers ?? []) {
      text(pen, name)
      field(pen, value)
    }
  }
  batch.writeUInt32BE(crc32c(batch.subarray(attributesAt)), crcAt)
  return batch
}

interface Pen {
  readonly batch: Buffer
  at: number
}

/** An event of a plain topic may have no payload: a tombstone. */
function recordValue({ value, nullValue }: AppendRecord): Uint8Array | null {
  return nullValue === true ? null : value
}

function headerCount(record: AppendRecord): number {
  return (record.header === null ? 0 : 1) + (record.headers?.length ?? 0)
}

function bodySize(record: AppendRecord, index: number): number {
  let size =
    2 + varintSize(index) + fieldSize(record.key) + fieldSize(recordValue(record)) + varintSize(headerCount(record))
  if (record.header !== null) size += textSize(ourHeader) + fieldSize(record.header)
  for (const [name, value] of record.headers ?? []) size += textSize(name) + fieldSize(value)
  return size
}

function fieldSize(bytes: Uint8Array | null): number {
  return bytes === null ? 1 : varintSize(bytes.length) + bytes.length
}

function textSize(value: string): number {
  const length = Buffer.byteLength(value)
  return varintSize(length) + length
}

/** Zigzag: only numbers from 0 up, and −1, are ever written. */
function varintSize(value: number): number {
  let size = 1
  for (let left = value * 2; left > 0x7f; left = Math.floor(left / 0x80)) size += 1
  return size
}

function varint(pen: Pen, value: number): void {
  let left = value < 0 ? 1 : value * 2
  for (; left > 0x7f; left = Math.floor(left / 0x80)) pen.batch[pen.at++] = (left % 0x80) + 0x80
  pen.batch[pen.at++] = left
}

function field(pen: Pen, bytes: Uint8Array | null): void {
  varint(pen, bytes?.length ?? -1)
  if (bytes === null) return
  pen.batch.set(bytes, pen.at)
  pen.at += bytes.length
}

function text(pen: Pen, value: string): void {
  const length = Buffer.byteLength(value)
  varint(pen, length)
  pen.at += pen.batch.write(value, pen.at, length, 'utf8')
}

export interface Batch {
  readonly baseOffset: number
  /** Where the log goes on behind it. */
  readonly nextOffset: number
  readonly pid: number
  readonly transactional: boolean
  readonly control: boolean
  /** Control batches only: 0 abort, 1 commit; others have none. */
  readonly controlType: number | undefined
  readonly damaged: boolean
  /** From `fromOffset` on; empty for control batches. Copies: they hold nothing of the answer. */
  records(fromOffset: number): BrokerRecord[]
}

/** What an answer's bytes hold, batch by batch; a last batch that was cut off is left out. */
export function* batchesOf(bytes: Buffer): Generator<Batch> {
  for (let at = 0; bytes.length - at >= headSize; ) {
    const length = bytes.readInt32BE(at + 8)
    const end = at + 12 + length
    // A length below the head's cannot be stepped over: nothing behind it can be found.
    if (length < headSize - 12 || end > bytes.length) return
    yield readBatch(bytes.subarray(at, end))
    at = end
  }
}

function readBatch(bytes: Buffer): Batch {
  const baseOffset = Number(bytes.readBigInt64BE(0))
  const lastDelta = bytes.readInt32BE(23)
  const attributes = bytes.readInt16BE(attributesAt)
  const pid = Number(bytes.readBigInt64BE(43))
  const sound = bytes.readInt8(16) === magic && crc32c(bytes.subarray(attributesAt)) === bytes.readUInt32BE(crcAt)
  const whole = lastDelta >= 0 && (sound || lastDelta < damagedOffsetsMax)
  const nextOffset = baseOffset + (whole ? lastDelta : 0) + 1
  const damaged = (fromOffset: number): BrokerRecord[] => damagedRecords(Math.max(baseOffset, fromOffset), nextOffset)
  if (!sound || lastDelta < 0) {
    return {
      baseOffset,
      nextOffset,
      pid: -1,
      transactional: false,
      control: false,
      controlType: undefined,
      damaged: true,
      records: damaged,
    }
  }
  const control = (attributes & controlBit) !== 0
  let parsed: BrokerRecord[] | undefined
  try {
    const body = decompress(attributes & codecMask, bytes.subarray(headSize))
    if (body !== undefined) parsed = readRecords(body, bytes, baseOffset, nextOffset, control)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
  }
  const records = parsed
  return {
    baseOffset,
    nextOffset,
    pid,
    transactional: (attributes & transactionalBit) !== 0,
    control,
    controlType: control ? controlTypeOf(records?.[0]) : undefined,
    damaged: records === undefined,
    records: (fromOffset) => {
      if (control) return []
      if (records === undefined) return damaged(fromOffset)
      return records[0] !== undefined && records[0].offset >= fromOffset
        ? records
        : records.filter(({ offset }) => offset >= fromOffset)
    },
  }
}

function controlTypeOf(record: BrokerRecord | undefined): number | undefined {
  const key = record?.key
  return key === null || key === undefined || key.length < 4 ? undefined : ((key[2] ?? 0) << 8) | (key[3] ?? 0)
}

function damagedRecords(from: number, to: number): BrokerRecord[] {
  const records: BrokerRecord[] = []
  for (let offset = from; offset < to; offset++) {
    records.push({
      offset,
      appendTimeMs: 0,
      key: null,
      value: new Uint8Array(0),
      header: null,
      damaged: true,
      pid: -1,
      epoch: -1,
    })
  }
  return records
}

/** Throws RangeError when the shape is wrong. */
function readRecords(
  body: Buffer,
  head: Buffer,
  baseOffset: number,
  nextOffset: number,
  control: boolean,
): BrokerRecord[] {
  const attributes = head.readInt16BE(attributesAt)
  const firstMs = Number(head.readBigInt64BE(27))
  const maxMs = Number(head.readBigInt64BE(35))
  const pid = Number(head.readBigInt64BE(43))
  const epoch = head.readInt16BE(51)
  const count = head.readInt32BE(57)
  // A record takes 7 bytes at least.
  if (count < 0 || count * 7 > body.length) throw new RangeError('a count above what is there')
  const logTime = (attributes & logAppendTimeBit) !== 0
  const eye: Eye = { body, at: 0 }
  const records: BrokerRecord[] = []
  for (let index = 0; index < count; index++) {
    const size = readVarint(eye)
    const end = eye.at + size
    if (size < 0 || end > body.length) throw new RangeError('a record longer than its batch')
    eye.at += 1
    const deltaMs = readVarint(eye)
    const offset = baseOffset + readVarint(eye)
    if (offset < baseOffset || offset >= nextOffset) throw new RangeError('a record outside its batch')
    const key = readField(eye)
    const value = readField(eye)
    let header: Uint8Array | null = null
    const headers: RecordField[] = []
    for (let left = readVarint(eye); left > 0; left--) {
      const name = readField(eye)
      if (name === null) throw new RangeError('a header without a name')
      const bytes = readField(eye)
      const named = name.toString('utf8')
      if (header === null && bytes !== null && named === ourHeader) header = copy(bytes)
      else headers.push([named, bytes === null ? null : copy(bytes)])
    }
    if (eye.at !== end) throw new RangeError('a record of another length')
    records.push({
      offset,
      appendTimeMs: logTime ? maxMs : firstMs + deltaMs,
      key: key === null ? null : copy(key),
      value: value === null ? new Uint8Array(0) : copy(value),
      header,
      ...(value === null ? { nullValue: true } : {}),
      ...(headers.length === 0 || control ? {} : { headers }),
      pid,
      epoch,
    })
  }
  if (eye.at !== body.length) throw new RangeError('more than the batch says')
  return records
}

/** A copy of its own: a slice would keep a whole answer alive, and its readers may write into it. */
function copy(bytes: Buffer): Uint8Array {
  return new Uint8Array(bytes)
}

interface Eye {
  readonly body: Buffer
  at: number
}

/** Up to 64 bits (times); as far as a number is exact. */
function readVarint(eye: Eye): number {
  let value = 0
  let factor = 1
  for (let count = 0; count < 10; count++) {
    const byte = eye.body[eye.at++]
    if (byte === undefined) throw new RangeError('a number that is cut off')
    value += (byte & 0x7f) * factor
    if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2
    factor *= 0x80
  }
  throw new RangeError('a number of too many bytes')
}

function readField(eye: Eye): Buffer | null {
  const length = readVarint(eye)
  if (length < 0) return null
  const end = eye.at + length
  if (end > eye.body.length) throw new RangeError('a field longer than its record')
  const bytes = eye.body.subarray(eye.at, end)
  eye.at = end
  return bytes
}
