// Owns: the EventLog port: partitioned, append-only, fenced by incarnation. Embedded (lmdb) and Kafka adapters pass
// the one suite in test/conformance/event-log.
// 1. An append is answered `landed` only when it is durable and visible to every later fetch.
// 2. An append is never answered "uncertain": the adapter re-sends the very same batch under the same numbers until it
//    knows, or the writer retires.
// 3. After fence(identity, …) has answered offset B for a partition, no record of that identity ever lands there at an
//    offset ≥ B, and every record of it below B is visible to fetch.
// 4. Offsets of a partition grow by one per record, barriers included; a plain topic may have holes (transactions and
//    compaction of others).
// Leaves out: sealing, joining of producers into batches, looking up what landed (all in the stream tier).
import type { ErrorName } from '../protocol/errors.ts'
import type { Incarnation, TopicId, TopicName } from '../protocol/ids.ts'

export interface TopicPartition {
  readonly topic: TopicName
  readonly partition: number
}

/** Where a batch goes. With `topicId`, a topic made anew under the same name refuses it as TOPIC_CHANGED. */
export interface AppendTarget extends TopicPartition {
  readonly topicId?: TopicId | undefined
}

/** What the log stores: `value` as given, and our one binary header `tl` (src/protocol/record-header.ts) or null. */
export interface AppendRecord {
  readonly key: Uint8Array | null
  readonly value: Uint8Array
  readonly header: Uint8Array | null
  /** Plain topics only: headers beside ours, in order; names may repeat, a value may be null. Absent: none. */
  readonly headers?: readonly RecordField[] | undefined
  /** Plain topics only: the value is null (a tombstone), and `value` is empty. */
  readonly nullValue?: boolean | undefined
}

export type RecordField = readonly [name: string, value: Uint8Array | null]

export interface LogRecord extends AppendRecord {
  readonly offset: number
  /** Set by the log at append; never decreases inside a partition (an adopted topic may keep its writers' times). */
  readonly appendTimeMs: number
  /** The log's own check says that its bytes are not what was written: nothing of it is served, and it is told. */
  readonly damaged?: boolean | undefined
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
  append(at: AppendTarget, records: readonly AppendRecord[]): Promise<AppendOutcome>
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
  /**
   * tail: long polls at the end; catchup: answers at once; lookup: as catchup, at the leader, below a known barrier: it
   * waits for nobody's transaction, and takes what was given up for data.
   */
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
  /**
   * Settings that keep exactly-once from holding here, name → what to set (`min.insync.replicas` → `2`): whoever wants to
   * write is refused with TOPIC_UNSAFE. Absent: none, or the operator allowed the topic by name.
   */
  readonly unsafe?: Readonly<Record<string, string>> | undefined
}

/**
 * earliest: log start; latest: one past what readers get now; end: one past what is replicated, also where a stranger's
 * open transaction still keeps readers from it (whoever looks for what has landed has to look up to there); atOrAfterMs:
 * first record appended at or after, else latest.
 */
export type OffsetQuery = 'earliest' | 'latest' | 'end' | { readonly atOrAfterMs: number }

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
  /**
   * `plain` over a topic that exists and that no gateway made adopts it as it is: the answer says how it really is.
   * Errors: TOPIC_EXISTS, BAD_REQUEST, UNSUPPORTED, TOPIC_UNSAFE, UNAVAILABLE.
   */
  createTopic(spec: TopicSpec): Promise<TopicInfo>
  /** Events and positions are gone for good. Errors: UNKNOWN_TOPIC. */
  deleteTopic(name: TopicName): Promise<void>
  /** Errors: UNAVAILABLE. */
  topic(name: TopicName): Promise<TopicInfo | undefined>
  /** Sorted by name. */
  topics(): Promise<readonly TopicInfo[]>
  /** Stable for the life of the data: part of every cursor's seal. */
  clusterId(): Promise<string>
  close(): Promise<void>
}
