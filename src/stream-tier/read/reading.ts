// Owns: one read while it runs: its place in every partition, what was fetched for it, and the batch that comes of it.
// 1. Within a partition events come in order, none left out but what is reported as blocked.
// 2. Fair: one block of each partition in turn. The turn goes on behind the partition that was served last, so that none
//    waits for another to end, and a damaged head is met, and told, when its partition's turn comes: no partition stands
//    still unnoticed.
// 3. Bounded by what it may deliver: heads are fetched some partitions at a time, and only while the batch has room.
// 4. Blocks are shared with the cache, never copied, never changed.
// Leaves out: waiting and the ends of partitions (topic-reader.ts).
import type { TopicInfo } from '../../ports/event-log.ts'
import { type ErrorName, TrunklineError } from '../../protocol/errors.ts'
import { frameBytesMax, readBytesMax } from '../../protocol/limits.ts'
import type { Block } from '../../protocol/messages.ts'
import type { PartitionPosition } from '../../protocol/position.ts'
import type { CatchUp, Chunk, Wanted } from './catch-up.ts'
import type { Opened } from './opened.ts'
import type { OpenedBlocks } from './opened-blocks.ts'
import type { Ends } from './shared-tail.ts'

export interface BatchBounds {
  readonly eventsMax: number
  /** Of packed data; one block above it is delivered alone. At most readBytesMax. */
  readonly bytesMax: number
  /** The caller unpacks: bytes are counted as events, not as (perhaps compressed) blocks. Default false. */
  readonly unpacked?: boolean
}

/** BLOCK_DAMAGED, KEY_UNAVAILABLE, KEY_SHREDDED: `next` is past the block. CURSOR_OUT_OF_RANGE: at the log's start. */
export interface BlockedRead {
  readonly kind: 'blocked'
  readonly error: ErrorName
  readonly partition: number
  readonly offset: number
  readonly next: readonly PartitionPosition[]
  /** The limit that a stranger's record does not keep. */
  readonly why?: ErrorName | undefined
}

export interface Collected {
  readonly kind: 'collected'
  readonly blocks: Block[]
  readonly next: PartitionPosition[]
  count: number
  bytes: number
  full: boolean
  /** The partition whose turn is next. */
  turn: number
}

export interface ReadingDeps {
  readonly topic: TopicInfo
  readonly blocks: OpenedBlocks
  readonly catchUp: CatchUp
  /** Errors: UNKNOWN_TOPIC, TOPIC_CHANGED: what looks damaged or gone may be another topic of the same name. */
  readonly checkTopic: () => Promise<void>
}

type OpenedBlock = Extract<Opened, { kind: 'block' }>['block']

interface Found {
  readonly at: PartitionPosition
  /** Undefined: the end, or not at hand. */
  readonly opened: Opened | undefined
}

/** What a block takes in a reply beside its data, at most: a plain topic has a block for every record. */
const blockHeadBytes = 80
/** A reply is one frame, in an envelope. */
const replyBytesMax = frameBytesMax - 32 * 1024
/** Partitions fetched together when nothing is known of the size of their blocks. */
export const groupMin = 8

export class Reading {
  ends: Ends
  /** Whether `ends` was read after the call began. */
  fresh: boolean
  readonly #deps: ReadingDeps
  readonly #turn: number
  /** By partition: the first place that holds something, as far as it is known. */
  readonly #heads: PartitionPosition[]
  /** What was fetched for this read: it may be too large for the cache. */
  readonly #chunks: (Chunk | undefined)[]
  /** Partitions that cannot be read now. */
  readonly #faults: (ErrorName | undefined)[]
  /** There is more by the log's word, and it does not give it yet: not asked again in this pass. */
  readonly #stuck = new Set<number>()

  constructor(deps: ReadingDeps, positions: readonly PartitionPosition[], turn: number, ends: Ends, fresh: boolean) {
    this.#deps = deps
    this.#turn = turn
    this.#heads = [...positions]
    this.#chunks = new Array<Chunk | undefined>(positions.length)
    this.#faults = new Array<ErrorName | undefined>(positions.length)
    this.ends = ends
    this.fresh = fresh
  }

  /** Why a partition that has more was passed over; undefined when none was. */
  get fault(): ErrorName | undefined {
    return this.#faults.find((error) => error !== undefined)
  }

  isBehind(next: readonly PartitionPosition[]): boolean {
    return next.some(({ offset }, partition) => offset < this.#endOf(partition))
  }

  /** What can be had now, from the same places each time. Errors: UNAVAILABLE, UNKNOWN_TOPIC, TOPIC_CHANGED. */
  async collect(bounds: BatchBounds): Promise<Collected | BlockedRead> {
    this.#stuck.clear()
    const size = this.#heads.length
    const batch: Collected = {
      kind: 'collected',
      blocks: [],
      next: [...this.#heads],
      count: 0,
      bytes: 0,
      full: false,
      turn: this.#turn,
    }
    const served: number[] = []
    for (let step = 0, fetches = 0; step < size && !batch.full; ) {
      const partition = (this.#turn + step) % size
      const { at, opened } = this.#seekHead(partition)
      if (this.#isWanted(partition, opened)) {
        const blocked = await this.#fetchHeads(step, groupSize(batch, bounds, fetches))
        if (blocked !== undefined) return blocked
        fetches += 1
        continue
      }
      if (opened?.kind === 'damaged') return this.#blocked(partition, opened.error, at.offset + 1, opened.why)
      batch.next[partition] = at
      if (opened?.kind === 'block' && take(batch, partition, opened.block, bounds)) served.push(partition)
      step += 1
    }
    this.#takeMore(batch, served, bounds)
    return batch
  }

  /** The first partitions in turn that have more which is not at hand: for the next read, while its client works. */
  notAtHand({ next, turn }: Pick<Collected, 'next' | 'turn'>): Wanted[] {
    const { blocks, topic } = this.#deps
    const behind: Wanted[] = []
    for (let step = 0; step < next.length && behind.length < groupMin; step += 1) {
      const partition = (turn + step) % next.length
      const { offset } = placeOf(next, partition)
      if (offset < this.#endOf(partition)) behind.push({ partition, offset })
    }
    return behind.filter(({ partition, offset }) => !blocks.has(topic.topicId, partition, offset))
  }

  /** Further blocks of the partitions that were served, in turn, as far as they are at hand. */
  #takeMore(batch: Collected, served: readonly number[], bounds: BatchBounds): void {
    let live = served
    while (live.length > 0 && !batch.full) {
      live = live.filter((partition) => {
        if (batch.full) return false
        const { at, opened } = this.#seek(partition, placeOf(batch.next, partition))
        batch.next[partition] = at
        return opened?.kind === 'block' && take(batch, partition, opened.block, bounds)
      })
    }
  }

  #seekHead(partition: number): Found {
    const found = this.#seek(partition, placeOf(this.#heads, partition))
    this.#heads[partition] = found.at
    return found
  }

  /** Something is there that has to be fetched. */
  #isWanted(partition: number, opened: Opened | undefined): boolean {
    if (opened !== undefined || this.#stuck.has(partition)) return false
    const { offset } = placeOf(this.#heads, partition)
    const end = this.#endOf(partition)
    // Ends that were read after the call began know better than a position beyond them: the log tells what is wrong.
    return offset < end || (this.fresh && offset > end)
  }

  /** Fetches the heads of up to `groupMax` partitions that want it, in turn from `step` on. */
  async #fetchHeads(step: number, groupMax: number): Promise<BlockedRead | undefined> {
    const size = this.#heads.length
    const wanted: Wanted[] = []
    for (let at = step; at < size && wanted.length < groupMax; at += 1) {
      const partition = (this.#turn + at) % size
      if (!this.#isWanted(partition, this.#seekHead(partition).opened)) continue
      wanted.push({ partition, offset: placeOf(this.#heads, partition).offset })
    }
    const chunks = await this.#deps.catchUp.fetch(wanted)
    for (const [index, chunk] of chunks.entries()) {
      const { partition = 0, offset = 0 } = wanted[index] ?? {}
      if (chunk.error === 'CURSOR_OUT_OF_RANGE') return this.#blocked(partition, chunk.error, chunk.logStart)
      if (chunk.error === 'UNKNOWN_TOPIC' || chunk.error === 'UNKNOWN_PARTITION') {
        await this.#deps.checkTopic()
        throw new TrunklineError(chunk.error)
      }
      this.#faults[partition] = chunk.error
      this.#chunks[partition] = chunk
      // Nothing there although the end is further: visible later, or not readable now.
      if (chunk.next <= offset) this.#stuck.add(partition)
    }
    return undefined
  }

  /** The first thing at or behind `from` that is no skip, as far as it is at hand. */
  #seek(partition: number, from: PartitionPosition): Found {
    const end = this.#endOf(partition)
    let at = from
    while (at.offset < end) {
      const found = this.#lookUp(partition, at.offset)
      if (found === undefined) break
      if (found.offset !== at.offset) at = { offset: found.offset, index: 0 }
      const { opened } = found
      if (opened === undefined) continue
      const isOver = opened.kind === 'skip' || (opened.kind === 'block' && at.index >= opened.block.count)
      if (!isOver) return { at, opened }
      at = { offset: (opened.kind === 'skip' ? opened.next : undefined) ?? at.offset + 1, index: 0 }
    }
    return { at, opened: undefined }
  }

  /** What lies at `offset`, or where the log goes on when that is gone; undefined when neither is at hand. */
  #lookUp(
    partition: number,
    offset: number,
  ): { readonly offset: number; readonly opened: Opened | undefined } | undefined {
    const chunk = this.#chunks[partition]
    if (chunk !== undefined && chunk.from <= offset && offset < chunk.next) {
      const item = firstFrom(chunk, offset)
      return item ?? { offset: chunk.next, opened: undefined }
    }
    const opened = this.#deps.blocks.get(this.#deps.topic.topicId, partition, offset)
    return opened === undefined ? undefined : { offset, opened }
  }

  async #blocked(partition: number, error: ErrorName, nextOffset: number, why?: ErrorName): Promise<BlockedRead> {
    await this.#deps.checkTopic()
    const { offset } = placeOf(this.#heads, partition)
    const next = [...this.#heads]
    next[partition] = { offset: nextOffset, index: 0 }
    return { kind: 'blocked', error, partition, offset, next, why }
  }

  #endOf(partition: number): number {
    return this.ends[partition] ?? 0
  }
}

/** Adds what fits of a block; false when nothing did. */
function take(batch: Collected, partition: number, block: OpenedBlock, bounds: BatchBounds): boolean {
  const bytesMax = Math.min(bounds.bytesMax, readBytesMax)
  const { offset, index } = placeOf(batch.next, partition)
  let events = Math.min(block.count - index, bounds.eventsMax - batch.count)
  // Events are a share of a block that was unpacked; a block itself travels whole.
  const unpackedEach = bounds.unpacked === true ? Math.max(1, block.rawSize / block.count) : 0
  if (unpackedEach > 0) events = Math.min(events, Math.max(1, Math.floor(bytesMax / unpackedEach)))
  const bytes = unpackedEach > 0 ? Math.ceil(events * unpackedEach) : block.data.length
  const replyBytes = batch.bytes + bytes + (batch.blocks.length + 1) * blockHeadBytes
  if (batch.count > 0 && (batch.bytes + bytes > bytesMax || replyBytes > replyBytesMax)) {
    batch.full = true
    return false
  }
  batch.blocks.push(viewOf(block, index, events))
  batch.count += events
  batch.bytes += bytes
  const end = index + events
  batch.next[partition] = end >= block.count ? { offset: offset + 1, index: 0 } : { offset, index: end }
  batch.turn = (partition + 1) % batch.next.length
  if (batch.count >= bounds.eventsMax || batch.bytes >= bytesMax) batch.full = true
  return true
}

/** Invariant 3: as many heads as the room that is left will take, judged by the blocks so far. */
function groupSize({ blocks, bytes, count }: Collected, bounds: BatchBounds, fetches: number): number {
  if (blocks.length === 0) return groupMin * 2 ** fetches
  const bytesLeft = Math.min(bounds.bytesMax, readBytesMax) - bytes
  const room = Math.min(bytesLeft / (bytes / blocks.length), (bounds.eventsMax - count) / (count / blocks.length))
  return Math.max(groupMin, Math.ceil(room))
}

/** Where a reader begins that does not know whose turn it is: anywhere, but the same for the same positions. */
export function turnOf(positions: readonly PartitionPosition[]): number {
  let mixed = 0
  for (const { offset, index } of positions) mixed = Math.imul(mixed ^ (offset + index), 0x9e3779b1)
  return ((mixed ^ (mixed >>> 15)) >>> 0) % positions.length
}

function placeOf(positions: readonly PartitionPosition[], partition: number): PartitionPosition {
  const position = positions[partition]
  if (position === undefined) throw new Error('a partition that the topic does not have')
  return position
}

/** The shared block itself when all of it counts. */
function viewOf(block: OpenedBlock, first: number, taken: number): Block {
  return first === 0 && taken === block.count ? block : { ...block, first, take: taken }
}

/** The first item at or behind `offset`; items ascend. */
function firstFrom(chunk: Chunk, offset: number): Chunk['items'][number] | undefined {
  let low = 0
  let high = chunk.items.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((chunk.items[middle]?.offset ?? 0) < offset) low = middle + 1
    else high = middle
  }
  return chunk.items[low]
}
