// Owns: Produce: v13 (topics by id) where the broker has it, v9 (topics by name) otherwise.
// 1. Every partition's answer is kept for itself: one error never hides another partition's success.
import type { ApiRequest } from './api.ts'

export const produceByIdVersion = 13
const produceByNameVersion = 9

export interface ProducePartition {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly batch: Buffer
}

export interface ProducePartitionAnswer {
  /** Name or id, as the request had it. */
  readonly topic: string
  readonly partition: number
  readonly error: number
  readonly baseOffset: number
  /** −1: the topic keeps its writers' times. */
  readonly appendTimeMs: number
}

export interface ProduceParts {
  readonly acks: 'all' | 'leader'
  /** How long the broker waits for replication. */
  readonly waitMs: number
  readonly byId: boolean
  readonly partitions: readonly ProducePartition[]
}

export interface ProduceAnswers {
  readonly throttleMs: number
  readonly answers: readonly ProducePartitionAnswer[]
}

export function produceRequest(parts: ProduceParts): ApiRequest<ProduceAnswers> {
  const topics = new Map<string, ProducePartition[]>()
  for (const one of parts.partitions) {
    const key = parts.byId ? one.topicId : one.topic
    const known = topics.get(key)
    if (known === undefined) topics.set(key, [one])
    else known.push(one)
  }
  return {
    name: 'Produce',
    version: parts.byId ? produceByIdVersion : produceByNameVersion,
    flexible: true,
    body: (writer) => {
      writer
        .compactString(null)
        .int16(parts.acks === 'all' ? -1 : 1)
        .int32(parts.waitMs)
      writer.compactArray([...topics], ([key, partitions]) => {
        if (parts.byId) writer.uuid(key)
        else writer.compactString(key)
        writer.compactArray(partitions, ({ partition, batch }) => writer.int32(partition).compactBytes(batch).noTags())
        writer.noTags()
      })
      writer.noTags()
    },
    parse: (reader) => {
      const answers: ProducePartitionAnswer[] = []
      reader.compactArray(() => {
        const topic = parts.byId ? reader.uuid() : reader.compactString()
        reader.compactArray(() => {
          const partition = reader.int32()
          const error = reader.int16()
          const baseOffset = reader.int64()
          const appendTimeMs = reader.int64()
          reader.int64()
          reader.compactArray(() => {
            reader.int32()
            reader.compactNullableString()
            reader.tags()
          })
          reader.compactNullableString()
          reader.tags()
          answers.push({ topic, partition, error, baseOffset, appendTimeMs })
        })
        reader.tags()
      })
      return { throttleMs: reader.int32(), answers }
    },
  }
}
