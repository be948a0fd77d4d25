// Owns: what each answer of a broker means for a batch (notes: the closed list of definite failures). Pure.
// 1. Definite is a closed list; whatever is not on it is uncertain.
// 2. NOT_LEADER and UNKNOWN_TOPIC are definite only without a base offset: with one, a leader had appended the batch.
// 3. After one uncertain answer of a batch only an offset is definite any more; FencedLog's writer keeps that.
import type { ErrorName } from '../../protocol/errors.ts'
import type { BrokerCode, ProduceAnswer } from './log-broker.ts'

export type Meaning =
  | { readonly kind: 'landed'; readonly baseOffset: number; readonly appendTimeMs: number }
  /** Certainly nothing of this sending landed, and sending it again cannot help. */
  | { readonly kind: 'refused'; readonly error: ErrorName }
  /** Certainly nothing of this sending landed; it may land when sent again. */
  | { readonly kind: 'not-now' }
  /** As not-now, unless the topic or the partition does not exist. */
  | { readonly kind: 'no-topic' }
  | { readonly kind: 'uncertain' }
  /** A barrier is there: the incarnation is over. */
  | { readonly kind: 'fenced' }
  /** The partition does not know our numbers any more: whether the batch landed cannot be told. */
  | { readonly kind: 'forgotten' }

export function meaningOf(answer: ProduceAnswer): Meaning {
  switch (answer.kind) {
    case 'landed':
      return answer
    case 'uncertain':
      return { kind: 'uncertain' }
    case 'failed':
      return meaningOfFailure(answer.code, answer.appended)
  }
}

function meaningOfFailure(code: BrokerCode, appended: boolean): Meaning {
  switch (code) {
    case 'MESSAGE_TOO_LARGE':
    case 'RECORD_LIST_TOO_LARGE':
      return { kind: 'refused', error: 'BLOCK_TOO_LARGE' }
    case 'INVALID_TIMESTAMP':
    case 'INVALID_RECORD':
    case 'TOPIC_AUTHORIZATION_FAILED':
    case 'CLUSTER_AUTHORIZATION_FAILED':
    case 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED':
      return { kind: 'refused', error: 'WRITE_REFUSED' }
    case 'STORAGE_FULL':
    case 'STORAGE_FAILED':
      return { kind: 'refused', error: code }
    case 'NOT_ENOUGH_REPLICAS':
    case 'THROTTLING_QUOTA_EXCEEDED':
    case 'NOT_SENT':
      return { kind: 'not-now' }
    case 'NOT_LEADER_OR_FOLLOWER':
      return appended ? { kind: 'uncertain' } : { kind: 'not-now' }
    case 'UNKNOWN_TOPIC_OR_PARTITION':
    case 'UNKNOWN_TOPIC_ID':
      return appended ? { kind: 'uncertain' } : { kind: 'no-topic' }
    case 'INVALID_PRODUCER_EPOCH':
    case 'PRODUCER_FENCED':
      return { kind: 'fenced' }
    case 'OUT_OF_ORDER_SEQUENCE_NUMBER':
    case 'DUPLICATE_SEQUENCE_NUMBER':
    case 'UNKNOWN_PRODUCER_ID':
      return { kind: 'forgotten' }
    case 'LEADER_NOT_AVAILABLE':
    case 'REQUEST_TIMED_OUT':
    case 'NETWORK_EXCEPTION':
    case 'COORDINATOR_LOAD_IN_PROGRESS':
    case 'COORDINATOR_NOT_AVAILABLE':
    case 'NOT_COORDINATOR':
    case 'CONCURRENT_TRANSACTIONS':
    case 'NOT_ENOUGH_REPLICAS_AFTER_APPEND':
    case 'KAFKA_STORAGE_ERROR':
    case 'UNKNOWN_SERVER_ERROR':
      return { kind: 'uncertain' }
  }
}
