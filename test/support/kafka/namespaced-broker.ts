// Owns: a LogBroker that sees only names of its own: several tests work on one cluster, each as if it were alone.
// 1. Topic names and identities get a prefix on their way in and lose it on their way out; others' topics are not listed.
import type {
  BrokerFetch,
  InitProducerIdAnswer,
  LogBroker,
  ProduceAnswer,
  ProduceRequest,
} from '../../../src/adapters/log-core/log-broker.ts'
import type {
  FetchOptions,
  FetchPosition,
  OffsetQuery,
  TopicInfo,
  TopicPartition,
  TopicSpec,
} from '../../../src/ports/event-log.ts'
import { type Incarnation, parseIncarnation, parseTopicName, type TopicName } from '../../../src/protocol/ids.ts'

export class NamespacedBroker implements LogBroker {
  readonly #inner: LogBroker
  readonly #space: string

  /** `space`: letters, digits and hyphens. */
  constructor(inner: LogBroker, space: string) {
    this.#inner = inner
    this.#space = space
  }

  initProducerId(identity: Incarnation): Promise<InitProducerIdAnswer> {
    return this.#inner.initProducerId(parseIncarnation(`${this.#space}-${identity}`))
  }

  produce(request: ProduceRequest): Promise<ProduceAnswer> {
    return this.#inner.produce({ ...request, at: this.#in(request.at) })
  }

  async fetch(at: readonly FetchPosition[], options: FetchOptions): Promise<readonly BrokerFetch[]> {
    const answers = await this.#inner.fetch(
      at.map((one) => this.#in(one)),
      options,
    )
    return answers.map((one) => ({ ...one, topic: this.#nameOut(one.topic) }))
  }

  offsets(at: readonly TopicPartition[], query: OffsetQuery): Promise<readonly number[]> {
    return this.#inner.offsets(
      at.map((one) => this.#in(one)),
      query,
    )
  }

  async createTopic(spec: TopicSpec): Promise<TopicInfo> {
    return this.#infoOut(await this.#inner.createTopic({ ...spec, name: this.#nameIn(spec.name) }))
  }

  deleteTopic(name: TopicName): Promise<void> {
    return this.#inner.deleteTopic(this.#nameIn(name))
  }

  async topic(name: TopicName): Promise<TopicInfo | undefined> {
    const info = await this.#inner.topic(this.#nameIn(name))
    return info === undefined ? undefined : this.#infoOut(info)
  }

  async topics(): Promise<readonly TopicInfo[]> {
    const all = await this.#inner.topics()
    return all.filter(({ name }) => name.startsWith(this.#nameIn(''))).map((info) => this.#infoOut(info))
  }

  clusterId(): Promise<string> {
    return this.#inner.clusterId()
  }

  close(): Promise<void> {
    return this.#inner.close()
  }

  #in<T extends TopicPartition>(at: T): T {
    return { ...at, topic: this.#nameIn(at.topic) }
  }

  #nameIn(name: string): TopicName {
    return parseTopicName(`${this.#space}_${name}`)
  }

  #nameOut(name: TopicName): TopicName {
    return parseTopicName(name.slice(this.#space.length + 1))
  }

  #infoOut(info: TopicInfo): TopicInfo {
    return { ...info, name: this.#nameOut(info.name) }
  }
}
