// Owns: names of topics on their way between a caller and the log, for every request and answer that has one.
// 1. A node sees names of the log, a caller names of its tenant: in requests, replies and details of errors.
// Leaves out: the rule itself (src/protocol/tenant-topics.ts).
import type { TrunklineError } from '../../protocol/errors.ts'
import { parseTopicName } from '../../protocol/ids.ts'
import type { TopicDescription } from '../../protocol/messages.ts'
import { callerTopicOf, logTopicOf } from '../../protocol/tenant-topics.ts'

/** Errors: BAD_TOPIC_NAME. */
export function withLogTopic<Q extends { readonly topic?: string | undefined }>(request: Q, tenant: string): Q {
  return request.topic === undefined
    ? request
    : { ...request, topic: logTopicOf(tenant, parseTopicName(request.topic)) }
}

export function describedToCaller(topic: TopicDescription): TopicDescription {
  return { ...topic, name: callerTopicOf(topic.name) }
}

export function errorToCaller(error: TrunklineError): TrunklineError {
  const { topic } = error.details
  if (topic === undefined) return error
  const named = callerTopicOf(topic)
  return named === topic ? error : error.with({ details: { topic: named } })
}
