// Owns: the EventLog port: partitioned, append-only, fenced by incarnation. Embedded (lmdb) and Kafka adapters pass
// the one suite in test/conformance/event-log.
// 1. An append is answered `landed` only when it is durable and visible to every later fetch.
// 2. An append is never answered "uncertain": the adapter re-sends the very same batch under the same numbers until it
//    knows, or the writer retires.
// 3. After fence(identity, …) has answered offset B for a partition, no record of that identity ever lands there at an
//    offset ≥ B, and every record of it below B is visible to fetch.
// 4. Offsets of a partition grow by one per record, barriers included.
// Leaves out: sealing, joining of producers into batches, looking up what landed (all in the stream tier).
import type { ErrorName } from '../protocol/errors.ts'
import type { Incarnation, TopicId, TopicName } from '../protocol/ids.ts'

export interface TopicPartition {
  readonly topic: TopicName
  readonly partition: number
}

/** What the log stores: `value` as given, and our one binary header `tl` (src/protocol/record-header.ts) or null. */
export interface AppendRecord {
  readonly key: Uint8Array | null
  readonly value: Uint8Array
  readonly header: Uint8Array | null
}

export interface LogRecord extends AppendRecord {
  readonly offset: number
  /** Set by the log at append; never decreases inside a partition. */
  readonly appendTimeMs: number
}

export type AppendOutcome =
  | { readonly kind: 'landed'; readonly baseOffset: number; readonly appendTimeMs: number }
  /** Certainly nothing of the batch is in the log, and the writer may go on. */
  | { readonly kind: 'refused'; readonly error: ErrorName }
  /** The incarnation is over; what became of the batch only a fence and a look-up can tell. */
  | { readonly kind: 'retired'; readonly reason: RetireReason }

export type RetireReason = 'fenced' | 'deadline' | 'sequence-forgotten' | 'stand-still' | 'failed' | 'closed'

/** One incarnation's right to append. At producer epoch 0 for life. */
export interface LogWriter {
  readonly identity: Incarnation
  /** The log's number for the identity; travels in session tokens so that a successor fences the right one. */
  readonly pid: number
  /**
   * Appends one batch to one partition; the records are one unit (all or none, consecutive offsets).
   * The caller has at most one batch in flight per partition (an assertion).
   */
  append(at: TopicPartition, records: readonly AppendRecord[]): Promise<AppendOutcome>
  /** Settles once, with the reason, when the incarnation ends; every later append answers `retired`. */
  readonly retired: Promise<RetireReason>
  close(): Promise<void>
}

export interface FenceTarget {
  readonly identity: Incarnation
  readonly pid: number
}

/** Offset of a barrier per asked partition, in the order asked. */
export type FenceAnswer = readonly { readonly at: TopicPartition; readonly barrierOffset: number }[]

export interface FetchPosition extends TopicPartition {
  readonly offset: number
}

export interface FetchOptions {
  /** tail: long polls at the end; catchup: answers at once; lookup: as catchup, at the leader, below a known barrier. */
  readonly lane: 'tail' | 'catchup' | 'lookup'
  /** How long to wait while nothing at all is there; 0 for catchup and lookup. */
  readonly waitMs: number
  /** Soft: at least one record per partition with data is answered, whatever its size. */
  readonly bytesMax: number
  readonly signal?: AbortSignal
}

export interface PartitionFetch extends TopicPartition {
  /** OFFSET_OUT_OF_RANGE is CURSOR_OUT_OF_RANGE; never a silent reset. */
  readonly error?: ErrorName
  /** First offset that is kept. */
  readonly logStart: number
  /** One past the last visible record. */
  readonly highWatermark: number
  /** Where to go on; moves even when `records` is empty (records that are gone). */
  readonly nextOffset: number
  readonly records: readonly LogRecord[]
}

export const topicFormat = { sealed: 'sealed', plain: 'plain' } as const
export type TopicFormat = (typeof topicFormat)[keyof typeof topicFormat]

export interface TopicSpec {
  readonly name: TopicName
  readonly partitions: number
  readonly format: TopicFormat
  /** Undefined: kept for ever. By append time; checked by the log's own sweep. */
  readonly retentionMs?: number | undefined
  /** Per partition. Undefined: no bound. */
  readonly retentionBytes?: number | undefined
}

export interface TopicInfo extends TopicSpec {
  readonly topicId: TopicId
  readonly createdAtMs: number
}

/** earliest: log start; latest: high watermark; atOrAfterMs: first record appended at or after, else the end. */
export type OffsetQuery = 'earliest' | 'latest' | { readonly atOrAfterMs: number }

export interface EventLog {
  /** Takes the identity for the first time. A used identity is refused by an Error (identities are never reused). */
  open(identity: Incarnation): Promise<LogWriter>
  /**
   * Ends an incarnation in those partitions (invariant 3). Idempotent; several nodes may do it at once.
   * Errors: UNAVAILABLE (retryable), UNKNOWN_TOPIC, UNKNOWN_PARTITION.
   */
  fence(target: FenceTarget, at: readonly TopicPartition[]): Promise<FenceAnswer>
  /** One answer per asked position, in order. Wakes on appends, never polls. Rejects only as UNAVAILABLE. */
  fetch(at: readonly FetchPosition[], options: FetchOptions): Promise<readonly PartitionFetch[]>
  /** One offset per asked partition, in order. Errors: UNKNOWN_TOPIC, UNKNOWN_PARTITION, UNAVAILABLE. */
  offsets(at: readonly TopicPartition[], query: OffsetQuery): Promise<readonly number[]>
  /** Errors: TOPIC_EXISTS, BAD_REQUEST, UNSUPPORTED. */
  createTopic(spec: TopicSpec): Promise<TopicInfo>
  /** Events and positions are gone for good. Errors: UNKNOWN_TOPIC. */
  deleteTopic(name: TopicName): Promise<void>
  topic(name: TopicName): Promise<TopicInfo | undefined>
  /** Sorted by name. */
  topics(): Promise<readonly TopicInfo[]>
  /** Stable for the life of the data: part of every cursor's seal. */
  clusterId(): Promise<string>
  close(): Promise<void>
}
