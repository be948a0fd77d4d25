// Owns: what a read session gets next from one topic; one reader per (node, topic), shared by all its sessions.
// 1. Within a partition events come in order, none left out but what is reported as blocked.
// 2. A damaged head is met before anything else is collected: a partition never stands still unnoticed.
// 3. Fair: one block of each partition in turn, going on where the last read stopped (the sum of the offsets moves by
//    one a block), so that no partition waits for another to end.
// 4. Blocks are shared with the cache, never copied, never changed.
// 5. `atEnd` is true only when the ends were read after the call began.
// Leaves out: acks and kept batches (the session), sealing of cursors.
import type { Clock } from '../../ports/clock.ts'
import type { EventLog, TopicInfo } from '../../ports/event-log.ts'
import { type ErrorName, TrunklineError } from '../../protocol/errors.ts'
import { readBytesMax } from '../../protocol/limits.ts'
import type { Block } from '../../protocol/messages.ts'
import type { PartitionPosition } from '../../protocol/position.ts'
import { CatchUp, type Chunk } from './catch-up.ts'
import type { CatchUpLanes } from './catch-up-lanes.ts'
import type { Opened, OpenedBlocks } from './opened-blocks.ts'
import type { ReadMetrics } from './read-metrics.ts'
import { type Ends, SharedTail } from './shared-tail.ts'
import { checkTopic } from './topic-check.ts'

export interface TopicReaderDeps {
  readonly log: Pick<EventLog, 'fetch' | 'offsets' | 'topic'>
  /** One per node. */
  readonly blocks: OpenedBlocks
  /** One per node. */
  readonly lanes: CatchUpLanes
  readonly clock: Clock
  readonly topic: TopicInfo
  readonly metrics?: ReadMetrics | undefined
}

export interface ReadOptions {
  readonly eventsMax: number
  /** Of packed data; one block above it is delivered alone. At most readBytesMax. */
  readonly bytesMax: number
  /** The caller unpacks: bytes are counted as events, not as (perhaps compressed) blocks. Default false. */
  readonly unpacked?: boolean
  /** Waits until there is so much, or waitMs are over. Default 1. */
  readonly bytesMin?: number | undefined
  readonly waitMs: number
  /** Ends the wait; the answer is what was there. */
  readonly signal?: AbortSignal | undefined
}

export type ReadBatch =
  | {
      readonly kind: 'batch'
      readonly blocks: readonly Block[]
      /** Events. */
      readonly count: number
      readonly next: readonly PartitionPosition[]
      readonly atEnd: boolean
    }
  /** BLOCK_DAMAGED, KEY_UNAVAILABLE, KEY_SHREDDED: `next` is past the block. CURSOR_OUT_OF_RANGE: at the log's start. */
  | {
      readonly kind: 'blocked'
      readonly error: ErrorName
      readonly partition: number
      readonly offset: number
      readonly next: readonly PartitionPosition[]
    }

type BlockedRead = Extract<ReadBatch, { kind: 'blocked' }>
type OpenedBlock = Extract<Opened, { kind: 'block' }>['block']

/** One read while it runs. */
interface Reading {
  /** By partition: the first place that holds something, once it is known. */
  readonly heads: PartitionPosition[]
  /** What was fetched for this read: it may be too large for the cache. */
  readonly chunks: (Chunk | undefined)[]
  /** Partitions that cannot be read now. */
  readonly faults: (ErrorName | undefined)[]
  ends: Ends
  /** Whether `ends` was read after the call began. */
  fresh: boolean
}

interface Collected {
  readonly blocks: Block[]
  readonly next: readonly PartitionPosition[]
  count: number
  bytes: number
  full: boolean
}

export class TopicReader {
  readonly #deps: TopicReaderDeps
  readonly #catchUp: CatchUp
  readonly #tail: SharedTail
  #closed: ErrorName | undefined

  constructor(deps: TopicReaderDeps) {
    this.#deps = deps
    this.#catchUp = new CatchUp(deps)
    this.#tail = new SharedTail(deps)
  }

  /** Sessions that wait at the end now. */
  get waiters(): number {
    return this.#tail.waiters
  }

  /**
   * The next events from `positions` (one per partition). Changes nothing: the same call gives the same events again.
   * Errors: UNKNOWN_TOPIC, TOPIC_CHANGED, UNAVAILABLE, UNSUPPORTED (plain topics), and what
   * close() was given.
   */
  async read(positions: readonly PartitionPosition[], options: ReadOptions): Promise<ReadBatch> {
    const { clock, topic } = this.#deps
    if (this.#closed !== undefined) throw new TrunklineError(this.#closed)
    if (topic.format !== 'sealed') throw new TrunklineError('UNSUPPORTED', { details: { feature: 'plain topics' } })
    if (positions.length !== topic.partitions) throw new Error('one position per partition')
    const { bytesMin = 1, signal } = options
    const endAtMs = clock.monotonicMs() + options.waitMs
    const reading = await this.#begin(positions)
    let rounds = this.#tail.rounds
    for (;;) {
      const blocked = await this.#findHeads(reading)
      if (blocked !== undefined) return blocked
      const collected = this.#collect(reading, options)
      const enough = collected.full || (collected.count > 0 && collected.bytes >= bytesMin)
      if (enough) return this.#finish(reading, collected)
      const fault = reading.faults.find((error) => error !== undefined)
      if (fault !== undefined && collected.count === 0) throw new TrunklineError(fault)
      const leftMs = endAtMs - clock.monotonicMs()
      if (leftMs <= 0 || signal?.aborted) {
        if (reading.fresh || signal?.aborted) return this.#finish(reading, collected)
        await this.#refresh(reading)
        continue
      }
      await this.#tail.wait(reading.ends, leftMs, signal)
      if (this.#tail.ends === undefined) continue
      reading.ends = this.#tail.ends
      // An answer of the poll that came while this read waited is as new as any.
      if (this.#tail.rounds > rounds) reading.fresh = true
      rounds = this.#tail.rounds
    }
  }

  /** Waiting reads, and all that come later, end with this error. Idempotent. */
  close(because: 'DRAINING' | 'TOPIC_CHANGED' = 'DRAINING'): void {
    this.#closed ??= because
    this.#tail.close(because)
  }

  async #begin(positions: readonly PartitionPosition[]): Promise<Reading> {
    const polled = this.#tail.ends
    const ends = polled ?? (await this.#tail.freshEnds())
    return {
      heads: [...positions],
      chunks: new Array<Chunk | undefined>(positions.length),
      faults: new Array<ErrorName | undefined>(positions.length),
      ends,
      fresh: polled === undefined,
    }
  }

  async #refresh(reading: Reading): Promise<void> {
    reading.ends = await this.#tail.freshEnds()
    reading.fresh = true
  }

  /** Moves every head to something that can be delivered or to the end; fetches what is not at hand. */
  async #findHeads(reading: Reading): Promise<BlockedRead | undefined> {
    const { heads, ends, chunks, faults } = reading
    const start = startPartition(heads)
    const stuck = new Set<number>()
    for (;;) {
      const wanted: { partition: number; offset: number }[] = []
      for (let step = 0; step < heads.length; step += 1) {
        const partition = (start + step) % heads.length
        if (stuck.has(partition)) continue
        const found = this.#seek(reading, partition, headOf(heads, partition))
        heads[partition] = found.at
        if (found.opened?.kind === 'damaged')
          return this.#blocked(reading, partition, found.opened.error, found.at.offset + 1)
        // Ends that were read after the call began know better than a position beyond them: the log tells what is wrong.
        const beyond = reading.fresh && found.at.offset > (ends[partition] ?? 0)
        if (found.opened === undefined && (found.at.offset < (ends[partition] ?? 0) || beyond)) {
          wanted.push({ partition, offset: found.at.offset })
        }
      }
      if (wanted.length === 0) return undefined
      const fetched = await this.#catchUp.fetch(wanted)
      for (const [index, chunk] of fetched.entries()) {
        const { partition = 0, offset = 0 } = wanted[index] ?? {}
        if (chunk.error === 'CURSOR_OUT_OF_RANGE') return this.#blocked(reading, partition, chunk.error, chunk.logStart)
        if (chunk.error === 'UNKNOWN_TOPIC' || chunk.error === 'UNKNOWN_PARTITION') {
          await this.#checkTopic()
          throw new TrunklineError(chunk.error)
        }
        faults[partition] = chunk.error
        chunks[partition] = chunk
        // Nothing there although the end is further: visible later, or not readable now.
        if (chunk.next <= offset) stuck.add(partition)
      }
    }
  }

  /** The first thing at or behind `at` that is no skip, as far as it is at hand. */
  #seek(
    reading: Reading,
    partition: number,
    from: PartitionPosition,
  ): { readonly at: PartitionPosition; readonly opened: Opened | undefined } {
    const end = reading.ends[partition] ?? 0
    let at = from
    while (at.offset < end) {
      const found = this.#lookUp(reading.chunks[partition], partition, at.offset)
      if (found === undefined) break
      if (found.offset !== at.offset) at = { offset: found.offset, index: 0 }
      const { opened } = found
      if (opened === undefined) continue
      const isOver = opened.kind === 'skip' || (opened.kind === 'block' && at.index >= opened.block.count)
      if (!isOver) return { at, opened }
      at = { offset: at.offset + 1, index: 0 }
    }
    return { at, opened: undefined }
  }

  /** What lies at `offset`, or where the log goes on when that is gone; undefined when neither is at hand. */
  #lookUp(
    chunk: Chunk | undefined,
    partition: number,
    offset: number,
  ): { readonly offset: number; readonly opened: Opened | undefined } | undefined {
    if (chunk !== undefined && chunk.from <= offset && offset < chunk.next) {
      const item = firstFrom(chunk, offset)
      return item ?? { offset: chunk.next, opened: undefined }
    }
    const opened = this.#deps.blocks.get(this.#deps.topic.topicId, partition, offset)
    return opened === undefined ? undefined : { offset, opened }
  }

  /** Takes blocks in turn until the batch is full or nothing more is at hand. */
  #collect(reading: Reading, options: ReadOptions): Collected {
    const bytesMax = Math.min(options.bytesMax, readBytesMax)
    const next = [...reading.heads]
    const collected: Collected = { blocks: [], next, count: 0, bytes: 0, full: false }
    const start = startPartition(next)
    let live = next
      .map((_, step) => (start + step) % next.length)
      .filter((partition) => headOf(next, partition).offset < (reading.ends[partition] ?? 0))
    while (live.length > 0 && !collected.full) {
      live = live.filter((partition) => {
        if (collected.full) return false
        const { at, opened } = this.#seek(reading, partition, headOf(next, partition))
        next[partition] = at
        if (opened?.kind !== 'block') return false
        const { block } = opened
        let take = Math.min(block.count - at.index, options.eventsMax - collected.count)
        // Events are a share of a block that was unpacked; a block itself travels whole.
        const unpackedEach = options.unpacked === true ? Math.max(1, block.rawSize / block.count) : 0
        if (unpackedEach > 0) take = Math.min(take, Math.max(1, Math.floor(bytesMax / unpackedEach)))
        const bytes = unpackedEach > 0 ? Math.ceil(take * unpackedEach) : block.data.length
        if (collected.count > 0 && collected.bytes + bytes > bytesMax) {
          collected.full = true
          return false
        }
        collected.blocks.push(viewOf(block, at.index, take))
        collected.count += take
        collected.bytes += bytes
        const index = at.index + take
        next[partition] = index >= block.count ? { offset: at.offset + 1, index: 0 } : { offset: at.offset, index }
        if (collected.count >= options.eventsMax || collected.bytes >= bytesMax) collected.full = true
        return true
      })
    }
    return collected
  }

  #finish(reading: Reading, collected: Collected): ReadBatch {
    const { blocks, count, next } = collected
    const behind = next.some(({ offset }, partition) => offset < (reading.ends[partition] ?? 0))
    if (behind) this.#readAhead(reading, next)
    return { kind: 'batch', blocks, count, next, atEnd: reading.fresh && !behind }
  }

  /** Fetches the next chunk into the cache while the client works, when a lane is free. */
  #readAhead(reading: Reading, next: readonly PartitionPosition[]): void {
    const { blocks, lanes, topic } = this.#deps
    if (!lanes.isFree) return
    const wanted = next
      .map(({ offset }, partition) => ({ partition, offset }))
      .filter(
        ({ partition, offset }) =>
          offset < (reading.ends[partition] ?? 0) && !blocks.has(topic.topicId, partition, offset),
      )
    if (wanted.length === 0) return
    this.#catchUp.fetch(wanted).catch(() => {
      // Nobody waits for it: the read that needs these records asks again and is told.
    })
  }

  /** Errors: UNKNOWN_TOPIC, TOPIC_CHANGED: what looks damaged or gone may be another topic of the same name. */
  async #blocked(reading: Reading, partition: number, error: ErrorName, nextOffset: number): Promise<BlockedRead> {
    await this.#checkTopic()
    const { offset } = headOf(reading.heads, partition)
    const next = [...reading.heads]
    next[partition] = { offset: nextOffset, index: 0 }
    return { kind: 'blocked', error, partition, offset, next }
  }

  #checkTopic(): Promise<void> {
    const { log, topic } = this.#deps
    return checkTopic(log, topic.name, topic.topicId)
  }
}

/** Invariant 3. */
function startPartition(positions: readonly PartitionPosition[]): number {
  let sum = 0
  for (const { offset } of positions) sum = (sum + offset) % positions.length
  return sum
}

function headOf(positions: readonly PartitionPosition[], partition: number): PartitionPosition {
  const position = positions[partition]
  if (position === undefined) throw new Error('a partition that the topic does not have')
  return position
}

/** The shared block itself when all of it counts. */
function viewOf(block: OpenedBlock, first: number, take: number): Block {
  return first === 0 && take === block.count ? block : { ...block, first, take }
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
