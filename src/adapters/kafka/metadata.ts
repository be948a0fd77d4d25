// Owns: what is known of brokers, topics and leaders, and when it is asked again.
// 1. One question at a time; whoever asks meanwhile joins the next one. At most one per `metadataPauseMs`.
// 2. A leader is never replaced by one of a lower epoch: a broker that lags behind knows less.
// 3. What an error has put in doubt (`doubt`) is asked again before it is used.
// 4. Topics that nobody has asked for in a while are forgotten; their number has a bound.
import { type Clock, sleep, type Timer } from '../../ports/clock.ts'
import type { Random } from '../../ports/random.ts'
import { type BrokerAddress, type ClusterMetadata, metadataRequest, type TopicMetadata } from './api-metadata.ts'
import { kafkaCode } from './kafka-codes.ts'
import type { Lane } from './lane.ts'
import type { KafkaSettings } from './settings.ts'
import { TransportError } from './transport-error.ts'

export interface MetadataParts {
  readonly lane: Lane
  readonly bootstrap: readonly BrokerAddress[]
  readonly clock: Clock
  readonly random: Random
  readonly settings: KafkaSettings
}

interface KnownTopic {
  topic: TopicMetadata
  atMs: number
  usedMs: number
  doubtful: boolean
}

interface Round {
  readonly names: Set<string>
  all: boolean
  readonly done: Promise<void>
}

/** A broker that does not answer must not hold up the others' word on who leads. */
const askTimeoutMs = 3_000
const forgetMs = 10 * 60_000
const topicsKeptMax = 20_000
/** How long the cluster's word that there is no such topic is worth something while it cannot be asked again. */
const absentMs = 2_000
const absentKeptMax = 1_000

export class Metadata {
  readonly #parts: MetadataParts
  readonly #topics = new Map<string, KnownTopic>()
  readonly #namesById = new Map<string, string>()
  readonly #absent = new Map<string, number>()
  #brokers = new Map<number, BrokerAddress>()
  #controllerId = -1
  #clusterId: string | undefined
  #next: Round | undefined
  /** Settles when no question is under way. */
  #free: Promise<void> = Promise.resolve()
  #lastRoundMs = Number.NEGATIVE_INFINITY
  #reachable = false
  #lastGood: BrokerAddress | undefined
  #beat: Timer | undefined
  #closed = false

  constructor(parts: MetadataParts) {
    this.#parts = parts
  }

  /** Whether the last question was answered. */
  get isReachable(): boolean {
    return this.#reachable
  }

  get brokers(): readonly BrokerAddress[] {
    return [...this.#brokers.values()]
  }

  broker(nodeId: number): BrokerAddress | undefined {
    return this.#brokers.get(nodeId)
  }

  /** Where topics are made. In a cluster with KRaft any broker passes it on. */
  get controller(): BrokerAddress | undefined {
    return this.#brokers.get(this.#controllerId) ?? this.brokers[0]
  }

  /** Errors: TransportError. */
  async clusterId(): Promise<string> {
    if (this.#clusterId === undefined) await this.refresh([])
    if (this.#clusterId === undefined) throw new TransportError('malformed', 'a cluster without an id')
    return this.#clusterId
  }

  /** What is known without asking; may be old, never in doubt. */
  known(name: string): TopicMetadata | undefined {
    const known = this.#topics.get(name)
    if (known === undefined || known.doubtful) return undefined
    known.usedMs = this.#parts.clock.monotonicMs()
    return known.topic
  }

  /** As known(), in doubt or not. */
  knownOrDoubtful(name: string): TopicMetadata | undefined {
    return this.#topics.get(name)?.topic
  }

  /** The cluster has said a moment ago that there is no such topic. */
  isAbsent(name: string): boolean {
    const atMs = this.#absent.get(name)
    return atMs !== undefined && this.#parts.clock.monotonicMs() - atMs < absentMs
  }

  knownById(topicId: string): TopicMetadata | undefined {
    const name = this.#namesById.get(topicId)
    return name === undefined ? undefined : this.#topics.get(name)?.topic
  }

  /**
   * The topic as it was at most `ageMs` ago; what is in doubt or unknown is asked for.
   * Errors: TransportError.
   */
  async topic(name: string, ageMs = Number.POSITIVE_INFINITY): Promise<TopicMetadata | undefined> {
    const known = this.known(name)
    if (known !== undefined && this.#parts.clock.monotonicMs() - (this.#topics.get(name)?.atMs ?? 0) <= ageMs)
      return known
    await this.refresh([name])
    return this.known(name)
  }

  /** Every topic of the cluster. Errors: TransportError. */
  async all(): Promise<readonly TopicMetadata[]> {
    await this.refresh(undefined)
    return [...this.#topics.values()].map(({ topic }) => topic)
  }

  /** An answer did not fit to what is known of this topic. */
  doubt(name: string): void {
    const known = this.#topics.get(name)
    if (known !== undefined) known.doubtful = true
  }

  /** Certainly gone, or made a moment ago. */
  forget(name: string): void {
    const known = this.#topics.get(name)
    if (known !== undefined) this.#namesById.delete(known.topic.topicId)
    this.#topics.delete(name)
  }

  /** Asks now, or with those that are waiting to ask. `undefined`: all topics. Errors: TransportError. */
  refresh(names: readonly string[] | undefined): Promise<void> {
    if (this.#closed) return Promise.reject(new TransportError('closed', 'the log is closed'))
    this.#next ??= this.#plan()
    const round = this.#next
    if (names === undefined) round.all = true
    else for (const name of names) round.names.add(name)
    return round.done
  }

  /** Asks one broker for topics, past everything known; for waiting until all brokers agree. Errors: TransportError. */
  ask(at: BrokerAddress, names: readonly string[]): Promise<ClusterMetadata> {
    const { lane, settings } = this.#parts
    return lane.request(at, metadataRequest(names), settings.requestTimeoutMs)
  }

  /** Keeps what is known fresh, from now on until close(). */
  start(): void {
    if (this.#closed) return
    this.#beat = this.#parts.clock.after(this.#parts.settings.metadataMaxAgeMs, () => {
      this.#forgetUnused()
      // `isReachable` says how it went.
      void this.refresh([...this.#topics.keys()])
        .catch(() => {})
        .finally(() => this.start())
    })
  }

  close(): void {
    this.#closed = true
    this.#beat?.cancel()
  }

  #plan(): Round {
    const round: { names: Set<string>; all: boolean; done: Promise<void> } = {
      names: new Set(),
      all: false,
      done: Promise.resolve(),
    }
    round.done = this.#whenFree().then(() => {
      this.#next = undefined
      return this.#run(round)
    })
    // Each who asked hears of a failure; nobody may be waiting any more.
    round.done.catch(() => {})
    return round
  }

  async #whenFree(): Promise<void> {
    await this.#free
    const { clock, settings } = this.#parts
    const leftMs = this.#lastRoundMs + settings.metadataPauseMs - clock.monotonicMs()
    // Only in trouble: a topic that is asked for the first time must not wait.
    if (leftMs > 0 && (!this.#reachable || this.#inDoubt())) await sleep(clock, leftMs)
  }

  #inDoubt(): boolean {
    for (const known of this.#topics.values()) if (known.doubtful) return true
    return false
  }

  async #run(round: Round): Promise<void> {
    let release: () => void = () => {}
    this.#free = new Promise((resolve) => {
      release = resolve
    })
    this.#lastRoundMs = this.#parts.clock.monotonicMs()
    try {
      const names = round.all ? undefined : [...round.names]
      const answer = await this.#askSomebody(names)
      this.#take(answer, names)
      this.#reachable = true
    } catch (error) {
      this.#reachable = false
      throw error
    } finally {
      release()
    }
  }

  async #askSomebody(names: readonly string[] | undefined): Promise<ClusterMetadata> {
    const { lane } = this.#parts
    let failure = new TransportError('unreachable', 'no broker answers')
    for (const at of this.#candidates()) {
      if (this.#closed) throw new TransportError('closed', 'the log is closed')
      try {
        const answer = await lane.request(at, metadataRequest(names), askTimeoutMs)
        if (answer.brokers.length > 0) {
          this.#lastGood = at
          return answer
        }
      } catch (error) {
        if (!(error instanceof TransportError)) throw error
        // What one says for certain is worth more than that others cannot be reached.
        if (failure.failure !== 'refused') failure = error
      }
    }
    throw failure
  }

  /** The one that answered last first, then the others known, then those of the configuration. */
  #candidates(): readonly BrokerAddress[] {
    const { random, bootstrap } = this.#parts
    const known = shuffled(this.brokers, random)
    const seen = new Set<string>()
    const all = [...(this.#lastGood === undefined ? [] : [this.#lastGood]), ...known, ...shuffled(bootstrap, random)]
    return all.filter(({ host, port }) => {
      const key = `${host}:${port}`
      if (seen.has(key)) return false
      seen.add(key)
      return true
    })
  }

  #take(answer: ClusterMetadata, asked: readonly string[] | undefined): void {
    this.#brokers = new Map(answer.brokers.map((one) => [one.nodeId, one]))
    this.#controllerId = answer.controllerId
    this.#clusterId ??= answer.clusterId ?? undefined
    const nowMs = this.#parts.clock.monotonicMs()
    const missing = new Set(asked ?? this.#topics.keys())
    for (const topic of answer.topics) {
      if (topic.error !== kafkaCode.none || topic.name === '') continue
      missing.delete(topic.name)
      this.#absent.delete(topic.name)
      const before = this.#topics.get(topic.name)
      if (before !== undefined && before.topic.topicId !== topic.topicId) this.#namesById.delete(before.topic.topicId)
      this.#topics.set(topic.name, {
        topic: before === undefined ? topic : merged(before.topic, topic),
        atMs: nowMs,
        usedMs: before?.usedMs ?? nowMs,
        doubtful: false,
      })
      this.#namesById.set(topic.topicId, topic.name)
    }
    for (const name of missing) {
      this.forget(name)
      if (this.#absent.size >= absentKeptMax) this.#absent.clear()
      this.#absent.set(name, nowMs)
    }
  }

  #forgetUnused(): void {
    const nowMs = this.#parts.clock.monotonicMs()
    for (const [name, known] of this.#topics) {
      if (nowMs - known.usedMs > forgetMs || this.#topics.size > topicsKeptMax) this.forget(name)
    }
  }
}

/** Invariant 2. */
function merged(before: TopicMetadata, now: TopicMetadata): TopicMetadata {
  if (before.topicId !== now.topicId) return now
  return {
    ...now,
    partitions: now.partitions.map((one) => {
      const old = before.partitions[one.partition]
      return old !== undefined && old.leaderEpoch > one.leaderEpoch ? old : one
    }),
  }
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  return items
    .map((item) => ({ item, order: random.fraction() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item)
}
