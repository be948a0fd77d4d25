// Owns: Metadata v12: brokers, topics with their ids, leaders.
// 1. A partition without a leader, or a topic with an error, is an answer like any other and spoils no other one.
import type { ApiRequest } from './api.ts'

export interface BrokerAddress {
  readonly nodeId: number
  readonly host: string
  readonly port: number
}

export interface PartitionMetadata {
  readonly partition: number
  /** −1: none. */
  readonly leader: number
  readonly leaderEpoch: number
  readonly replicas: number
}

export interface TopicMetadata {
  readonly error: number
  readonly name: string
  readonly topicId: string
  readonly internal: boolean
  /** By partition number, without holes. */
  readonly partitions: readonly PartitionMetadata[]
}

export interface ClusterMetadata {
  readonly brokers: readonly BrokerAddress[]
  readonly clusterId: string | null
  readonly controllerId: number
  readonly topics: readonly TopicMetadata[]
}

const nobody = '00000000000000000000000000000000'

/** `names` undefined: all topics. */
export function metadataRequest(names: readonly string[] | undefined): ApiRequest<ClusterMetadata> {
  return {
    name: 'Metadata',
    version: 12,
    flexible: true,
    body: (writer) => {
      if (names === undefined) writer.uvarint(0)
      else writer.compactArray(names, (name) => writer.uuid(nobody).compactString(name).noTags())
      // No topic is ever made by asking for it.
      writer.boolean(false).boolean(false).noTags()
    },
    parse: (reader) => {
      reader.int32()
      const brokers = reader.compactArray(() => {
        const broker = { nodeId: reader.int32(), host: reader.compactString(), port: reader.int32() }
        reader.compactNullableString()
        reader.tags()
        return broker
      })
      const clusterId = reader.compactNullableString()
      const controllerId = reader.int32()
      const topics = reader.compactArray((): TopicMetadata => {
        const error = reader.int16()
        const name = reader.compactNullableString() ?? ''
        const topicId = reader.uuid()
        const internal = reader.boolean()
        const partitions = reader.compactArray((): PartitionMetadata => {
          reader.int16()
          const partition = reader.int32()
          const leader = reader.int32()
          const leaderEpoch = reader.int32()
          const replicas = reader.compactArray(() => reader.int32()).length
          reader.compactArray(() => reader.int32())
          reader.compactArray(() => reader.int32())
          reader.tags()
          return { partition, leader, leaderEpoch, replicas }
        })
        reader.int32()
        reader.tags()
        return {
          error,
          name,
          topicId,
          internal,
          partitions: partitions.sort((a, b) => a.partition - b.partition),
        }
      })
      return { brokers, clusterId, controllerId, topics }
    },
  }
}
