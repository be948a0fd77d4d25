// Owns: administration of topics for the fronts that offer it (JSON), over GatewayCalls.
// 1. A list holds what its caller may do something with, under the caller's names. A page is full when there is so much,
//    whatever lies between in the log; `more` speaks of the caller's own topics only.
// 2. `after` is a name to go on behind: any text is as good as a page token, since what is shown is judged anew.
// Leaves out: the form of pages (http/routes-topics.ts).

import type { Clock } from '../ports/clock.ts'
import { TrunklineError } from '../protocol/errors.ts'
import { parseTopicName } from '../protocol/ids.ts'
import type { ReplyOf, TopicDescription } from '../protocol/messages.ts'
import {
  callerTopicOf,
  defaultTenant,
  isReservedTopic,
  logTopicOf,
  reservedTopicPrefix,
  topicPrefixOf,
} from '../protocol/tenant-topics.ts'
import {
  type TopicCreateReply,
  type TopicCreateRequest,
  type TopicDeleteReply,
  type TopicListReply,
  type TopicListRequest,
  topicAdminSchemas,
  topicListMax,
} from '../protocol/topic-admin.ts'
import type { Caller } from './auth/bearer.ts'
import { describedToCaller } from './authorize/caller-topics.ts'
import type { CallContext } from './call-context.ts'
import type { AskNode, GatewayCalls } from './gateway-calls.ts'

export interface TopicCallsDeps {
  readonly calls: Pick<GatewayCalls, 'administer' | 'call' | 'authorizer'>
  readonly clock: Clock
}

const createCall = { method: 'topic-create', ...topicAdminSchemas['topic-create'] } as const
const listCall = { method: 'topic-list', ...topicAdminSchemas['topic-list'] } as const
const deleteCall = { method: 'topic-delete', ...topicAdminSchemas['topic-delete'] } as const
/** Of a whole list, however many topics of others lie between. */
const listDeadlineMs = 10_000
/** Behind every name that begins with the reserved prefix: no name has a character above it. */
const behindReserved = `${reservedTopicPrefix}~`

export class TopicCalls {
  readonly #deps: TopicCallsDeps

  constructor(deps: TopicCallsDeps) {
    this.#deps = deps
  }

  /** Errors: FORBIDDEN, BAD_TOPIC_NAME, BAD_TOPIC_SETTING, TOPIC_EXISTS, TOO_MANY_TOPICS. */
  async create(request: TopicCreateRequest, context: CallContext): Promise<TopicCreateReply> {
    return await this.#deps.calls.administer(createCall.method, context, async (caller, ask) => {
      const name = this.#admin(caller, createCall.method, request.name, context)
      const { topic } = await ask(createCall, { ...request, name })
      return { topic: describedToCaller(topic) }
    })
  }

  /** Errors: BAD_REQUEST, DEADLINE. */
  async list({ after, limit }: TopicListRequest, context: CallContext): Promise<TopicListReply> {
    return await this.#deps.calls.administer(listCall.method, context, async (caller, ask) => {
      const found: TopicDescription[] = []
      for await (const topic of this.#topicsOf(caller, after, limit + 1, ask)) {
        if (found.length === limit) return { topics: found, more: true }
        found.push(topic)
      }
      return { topics: found, more: false }
    })
  }

  /** Errors: FORBIDDEN, UNKNOWN_TOPIC. */
  async delete(name: string, context: CallContext): Promise<TopicDeleteReply> {
    return await this.#deps.calls.administer(deleteCall.method, context, async (caller, ask) =>
      ask(deleteCall, { name: this.#admin(caller, deleteCall.method, name, context) }),
    )
  }

  /** Errors: FORBIDDEN, UNKNOWN_TOPIC. */
  async describe(topic: string, context: CallContext): Promise<ReplyOf<'describe'>> {
    return await this.#deps.calls.call('describe', { topic }, context)
  }

  /** The log's name. Errors: FORBIDDEN, BAD_TOPIC_NAME. */
  #admin(caller: Caller, method: string, text: string, { requestId }: CallContext): string {
    const name = parseTopicName(text)
    this.#deps.calls.authorizer.require({ caller, method, requestId }, name, 'admin')
    return logTopicOf(caller.principal.tenant, name)
  }

  /** Invariant 1, in the order of names; asked for in pages of which the first is about as large as what is wanted. */
  async *#topicsOf(
    caller: Caller,
    after: string | undefined,
    wanted: number,
    ask: AskNode,
  ): AsyncGenerator<TopicDescription> {
    const { clock, calls } = this.#deps
    const { tenant } = caller.principal
    const prefix = topicPrefixOf(tenant)
    const endMs = clock.monotonicMs() + listDeadlineMs
    let behind = after === undefined && prefix === '' ? undefined : prefix + (after ?? '')
    let limit = Math.min(wanted, topicListMax)
    for (;;) {
      const page = await ask(listCall, { after: behind, limit })
      for (const topic of page.topics) {
        if (!topic.name.startsWith(prefix)) return
        const named = describedToCaller(topic)
        if (isOf(tenant, topic.name) && calls.authorizer.allowsAny(caller, named.name)) yield named
      }
      const last = page.topics.at(-1)?.name
      if (!page.more || last === undefined) return
      if (clock.monotonicMs() >= endMs) throw new TrunklineError('DEADLINE')
      // All names of other tenants lie together: they are stepped over at once.
      behind = tenant === defaultTenant && isReservedTopic(last) ? behindReserved : last
      limit = topicListMax
    }
  }
}

function isOf(tenant: string, logName: string): boolean {
  return tenant === defaultTenant ? !isReservedTopic(logName) : callerTopicOf(logName) !== logName
}
