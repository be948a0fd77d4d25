// Owns: a LogBroker around another one that does to appends what a network does: answered late, not answered, lost,
// arrived later, answered with an error after a local append, fenced in the middle.
// 1. A fault is met by one data append, in the order of the script; without a script, by chance (`chances`).
// 2. Barriers and everything else pass untouched, unless `barriers` is set.
import type {
  BrokerFetch,
  InitProducerIdAnswer,
  LogBroker,
  ProduceAnswer,
  ProduceRequest,
} from '../../../src/adapters/log-core/log-broker.ts'
import type { Clock } from '../../../src/ports/clock.ts'
import type {
  FetchOptions,
  FetchPosition,
  OffsetQuery,
  TopicInfo,
  TopicPartition,
  TopicSpec,
} from '../../../src/ports/event-log.ts'
import type { Random } from '../../../src/ports/random.ts'
import type { Incarnation, TopicName } from '../../../src/protocol/ids.ts'

export type AppendFault =
  /** As if there were no fault: to let an append pass in the middle of a script. */
  | 'none'
  /** It lands; the answer is lost. */
  | 'landed-not-answered'
  /** It lands; the answer comes after `lateMs`. */
  | 'answered-late'
  /** It never arrives. */
  | 'lost'
  /** The connection breaks, and it arrives `lateMs` later. */
  | 'arrives-late'
  /** It lands, and NOT_LEADER comes with a base offset. */
  | 'landed-then-not-leader'
  /** It lands unanswered; the re-send is answered with an error that would be definite had it come first. */
  | 'landed-then-not-enough-replicas'
  | 'not-enough-replicas'
  /** It does not land, and that is certain. */
  | 'not-leader'
  /** It does not land, and nothing ever comes back. */
  | 'silence'
  /** `meanwhile` runs to its end (a fence by another node), and only then it arrives. */
  | 'meanwhile'

export interface FaultyBrokerOptions {
  readonly inner: LogBroker
  readonly clock: Clock
  readonly random: Random
  readonly lateMs?: number
}

/** Those that a random run draws from. */
const byChance: readonly AppendFault[] = [
  'landed-not-answered',
  'answered-late',
  'lost',
  'arrives-late',
  'landed-then-not-leader',
  'not-leader',
]

export class FaultyBroker implements LogBroker {
  /** Faults of the next appends, first to last. */
  readonly script: AppendFault[] = []
  /** Probability that an append without a scripted fault meets one by chance. */
  chance = 0
  /** Whether barriers meet faults as well. */
  barriers = false
  meanwhile: () => Promise<unknown> = () => Promise.resolve()
  /** Appends that were answered `landed` or arrived; for tests that count. */
  readonly seen: ProduceRequest[] = []
  readonly #inner: LogBroker
  readonly #clock: Clock
  readonly #random: Random
  readonly #lateMs: number

  constructor(options: FaultyBrokerOptions) {
    this.#inner = options.inner
    this.#clock = options.clock
    this.#random = options.random
    this.#lateMs = options.lateMs ?? 200
  }

  async produce(request: ProduceRequest): Promise<ProduceAnswer> {
    this.seen.push(request)
    const fault = request.purpose === 'data' || this.barriers ? this.#nextFault() : 'none'
    switch (fault) {
      case 'none':
        return this.#inner.produce(request)
      case 'landed-not-answered':
        await this.#inner.produce(request)
        return { kind: 'uncertain', why: 'answer lost' }
      case 'answered-late': {
        const answer = await this.#inner.produce(request)
        await this.#late()
        return answer
      }
      case 'lost':
        return { kind: 'uncertain', why: 'request lost' }
      case 'arrives-late':
        void this.#late().then(() => this.#inner.produce(request))
        return { kind: 'uncertain', why: 'connection lost' }
      case 'landed-then-not-leader':
        await this.#inner.produce(request)
        return { kind: 'failed', code: 'NOT_LEADER_OR_FOLLOWER', appended: true }
      case 'landed-then-not-enough-replicas':
        // Two answers: a timeout, and for the re-send an error that would be definite had it come first.
        this.script.unshift('not-enough-replicas')
        await this.#inner.produce(request)
        return { kind: 'uncertain', why: 'timeout' }
      case 'not-enough-replicas':
        return { kind: 'failed', code: 'NOT_ENOUGH_REPLICAS', appended: false }
      case 'not-leader':
        return { kind: 'failed', code: 'NOT_LEADER_OR_FOLLOWER', appended: false }
      case 'silence':
        return new Promise<never>(() => {})
      case 'meanwhile':
        await this.meanwhile()
        return this.#inner.produce(request)
    }
  }

  initProducerId(identity: Incarnation): Promise<InitProducerIdAnswer> {
    return this.#inner.initProducerId(identity)
  }

  fetch(at: readonly FetchPosition[], options: FetchOptions): Promise<readonly BrokerFetch[]> {
    return this.#inner.fetch(at, options)
  }

  offsets(at: readonly TopicPartition[], query: OffsetQuery): Promise<readonly number[]> {
    return this.#inner.offsets(at, query)
  }

  createTopic(spec: TopicSpec): Promise<TopicInfo> {
    return this.#inner.createTopic(spec)
  }

  deleteTopic(name: TopicName): Promise<void> {
    return this.#inner.deleteTopic(name)
  }

  topic(name: TopicName): Promise<TopicInfo | undefined> {
    return this.#inner.topic(name)
  }

  topics(): Promise<readonly TopicInfo[]> {
    return this.#inner.topics()
  }

  clusterId(): Promise<string> {
    return this.#inner.clusterId()
  }

  close(): Promise<void> {
    return this.#inner.close()
  }

  #nextFault(): AppendFault {
    const scripted = this.script.shift()
    if (scripted !== undefined) return scripted
    if (this.chance === 0 || this.#random.fraction() >= this.chance) return 'none'
    return byChance[Math.floor(this.#random.fraction() * byChance.length)] ?? 'none'
  }

  #late(): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.after(this.#lateMs, resolve)
    })
  }
}
