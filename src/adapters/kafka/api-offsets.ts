// Owns: ListOffsets v5: first, last and by time, at a partition's leader.
import type { ApiRequest } from './api.ts'

export const earliestTimestamp = -2
export const latestTimestamp = -1

export interface OffsetQuestion {
  readonly topic: string
  readonly partition: number
  readonly leaderEpoch: number
  /** −2 earliest, −1 latest, else milliseconds. */
  readonly timestamp: number
}

export interface OffsetAnswer {
  readonly topic: string
  readonly partition: number
  readonly error: number
  /** −1: no record that late. */
  readonly offset: number
}

export function listOffsetsRequest(
  questions: readonly OffsetQuestion[],
  committedOnly: boolean,
): ApiRequest<readonly OffsetAnswer[]> {
  const topics = new Map<string, OffsetQuestion[]>()
  for (const one of questions) {
    const known = topics.get(one.topic)
    if (known === undefined) topics.set(one.topic, [one])
    else known.push(one)
  }
  return {
    name: 'ListOffsets',
    version: 5,
    flexible: false,
    body: (writer) => {
      writer.int32(-1).int8(committedOnly ? 1 : 0)
      writer.array([...topics], ([topic, partitions]) => {
        writer.string(topic).array(partitions, (one) => {
          writer.int32(one.partition).int32(one.leaderEpoch).int64(one.timestamp)
        })
      })
    },
    parse: (reader) => {
      reader.int32()
      const answers: OffsetAnswer[] = []
      reader.array(() => {
        const topic = reader.string()
        reader.array(() => {
          const partition = reader.int32()
          const error = reader.int16()
          reader.int64()
          const offset = reader.int64()
          reader.int32()
          answers.push({ topic, partition, error, offset })
        })
      })
      return answers
    },
  }
}
