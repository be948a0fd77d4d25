// Owns: what a cursor says, in plain bytes, before it is sealed (docs/formats.md "Cursor content").
// Big-endian: version u8 = 1 │ kind u8 (1 read, 2 write) │ topicId 16 │ issuedAtMs u48 │ partitions u16 │
//   read: (offset u48 │ index u16) per partition; write: offset u48 per partition.
// 1. Numbers have a fixed width: a cursor's length tells nothing of where its reader is, all cursors of a topic are
//    equally long (8 bytes a partition, 6 when it writes), and there is one form of every content. 2^48 offsets are
//    nine years of a million records a second in one partition.
// 2. Decoding is strict: other versions are CURSOR_VERSION, all else that does not fit exactly is BAD_CURSOR.
// Leaves out: sealing and scope (src/crypto), whether the topic still is the same one (the stream tier).
import { TrunklineError } from './errors.ts'
import { idToBytes, type TopicId, topicIdFromBytes } from './ids.ts'
import { topicPartitionsMax } from './limits.ts'
import type { PartitionPosition } from './position.ts'

export interface ReadCursorContent {
  readonly kind: 'read'
  readonly topicId: TopicId
  readonly issuedAtMs: number
  /** By partition: where the next event is read. */
  readonly positions: readonly PartitionPosition[]
}

export interface WriteCursorContent {
  readonly kind: 'write'
  readonly topicId: TopicId
  readonly issuedAtMs: number
  /** By partition: a lower bound of where unanswered writes can lie. */
  readonly offsets: readonly number[]
}

export type CursorContent = ReadCursorContent | WriteCursorContent

const version = 1
const kindRead = 1
const kindWrite = 2
const headSize = 26
const readEntrySize = 8
const writeEntrySize = 6
const u48Max = 2 ** 48 - 1
const twoTo32 = 2 ** 32

/** Throws a plain Error for numbers that no cursor can hold: they are bugs of the caller. */
export function encodeCursorContent(content: CursorContent): Uint8Array {
  const entries = content.kind === 'read' ? content.positions : content.offsets
  if (entries.length === 0 || entries.length > topicPartitionsMax)
    throw new Error('a cursor of no or too many partitions')
  const bytes = new Uint8Array(headSize + entries.length * entrySize(content.kind))
  const view = viewOf(bytes)
  bytes[0] = version
  bytes[1] = content.kind === 'read' ? kindRead : kindWrite
  bytes.set(idToBytes(content.topicId), 2)
  putU48(view, 18, content.issuedAtMs)
  view.setUint16(24, entries.length)
  let at = headSize
  if (content.kind === 'write') {
    for (const offset of content.offsets) {
      putU48(view, at, offset)
      at += writeEntrySize
    }
    return bytes
  }
  for (const { offset, index } of content.positions) {
    if (!Number.isInteger(index) || index < 0 || index > 0xffff) throw new Error('an index that no cursor can hold')
    putU48(view, at, offset)
    view.setUint16(at + 6, index)
    at += readEntrySize
  }
  return bytes
}

/** Errors: CURSOR_VERSION, BAD_CURSOR. */
export function decodeCursorContent(bytes: Uint8Array): CursorContent {
  const [first, kindByte] = bytes
  if (first === undefined) throw new TrunklineError('BAD_CURSOR')
  if (first !== version) throw new TrunklineError('CURSOR_VERSION', { details: { version: String(first) } })
  if (bytes.length < headSize || (kindByte !== kindRead && kindByte !== kindWrite))
    throw new TrunklineError('BAD_CURSOR')
  const kind = kindByte === kindRead ? 'read' : 'write'
  const view = viewOf(bytes)
  const partitions = view.getUint16(24)
  if (partitions === 0 || partitions > topicPartitionsMax || bytes.length !== headSize + partitions * entrySize(kind)) {
    throw new TrunklineError('BAD_CURSOR')
  }
  const topicId = topicIdFromBytes(bytes.subarray(2, 18))
  const issuedAtMs = getU48(view, 18)
  if (kind === 'write') {
    const offsets = Array.from({ length: partitions }, (_, at) => getU48(view, headSize + at * writeEntrySize))
    return { kind, topicId, issuedAtMs, offsets }
  }
  const positions = Array.from({ length: partitions }, (_, entry): PartitionPosition => {
    const at = headSize + entry * readEntrySize
    return { offset: getU48(view, at), index: view.getUint16(at + 6) }
  })
  return { kind, topicId, issuedAtMs, positions }
}

function entrySize(kind: CursorContent['kind']): number {
  return kind === 'read' ? readEntrySize : writeEntrySize
}

function putU48(view: DataView, at: number, value: number): void {
  if (!Number.isInteger(value) || value < 0 || value > u48Max) throw new Error('a number that no cursor can hold')
  view.setUint16(at, Math.floor(value / twoTo32))
  view.setUint32(at + 2, value >>> 0)
}

function getU48(view: DataView, at: number): number {
  return view.getUint16(at) * twoTo32 + view.getUint32(at + 2)
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
