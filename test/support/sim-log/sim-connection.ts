// Owns: one node's lossy connection to the simulated cluster.
// 1. Every call settles: what never comes back is `uncertain` after `requestTimeoutMs`, or at once when the connection
//    is seen to break.
// 2. A request arrives at most once while its client waits for it. Only what the client gave up may arrive late or twice:
//    a broker never repeats a request whose answer was definite.
import type {
  BrokerFetch,
  InitProducerIdAnswer,
  LogBroker,
  ProduceAnswer,
  ProduceRequest,
} from '../../../src/adapters/log-core/log-broker.ts'
import { sleep } from '../../../src/ports/clock.ts'
import type {
  FetchOptions,
  FetchPosition,
  OffsetQuery,
  TopicInfo,
  TopicPartition,
  TopicSpec,
} from '../../../src/ports/event-log.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import type { Incarnation, TopicName } from '../../../src/protocol/ids.ts'
import type { SimCluster, SimPartitionState } from './sim-cluster.ts'

const requestTimeoutMs = 5_000

export class SimConnection implements LogBroker {
  readonly nodeName: string
  readonly #cluster: SimCluster
  readonly #end = new AbortController()

  constructor(cluster: SimCluster, nodeName: string) {
    this.#cluster = cluster
    this.nodeName = nodeName
  }

  async initProducerId(identity: Incarnation): Promise<InitProducerIdAnswer> {
    const { faults } = this.#cluster
    await this.#delay()
    if (this.#chance(faults.coordinatorGone)) return { kind: 'failed', code: 'COORDINATOR_NOT_AVAILABLE' }
    const raised = this.#cluster.raise(identity)
    await this.#delay()
    if (this.#chance(faults.raiseLost)) return { kind: 'failed', code: 'REQUEST_TIMED_OUT' }
    return { kind: 'ok', ...raised }
  }

  produce(request: ProduceRequest): Promise<ProduceAnswer> {
    const { faults } = this.#cluster
    return new Promise((resolve) => {
      const timeout = this.#cluster.clock.after(requestTimeoutMs, () => resolve({ kind: 'uncertain', why: 'timeout' }))
      const answered = (answer: ProduceAnswer): void => {
        timeout.cancel()
        resolve(answer)
      }
      const broken = (): void => answered({ kind: 'uncertain', why: 'connection lost' })
      if (this.#chance(faults.requestLost)) {
        this.#after(this.#delayMs(), broken)
        return
      }
      if (this.#chance(faults.air)) {
        this.#after(this.#delayMs(), broken)
        const times = this.#chance(faults.airTwice) ? 2 : 1
        for (let time = 0; time < times; time++) {
          this.#after(faults.airMsMax * this.#cluster.random.fraction(), () => this.#cluster.arrive(request, () => {}))
        }
        return
      }
      this.#after(this.#delayMs(), () => {
        const lost = this.#chance(faults.answerLost)
        this.#cluster.arrive(request, (answer) => {
          if (!lost) this.#after(this.#delayMs(), () => answered(answer))
        })
      })
    })
  }

  async fetch(at: readonly FetchPosition[], options: FetchOptions): Promise<readonly BrokerFetch[]> {
    const { clock, faults } = this.#cluster
    const untilMs = clock.monotonicMs() + options.waitMs
    await this.#delay()
    for (;;) {
      if (this.#end.signal.aborted) throw new TrunklineError('UNAVAILABLE', { details: { log: 'closed' } })
      if (this.#chance(faults.fetchLost)) throw new TrunklineError('UNAVAILABLE')
      const answer = this.#read(at, options)
      const something = answer.some((one) => one.error !== undefined || one.records.length > 0)
      const leftMs = untilMs - clock.monotonicMs()
      if (something || leftMs <= 0 || options.signal?.aborted === true) return answer
      await this.#change(at, leftMs, options.signal)
    }
  }

  async offsets(at: readonly TopicPartition[], query: OffsetQuery): Promise<readonly number[]> {
    await this.#ask()
    return at.map((one) => {
      const { log } = this.#partition(one)
      if (query === 'earliest') return log.logStart
      if (query === 'end') return log.highWatermark
      if (query === 'latest') return log.stableEnd
      return Math.min(log.stableEnd, log.offsetAtOrAfter(query.atOrAfterMs))
    })
  }

  async createTopic(spec: TopicSpec): Promise<TopicInfo> {
    await this.#ask()
    return this.#cluster.createTopic(spec)
  }

  async deleteTopic(name: TopicName): Promise<void> {
    await this.#ask()
    this.#cluster.deleteTopic(name)
  }

  async topic(name: TopicName): Promise<TopicInfo | undefined> {
    await this.#ask()
    return this.#cluster.topic(name)?.info
  }

  async topics(): Promise<readonly TopicInfo[]> {
    await this.#ask()
    return this.#cluster.topics().map((topic) => topic.info)
  }

  async clusterId(): Promise<string> {
    return this.#cluster.clusterId
  }

  async close(): Promise<void> {
    this.#end.abort()
  }

  #read(at: readonly FetchPosition[], { bytesMax, lane }: FetchOptions): readonly BrokerFetch[] {
    let bytesLeft = bytesMax
    return at.map((position) => {
      const { topic, partition, offset } = position
      const base = { topic, partition, logStart: 0, highWatermark: 0, nextOffset: offset, records: [] }
      if (this.#cluster.topic(topic) === undefined) return { ...base, error: 'UNKNOWN_TOPIC' }
      const state = this.#cluster.partition(position)
      if (state === undefined) return { ...base, error: 'UNKNOWN_PARTITION' }
      const { logStart } = state.log
      const highWatermark = lane === 'lookup' ? state.log.highWatermark : state.log.stableEnd
      if (offset < logStart || offset > state.log.highWatermark) {
        return { ...base, logStart, highWatermark, error: 'CURSOR_OUT_OF_RANGE' }
      }
      // As over a wire: what the reader does with the bytes does not reach the log.
      const records = state.log.read(offset, bytesLeft, highWatermark).map((record) => ({
        ...record,
        key: record.key?.slice() ?? null,
        value: record.value.slice(),
        header: record.header?.slice() ?? null,
        ...(record.headers === undefined
          ? {}
          : { headers: record.headers.map(([name, bytes]) => [name, bytes?.slice() ?? null] as const) }),
      }))
      const nextOffset = state.log.nextBehind(offset, records, highWatermark)
      bytesLeft -= records.reduce((sum, record) => sum + record.value.length, 0)
      bytesLeft = Math.max(0, bytesLeft)
      return { topic, partition, logStart, highWatermark, nextOffset, records }
    })
  }

  #change(at: readonly FetchPosition[], leftMs: number, signal: AbortSignal | undefined): Promise<void> {
    const partitions = new Set(at.map((one) => this.#partition(one)))
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel()
        signal?.removeEventListener('abort', done)
        this.#end.signal.removeEventListener('abort', done)
        for (const partition of partitions) partition.waiters.delete(done)
        resolve()
      }
      const timer = this.#cluster.clock.after(leftMs, done)
      signal?.addEventListener('abort', done)
      this.#end.signal.addEventListener('abort', done)
      for (const partition of partitions) partition.waiters.add(done)
    })
  }

  #partition(at: TopicPartition): SimPartitionState {
    if (this.#cluster.topic(at.topic) === undefined) throw new TrunklineError('UNKNOWN_TOPIC')
    const state = this.#cluster.partition(at)
    if (state === undefined) throw new TrunklineError('UNKNOWN_PARTITION')
    return state
  }

  async #ask(): Promise<void> {
    await this.#delay()
    if (this.#end.signal.aborted) throw new TrunklineError('UNAVAILABLE', { details: { log: 'closed' } })
  }

  async #delay(): Promise<void> {
    await sleep(this.#cluster.clock, this.#delayMs())
  }

  #delayMs(): number {
    const { delayMsMin, delayMsMax } = this.#cluster.faults
    return delayMsMin + (delayMsMax - delayMsMin) * this.#cluster.random.fraction()
  }

  #after(delayMs: number, callback: () => void): void {
    this.#cluster.later(delayMs, callback)
  }

  #chance(probability: number): boolean {
    // Not drawn when it cannot happen: switching one fault off leaves the other draws of a calm run as they are.
    return probability > 0 && this.#cluster.random.fraction() < probability
  }
}
