// Owns: blocks as they travel: packed, perhaps compressed, with what they declare (docs/formats.md "Block on the wire").
// 1. What a block declares is checked before it is believed; inflating is bounded by rawSize and must give exactly that.
// 2. A gateway never unpacks: `checkBlock` looks at declared numbers and the compression's magic only.
// Leaves out: sealing (src/crypto), layout of one event (event-packing.ts).
import { gunzipSync, gzipSync } from 'node:zlib'
import { TrunklineError } from './errors.ts'
import { packEvents, packedEventSizeMin, unpackEvents } from './event-packing.ts'
import { blockBytesMax, blockEventsMax, blockRawBytesMax } from './limits.ts'
import { type Block, type Encoding, type Event, encoding, packing } from './messages.ts'

/** Header, empty body and trailer of gzip: nothing shorter is one. */
const gzipSizeMin = 20
/** The least that zlib takes as a chunk. */
const chunkSizeMin = 64
const gzipMagic = [0x1f, 0x8b, 8] as const
/** Deflate cannot expand a byte into more: what claims more is refused before anything is allocated for it. */
const inflationMax = 1_032
/** Fast: notes measured 4.5x at level 1, and a block is small. */
const gzipLevel = 1

/**
 * A block of these events, in order. With gzip it is compressed only when that makes it smaller.
 * Errors: EMPTY_BATCH, BLOCK_TOO_LARGE, EVENT_TOO_LARGE, HEADERS_TOO_LARGE, BAD_EVENT.
 */
export function buildBlock(partition: number, events: readonly Event[], wanted: Encoding): Block {
  return blockOfRaw(partition, packEvents(events), events.length, wanted)
}

/** `buildBlock` from events that are packed already: `raw` holds `count` of them. Errors: EMPTY_BATCH, BLOCK_TOO_LARGE. */
export function blockOfRaw(partition: number, raw: Uint8Array, count: number, wanted: Encoding): Block {
  if (count === 0) throw new TrunklineError('EMPTY_BATCH')
  checkAtMost('events', count, blockEventsMax)
  checkAtMost('rawBytes', raw.length, blockRawBytesMax)
  const compressed = wanted === encoding.gzip ? gzipSync(raw, { level: gzipLevel }) : undefined
  const smaller = compressed !== undefined && compressed.length < raw.length
  const data = smaller ? new Uint8Array(compressed.buffer, compressed.byteOffset, compressed.length) : raw
  checkAtMost('bytes', data.length, blockBytesMax)
  return {
    partition,
    packing: packing.v1,
    count,
    encoding: smaller ? encoding.gzip : encoding.none,
    rawSize: raw.length,
    data,
  }
}

/**
 * Unpacks the whole block and throws the events away: what passes can be read by everybody. Errors: BAD_BLOCK.
 * Costs about a quarter of a microsecond an event, and the inflating of a compressed block.
 */
export function verifyBlock(block: Block): void {
  unpackEvents(rawOf(block), block.count)
}

/**
 * The events that count: `take` of them from `first` on, with partition, offset, index and append time; an event
 * without a time of its own carries the append time. Keys and payloads are views into the block's (inflated) bytes.
 * Errors: BAD_BLOCK, BLOCK_TOO_LARGE.
 */
export function readBlock(block: Block): Event[] {
  checkDeclared(block)
  const { count, partition, offset, appendTimeMs } = block
  const first = block.first ?? 0
  const take = block.take ?? count - first
  if (first < 0 || take < 0 || first + take > count) throw badBlock('first and take beyond its count')
  const events = unpackEvents(rawOf(block), count, first, take)
  let index = first
  for (const event of events) {
    event.partition = partition
    if (offset !== undefined) event.offset = offset
    event.index = index
    if (appendTimeMs !== undefined) {
      event.appendTimeMs = appendTimeMs
      event.timestampMs ??= appendTimeMs
    }
    index += 1
  }
  return events
}

/**
 * What a gateway verifies of a block that is to be written, without unpacking it.
 * Errors: BAD_BLOCK, BLOCK_TOO_LARGE, UNKNOWN_PARTITION, EMPTY_BATCH.
 */
export function checkBlock(block: Block, partitions: number): void {
  checkPartition(block.partition, partitions)
  checkDeclared(block)
  const { offset, first, take, appendTimeMs } = block
  if (offset !== undefined || first !== undefined || take !== undefined || appendTimeMs !== undefined) {
    throw badBlock('a field that only a read sets')
  }
}

/** Errors: UNKNOWN_PARTITION. */
export function checkPartition(partition: number, partitions: number): void {
  if (Number.isInteger(partition) && partition >= 0 && partition < partitions) return
  throw new TrunklineError('UNKNOWN_PARTITION', {
    details: { partition: String(partition), partitions: String(partitions) },
  })
}

function checkDeclared(block: Block): void {
  const { count, rawSize, data } = block
  if (count === 0) throw new TrunklineError('EMPTY_BATCH')
  if (block.packing !== packing.v1) throw badBlock('unknown packing')
  checkAtMost('bytes', data.length, blockBytesMax)
  checkAtMost('rawBytes', rawSize, blockRawBytesMax)
  checkAtMost('events', count, blockEventsMax)
  if (count < 0 || count * packedEventSizeMin > rawSize) throw badBlock('count and raw size do not fit')
  switch (block.encoding) {
    case encoding.none:
      if (rawSize !== data.length) throw badBlock('raw size is not the size of the data')
      return
    case encoding.gzip:
      if (data.length < gzipSizeMin || gzipMagic.some((byte, at) => data[at] !== byte)) throw badBlock('not gzip')
      if (rawSize > data.length * inflationMax) throw badBlock('cannot inflate to its raw size')
      return
    default:
      throw badBlock('unknown encoding')
  }
}

function rawOf(block: Block): Uint8Array {
  if (block.encoding === encoding.none) return block.data
  // One chunk for all of it (bounded by checkDeclared); `info` tells how many bytes were used up.
  const options = { maxOutputLength: block.rawSize, chunkSize: Math.max(block.rawSize + 1, chunkSizeMin), info: true }
  let inflated: { buffer: Buffer; engine: { bytesWritten: number } }
  try {
    inflated = gunzipSync(block.data, options) as unknown as typeof inflated
  } catch (cause) {
    throw new TrunklineError('BAD_BLOCK', { details: { why: 'does not inflate to its raw size' }, cause })
  }
  if (inflated.buffer.length !== block.rawSize) throw badBlock('does not inflate to its raw size')
  if (inflated.engine.bytesWritten !== block.data.length) throw badBlock('bytes after the compressed data')
  return inflated.buffer
}

function checkAtMost(what: string, size: number, sizeMax: number): void {
  if (size <= sizeMax) return
  throw new TrunklineError('BLOCK_TOO_LARGE', {
    details: { [what]: String(size), [`${what}Max`]: String(sizeMax) },
  })
}

function badBlock(why: string): TrunklineError {
  return new TrunklineError('BAD_BLOCK', { details: { why } })
}
