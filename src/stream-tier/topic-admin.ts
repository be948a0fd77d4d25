// Owns: topic administration asked for by the API tier (create, list, delete), as internal methods of the envelope.
// Leaves out: who may (API tier), bounds and storage (topics.ts, the log).
import { type TopicInfo, topicFormat } from '../ports/event-log.ts'
import { TrunklineError } from '../protocol/errors.ts'
import { idToBytes, parseTopicName } from '../protocol/ids.ts'
import type { TopicDescription } from '../protocol/messages.ts'
import { decodeStruct, encodeStruct } from '../protocol/thrift/codec.ts'
import {
  type TopicCreateRequest,
  type TopicListRequest,
  topicAdminSchemas,
  topicListMax,
} from '../protocol/topic-admin.ts'
import type { Topics } from './topics.ts'

export class TopicAdmin {
  readonly #topics: Topics

  constructor(topics: Topics) {
    this.#topics = topics
  }

  /** Reply body of the method. Errors: UNKNOWN_METHOD, and those of Topics. */
  async run(method: string, body: Uint8Array): Promise<Uint8Array> {
    switch (method) {
      case 'topic-create': {
        const { request, reply } = topicAdminSchemas[method]
        return encodeStruct(reply, { topic: await this.#create(decodeStruct(request, body)) })
      }
      case 'topic-list': {
        const { request, reply } = topicAdminSchemas[method]
        return encodeStruct(reply, await this.#list(decodeStruct(request, body)))
      }
      case 'topic-delete': {
        const { request, reply } = topicAdminSchemas[method]
        const name = parseTopicName(decodeStruct(request, body).name)
        const { info } = await this.#topics.open(name)
        await this.#topics.delete(name)
        return encodeStruct(reply, { topicId: idToBytes(info.topicId) })
      }
      default:
        throw new TrunklineError('UNKNOWN_METHOD', { details: { method } })
    }
  }

  async #create(request: TopicCreateRequest): Promise<TopicDescription> {
    const {
      format = topicFormat.sealed,
      partitions = this.#topics.defaultPartitions,
      retentionMs,
      retentionBytes,
    } = request
    if (format !== topicFormat.sealed && format !== topicFormat.plain) {
      throw new TrunklineError('BAD_TOPIC_SETTING', { details: { field: 'format' } })
    }
    const name = parseTopicName(request.name)
    return describeTopic(await this.#topics.create({ name, partitions, format, retentionMs, retentionBytes }))
  }

  async #list({ after, limit }: TopicListRequest): Promise<{ topics: TopicDescription[]; more: boolean }> {
    if (limit < 1 || limit > topicListMax) throw new TrunklineError('BAD_REQUEST', { details: { field: 'limit' } })
    const behind = (await this.#topics.list()).filter(({ name }) => after === undefined || name > after)
    return { topics: behind.slice(0, limit).map(describeTopic), more: behind.length > limit }
  }
}

/** A topic as the API shows it, without its offsets. */
export function describeTopic(info: TopicInfo): TopicDescription {
  const { name, topicId, partitions, format, retentionMs, retentionBytes, createdAtMs } = info
  return { name, topicId: idToBytes(topicId), partitions, format, retentionMs, retentionBytes, createdAtMs }
}
