// Owns: packing and unpacking for callers without an SDK.
// 1. Packing is a function of (producer, n, events) alone, on every API node and in every repeat: a repeated write gives
//    the same writeHash. So: no compression (its bytes differ between zlib versions), keyless events by n, absent ids
//    derived, absent timestamps stay absent.
// 2. A packed write fits into one frame; what a batch unpacks to is bounded by `unpackedBytesMax`, checked on the
//    declared sizes before anything is inflated.
// Leaves out: the format of a block (src/protocol/event-packing.ts, block.ts), limits of single events (packing).
import { createHash } from 'node:crypto'
import { readBlock } from '../protocol/block.ts'
import { TrunklineError } from '../protocol/errors.ts'
import { idToBytes, type ProducerId } from '../protocol/ids.ts'
import { frameBytesMax } from '../protocol/limits.ts'
import { type Block, type Event, encoding, type PartResult, partState } from '../protocol/messages.ts'
import { type PackedWrite, packWriteWithPlaces } from '../protocol/partitioning.ts'
import { formatPosition } from '../protocol/position.ts'

/** Two blocks of the largest raw size: one such block can always be read. */
export const unpackedBytesMax = 8 * 1024 * 1024
/** What the request and its envelope add to the blocks of a write. */
const frameRestBytes = 16 * 1024
/** CloudEvents' type of an event that names none. */
export const defaultEventType = 'event'

/** Names the writer across repeats and take-overs. */
export interface WriteIdentity {
  readonly producerId: ProducerId
  readonly n: number
}

/** Invariant 1. Errors: BATCH_TOO_LARGE and those of packing. */
export function packForSession(events: readonly Event[], partitions: number, write: WriteIdentity): PackedWrite {
  const named = events.map((event, index) => ({
    ...event,
    id: event.id ?? derivedEventId(write, index),
    type: event.type ?? defaultEventType,
  }))
  return packPlain(named, partitions, write.n % partitions)
}

/** Errors: BATCH_TOO_LARGE (invariant 2), EMPTY_BATCH, UNKNOWN_PARTITION, EVENT_TOO_LARGE, HEADERS_TOO_LARGE, BAD_EVENT. */
export function packPlain(
  events: readonly Event[],
  partitions: number,
  keylessPartition: number,
  joinedBytesMax?: number,
): PackedWrite {
  const write = packWriteWithPlaces(events, { partitions, keylessPartition, encoding: encoding.none, joinedBytesMax })
  let bytes = 0
  for (const block of write.blocks) bytes += block.data.length
  const bytesMax = frameBytesMax - frameRestBytes
  if (bytes > bytesMax)
    throw new TrunklineError('BATCH_TOO_LARGE', {
      details: { packedBytes: String(bytes), packedBytesMax: String(bytesMax) },
    })
  return write
}

/** UUIDv8: sha256 of ("tl1 event id", producer id, n, index). */
export function derivedEventId(write: WriteIdentity, index: number): string {
  const numbers = Buffer.alloc(12)
  numbers.writeBigUInt64BE(BigInt(write.n), 0)
  numbers.writeUInt32BE(index, 8)
  const digest = createHash('sha256')
    .update('tl1 event id')
    .update(idToBytes(write.producerId))
    .update(numbers)
    .digest()
  return uuidText(digest, 8)
}

/** The first 16 bytes as a UUID of this version. Changes `bytes`. */
export function uuidText(bytes: Uint8Array, version: 7 | 8): string {
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | (version << 4)
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, 16).toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** Events of a batch, in order. Errors: BATCH_TOO_LARGE (invariant 2; nack and read fewer), BAD_BLOCK. */
export function unpackBlocks(blocks: readonly Block[]): Event[] {
  let rawBytes = 0
  for (const block of blocks) rawBytes += block.rawSize
  if (rawBytes > unpackedBytesMax)
    throw new TrunklineError('BATCH_TOO_LARGE', {
      details: { rawBytes: String(rawBytes), rawBytesMax: String(unpackedBytesMax), field: 'maxEvents' },
    })
  const events: Event[] = []
  for (const block of blocks) for (const event of readBlock(block)) events.push(event)
  return events
}

/**
 * The position of each event, in their order. Errors: OUTCOME_UNKNOWN when a part has no offset (the answer to a write
 * that is published names all of them).
 */
export function positionsOf(write: PackedWrite, parts: readonly PartResult[]): string[] {
  const landed = new Map<number, { readonly offset: number; readonly perEvent: boolean }>()
  for (const { part, state, offset, perEvent = false } of parts)
    if (state === partState.landed && offset !== undefined) landed.set(part, { offset, perEvent })
  return write.places.map(({ part, index }) => {
    const place = landed.get(part)
    const partition = write.blocks[part]?.partition
    if (place === undefined || partition === undefined) throw new TrunklineError('OUTCOME_UNKNOWN')
    const { offset, perEvent } = place
    return formatPosition(perEvent ? { partition, offset: offset + index, index: 0 } : { partition, offset, index })
  })
}
