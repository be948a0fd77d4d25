// Owns: a simulated Kafka cluster in memory: topics, partitions with replication and failover, a coordinator, and one
// lossy connection per node (sim-connection.ts). A run depends on the clock and the seed alone.
// 1. acks=all is answered after replication only; acks=leader after the leader's own append, as Kafka does.
// 2. A request that the client knows nothing of any more ("air") may still arrive, once or twice, much later.
// 3. What is visible (below the high watermark) is never lost.
import type {
  BrokerRecord,
  LogBroker,
  ProduceAnswer,
  ProduceRequest,
} from '../../../src/adapters/log-core/log-broker.ts'
import type { Clock, Timer } from '../../../src/ports/clock.ts'
import type { AppendRecord, TopicInfo, TopicPartition, TopicSpec } from '../../../src/ports/event-log.ts'
import type { Random } from '../../../src/ports/random.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { type Incarnation, type TopicName, topicIdFromBytes } from '../../../src/protocol/ids.ts'
import { SimConnection } from './sim-connection.ts'
import { calm, type SimFaults } from './sim-faults.ts'
import { endOf, type SimBatch, SimPartition } from './sim-partition.ts'

export interface SimClusterOptions {
  readonly clock: Clock
  readonly random: Random
  /** Laid over `calm`; the cluster's `faults` may be changed at any time. */
  readonly faults?: Partial<SimFaults>
  readonly retentionSweepMs?: number
  /** Whether topics may be plain. Default false. */
  readonly plainTopics?: boolean
}

export interface SimTopic {
  readonly info: TopicInfo
  readonly partitions: readonly SimPartitionState[]
}

export interface SimPartitionState {
  readonly log: SimPartition
  /** No leader until then (monotonic). */
  electionUntilMs: number
  /** Called at the next change of what is visible. */
  readonly waiters: Set<() => void>
  /** Of appends that wait for replication. */
  readonly unreplicated: Set<(outcome: 'replicated' | 'failover') => void>
}

export const simBatchBytesMax = 1_048_576

export class SimCluster {
  readonly clock: Clock
  readonly random: Random
  readonly faults: SimFaults
  readonly #topics = new Map<TopicName, SimTopic>()
  readonly #identities = new Map<Incarnation, { pid: number; epoch: number }>()
  readonly #timers = new Set<Timer>()
  readonly #clusterId: string
  readonly #plainTopics: boolean
  #nextPid = 1_000

  constructor(options: SimClusterOptions) {
    this.clock = options.clock
    this.random = options.random
    this.faults = { ...calm, ...options.faults }
    this.#plainTopics = options.plainTopics ?? false
    this.#clusterId = Buffer.from(this.random.bytes(16)).toString('base64url')
    this.#repeat(
      () => options.retentionSweepMs ?? 30_000,
      () => this.#retain(),
    )
    // Asked for anew each time, so that failovers can be switched on and off in the middle of a run.
    this.#repeat(
      () => (this.faults.failoverMeanMs === 0 ? 1_000 : 2 * this.faults.failoverMeanMs * this.random.fraction()),
      () => {
        if (this.faults.failoverMeanMs > 0) this.#failoverSomewhere()
      },
    )
  }

  /** One node's connection; the name is for reading traces. Closing it leaves the cluster alone. */
  broker(nodeName: string): LogBroker {
    return new SimConnection(this, nodeName)
  }

  /** Ends the cluster's own timers. */
  stop(): void {
    for (const timer of this.#timers) timer.cancel()
    this.#timers.clear()
  }

  /** The leader of one partition fails; `keep` unreplicated batches survive (default: any number, by chance). */
  failover(at: TopicPartition, keep?: number): void {
    const state = this.partition(at)
    if (state === undefined) throw new Error('a failover of an unknown partition')
    const kept = keep ?? Math.floor(this.random.fraction() * (state.log.unreplicatedBatches + 1))
    state.log.failover(kept)
    state.electionUntilMs = this.clock.monotonicMs() + this.faults.electionMs
    const waiting = [...state.unreplicated]
    state.unreplicated.clear()
    for (const tell of waiting) tell('failover')
    this.#scheduleReplication(state)
  }

  /** Somebody else's producer: lands at the leader at once, replicated as all else is. */
  stranger(at: TopicPartition, records: readonly AppendRecord[], holes = 0): void {
    const state = this.partition(at)
    if (state === undefined) throw new Error('a stranger writes to an unknown partition')
    state.log.appendForeign(records, holes, this.clock.nowMs())
    this.#scheduleReplication(state)
  }

  /** A stranger's transaction is open until the answer is called: readers wait in front of it, look-ups do not. */
  strangerTransaction(at: TopicPartition): () => void {
    const state = this.partition(at)
    if (state === undefined) throw new Error('a stranger writes to an unknown partition')
    state.log.begin()
    return () => {
      state.log.end()
      wake(state)
    }
  }

  /** Everything visible of a partition, for checkers. */
  visible(at: TopicPartition): readonly BrokerRecord[] {
    return this.partition(at)?.log.visible() ?? []
  }

  // What follows is the brokers' side, for SimConnection.

  get clusterId(): string {
    return this.#clusterId
  }

  topic(name: TopicName): SimTopic | undefined {
    return this.#topics.get(name)
  }

  topics(): readonly SimTopic[] {
    return [...this.#topics.values()].sort((a, b) => (a.info.name < b.info.name ? -1 : 1))
  }

  partition(at: TopicPartition): SimPartitionState | undefined {
    return this.#topics.get(at.topic)?.partitions[at.partition]
  }

  createTopic(spec: TopicSpec): TopicInfo {
    if (this.#topics.has(spec.name)) throw new TrunklineError('TOPIC_EXISTS')
    if (spec.format === 'plain' && !this.#plainTopics)
      throw new TrunklineError('UNSUPPORTED', { details: { format: spec.format } })
    if (!Number.isInteger(spec.partitions) || spec.partitions < 1 || spec.partitions > 1_024) {
      throw new TrunklineError('BAD_REQUEST', { details: { field: 'partitions' } })
    }
    const info: TopicInfo = {
      ...spec,
      topicId: topicIdFromBytes(this.random.bytes(16)),
      createdAtMs: this.clock.nowMs(),
    }
    const partitions = Array.from({ length: spec.partitions }, () => ({
      log: new SimPartition(),
      electionUntilMs: 0,
      waiters: new Set<() => void>(),
      unreplicated: new Set<(outcome: 'replicated' | 'failover') => void>(),
    }))
    this.#topics.set(spec.name, { info, partitions })
    return info
  }

  deleteTopic(name: TopicName): void {
    const topic = this.#topics.get(name)
    if (topic === undefined) throw new TrunklineError('UNKNOWN_TOPIC')
    this.#topics.delete(name)
    for (const partition of topic.partitions) wake(partition)
  }

  raise(identity: Incarnation): { readonly pid: number; readonly epoch: number } {
    const known = this.#identities.get(identity)
    const raised = known === undefined ? { pid: this.#nextPid++, epoch: 0 } : { pid: known.pid, epoch: known.epoch + 1 }
    this.#identities.set(identity, raised)
    return raised
  }

  /** A request has arrived at the brokers. `answer` is called once, or never (the broker died with it). */
  arrive(request: ProduceRequest, answer: (answer: ProduceAnswer) => void): void {
    const failed = (code: Extract<ProduceAnswer, { kind: 'failed' }>['code']): void =>
      answer({ kind: 'failed', code, appended: false })
    const state = this.partition(request.at)
    if (state === undefined) {
      failed('UNKNOWN_TOPIC_OR_PARTITION')
      return
    }
    const { topic, topicId } = request.at
    if (topicId !== undefined && topicId !== this.#topics.get(topic)?.info.topicId) {
      failed('UNKNOWN_TOPIC_ID')
      return
    }
    if (this.clock.monotonicMs() < state.electionUntilMs) {
      failed('NOT_LEADER_OR_FOLLOWER')
      return
    }
    const bytes = request.records.reduce((sum, one) => sum + one.value.length + (one.key?.length ?? 0), 0)
    if (bytes > simBatchBytesMax) {
      failed('MESSAGE_TOO_LARGE')
      return
    }
    const local = state.log.append(request, this.clock.nowMs())
    if (local.kind === 'refused') {
      failed(local.code)
      return
    }
    const { batch } = local
    const landed: ProduceAnswer = {
      kind: 'landed',
      baseOffset: batch.baseOffset,
      appendTimeMs: batch.appendTimeMs,
    }
    if (local.kind === 'appended') this.#scheduleReplication(state)
    if (request.acks === 'leader' || endOf(batch) <= state.log.highWatermark) {
      answer(landed)
      return
    }
    this.#afterReplication(state, batch, (outcome) => {
      if (outcome === 'replicated') answer(landed)
      else if (this.random.fraction() < this.faults.notLeaderWithOffset) {
        answer({ kind: 'failed', code: 'NOT_LEADER_OR_FOLLOWER', appended: true })
      }
    })
  }

  #afterReplication(
    state: SimPartitionState,
    batch: SimBatch,
    tell: (outcome: 'replicated' | 'failover') => void,
  ): void {
    const wait = (outcome: 'replicated' | 'failover'): void => {
      if (outcome === 'replicated' && state.log.highWatermark < endOf(batch)) state.unreplicated.add(wait)
      else tell(outcome)
    }
    state.unreplicated.add(wait)
  }

  /** The followers fetch what the leader has now; it counts if the same leader still leads by then. */
  #scheduleReplication(state: SimPartitionState): void {
    const { leaderEpoch, logEnd } = state.log
    if (logEnd <= state.log.highWatermark) return
    const { replicationMsMin, replicationMsMax } = this.faults
    const delayMs = replicationMsMin + (replicationMsMax - replicationMsMin) * this.random.fraction()
    this.later(delayMs, () => {
      if (state.log.leaderEpoch !== leaderEpoch) return
      state.log.replicated(logEnd)
      const waiting = [...state.unreplicated]
      state.unreplicated.clear()
      for (const tell of waiting) tell('replicated')
      wake(state)
    })
  }

  later(delayMs: number, callback: () => void): Timer {
    const timer = this.clock.after(delayMs, () => {
      this.#timers.delete(timer)
      callback()
    })
    this.#timers.add(timer)
    return timer
  }

  #failoverSomewhere(): void {
    const all = this.topics().flatMap(({ info, partitions }) =>
      partitions.map((_, partition) => ({ topic: info.name, partition })),
    )
    const at = all[Math.floor(this.random.fraction() * all.length)]
    if (at !== undefined) this.failover(at)
  }

  #retain(): void {
    const nowMs = this.clock.nowMs()
    for (const { info, partitions } of this.#topics.values()) {
      for (const partition of partitions) {
        const before = partition.log.logStart
        partition.log.retain(info.retentionMs === undefined ? undefined : nowMs - info.retentionMs, info.retentionBytes)
        if (partition.log.logStart !== before) wake(partition)
      }
    }
  }

  #repeat(delayMs: () => number, work: () => void): void {
    this.later(delayMs(), () => {
      work()
      this.#repeat(delayMs, work)
    })
  }
}

function wake(partition: SimPartitionState): void {
  const waiters = [...partition.waiters]
  partition.waiters.clear()
  for (const waiter of waiters) waiter()
}
