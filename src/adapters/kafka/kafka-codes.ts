// Owns: Kafka's error numbers, and what log-core calls them.
// Leaves out: what an error means for a batch (log-core's produce-answers.ts).
import type { BrokerCode } from '../log-core/log-broker.ts'

export const kafkaCode = {
  none: 0,
  offsetOutOfRange: 1,
  unknownTopicOrPartition: 3,
  leaderNotAvailable: 5,
  notLeader: 6,
  requestTimedOut: 7,
  invalidTopic: 17,
  topicAuthorizationFailed: 29,
  groupAuthorizationFailed: 30,
  clusterAuthorizationFailed: 31,
  unsupportedVersion: 35,
  topicAlreadyExists: 36,
  invalidPartitions: 37,
  invalidReplicationFactor: 38,
  invalidConfig: 40,
  notController: 41,
  policyViolation: 44,
  topicDeletionDisabled: 73,
  throttlingQuotaExceeded: 89,
  unknownTopicId: 100,
} as const

const brokerCodes: ReadonlyMap<number, BrokerCode> = new Map<number, BrokerCode>([
  [3, 'UNKNOWN_TOPIC_OR_PARTITION'],
  [5, 'LEADER_NOT_AVAILABLE'],
  [6, 'NOT_LEADER_OR_FOLLOWER'],
  [7, 'REQUEST_TIMED_OUT'],
  [10, 'MESSAGE_TOO_LARGE'],
  [13, 'NETWORK_EXCEPTION'],
  [14, 'COORDINATOR_LOAD_IN_PROGRESS'],
  [15, 'COORDINATOR_NOT_AVAILABLE'],
  [16, 'NOT_COORDINATOR'],
  [18, 'RECORD_LIST_TOO_LARGE'],
  [19, 'NOT_ENOUGH_REPLICAS'],
  [20, 'NOT_ENOUGH_REPLICAS_AFTER_APPEND'],
  [29, 'TOPIC_AUTHORIZATION_FAILED'],
  [31, 'CLUSTER_AUTHORIZATION_FAILED'],
  [32, 'INVALID_TIMESTAMP'],
  [45, 'OUT_OF_ORDER_SEQUENCE_NUMBER'],
  [46, 'DUPLICATE_SEQUENCE_NUMBER'],
  [47, 'INVALID_PRODUCER_EPOCH'],
  [51, 'CONCURRENT_TRANSACTIONS'],
  [53, 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED'],
  [56, 'KAFKA_STORAGE_ERROR'],
  [59, 'UNKNOWN_PRODUCER_ID'],
  [87, 'INVALID_RECORD'],
  [89, 'THROTTLING_QUOTA_EXCEEDED'],
  [90, 'PRODUCER_FENCED'],
  [100, 'UNKNOWN_TOPIC_ID'],
])

/** A number that is not known says nothing for certain, as UNKNOWN_SERVER_ERROR does. */
export function brokerCodeOf(code: number): BrokerCode {
  return brokerCodes.get(code) ?? 'UNKNOWN_SERVER_ERROR'
}

/** The broker that was asked is not (or not yet, or no more) the one to ask, or the topic is another one. */
export function isMetadataStale(code: number): boolean {
  // 9 replica not available, 56 storage, 74/75 leader epochs, 78 the end is not known yet, 103 inconsistent topic id
  return [3, 5, 6, 9, 56, 74, 75, 78, 100, 103].includes(code)
}
