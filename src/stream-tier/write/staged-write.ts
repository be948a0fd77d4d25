// Owns: one write between its arrival and its append: what can be refused is refused here, before anything is queued
// (design.md §3 rule 1).
// 1. A staged write is complete and checked; its hash is over exactly the blocks that are sealed later.
// 2. A repeat with another hash is WRITE_CHANGED, never success (rule 5): write-session.ts compares.
// 3. A sealed topic gets one record a part; a plain one gets one an event (plain-parts.ts).
// 4. Nothing is inflated or unpacked before the sizes that all blocks declare fit into one write.
// Leaves out: the window and the order of writes (the session), appending (append-lanes.ts).
import { type AppendRecord, type TopicFormat, topicFormat } from '../../ports/event-log.ts'
import { checkBlock, verifyBlock } from '../../protocol/block.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import type { ProducerId, TopicId } from '../../protocol/ids.ts'
import {
  sealedBlockBytesMax,
  windowBytes,
  writeEventsMax,
  writePartsMax,
  writeRawBytesMax,
} from '../../protocol/limits.ts'
import type { Block } from '../../protocol/messages.ts'
import { encodeRecordHeader } from '../../protocol/record-header.ts'
import { writeHash } from '../../protocol/write-hash.ts'
import { type PlainPart, plainAppend, plainPartOf } from './plain-parts.ts'

export interface StagedWrite {
  /** Part i is block i. */
  readonly blocks: readonly Block[]
  /** partitions[i] is where part i goes. */
  readonly partitions: readonly number[]
  /** Of all blocks' data. */
  readonly bytes: number
  /** What it keeps in memory: more than `bytes` where blocks are unpacked. */
  readonly heldBytes: number
  readonly events: number
  /** 8 bytes over the unsealed blocks, parts and partitions. */
  readonly hash: Uint8Array
  /** By part; topics of format plain only. */
  readonly plain: readonly PlainPart[] | undefined
}

export interface WritePlace {
  readonly topicId: TopicId
  /** That the topic belongs to: its data keys are wrapped for it. */
  readonly tenant: string
  readonly producerId: ProducerId
  readonly n: number
}

/** What sealWrite needs of crypto's BlockSealer. */
export interface Sealer {
  seal(
    block: Block,
    place: WritePlace & { readonly partition: number; readonly part: number },
  ): Uint8Array | Promise<Uint8Array>
}

export type RecordsByPart = readonly (readonly AppendRecord[])[]

/** Records may take so many times the window's bytes: they repeat names that blocks do not hold. */
const plainFactorMax = 2

export interface StageLimits {
  readonly partitions: number
  /** Of all blocks' data. Default: the protocol's window. */
  readonly bytesMax?: number
  readonly partsMax?: number
  /** Default: sealed. */
  readonly format?: TopicFormat
  /** writeHash of the blocks, when the caller has it already: hashing costs as much as all other checks together. */
  readonly hash?: Uint8Array
}

/**
 * Checks the blocks of one write and keeps them. Data that is a small view into a large buffer is copied.
 * Errors: EMPTY_BATCH, BATCH_TOO_LARGE, and those of checkBlock (BAD_BLOCK, BLOCK_TOO_LARGE, UNKNOWN_PARTITION) and
 * plainPartOf, with the part in details.
 */
export function stageWrite(blocks: readonly Block[], limits: StageLimits): StagedWrite {
  const { partitions, bytesMax = windowBytes, partsMax = writePartsMax } = limits
  if (blocks.length === 0) throw new TrunklineError('EMPTY_BATCH')
  if (blocks.length > partsMax) throw tooMuch('blocks', partsMax)
  const { bytes, events } = declaredSizes(blocks, partitions, bytesMax)
  const plain: PlainPart[] | undefined = limits.format === topicFormat.plain ? [] : undefined
  let plainBytes = 0
  const kept = ofEachPart(blocks, (block) => {
    const own = keep(block)
    if (plain === undefined) {
      // A block that cannot be unpacked would stop every reader of its partition that wants events.
      verifyBlock(own)
    } else {
      const records = plainPartOf(own)
      plain.push(records)
      plainBytes += records.bytes
      if (plainBytes > plainFactorMax * bytesMax) throw tooMuch('plainBytes', plainFactorMax * bytesMax)
    }
    return own
  })
  return {
    blocks: kept,
    partitions: kept.map(({ partition }) => partition),
    bytes,
    heldBytes: Math.max(bytes, plainBytes),
    events,
    hash: limits.hash ?? writeHash(kept),
    plain,
  }
}

/** Invariant 4. Errors: BATCH_TOO_LARGE, and those of checkBlock. */
function declaredSizes(
  blocks: readonly Block[],
  partitions: number,
  bytesMax: number,
): { readonly bytes: number; readonly events: number } {
  let bytes = 0
  let rawBytes = 0
  let events = 0
  ofEachPart(blocks, (block) => {
    checkBlock(block, partitions)
    bytes += block.data.length
    rawBytes += block.rawSize
    events += block.count
  })
  if (bytes > bytesMax) throw tooMuch('bytes', bytesMax)
  if (rawBytes > writeRawBytesMax) throw tooMuch('rawBytes', writeRawBytesMax)
  if (events > writeEventsMax) throw tooMuch('events', writeEventsMax)
  return { bytes, events }
}

/** What `work` answers, by part; its errors name the part in details. */
function ofEachPart<T>(blocks: readonly Block[], work: (block: Block) => T): T[] {
  return blocks.map((block, part) => {
    try {
      return work(block)
    } catch (error) {
      throw TrunklineError.from(error).with({ details: { part: String(part) } })
    }
  })
}

function tooMuch(field: string, max: number): TrunklineError {
  return new TrunklineError('BATCH_TOO_LARGE', { details: { field, max: String(max) } })
}

/**
 * The records of every part of write `n`, in the order of parts; sealed unless the topic is plain. Synchronous when every
 * key is at hand; a caller that gets a promise keeps the order of n itself. Errors: KEY_UNAVAILABLE, BLOCK_TOO_LARGE.
 */
export function recordsOfWrite(
  sealer: Sealer,
  place: WritePlace,
  staged: StagedWrite,
): RecordsByPart | Promise<RecordsByPart> {
  if (staged.plain !== undefined) {
    const { producerId, n } = place
    const at = { producerId, n, parts: staged.blocks.length, writeHash: staged.hash }
    return staged.plain.map((records, part) => plainAppend(records, { ...at, part }))
  }
  const sealed = staged.blocks.map((block, part) => sealer.seal(block, { ...place, partition: block.partition, part }))
  const toRecords = (values: readonly Uint8Array[]): RecordsByPart =>
    values.map((value, part) => [toRecord(place, staged, part, value)])
  return sealed.every((value) => value instanceof Uint8Array)
    ? toRecords(sealed)
    : Promise.all(sealed.map(async (value) => value)).then(toRecords)
}

function toRecord(place: WritePlace, staged: StagedWrite, part: number, value: Uint8Array): AppendRecord {
  if (value.length > sealedBlockBytesMax) {
    throw new TrunklineError('BLOCK_TOO_LARGE', { details: { part: String(part), max: String(sealedBlockBytesMax) } })
  }
  const { producerId, n } = place
  // rule 1: every record says whose part of which write it is.
  const header = encodeRecordHeader({
    kind: 'data',
    producerId,
    n,
    part,
    parts: staged.blocks.length,
    writeHash: staged.hash,
  })
  return { key: null, value, header }
}

/** Decoded data is a view into its frame: a small view must not keep a large frame alive. */
function keep(block: Block): Block {
  const { partition, packing, count, encoding, rawSize, data } = block
  const owned = data.buffer.byteLength > 2 * data.byteLength + 4_096 ? data.slice() : data
  // Fields that only reads fill in are left behind.
  return { partition, packing, count, encoding, rawSize, data: owned }
}
