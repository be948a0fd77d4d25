// Owns: what FencedLog needs of a log: a narrow interface that speaks like a Kafka broker. Kafka, the embedded log and
// the simulated cluster implement it; FencedLog on top is the EventLog of all three.
// 1. Every method of a broker settles in bounded time, and `initProducerId` and `produce` never reject: what went wrong
//    is an answer.
// 2. `failed` without `appended` is the broker's own word on this one sending; it says nothing of earlier sendings.
// 3. `landed` means: durable, replicated as `acks` asks, and visible to every later fetch.
// Leaves out: re-sending, deadlines, retirement, fencing (fenced-log.ts and what it uses).
import type {
  AppendRecord,
  AppendTarget,
  FetchOptions,
  FetchPosition,
  LogRecord,
  OffsetQuery,
  PartitionFetch,
  TopicInfo,
  TopicPartition,
  TopicSpec,
} from '../../ports/event-log.ts'
import type { Incarnation, TopicName } from '../../protocol/ids.ts'

/**
 * Kafka's names for Kafka's errors. Ours, and certain: STORAGE_FULL and STORAGE_FAILED (nothing was written), NOT_SENT
 * (there was no connection: no byte of the request left this process).
 */
export type BrokerCode =
  | 'UNKNOWN_TOPIC_OR_PARTITION'
  | 'UNKNOWN_TOPIC_ID'
  | 'LEADER_NOT_AVAILABLE'
  | 'NOT_LEADER_OR_FOLLOWER'
  | 'REQUEST_TIMED_OUT'
  | 'NETWORK_EXCEPTION'
  | 'COORDINATOR_LOAD_IN_PROGRESS'
  | 'COORDINATOR_NOT_AVAILABLE'
  | 'NOT_COORDINATOR'
  | 'CONCURRENT_TRANSACTIONS'
  | 'MESSAGE_TOO_LARGE'
  | 'RECORD_LIST_TOO_LARGE'
  | 'NOT_ENOUGH_REPLICAS'
  | 'NOT_ENOUGH_REPLICAS_AFTER_APPEND'
  | 'TOPIC_AUTHORIZATION_FAILED'
  | 'CLUSTER_AUTHORIZATION_FAILED'
  | 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED'
  | 'INVALID_TIMESTAMP'
  | 'INVALID_RECORD'
  | 'OUT_OF_ORDER_SEQUENCE_NUMBER'
  | 'DUPLICATE_SEQUENCE_NUMBER'
  | 'UNKNOWN_PRODUCER_ID'
  | 'INVALID_PRODUCER_EPOCH'
  | 'PRODUCER_FENCED'
  | 'KAFKA_STORAGE_ERROR'
  | 'THROTTLING_QUOTA_EXCEEDED'
  | 'UNKNOWN_SERVER_ERROR'
  | 'STORAGE_FULL'
  | 'STORAGE_FAILED'
  | 'NOT_SENT'

export type InitProducerIdAnswer =
  | { readonly kind: 'ok'; readonly pid: number; readonly epoch: number }
  /** Nothing was raised, or it is not known: asking again may answer a higher epoch. */
  | { readonly kind: 'failed'; readonly code: BrokerCode }

export interface ProduceRequest {
  /** Barriers have connections of their own where a broker has connections. */
  readonly purpose: 'data' | 'barrier'
  /** `all`: answered after replication. FencedLog never asks for less; `leader` exists so that a test can prove it. */
  readonly acks: 'all' | 'leader'
  readonly pid: number
  readonly epoch: number
  /** Number of the first record, per (pid, partition), modulo 2^31. */
  readonly firstSequence: number
  /** With a topic id, a topic made anew under the name takes nothing: UNKNOWN_TOPIC_ID. */
  readonly at: AppendTarget
  /** At least one. One unit: all or none, consecutive offsets. */
  readonly records: readonly AppendRecord[]
}

export type ProduceAnswer =
  /** Also the answer to a batch that had landed before: with the first offset. */
  | { readonly kind: 'landed'; readonly baseOffset: number; readonly appendTimeMs: number }
  | {
      readonly kind: 'failed'
      readonly code: BrokerCode
      /** A base offset came with the error: it was appended at a leader, and may or may not stay. */
      readonly appended: boolean
    }
  /** No answer: it may have landed, may land later, or never. `why` is for logs. */
  | { readonly kind: 'uncertain'; readonly why: string }

export interface BrokerRecord extends LogRecord {
  /** −1 when the record was not written by an idempotent producer. */
  readonly pid: number
  readonly epoch: number
}

export interface BrokerFetch extends PartitionFetch {
  readonly records: readonly BrokerRecord[]
}

export interface LogBroker {
  /** Raises the identity's producer epoch: 0 for a new identity, one more for each later call. */
  initProducerId(identity: Incarnation): Promise<InitProducerIdAnswer>
  produce(request: ProduceRequest): Promise<ProduceAnswer>
  /** As EventLog.fetch. */
  fetch(at: readonly FetchPosition[], options: FetchOptions): Promise<readonly BrokerFetch[]>
  /** As EventLog.offsets. */
  offsets(at: readonly TopicPartition[], query: OffsetQuery): Promise<readonly number[]>
  createTopic(spec: TopicSpec): Promise<TopicInfo>
  deleteTopic(name: TopicName): Promise<void>
  topic(name: TopicName): Promise<TopicInfo | undefined>
  topics(): Promise<readonly TopicInfo[]>
  clusterId(): Promise<string>
  close(): Promise<void>
}

const sequenceModulus = 2 ** 31

/** The number behind `count` records that begin at `sequence`; wraps as Kafka's does, to 0 after 2^31 − 1. */
export function sequenceAfter(sequence: number, count: number): number {
  return (sequence + count) % sequenceModulus
}
