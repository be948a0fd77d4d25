// Owns: who leads a partition now, as one answer of three: there, not there at all, nobody just now.
import type { BrokerAddress, TopicMetadata } from './api-metadata.ts'
import type { Metadata } from './metadata.ts'

export interface Led {
  readonly kind: 'led'
  readonly topic: TopicMetadata
  readonly leader: BrokerAddress
  readonly leaderEpoch: number
}

export type Leadership =
  | Led
  | { readonly kind: 'no-topic' }
  | { readonly kind: 'no-partition'; readonly topic: TopicMetadata }
  | { readonly kind: 'no-leader'; readonly topic: TopicMetadata }

export function leadershipOf(metadata: Metadata, topic: TopicMetadata | undefined, partition: number): Leadership {
  if (topic === undefined) return { kind: 'no-topic' }
  const known = topic.partitions[partition]
  if (known === undefined || known.partition !== partition) return { kind: 'no-partition', topic }
  const leader = metadata.broker(known.leader)
  if (leader === undefined) return { kind: 'no-leader', topic }
  return { kind: 'led', topic, leader, leaderEpoch: known.leaderEpoch }
}
