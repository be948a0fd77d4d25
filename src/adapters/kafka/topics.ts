// Owns: topics: made, deleted, listed, and what their settings mean.
// 1. A topic that was made or deleted here is so at every broker that can be asked before the answer is given.
// 2. What is known of a topic is at most `metadataMaxAgeMs` old, its settings `configMaxAgeMs`; a name that is not known
//    is asked for at once.
// 3. Kafka's own topics and our registry are never listed, and cannot be used.
// Leaves out: who may do it.
import { type Clock, sleep } from '../../ports/clock.ts'
import type { TopicInfo, TopicSpec } from '../../ports/event-log.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { parseTopicId, parseTopicName, type TopicName } from '../../protocol/ids.ts'
import { topicPartitionsMax } from '../../protocol/limits.ts'
import type { BrokerAddress, TopicMetadata } from './api-metadata.ts'
import { createTopicRequest, deleteTopicRequest, describeTopicConfigsRequest } from './api-topics.ts'
import { kafkaCode } from './kafka-codes.ts'
import type { Lane } from './lane.ts'
import type { Metadata } from './metadata.ts'
import type { KafkaSettings } from './settings.ts'
import { boundOf, configsOf, readConfigs, type TopicDefaults, unsafeSettings } from './topic-configs.ts'
import { type RegistryEntry, registryTopic, type TopicRegistry } from './topic-registry.ts'
import { TransportError } from './transport-error.ts'

export interface TopicsParts {
  readonly metadata: Metadata
  readonly lane: Lane
  readonly registry: TopicRegistry
  readonly clock: Clock
  readonly settings: KafkaSettings
  readonly topicDefaults: TopicDefaults
  readonly unsafeTopics: readonly string[]
}

interface KnownConfigs {
  readonly configs: ReadonlyMap<string, string>
  readonly atMs: number
}

/** No id: those are hexadecimal digits. */
const exists = 'exists'
const describeAtOnceMax = 500
/** Making and deleting touch disks and every broker. */
const adminTimeoutMs = 20_000
const everywhereMsMax = 10_000
const agreePauseMs = 50

export class Topics {
  readonly #parts: TopicsParts
  /** By topic id. */
  #configs = new Map<string, KnownConfigs>()

  constructor(parts: TopicsParts) {
    this.#parts = parts
  }

  /** Errors: UNAVAILABLE. */
  async info(name: TopicName): Promise<TopicInfo | undefined> {
    const { metadata, settings } = this.#parts
    return typed(async () => {
      const topic = await metadata.topic(name, settings.metadataMaxAgeMs)
      if (topic === undefined || isHidden(topic)) return undefined
      const [info] = await this.#infos([topic])
      return info
    })
  }

  /** Errors: UNAVAILABLE. */
  async list(): Promise<readonly TopicInfo[]> {
    return typed(async () => {
      const all = (await this.#parts.metadata.all()).filter((topic) => !isHidden(topic))
      const infos = await this.#infos(all)
      return [...infos].sort((a, b) => (a.name < b.name ? -1 : 1))
    })
  }

  /** Errors: TOPIC_EXISTS, BAD_REQUEST, BAD_TOPIC_NAME, TOPIC_UNSAFE, BROKER_REFUSED, UNAVAILABLE. */
  async create(spec: TopicSpec): Promise<TopicInfo> {
    checkSpec(spec)
    const { clock, topicDefaults, registry } = this.#parts
    const configs = configsOf(spec, topicDefaults)
    return typed(async () => {
      if (!(await this.#exists(spec.name))) this.#checkSafe(spec.name, configs)
      const made = await this.#make(spec.name, spec.partitions, configs)
      if (made === exists) return this.#adopt(spec)
      await this.#everywhere(spec.name, (topic) => topic?.topicId === made && topic.partitions.every(hasLeader))
      const entry: RegistryEntry = { name: spec.name, format: spec.format, createdAtMs: clock.nowMs() }
      await registry.put(made, entry)
      const info = await this.info(spec.name)
      if (info === undefined || info.topicId !== made) throw new TrunklineError('UNAVAILABLE')
      return info
    })
  }

  /** Errors: UNKNOWN_TOPIC, BROKER_REFUSED, UNAVAILABLE. */
  async delete(name: TopicName): Promise<void> {
    const { lane, metadata, registry } = this.#parts
    await typed(async () => {
      await metadata.refresh([name])
      const topic = metadata.known(name)
      if (topic === undefined || isHidden(topic))
        throw new TrunklineError('UNKNOWN_TOPIC', { details: { topic: name } })
      const error = await lane.request(this.#controller(), deleteTopicRequest(topic.topicId), adminTimeoutMs)
      if (error === kafkaCode.unknownTopicId || error === kafkaCode.unknownTopicOrPartition) {
        metadata.forget(name)
        throw new TrunklineError('UNKNOWN_TOPIC', { details: { topic: name } })
      }
      if (error !== kafkaCode.none) throw refusal(error ?? -1)
      await this.#everywhere(name, (one) => one === undefined || one.topicId !== topic.topicId)
      this.#configs.delete(topic.topicId)
      await registry.remove(topic.topicId)
    })
  }

  /** For the registry. Fine when it is there. Errors: BROKER_REFUSED, UNAVAILABLE. */
  async makeRegistry(): Promise<void> {
    const { topicDefaults } = this.#parts
    await typed(async () => {
      const made = await this.#make(registryTopic, 1, {
        'cleanup.policy': 'compact',
        'min.insync.replicas': String(topicDefaults.minInsyncReplicas),
        'unclean.leader.election.enable': 'false',
      })
      await this.#everywhere(
        registryTopic,
        (topic) =>
          topic !== undefined && (made === exists || topic.topicId === made) && topic.partitions.every(hasLeader),
      )
    })
  }

  /** A topic that is there and that no gateway made is taken as it is. */
  async #adopt(spec: TopicSpec): Promise<TopicInfo> {
    const { metadata, registry, clock } = this.#parts
    const taken = new TrunklineError('TOPIC_EXISTS', { details: { topic: spec.name } })
    if (spec.format !== 'plain') throw taken
    await metadata.refresh([spec.name])
    const topic = metadata.known(spec.name)
    if (topic === undefined) throw new TrunklineError('UNAVAILABLE')
    if (isHidden(topic)) throw taken
    await registry.read()
    if ((await registry.entry(topic.topicId)) !== undefined) throw taken
    await registry.put(topic.topicId, { name: spec.name, format: spec.format, createdAtMs: clock.nowMs() })
    const [info] = await this.#infos([topic])
    if (info === undefined) throw new TrunklineError('UNAVAILABLE')
    return info
  }

  async #exists(name: string): Promise<boolean> {
    const { metadata } = this.#parts
    await metadata.refresh([name])
    return metadata.known(name) !== undefined
  }

  /** What would be refused to every writer is not made at all. */
  #checkSafe(name: string, configs: Readonly<Record<string, string>>): void {
    if (this.#isAllowed(name)) return
    const { replication } = this.#parts.topicDefaults
    const unsafe = unsafeSettings(replication, new Map(Object.entries(configs)))
    if (Object.keys(unsafe).length > 0) throw new TrunklineError('TOPIC_UNSAFE', { details: unsafe })
  }

  #isAllowed(name: string): boolean {
    const { unsafeTopics } = this.#parts
    return unsafeTopics.includes('*') || unsafeTopics.includes(name)
  }

  /** The new topic's id, or that there is one already. */
  async #make(name: string, partitions: number, configs: Readonly<Record<string, string>>): Promise<string> {
    const { lane, metadata, topicDefaults } = this.#parts
    await metadata.clusterId()
    const request = createTopicRequest({ name, partitions, replication: topicDefaults.replication, configs })
    for (let attempt = 1; ; attempt++) {
      const created = await lane.request(this.#controller(), request, adminTimeoutMs)
      if (created === undefined) throw new TrunklineError('UNAVAILABLE')
      if (created.error === kafkaCode.none) return created.topicId
      if (created.error === kafkaCode.topicAlreadyExists) return exists
      if (created.error !== kafkaCode.notController || attempt === 3) throw refusal(created.error)
      await metadata.refresh([])
    }
  }

  /** Waits until all brokers that can be asked say so; a bounded time, then whoever asks a late one has to ask again. */
  async #everywhere(name: string, isSo: (topic: TopicMetadata | undefined) => boolean): Promise<void> {
    const { clock, metadata } = this.#parts
    const deadlineAtMs = clock.monotonicMs() + everywhereMsMax
    let left = metadata.brokers
    while (left.length > 0 && clock.monotonicMs() < deadlineAtMs) {
      const asked = await Promise.all(
        left.map(async (broker) => ({ broker, agrees: await this.#agrees(broker, name, isSo) })),
      )
      left = asked.filter(({ agrees }) => !agrees).map(({ broker }) => broker)
      if (left.length > 0) await sleep(clock, agreePauseMs)
    }
    metadata.forget(name)
    await metadata.refresh([name])
  }

  async #agrees(
    broker: BrokerAddress,
    name: string,
    isSo: (topic: TopicMetadata | undefined) => boolean,
  ): Promise<boolean> {
    try {
      const { topics } = await this.#parts.metadata.ask(broker, [name])
      return isSo(topics.find((topic) => topic.name === name && topic.error === kafkaCode.none))
    } catch (error) {
      // One that cannot be asked serves nobody now, and will have learned it when it does.
      if (error instanceof TransportError) return true
      throw error
    }
  }

  async #infos(topics: readonly TopicMetadata[]): Promise<readonly TopicInfo[]> {
    const configs = await this.#configsOf(topics)
    const infos: TopicInfo[] = []
    for (const topic of topics) {
      const found = configs.get(topic.topicId)
      // Deleted between two questions.
      if (found === undefined) continue
      const entry = await this.#parts.registry.entry(topic.topicId)
      infos.push(this.#infoOf(topic, found, entry))
    }
    return infos
  }

  #infoOf(topic: TopicMetadata, configs: ReadonlyMap<string, string>, entry: RegistryEntry | undefined): TopicInfo {
    const replication = Math.min(...topic.partitions.map(({ replicas }) => replicas))
    const unsafe = this.#isAllowed(topic.name) ? {} : unsafeSettings(replication, configs)
    return {
      name: parseTopicName(topic.name),
      partitions: topic.partitions.length,
      format: entry?.format ?? 'sealed',
      retentionMs: boundOf(configs.get('retention.ms')),
      retentionBytes: boundOf(configs.get('retention.bytes')),
      topicId: parseTopicId(topic.topicId),
      createdAtMs: entry?.createdAtMs ?? 0,
      ...(Object.keys(unsafe).length === 0 ? {} : { unsafe }),
    }
  }

  /** By topic id. */
  async #configsOf(topics: readonly TopicMetadata[]): Promise<ReadonlyMap<string, ReadonlyMap<string, string>>> {
    const { clock, settings } = this.#parts
    const nowMs = clock.monotonicMs()
    const old = topics.filter(({ topicId }) => {
      const known = this.#configs.get(topicId)
      return known === undefined || nowMs - known.atMs > settings.configMaxAgeMs
    })
    for (let from = 0; from < old.length; from += describeAtOnceMax) {
      await this.#describe(old.slice(from, from + describeAtOnceMax), nowMs)
    }
    const found = new Map<string, ReadonlyMap<string, string>>()
    for (const { topicId } of topics) {
      const known = this.#configs.get(topicId)
      if (known !== undefined) found.set(topicId, known.configs)
    }
    if (this.#configs.size > topics.length + describeAtOnceMax) {
      const kept = [...this.#configs].filter(([, { atMs }]) => nowMs - atMs <= 10 * settings.configMaxAgeMs)
      this.#configs = new Map(kept)
    }
    return found
  }

  async #describe(topics: readonly TopicMetadata[], nowMs: number): Promise<void> {
    const { lane, settings } = this.#parts
    const names = topics.map(({ name }) => name)
    const answers = await lane.request(
      this.#controller(),
      describeTopicConfigsRequest(names, readConfigs),
      settings.requestTimeoutMs,
    )
    for (const topic of topics) {
      const answer = answers.find(({ name }) => name === topic.name)
      if (answer?.error === kafkaCode.none) this.#configs.set(topic.topicId, { configs: answer.configs, atMs: nowMs })
      else if (answer?.error === kafkaCode.unknownTopicOrPartition) this.#configs.delete(topic.topicId)
      else if (answer?.error === kafkaCode.topicAuthorizationFailed) throw refusal(answer.error)
      else throw new TrunklineError('UNAVAILABLE')
    }
  }

  #controller(): BrokerAddress {
    const { controller } = this.#parts.metadata
    if (controller === undefined) throw new TrunklineError('UNAVAILABLE')
    return controller
  }
}

function isHidden(topic: TopicMetadata): boolean {
  return topic.internal || topic.partitions.length === 0 || isReserved(topic.name)
}

function isReserved(name: string): boolean {
  return name.startsWith('__') || name === registryTopic
}

function hasLeader({ leader }: { readonly leader: number }): boolean {
  return leader >= 0
}

/** What Kafka says to an administrator, in our words. */
function refusal(error: number): TrunklineError {
  switch (error) {
    case kafkaCode.invalidTopic:
      return new TrunklineError('BAD_TOPIC_NAME')
    case kafkaCode.invalidPartitions:
      return new TrunklineError('BAD_REQUEST', { details: { field: 'partitions' } })
    case kafkaCode.invalidConfig:
      return new TrunklineError('BAD_REQUEST', { details: { field: 'retention' } })
    case kafkaCode.policyViolation:
      return new TrunklineError('BAD_REQUEST', { details: { reason: 'policy' } })
    case kafkaCode.topicAuthorizationFailed:
    case kafkaCode.clusterAuthorizationFailed:
    case kafkaCode.topicDeletionDisabled:
      return new TrunklineError('BROKER_REFUSED', { details: { broker: 'kafka', reason: 'permissions' } })
    case kafkaCode.throttlingQuotaExceeded:
      return new TrunklineError('TOO_MANY_REQUESTS')
    default:
      return new TrunklineError('UNAVAILABLE', { details: { kafka: String(error) } })
  }
}

async function typed<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw error instanceof TransportError ? new TrunklineError('UNAVAILABLE', { cause: error }) : error
  }
}

function checkSpec(spec: TopicSpec): void {
  if (isReserved(spec.name)) throw new TrunklineError('BAD_TOPIC_NAME')
  const bad = (field: string): TrunklineError => new TrunklineError('BAD_REQUEST', { details: { field } })
  if (!Number.isInteger(spec.partitions) || spec.partitions < 1 || spec.partitions > topicPartitionsMax) {
    throw bad('partitions')
  }
  for (const field of ['retentionMs', 'retentionBytes'] as const) {
    const value = spec[field]
    if (value !== undefined && (!Number.isSafeInteger(value) || value < 0)) throw bad(field)
  }
}
