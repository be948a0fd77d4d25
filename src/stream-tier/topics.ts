// Owns: the topics a node has open: settings, one TopicReader each; and topic administration on behalf of the API tier.
// T1 A topic that was deleted and made again has another id: its old reader ends, positions in it answer TOPIC_CHANGED,
//    and nothing that was sealed for the old one is appended any more (`onGone`): nobody could open it in the new one.
// Leaves out: reading itself (read/), names and limits (protocol).
import { type EventLog, type TopicInfo, type TopicSpec, topicFormat } from '../ports/event-log.ts'
import { isErrorNamed, TrunklineError } from '../protocol/errors.ts'
import type { TopicId, TopicName } from '../protocol/ids.ts'
import { topicPartitionsMax } from '../protocol/limits.ts'
import type { TopicReader } from './read/topic-reader.ts'

export interface OpenTopic {
  readonly info: TopicInfo
  readonly reader: TopicReader
}

export interface TopicDefaults {
  /** Makes a topic that a writer names for the first time. */
  readonly autoCreate: boolean
  /** Of a topic made without a number. */
  readonly partitions: number
}

export interface TopicsOptions {
  readonly log: EventLog
  readonly readerOf: (topic: TopicInfo) => TopicReader
  readonly defaults: TopicDefaults
  /** This topic is not there any more: whoever writes to it must stop before a new one of its name can be written to. */
  readonly onGone: (topicId: TopicId) => void
}

export class Topics {
  readonly #options: TopicsOptions
  readonly #open = new Map<TopicName, OpenTopic>()

  constructor(options: TopicsOptions) {
    this.#options = options
  }

  get defaultPartitions(): number {
    return this.#options.defaults.partitions
  }

  /** The topic as the log has it now. Errors: UNKNOWN_TOPIC, UNAVAILABLE. */
  async open(name: TopicName): Promise<OpenTopic> {
    const info = await this.#options.log.topic(name)
    const known = this.#open.get(name)
    if (known !== undefined && known.info.topicId !== info?.topicId) this.#gone(known)
    if (info === undefined) throw new TrunklineError('UNKNOWN_TOPIC', { details: { topic: name } })
    const open = this.#open.get(name) ?? { info, reader: this.#options.readerOf(info) }
    this.#open.set(name, open)
    return open
  }

  /** As open; a writer's new topic is made where that is allowed. */
  async openForWriting(name: TopicName): Promise<OpenTopic> {
    try {
      return await this.open(name)
    } catch (thrown) {
      if (!this.#options.defaults.autoCreate || !isErrorNamed(thrown, 'UNKNOWN_TOPIC')) throw thrown
    }
    try {
      await this.create({ name, partitions: this.defaultPartitions, format: topicFormat.sealed })
    } catch (thrown) {
      if (!isErrorNamed(thrown, 'TOPIC_EXISTS')) throw thrown // Another writer was first.
    }
    return this.open(name)
  }

  /** Errors: TOPIC_EXISTS, BAD_TOPIC_SETTING (with the field), UNSUPPORTED. */
  create(spec: TopicSpec): Promise<TopicInfo> {
    const bounds: readonly (readonly [string, number | undefined, number, number])[] = [
      ['partitions', spec.partitions, 1, topicPartitionsMax],
      ['retentionMs', spec.retentionMs, 1, Number.MAX_SAFE_INTEGER],
      ['retentionBytes', spec.retentionBytes, 1, Number.MAX_SAFE_INTEGER],
    ]
    for (const [field, value, min, max] of bounds) {
      if (value !== undefined && !(Number.isSafeInteger(value) && value >= min && value <= max)) {
        throw new TrunklineError('BAD_TOPIC_SETTING', { details: { field, min: String(min), max: String(max) } })
      }
    }
    if (spec.format !== topicFormat.sealed)
      throw new TrunklineError('UNSUPPORTED', { details: { format: spec.format } })
    return this.#options.log.createTopic(spec)
  }

  async delete(name: TopicName): Promise<void> {
    await this.#options.log.deleteTopic(name)
    const known = this.#open.get(name)
    if (known !== undefined) this.#gone(known)
  }

  list(): Promise<readonly TopicInfo[]> {
    return this.#options.log.topics()
  }

  close(): void {
    for (const { reader } of this.#open.values()) reader.close()
    this.#open.clear()
  }

  /** T1. */
  #gone({ info, reader }: OpenTopic): void {
    reader.close('TOPIC_CHANGED')
    this.#open.delete(info.name)
    this.#options.onGone(info.topicId)
  }
}
