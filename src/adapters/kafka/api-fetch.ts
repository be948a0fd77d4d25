// Owns: Fetch v13: without a group, without a fetch session, topics by id, from explicit positions.
// 1. Every partition's answer is kept for itself.
import type { ApiRequest } from './api.ts'

export interface FetchPartition {
  readonly topicId: string
  readonly partition: number
  readonly leaderEpoch: number
  readonly offset: number
  readonly bytesMax: number
}

export interface FetchParts {
  readonly waitMs: number
  readonly bytesMax: number
  /** Nothing of transactions that are open or were given up. */
  readonly committedOnly: boolean
  /** A partition stands here once at most. */
  readonly partitions: readonly FetchPartition[]
}

export interface AbortedTransaction {
  readonly pid: number
  readonly firstOffset: number
}

export interface FetchedPartition {
  readonly topicId: string
  readonly partition: number
  readonly error: number
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly logStart: number
  readonly aborted: readonly AbortedTransaction[]
  /** A view of the answer. */
  readonly bytes: Buffer
}

export interface FetchedAnswer {
  readonly throttleMs: number
  readonly error: number
  readonly partitions: readonly FetchedPartition[]
}

const nothing = Buffer.alloc(0)

export function fetchRequest(parts: FetchParts): ApiRequest<FetchedAnswer> {
  const topics = new Map<string, FetchPartition[]>()
  for (const one of parts.partitions) {
    const known = topics.get(one.topicId)
    if (known === undefined) topics.set(one.topicId, [one])
    else known.push(one)
  }
  return {
    name: 'Fetch',
    version: 13,
    flexible: true,
    body: (writer) => {
      writer.int32(-1).int32(parts.waitMs).int32(1).int32(parts.bytesMax)
      writer.int8(parts.committedOnly ? 1 : 0)
      writer.int32(0).int32(-1) // no session
      writer.compactArray([...topics], ([topicId, partitions]) => {
        writer.uuid(topicId).compactArray(partitions, (one) => {
          writer.int32(one.partition).int32(one.leaderEpoch).int64(one.offset)
          writer.int32(-1).int64(-1).int32(one.bytesMax).noTags()
        })
        writer.noTags()
      })
      writer.uvarint(1).compactString('').noTags()
    },
    parse: (reader) => {
      const throttleMs = reader.int32()
      const error = reader.int16()
      reader.int32()
      const partitions: FetchedPartition[] = []
      reader.compactArray(() => {
        const topicId = reader.uuid()
        reader.compactArray(() => {
          const partition = reader.int32()
          const code = reader.int16()
          const highWatermark = reader.int64()
          const lastStableOffset = reader.int64()
          const logStart = reader.int64()
          const aborted = reader.compactArray(() => {
            const one = { pid: reader.int64(), firstOffset: reader.int64() }
            reader.tags()
            return one
          })
          reader.int32()
          const bytes = reader.compactNullableBytes() ?? nothing
          reader.tags()
          partitions.push({
            topicId,
            partition,
            error: code,
            highWatermark,
            lastStableOffset,
            logStart,
            aborted,
            bytes,
          })
        })
        reader.tags()
      })
      return { throttleMs, error, partitions }
    },
  }
}
