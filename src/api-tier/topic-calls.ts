// Owns: administration of topics for the fronts that offer it (JSON), over GatewayCalls.
import type { ReplyOf } from '../protocol/messages.ts'
import {
  type TopicCreateReply,
  type TopicCreateRequest,
  type TopicDeleteReply,
  type TopicListReply,
  type TopicListRequest,
  topicAdminSchemas,
} from '../protocol/topic-admin.ts'
import type { CallContext } from './call-context.ts'
import type { GatewayCalls } from './gateway-calls.ts'

export class TopicCalls {
  readonly #calls: GatewayCalls

  constructor(calls: GatewayCalls) {
    this.#calls = calls
  }

  /** Errors: BAD_TOPIC_NAME, BAD_TOPIC_SETTING, TOPIC_EXISTS, TOO_MANY_TOPICS. */
  async create(request: TopicCreateRequest, context: CallContext): Promise<TopicCreateReply> {
    return await this.#calls.administer(
      { method: 'topic-create', ...topicAdminSchemas['topic-create'] },
      request,
      context,
    )
  }

  async list(request: TopicListRequest, context: CallContext): Promise<TopicListReply> {
    return await this.#calls.administer({ method: 'topic-list', ...topicAdminSchemas['topic-list'] }, request, context)
  }

  /** Errors: UNKNOWN_TOPIC. */
  async delete(name: string, context: CallContext): Promise<TopicDeleteReply> {
    return await this.#calls.administer(
      { method: 'topic-delete', ...topicAdminSchemas['topic-delete'] },
      { name },
      context,
    )
  }

  /** Errors: UNKNOWN_TOPIC. */
  async describe(topic: string, context: CallContext): Promise<ReplyOf<'describe'>> {
    return await this.#calls.call('describe', { topic }, context)
  }
}
