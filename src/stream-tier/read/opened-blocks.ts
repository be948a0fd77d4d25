// Owns: the opened blocks of a node, for all its sessions.
// 1. One open of a block is in flight at a time, and while it is cached it is not opened again.
// 2. Data is shared by everybody who reads it and never changed or copied here.
// 3. Bytes are bounded; what was used longest ago goes. A block above the whole bound passes through uncached.
// 4. What is wrong with a record for good is remembered like a block; a key that is away now is asked for again.
// 5. A record that is one event (plain topics; in any topic what others wrote) becomes a block of one. What is sealed is
//    never taken for one: its value begins with the seal's magic.
// 6. Readers know a topic by its tenant's name for it.
// 7. `forget` drops everything, also what is being opened: when keys were revoked or shredded no plain text stays here.
// Leaves out: fetching (catch-up.ts, shared-tail.ts), keys (crypto).
import { looksSealed } from '../../crypto/block-format.ts'
import { type LogRecord, topicFormat } from '../../ports/event-log.ts'
import { isErrorNamed } from '../../protocol/errors.ts'
import type { ProducerId, TopicId } from '../../protocol/ids.ts'
import { decodeRecordHeader } from '../../protocol/record-header.ts'
import { callerTopicOf, tenantOfLogTopic } from '../../protocol/tenant-topics.ts'
import type { Opened, OpenedTopic } from './opened.ts'
import { plainBlock } from './plain-block.ts'
import type { ReadMetrics } from './read-metrics.ts'

/** What is needed of crypto's BlockOpener. */
export interface Opener {
  open(
    place: {
      readonly topicId: TopicId
      readonly tenant: string
      readonly partition: number
      readonly producerId: ProducerId
      readonly n: number
      readonly part: number
    },
    sealed: Uint8Array,
  ): OpenedData | Promise<OpenedData>
}

export interface OpenedData {
  readonly partition: number
  readonly packing: number
  readonly count: number
  readonly encoding: number
  readonly rawSize: number
  readonly data: Uint8Array
}

export interface OpenedBlocksOptions {
  readonly opener: Opener
  /** readCacheBytes; default 64 MiB. */
  readonly bytesMax?: number | undefined
  readonly metrics?: ReadMetrics | undefined
}

const bytesMaxDefault = 64 * 1024 * 1024
/** Key, map entry, block and buffer objects: what an entry costs beside its data. */
const entryBytes = 512
const skip: Opened = { kind: 'skip' }
const damaged: Opened = { kind: 'damaged', error: 'BLOCK_DAMAGED' }

export class OpenedBlocks {
  readonly #opener: Opener
  readonly #bytesMax: number
  readonly #metrics: ReadMetrics | undefined
  /** In the order of last use. */
  readonly #entries = new Map<string, Opened>()
  readonly #opening = new Map<string, Promise<Opened>>()
  #bytes = 0
  /** What was begun before a `forget` is not kept. */
  #epoch = 0

  constructor({ opener, bytesMax = bytesMaxDefault, metrics }: OpenedBlocksOptions) {
    this.#opener = opener
    this.#bytesMax = bytesMax
    this.#metrics = metrics
  }

  /** Held now, with what the entries cost. */
  get bytes(): number {
    return this.#bytes
  }

  get(topicId: TopicId, partition: number, offset: number): Opened | undefined {
    const key = keyOf(topicId, partition, offset)
    const known = this.#use(key)
    this.#metrics?.lookedUp(known !== undefined)
    return known
  }

  /** Whether `get` would answer, without counting as a use. */
  has(topicId: TopicId, partition: number, offset: number): boolean {
    return this.#entries.has(keyOf(topicId, partition, offset))
  }

  /** From the cache, or opened now; at once when the key is at hand. Never rejects for a fault of the record or its key. */
  open(topic: OpenedTopic, partition: number, record: LogRecord): Opened | Promise<Opened> {
    const key = keyOf(topic.topicId, partition, record.offset)
    const known = this.#use(key) ?? this.#opening.get(key)
    if (known !== undefined) return known
    const opened = this.#openRecord(topic, partition, record)
    if (!(opened instanceof Promise)) return this.#keep(key, opened)
    const epoch = this.#epoch
    const opening = opened
      .then((value) => (epoch === this.#epoch ? this.#keep(key, value) : value))
      .finally(() => {
        if (this.#opening.get(key) === opening) this.#opening.delete(key)
      })
    this.#opening.set(key, opening)
    return opening
  }

  /** Offsets [from, next) hold nothing and never will: readers of the end need not ask the log for them. */
  gap(topicId: TopicId, partition: number, from: number, next: number): void {
    this.#store(keyOf(topicId, partition, from), { kind: 'skip', next })
  }

  forget(): void {
    this.#epoch += 1
    this.#entries.clear()
    this.#opening.clear()
    this.#bytes = 0
  }

  #openRecord(topic: OpenedTopic, partition: number, record: LogRecord): Opened | Promise<Opened> {
    if (record.damaged === true) return damaged
    const isPlain = topic.format === topicFormat.plain
    const header = record.header === null ? undefined : decodeRecordHeader(record.header)
    if (header === undefined) {
      // A sealed topic's records have our header: a broken one is damage, and a seal without one was stripped of it.
      if (!isPlain && (record.header !== null || looksSealed(record.value))) return damaged
      return plainBlock(partition, record, callerTopicOf(topic.name))
    }
    // A barrier is empty: a changed kind must not make a block disappear.
    if (header.kind === 'barrier') return record.value.length === 0 ? skip : damaged
    const { producerId, n, part, index } = header
    if ((index !== undefined) !== isPlain) return damaged
    if (isPlain) return plainBlock(partition, record)
    try {
      const tenant = tenantOfLogTopic(topic.name)
      const data = this.#opener.open({ topicId: topic.topicId, tenant, partition, producerId, n, part }, record.value)
      return data instanceof Promise ? data.then((value) => toBlock(value, record), toFault) : toBlock(data, record)
    } catch (error) {
      return toFault(error)
    }
  }

  #use(key: string): Opened | undefined {
    const known = this.#entries.get(key)
    if (known === undefined) return undefined
    this.#entries.delete(key)
    this.#entries.set(key, known)
    return known
  }

  #keep(key: string, opened: Opened): Opened {
    this.#metrics?.opened(opened.kind)
    const bytes = bytesOf(opened)
    const passing = opened.kind === 'damaged' && opened.error === 'KEY_UNAVAILABLE'
    if (passing || bytes > this.#bytesMax) return opened
    this.#store(key, opened)
    return opened
  }

  #store(key: string, opened: Opened): void {
    const before = this.#entries.get(key)
    if (before !== undefined) this.#bytes -= bytesOf(before)
    this.#entries.delete(key)
    this.#entries.set(key, opened)
    this.#bytes += bytesOf(opened)
    for (const [oldest, value] of this.#entries) {
      if (this.#bytes <= this.#bytesMax) break
      this.#entries.delete(oldest)
      this.#bytes -= bytesOf(value)
    }
  }
}

function toBlock(opened: OpenedData, record: LogRecord): Opened {
  const { partition, packing, count, encoding, rawSize, data } = opened
  const { offset, appendTimeMs } = record
  return { kind: 'block', block: { partition, packing, count, encoding, rawSize, data, offset, appendTimeMs } }
}

function toFault(error: unknown): Opened {
  if (isErrorNamed(error, 'BLOCK_DAMAGED', 'KEY_UNAVAILABLE', 'KEY_SHREDDED'))
    return { kind: 'damaged', error: error.name }
  throw error
}

function bytesOf(opened: Opened): number {
  return entryBytes + (opened.kind === 'block' ? opened.block.data.length : 0)
}

function keyOf(topicId: TopicId, partition: number, offset: number): string {
  return `${offset}:${partition}:${topicId}`
}
