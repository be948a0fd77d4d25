// Owns: LogBroker on LMDB: one process, one folder, the rules of a Kafka broker.
// 1. An answer to produce, and a woken reader, come after the transaction is durable (store.ts).
// 2. A commit that failed is answered STORAGE_FULL or STORAGE_FAILED only when a look shows that nothing of the batch is
//    there; otherwise it is uncertain, and the same numbers sent again find out. LMDB flushes the data before the page
//    that makes it count: if that page was not written, nothing is there after a power cut either; if writing that page
//    failed, LMDB reads nothing any more.
// Leaves out: re-sending, fencing (log-core), who may use the folder (data-dir-lock.ts).
import type { Clock, Timer } from '../../ports/clock.ts'
import type {
  FetchOptions,
  FetchPosition,
  OffsetQuery,
  TopicInfo,
  TopicPartition,
  TopicSpec,
} from '../../ports/event-log.ts'
import type { Random } from '../../ports/random.ts'
import { isErrorNamed, TrunklineError } from '../../protocol/errors.ts'
import { type Incarnation, type TopicName, topicIdFromBytes } from '../../protocol/ids.ts'
import { topicPartitionsMax } from '../../protocol/limits.ts'
import type {
  BrokerFetch,
  InitProducerIdAnswer,
  LogBroker,
  ProduceAnswer,
  ProduceRequest,
} from '../log-core/log-broker.ts'
import { appendInTransaction, requestBytes } from './append.ts'
import { decodeIdentity, decodePartition, encodeIdentity, metaKeys, partitionKey, topicKey } from './layout.ts'
import { encodeTopicRow, type Partition, Partitions, type Topic } from './partitions.ts'
import { offsetAtOrAfter, readPositions } from './read.ts'
import { removeTopicRecords, sweepPartition } from './retention.ts'
import { CommitFailed, type Store } from './store.ts'

export interface LmdbBrokerOptions {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  /** How often retention is applied. Default 30 s. */
  readonly retentionSweepMs?: number
  readonly topicsMax?: number
  /** Hears of failures that no caller waits for (retention). For logs. */
  readonly onProblem?: (problem: unknown) => void
  /** Runs when the broker has closed its files: gives up the folder. */
  readonly onClosed?: () => Promise<void>
}

/** As a Kafka broker's message.max.bytes: of one batch, as stored. */
export const batchBytesMax = 1_048_576
const epochMax = 32_767
const topicsMaxDefault = 1_000
const retentionSweepMsDefault = 30_000

export class LmdbBroker implements LogBroker {
  readonly #store: Store
  readonly #clock: Clock
  readonly #random: Random
  readonly #partitions: Partitions
  readonly #topicsMax: number
  readonly #sweepMs: number
  readonly #onClosed: () => Promise<void>
  readonly #onProblem: (problem: unknown) => void
  readonly #scratch = Buffer.allocUnsafeSlow(batchBytesMax)
  #sweepTimer: Timer | undefined
  #sweeping: Promise<void> = Promise.resolve()
  #closing: Promise<void> | undefined

  constructor(options: LmdbBrokerOptions) {
    this.#store = options.store
    this.#clock = options.clock
    this.#random = options.random
    this.#partitions = Partitions.load(options.store.tables)
    this.#topicsMax = options.topicsMax ?? topicsMaxDefault
    this.#sweepMs = options.retentionSweepMs ?? retentionSweepMsDefault
    this.#onClosed = options.onClosed ?? (() => Promise.resolve())
    this.#onProblem = options.onProblem ?? (() => {})
    this.#scheduleSweep()
  }

  async initProducerId(identity: Incarnation): Promise<InitProducerIdAnswer> {
    const { identities, meta } = this.#store.tables
    const key = Buffer.from(identity)
    try {
      return await this.#store.commit<InitProducerIdAnswer>(key.length, () => {
        const bytes = identities.getBinary(key)
        const known = bytes === undefined ? undefined : decodeIdentity(bytes)
        const row =
          known === undefined || known.epoch === epochMax
            ? { pid: nextNumber(meta, metaKeys.nextPid), epoch: 0 }
            : { pid: known.pid, epoch: known.epoch + 1 }
        identities.putSync(key, encodeIdentity(row))
        return { kind: 'ok', ...row }
      })
    } catch (error) {
      if (error instanceof CommitFailed && error.full) return { kind: 'failed', code: 'STORAGE_FULL' }
      if (error instanceof CommitFailed) return { kind: 'failed', code: 'KAFKA_STORAGE_ERROR' }
      if (error instanceof TrunklineError) return { kind: 'failed', code: 'COORDINATOR_NOT_AVAILABLE' }
      throw error
    }
  }

  async produce(request: ProduceRequest): Promise<ProduceAnswer> {
    const bytes = requestBytes(request)
    if (bytes > batchBytesMax) return { kind: 'failed', code: 'MESSAGE_TOO_LARGE', appended: false }
    const { topic: name, partition: index } = request.at
    const topic = this.#partitions.topic(name)
    const partition = topic?.partitions[index]
    if (topic === undefined || partition === undefined) return unknownTopic
    const { topicId } = request.at
    if (topicId !== undefined && topicId !== topic.row.topicId) return otherTopic
    try {
      const result = await this.#store.commit(
        bytes,
        () => {
          // Deleted while this waited for its transaction: the number is never used again.
          if (this.#partitions.topic(name) !== topic) return { answer: unknownTopic }
          return appendInTransaction(this.#store.tables, topic.row, request, this.#clock.nowMs(), this.#scratch)
        },
        (done) => {
          if (done.partition !== undefined) this.#partitions.moved(topic, index, done.partition)
        },
      )
      return result.answer
    } catch (error) {
      return this.#afterFailure(error, partition)
    }
  }

  async fetch(at: readonly FetchPosition[], options: FetchOptions): Promise<readonly BrokerFetch[]> {
    const untilMs = this.#clock.monotonicMs() + options.waitMs
    for (;;) {
      if (this.#closing !== undefined) throw closed()
      const answer = this.#readable(() => readPositions(this.#store.tables, this.#partitions, at, options.bytesMax))
      const something = answer.some((one) => one.error !== undefined || one.records.length > 0)
      const leftMs = untilMs - this.#clock.monotonicMs()
      if (something || leftMs <= 0 || options.signal?.aborted === true) return answer
      await this.#change(at, leftMs, options.signal)
    }
  }

  async offsets(at: readonly TopicPartition[], query: OffsetQuery): Promise<readonly number[]> {
    if (this.#closing !== undefined) throw closed()
    return at.map((one) => {
      const partition = this.#partitionAt(one)
      if (query === 'earliest') return partition.row.start
      if (query === 'latest' || query === 'end') return partition.row.end
      return this.#readable(() => offsetAtOrAfter(this.#store.tables, partition, query.atOrAfterMs))
    })
  }

  async createTopic(spec: TopicSpec): Promise<TopicInfo> {
    checkSpec(spec)
    const { topics, meta } = this.#store.tables
    const topicId = topicIdFromBytes(uuid(this.#random))
    const topic = await this.#write(
      () => {
        if (topics.getBinary(Buffer.from(spec.name)) !== undefined) throw new TrunklineError('TOPIC_EXISTS')
        // Those that are made in this very transaction count too.
        if ([...topics.getKeys({})].length >= this.#topicsMax) throw new TrunklineError('TOO_MANY_TOPICS')
        const row = { ...spec, topicId, createdAtMs: this.#clock.nowMs(), number: nextNumber(meta, metaKeys.nextTopic) }
        topics.putSync(Buffer.from(spec.name), encodeTopicRow(row))
        return row
      },
      (row) => this.#partitions.add(row),
    )
    return infoOf(topic)
  }

  async deleteTopic(name: TopicName): Promise<void> {
    const topic = this.#partitions.topic(name)
    if (topic === undefined) throw new TrunklineError('UNKNOWN_TOPIC', { details: { topic: name } })
    const { topics, gone } = this.#store.tables
    await this.#write(
      () => {
        if (this.#partitions.topic(name) !== topic)
          throw new TrunklineError('UNKNOWN_TOPIC', { details: { topic: name } })
        topics.removeSync(Buffer.from(name))
        gone.putSync(topicKey(topic.row.number), Buffer.alloc(1))
      },
      () => this.#partitions.remove(topic),
    )
    await removeTopicRecords(this.#store, topic.row.number)
  }

  async topic(name: TopicName): Promise<TopicInfo | undefined> {
    const topic = this.#partitions.topic(name)
    return topic === undefined ? undefined : infoOf(topic.row)
  }

  async topics(): Promise<readonly TopicInfo[]> {
    return this.#partitions.all().map((topic) => infoOf(topic.row))
  }

  async clusterId(): Promise<string> {
    const bytes = this.#store.tables.meta.getBinary(metaKeys.clusterId)
    if (bytes === undefined) throw new TrunklineError('DATA_DIR_DAMAGED')
    return JSON.parse(bytes.toString()) as string
  }

  /** Settles when the sweep and the commits that are under way have ended: simulated time waits for a real disk. */
  async idle(): Promise<void> {
    await this.#sweeping
    await this.#store.idle()
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#sweepTimer?.cancel()
    this.#partitions.wakeAll()
    await this.#sweeping
    await this.#store.close()
    await this.#onClosed()
  }

  #readable<T>(read: () => T): T {
    try {
      return read()
    } catch (error) {
      throw new TrunklineError('UNAVAILABLE', { cause: error })
    }
  }

  /** Resolves at the next change of one of the positions, after `leftMs`, or when the signal aborts. */
  #change(at: readonly FetchPosition[], leftMs: number, signal: AbortSignal | undefined): Promise<void> {
    const partitions = new Set<Partition>()
    for (const one of at) partitions.add(this.#partitionAt(one))
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel()
        signal?.removeEventListener('abort', done)
        for (const partition of partitions) partition.waiters.delete(done)
        resolve()
      }
      const timer = this.#clock.after(leftMs, done)
      signal?.addEventListener('abort', done)
      for (const partition of partitions) partition.waiters.add(done)
    })
  }

  #partitionAt(at: TopicPartition): Partition {
    const topic = this.#partitions.topic(at.topic)
    if (topic === undefined) throw new TrunklineError('UNKNOWN_TOPIC', { details: { topic: at.topic } })
    const partition = topic.partitions[at.partition]
    if (partition === undefined) {
      const details = { topic: at.topic, partition: String(at.partition) }
      throw new TrunklineError('UNKNOWN_PARTITION', { details })
    }
    return partition
  }

  /** A write of a topic's row: failures of the disk become typed errors. */
  async #write<T>(job: () => T, onDurable: (result: T) => void): Promise<T> {
    try {
      return await this.#store.commit(0, job, onDurable)
    } catch (error) {
      if (error instanceof CommitFailed) {
        throw new TrunklineError(error.full ? 'STORAGE_FULL' : 'STORAGE_FAILED', { cause: error })
      }
      throw error
    }
  }

  #afterFailure(error: unknown, partition: Partition): ProduceAnswer {
    if (isErrorNamed(error, 'TOO_MANY_REQUESTS')) {
      return { kind: 'failed', code: 'THROTTLING_QUOTA_EXCEEDED', appended: false }
    }
    if (error instanceof CommitFailed && this.#nothingLanded(partition)) {
      return { kind: 'failed', code: error.full ? 'STORAGE_FULL' : 'STORAGE_FAILED', appended: false }
    }
    return { kind: 'uncertain', why: error instanceof Error ? error.message : 'unknown failure' }
  }

  /** Invariant 2. True when the table holds what was durable before; nothing else commits before this look. */
  #nothingLanded({ topic, partition, row }: Partition): boolean {
    try {
      this.#store.refresh()
      const bytes = this.#store.tables.partitions.getBinary(partitionKey(topic.number, partition))
      return (bytes === undefined ? 0 : decodePartition(bytes).end) === row.end
    } catch {
      // A log that cannot be read proves nothing.
      return false
    }
  }

  #scheduleSweep(): void {
    this.#sweepTimer = this.#clock.after(this.#sweepMs, () => {
      this.#sweeping = this.#sweep().finally(() => {
        if (this.#closing === undefined) this.#scheduleSweep()
      })
    })
  }

  async #sweep(): Promise<void> {
    for (const topic of this.#partitions.all()) {
      for (const partition of topic.partitions) {
        if (this.#closing !== undefined) return
        await this.#sweepOne(topic, partition)
      }
    }
  }

  async #sweepOne(topic: Topic, partition: Partition): Promise<void> {
    try {
      await sweepPartition(this.#store, this.#partitions, topic, partition, this.#clock.nowMs())
    } catch (error) {
      // A full or failing disk, or a damaged row: the next sweep tries again, the other partitions go on.
      this.#onProblem(error)
    }
  }
}

const unknownTopic: ProduceAnswer = { kind: 'failed', code: 'UNKNOWN_TOPIC_OR_PARTITION', appended: false }

const otherTopic: ProduceAnswer = { kind: 'failed', code: 'UNKNOWN_TOPIC_ID', appended: false }

function closed(): TrunklineError {
  return new TrunklineError('UNAVAILABLE', { details: { log: 'closed' } })
}

function checkSpec(spec: TopicSpec): void {
  if (spec.format === 'plain') throw new TrunklineError('UNSUPPORTED', { details: { format: spec.format } })
  const bad = (field: string): TrunklineError => new TrunklineError('BAD_REQUEST', { details: { field } })
  if (!Number.isInteger(spec.partitions) || spec.partitions < 1 || spec.partitions > topicPartitionsMax) {
    throw bad('partitions')
  }
  for (const field of ['retentionMs', 'retentionBytes'] as const) {
    const value = spec[field]
    if (value !== undefined && (!Number.isSafeInteger(value) || value < 0)) throw bad(field)
  }
}

function infoOf(topic: TopicInfo): TopicInfo {
  return {
    name: topic.name,
    partitions: topic.partitions,
    format: topic.format,
    retentionMs: topic.retentionMs,
    retentionBytes: topic.retentionBytes,
    topicId: topic.topicId,
    createdAtMs: topic.createdAtMs,
  }
}

/** RFC 9562, version 4. */
function uuid(random: Random): Uint8Array {
  const bytes = random.bytes(16)
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  return bytes
}

/** The next number of a counter in `meta`, from 1. Inside a write transaction. */
function nextNumber(meta: Store['tables']['meta'], key: Buffer): number {
  const bytes = meta.getBinary(key)
  const next = bytes === undefined ? 1 : Number(bytes.toString())
  meta.putSync(key, Buffer.from(String(next + 1)))
  return next
}
