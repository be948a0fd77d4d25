// Owns: telling a topic from another one of the same name.
import type { EventLog } from '../../ports/event-log.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import type { TopicId, TopicName } from '../../protocol/ids.ts'

/** Errors: UNKNOWN_TOPIC (deleted), TOPIC_CHANGED (made anew). */
export async function checkTopic(log: Pick<EventLog, 'topic'>, topic: TopicName, topicId: TopicId): Promise<void> {
  const info = await log.topic(topic)
  if (info === undefined) throw new TrunklineError('UNKNOWN_TOPIC')
  if (info.topicId !== topicId) throw new TrunklineError('TOPIC_CHANGED')
}
