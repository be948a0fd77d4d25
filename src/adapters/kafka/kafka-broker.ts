// Owns: LogBroker on a Kafka cluster: its parts put together, their failures typed.
// Leaves out: what makes appends never uncertain (log-core), how each part works (the other files here).
import type { Clock } from '../../ports/clock.ts'
import type {
  FetchOptions,
  FetchPosition,
  OffsetQuery,
  TopicInfo,
  TopicPartition,
  TopicSpec,
} from '../../ports/event-log.ts'
import type { Random } from '../../ports/random.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import type { Incarnation, TopicName } from '../../protocol/ids.ts'
import type {
  BrokerFetch,
  InitProducerIdAnswer,
  LogBroker,
  ProduceAnswer,
  ProduceRequest,
} from '../log-core/log-broker.ts'
import type { BrokerAddress } from './api-metadata.ts'
import type { Dialer } from './dialer.ts'
import { FetchLanes } from './fetch-lanes.ts'
import { Lane } from './lane.ts'
import { Metadata } from './metadata.ts'
import type { KafkaMetrics } from './metrics.ts'
import { Offsets } from './offsets.ts'
import { Producer } from './producer.ts'
import { Reader } from './reader.ts'
import type { KafkaSettings } from './settings.ts'
import { Tail } from './tail.ts'
import type { TopicDefaults } from './topic-configs.ts'
import { TopicRegistry } from './topic-registry.ts'
import { Topics } from './topics.ts'
import { TransportError } from './transport-error.ts'
import { WaitingReader } from './waiting-reader.ts'

export interface KafkaBrokerParts {
  readonly dialer: Dialer
  readonly bootstrap: readonly BrokerAddress[]
  readonly clientId: string
  readonly clock: Clock
  readonly random: Random
  readonly settings: KafkaSettings
  readonly topicDefaults: TopicDefaults
  readonly unsafeTopics: readonly string[]
  readonly catchUpLanesMax: number
  readonly metrics: KafkaMetrics
  readonly onProblem: (problem: unknown) => void
}

export class KafkaBroker implements LogBroker {
  readonly #metadata: Metadata
  readonly #control: Lane
  readonly #producer: Producer
  readonly #fetchLanes: FetchLanes
  readonly #offsets: Offsets
  readonly #tail: Tail
  readonly #waiting: WaitingReader
  readonly #registry: TopicRegistry
  readonly #topics: Topics
  #closed = false

  constructor(parts: KafkaBrokerParts) {
    const { clock, random, settings, metrics, onProblem, bootstrap } = parts
    const lane = (): Lane => new Lane(parts)
    this.#control = lane()
    this.#metadata = new Metadata({ lane: lane(), bootstrap, clock, random, settings })
    const metadata = this.#metadata
    this.#registry = new TopicRegistry({
      metadata,
      lane: this.#control,
      clock,
      settings,
      makeTopic: () => this.#topics.makeRegistry(),
      onProblem,
    })
    const formatOf = (topicId: string) => this.#formatOf(topicId)
    this.#topics = new Topics({ ...parts, metadata, lane: this.#control, registry: this.#registry })
    this.#producer = new Producer({
      metadata,
      dataLanes: [lane(), lane(), lane()],
      barrierLane: lane(),
      idLane: lane(),
      clock,
      settings,
      metrics,
      onProblem,
    })
    this.#offsets = new Offsets({ metadata, lane: this.#control, clock, settings })
    const lanes = Array.from({ length: Math.max(1, parts.catchUpLanesMax) }, lane)
    this.#fetchLanes = new FetchLanes(lanes, settings.requestTimeoutMs, metrics)
    const reader = new Reader({
      metadata,
      lanes: this.#fetchLanes,
      offsets: this.#offsets,
      formatOf,
      clock,
      settings,
      metrics,
    })
    this.#tail = new Tail({ metadata, lanes: { sealed: lane(), plain: lane() }, clock, settings, metrics, onProblem })
    this.#waiting = new WaitingReader({ metadata, reader, tail: this.#tail, formatOf, clock })
  }

  get isReachable(): boolean {
    return !this.#closed && this.#metadata.isReachable
  }

  /** Asks the cluster for the first time. Errors: TransportError, UNAVAILABLE. */
  async start(): Promise<void> {
    await this.#metadata.clusterId()
    await this.#registry.read()
    this.#metadata.start()
  }

  initProducerId(identity: Incarnation): Promise<InitProducerIdAnswer> {
    return this.#producer.initProducerId(identity)
  }

  produce(request: ProduceRequest): Promise<ProduceAnswer> {
    return this.#producer.produce(request)
  }

  fetch(at: readonly FetchPosition[], options: FetchOptions): Promise<readonly BrokerFetch[]> {
    return this.#waiting.fetch(at, options)
  }

  async offsets(at: readonly TopicPartition[], query: OffsetQuery): Promise<readonly number[]> {
    this.#assertOpen()
    return this.#offsets.ask(at, query)
  }

  async createTopic(spec: TopicSpec): Promise<TopicInfo> {
    this.#assertOpen()
    return this.#topics.create(spec)
  }

  async deleteTopic(name: TopicName): Promise<void> {
    this.#assertOpen()
    return this.#topics.delete(name)
  }

  async topic(name: TopicName): Promise<TopicInfo | undefined> {
    this.#assertOpen()
    return this.#topics.info(name)
  }

  async topics(): Promise<readonly TopicInfo[]> {
    this.#assertOpen()
    return this.#topics.list()
  }

  async clusterId(): Promise<string> {
    this.#assertOpen()
    try {
      return await this.#metadata.clusterId()
    } catch (error) {
      throw error instanceof TransportError ? new TrunklineError('UNAVAILABLE', { cause: error }) : error
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#waiting.close()
    this.#tail.close()
    this.#metadata.close()
    this.#producer.close()
    this.#fetchLanes.close()
    this.#control.close()
  }

  /** A registry that cannot be read now leaves a topic sealed for now; it is looked for again. */
  async #formatOf(topicId: string): Promise<'sealed' | 'plain'> {
    try {
      return await this.#registry.formatOf(topicId)
    } catch (error) {
      if (error instanceof TransportError || error instanceof TrunklineError) return 'sealed'
      throw error
    }
  }

  #assertOpen(): void {
    if (this.#closed) throw new TrunklineError('UNAVAILABLE', { details: { log: 'closed' } })
  }
}
