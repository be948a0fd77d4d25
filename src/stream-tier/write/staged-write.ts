// Owns: one write between its arrival and its append: what can be refused is refused here, before anything is queued
// (design.md §3 rule 1).
// 1. A staged write is complete and checked; its hash is over exactly the blocks that are sealed later.
// 2. A repeat with another hash is WRITE_CHANGED, never success (rule 5): write-session.ts compares.
// Leaves out: the window and the order of writes (the session), appending (append-lanes.ts).
import type { AppendRecord } from '../../ports/event-log.ts'
import { checkBlock, verifyBlock } from '../../protocol/block.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import type { ProducerId, TopicId } from '../../protocol/ids.ts'
import { sealedBlockBytesMax, windowBytes, writePartsMax } from '../../protocol/limits.ts'
import type { Block } from '../../protocol/messages.ts'
import { encodeRecordHeader } from '../../protocol/record-header.ts'
import { writeHash } from '../../protocol/write-hash.ts'

export interface StagedWrite {
  /** Part i is block i. */
  readonly blocks: readonly Block[]
  /** partitions[i] is where part i goes. */
  readonly partitions: readonly number[]
  /** Of all blocks' data. */
  readonly bytes: number
  readonly events: number
  /** 8 bytes over the unsealed blocks, parts and partitions. */
  readonly hash: Uint8Array
}

export interface WritePlace {
  readonly topicId: TopicId
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

export interface StageLimits {
  readonly partitions: number
  /** Default: the protocol's window. */
  readonly bytesMax?: number
  readonly partsMax?: number
  /** writeHash of the blocks, when the caller has it already: hashing costs as much as all other checks together. */
  readonly hash?: Uint8Array
}

/**
 * Checks the blocks of one write and keeps them. Data that is a small view into a large buffer is copied.
 * Errors: EMPTY_BATCH, BATCH_TOO_LARGE, and those of checkBlock (BAD_BLOCK, BLOCK_TOO_LARGE, UNKNOWN_PARTITION), with the
 * part in details.
 */
export function stageWrite(blocks: readonly Block[], limits: StageLimits): StagedWrite {
  const { partitions, bytesMax = windowBytes, partsMax = writePartsMax } = limits
  if (blocks.length === 0) throw new TrunklineError('EMPTY_BATCH')
  if (blocks.length > partsMax) {
    throw new TrunklineError('BATCH_TOO_LARGE', { details: { field: 'blocks', max: String(partsMax) } })
  }
  let bytes = 0
  let events = 0
  const kept = blocks.map((block, part) => {
    checkPart(block, partitions, part)
    bytes += block.data.length
    events += block.count
    return keep(block)
  })
  if (bytes > bytesMax)
    throw new TrunklineError('BATCH_TOO_LARGE', { details: { field: 'bytes', max: String(bytesMax) } })
  return {
    blocks: kept,
    partitions: kept.map(({ partition }) => partition),
    bytes,
    events,
    hash: limits.hash ?? writeHash(kept),
  }
}

/**
 * Seals every part of write `n` into its record, in the order of parts. Synchronous when every key is at hand; a caller
 * that gets a promise keeps the order of n itself. Errors: KEY_UNAVAILABLE, BLOCK_TOO_LARGE.
 */
export function sealWrite(
  sealer: Sealer,
  place: WritePlace,
  staged: StagedWrite,
): readonly AppendRecord[] | Promise<readonly AppendRecord[]> {
  const sealed = staged.blocks.map((block, part) => sealer.seal(block, { ...place, partition: block.partition, part }))
  const toRecords = (values: readonly Uint8Array[]): readonly AppendRecord[] =>
    values.map((value, part) => toRecord(place, staged, part, value))
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

function checkPart(block: Block, partitions: number, part: number): void {
  try {
    checkBlock(block, partitions)
    // A block that cannot be unpacked would stop every reader of its partition that wants events.
    verifyBlock(block)
  } catch (error) {
    throw TrunklineError.from(error).with({ details: { part: String(part) } })
  }
}

/** Decoded data is a view into its frame: a small view must not keep a large frame alive. */
function keep(block: Block): Block {
  const { partition, packing, count, encoding, rawSize, data } = block
  const owned = data.buffer.byteLength > 2 * data.byteLength + 4_096 ? data.slice() : data
  // Fields that only reads fill in are left behind.
  return { partition, packing, count, encoding, rawSize, data: owned }
}
