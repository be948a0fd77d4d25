// Owns: CreateTopics v7, DeleteTopics v6 (by id), DescribeConfigs v2 (of topics).
import type { ApiRequest } from './api.ts'

export interface NewTopic {
  readonly name: string
  readonly partitions: number
  readonly replication: number
  readonly configs: Readonly<Record<string, string>>
}

export interface CreatedTopic {
  readonly error: number
  readonly topicId: string
}

const serverWaitMs = 10_000

export function createTopicRequest(topic: NewTopic): ApiRequest<CreatedTopic | undefined> {
  return {
    name: 'CreateTopics',
    version: 7,
    flexible: true,
    body: (writer) => {
      writer.compactArray([topic], (one) => {
        writer.compactString(one.name).int32(one.partitions).int16(one.replication)
        writer.uvarint(1) // no assignments of our own
        writer.compactArray(Object.entries(one.configs), ([name, value]) =>
          writer.compactString(name).compactString(value).noTags(),
        )
        writer.noTags()
      })
      writer.int32(serverWaitMs).boolean(false).noTags()
    },
    parse: (reader) => {
      reader.int32()
      const [created] = reader.compactArray((): CreatedTopic => {
        reader.compactString()
        const topicId = reader.uuid()
        const error = reader.int16()
        reader.compactNullableString()
        reader.int32()
        reader.int16()
        reader.compactArray(() => {
          reader.compactString()
          reader.compactNullableString()
          reader.boolean()
          reader.int8()
          reader.boolean()
          reader.tags()
        })
        reader.tags()
        return { error, topicId }
      })
      return created
    },
  }
}

/** Answers the error's number. By id: a topic made anew under the name is not touched. */
export function deleteTopicRequest(topicId: string): ApiRequest<number | undefined> {
  return {
    name: 'DeleteTopics',
    version: 6,
    flexible: true,
    body: (writer) => {
      writer.compactArray([topicId], (one) => writer.compactString(null).uuid(one).noTags())
      writer.int32(serverWaitMs).noTags()
    },
    parse: (reader) => {
      reader.int32()
      const [error] = reader.compactArray(() => {
        reader.compactNullableString()
        reader.uuid()
        const code = reader.int16()
        reader.compactNullableString()
        reader.tags()
        return code
      })
      return error
    },
  }
}

export interface TopicConfigs {
  readonly error: number
  readonly name: string
  readonly configs: ReadonlyMap<string, string>
}

const topicResource = 2

export function describeTopicConfigsRequest(
  names: readonly string[],
  configs: readonly string[],
): ApiRequest<readonly TopicConfigs[]> {
  return {
    name: 'DescribeConfigs',
    version: 2,
    flexible: false,
    body: (writer) => {
      writer.array(names, (name) => {
        writer
          .int8(topicResource)
          .string(name)
          .array(configs, (config) => writer.string(config))
      })
      writer.boolean(false)
    },
    parse: (reader) => {
      reader.int32()
      return reader.array((): TopicConfigs => {
        const error = reader.int16()
        reader.nullableString()
        reader.int8()
        const name = reader.string()
        const values = new Map<string, string>()
        reader.array(() => {
          const config = reader.string()
          const value = reader.nullableString()
          reader.boolean()
          reader.int8()
          reader.boolean()
          reader.array(() => {
            reader.string()
            reader.nullableString()
            reader.int8()
          })
          if (value !== null) values.set(config, value)
        })
        return { error, name, configs: values }
      })
    },
  }
}
