// Owns: which partition an event goes to, and how the events of one write become blocks.
// 1. Events of one partition keep their order, within a block and over blocks.
// 2. The blocks are a function of the events and options alone: a repeat of a write gives the same bytes.
import { blockOfRaw, checkPartition } from './block.ts'
import { TrunklineError } from './errors.ts'
import { packedEventSize, packSized } from './event-packing.ts'
import { blockBytesMax as blockBytesMaxDefault, blockEventsMax, blockRawBytesMax, writePartsMax } from './limits.ts'
import { type Block, type Encoding, type Event, encoding } from './messages.ts'
import { partitionForKey } from './murmur2.ts'

export { murmur2, partitionForKey } from './murmur2.ts'

export interface PackOptions {
  readonly partitions: number
  /** Where events without partition and key go. */
  readonly keylessPartition: number
  /** Gzip is used per block, when it makes it smaller. */
  readonly encoding: Encoding
  /** Data bytes of one block; default the protocol's limit, which it cannot exceed. */
  readonly blockBytesMax?: number
  /** Raw bytes of a block of several events, where that is less than the limits say; a larger event makes its own block. */
  readonly joinedBytesMax?: number | undefined
}

/** Where an event of a write went: part = index of its block, index = its place inside. */
export interface EventPlace {
  readonly part: number
  readonly index: number
}

export interface PackedWrite {
  readonly blocks: Block[]
  /** places[i] belongs to events[i]. */
  readonly places: EventPlace[]
}

/** The blocks of one write; one per partition unless a limit forces more. Errors: as packWriteWithPlaces. */
export function packWrite(events: readonly Event[], options: PackOptions): Block[] {
  return packWriteWithPlaces(events, options).blocks
}

/**
 * The blocks of one write, partitions in the order of their first event, and where each event went.
 * Errors: EMPTY_BATCH, BATCH_TOO_LARGE (too many blocks), UNKNOWN_PARTITION, EVENT_TOO_LARGE, HEADERS_TOO_LARGE, BAD_EVENT;
 * `event` in their details is the index of the event.
 */
export function packWriteWithPlaces(events: readonly Event[], options: PackOptions): PackedWrite {
  if (events.length === 0) throw new TrunklineError('EMPTY_BATCH')
  const bytesMax = Math.min(options.blockBytesMax ?? blockBytesMaxDefault, blockBytesMaxDefault)
  const rawBytesMax = options.encoding === encoding.gzip ? blockRawBytesMax : bytesMax
  const write: PackedWrite = { blocks: [], places: Array.from(events, () => nowhere) }
  for (const [partition, members] of groupByPartition(events, options)) {
    for (const run of splitRuns(members, Math.min(rawBytesMax, options.joinedBytesMax ?? rawBytesMax))) {
      addBlocks(write, partition, run, options.encoding, bytesMax)
    }
  }
  return write
}

interface Member {
  readonly event: Event
  /** Index in the write. */
  readonly at: number
  readonly size: number
}

const nowhere: EventPlace = { part: -1, index: -1 }

function groupByPartition(events: readonly Event[], options: PackOptions): Map<number, Member[]> {
  const groups = new Map<number, Member[]>()
  for (const [at, event] of events.entries()) {
    const partition = partitionOf(event, options)
    checkPartition(partition, options.partitions)
    const member = { event, at, size: packedEventSize(event, at) }
    const group = groups.get(partition)
    if (group === undefined) groups.set(partition, [member])
    else group.push(member)
  }
  return groups
}

function partitionOf(event: Event, options: PackOptions): number {
  if (event.partition !== undefined) return event.partition
  return event.key === undefined ? options.keylessPartition : partitionForKey(event.key, options.partitions)
}

/** Runs whose raw bytes and count fit into one block; a single event always makes one. */
function splitRuns(members: readonly Member[], rawBytesMax: number): Member[][] {
  const runs: Member[][] = []
  let run: Member[] = []
  let bytes = 0
  for (const member of members) {
    if (run.length > 0 && (bytes + member.size > rawBytesMax || run.length === blockEventsMax)) {
      runs.push(run)
      run = []
      bytes = 0
    }
    run.push(member)
    bytes += member.size
  }
  runs.push(run)
  return runs
}

/** One block of a run, or two halves again while its data is above the limit. */
function addBlocks(
  write: PackedWrite,
  partition: number,
  run: readonly Member[],
  wanted: Encoding,
  bytesMax: number,
): void {
  const block = blockIfItFits(partition, run, wanted, bytesMax)
  if (block === undefined) {
    const middle = run.length >> 1
    addBlocks(write, partition, run.slice(0, middle), wanted, bytesMax)
    addBlocks(write, partition, run.slice(middle), wanted, bytesMax)
    return
  }
  const part = write.blocks.length
  if (part === writePartsMax) {
    throw new TrunklineError('BATCH_TOO_LARGE', { details: { blocksMax: String(writePartsMax) } })
  }
  write.blocks.push(block)
  for (const [index, member] of run.entries()) write.places[member.at] = { part, index }
}

/** Undefined when it does not fit and can be halved. Errors: BLOCK_TOO_LARGE when one event alone does not fit. */
function blockIfItFits(
  partition: number,
  run: readonly Member[],
  wanted: Encoding,
  bytesMax: number,
): Block | undefined {
  const raw = packSized(
    run.map((member) => member.event),
    run.map((member) => member.size),
  )
  try {
    const block = blockOfRaw(partition, raw, run.length, wanted)
    if (block.data.length <= bytesMax) return block
  } catch (error) {
    if (!(error instanceof TrunklineError && error.name === 'BLOCK_TOO_LARGE')) throw error
  }
  if (run.length > 1) return undefined
  throw new TrunklineError('BLOCK_TOO_LARGE', { details: { event: String(run[0]?.at), bytesMax: String(bytesMax) } })
}
