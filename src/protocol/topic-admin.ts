// Owns: administration of topics between the tiers: bodies of the envelopes 'topic-create', 'topic-list' and
// 'topic-delete', which any stream node serves (through Switchboard.allocate, without a session).
// One topic is described by the public method `describe`.
// Errors of the node: BAD_TOPIC_NAME, BAD_TOPIC_SETTING, TOPIC_EXISTS, TOO_MANY_TOPICS, UNKNOWN_TOPIC, UNAVAILABLE.
// Leaves out: the public form of it (JSON API), who may do it (the API tier).
import type { TopicDescription } from './messages.ts'
import { binary, bool, defineStruct, i32, i64, list, optional, required, string, struct } from './thrift/schema.ts'
import { schemas } from './thrift/schemas.ts'

/** Absent settings take the gateway's defaults: 8 partitions, sealed, kept for ever. */
export interface TopicCreateRequest {
  name: string
  partitions?: number | undefined
  /** 'sealed' or 'plain'. */
  format?: string | undefined
  retentionMs?: number | undefined
  /** Per partition. */
  retentionBytes?: number | undefined
}

export interface TopicCreateReply {
  topic: TopicDescription
}

/** Sorted by name. */
export interface TopicListRequest {
  /** Only names behind this one. */
  after?: string | undefined
  /** 1..`topicListMax`. */
  limit: number
}

export interface TopicListReply {
  /** Without `earliest` and `latest`. */
  topics: readonly TopicDescription[]
  /** There are more behind the last one. */
  more: boolean
}

export interface TopicDeleteRequest {
  name: string
}

/** Events and positions are gone for good. */
export interface TopicDeleteReply {
  topicId: Uint8Array
}

/** Topics in one answer: some 300 B each at most, far below a frame. */
export const topicListMax = 1_000

/** Field tables for encodeStruct and decodeStruct. */
export const topicAdminSchemas = {
  'topic-create': {
    request: defineStruct<TopicCreateRequest>('TopicCreateRequest', {
      name: required(1, string),
      partitions: optional(2, i32),
      format: optional(3, string),
      retentionMs: optional(4, i64),
      retentionBytes: optional(5, i64),
    }),
    reply: defineStruct<TopicCreateReply>('TopicCreateReply', {
      topic: required(1, struct(schemas.TopicDescription)),
    }),
  },
  'topic-list': {
    request: defineStruct<TopicListRequest>('TopicListRequest', {
      after: optional(1, string),
      limit: required(2, i32),
    }),
    reply: defineStruct<TopicListReply>('TopicListReply', {
      topics: required(1, list(struct(schemas.TopicDescription))),
      more: required(2, bool),
    }),
  },
  'topic-delete': {
    request: defineStruct<TopicDeleteRequest>('TopicDeleteRequest', {
      name: required(1, string),
    }),
    reply: defineStruct<TopicDeleteReply>('TopicDeleteReply', {
      topicId: required(1, binary),
    }),
  },
} as const
