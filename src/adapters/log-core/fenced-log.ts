// Owns: EventLog over any LogBroker. What makes appends never "uncertain" lives in fenced-writer.ts, what ends other
// incarnations in fencing.ts; here they are put together, and the rest is passed on to the broker.
import { type Clock, sleep } from '../../ports/clock.ts'
import type {
  EventLog,
  FenceAnswer,
  FenceTarget,
  FetchOptions,
  FetchPosition,
  LogWriter,
  OffsetQuery,
  PartitionFetch,
  TopicInfo,
  TopicPartition,
  TopicSpec,
} from '../../ports/event-log.ts'
import type { Random } from '../../ports/random.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import type { Incarnation, TopicName } from '../../protocol/ids.ts'
import { FencedWriter, writerEpoch } from './fenced-writer.ts'
import { Fencing } from './fencing.ts'
import type { LogBroker } from './log-broker.ts'
import { defaultLogCoreSettings, type LogCoreSettings, pauseBefore } from './settings.ts'

export interface FencedLogOptions {
  readonly broker: LogBroker
  readonly clock: Clock
  readonly random: Random
  /** Overrides of defaultLogCoreSettings. */
  readonly settings?: Partial<LogCoreSettings>
  /** Whether close() closes the broker too. Default true; false where several logs (nodes) share one broker. */
  readonly closesBroker?: boolean
}

export class FencedLog implements EventLog {
  readonly #broker: LogBroker
  readonly #clock: Clock
  readonly #random: Random
  readonly #settings: LogCoreSettings
  readonly #closesBroker: boolean
  readonly #fencing: Fencing
  readonly #writers = new Set<FencedWriter>()
  #closing: Promise<void> | undefined

  constructor(options: FencedLogOptions) {
    this.#broker = options.broker
    this.#clock = options.clock
    this.#random = options.random
    this.#settings = { ...defaultLogCoreSettings, ...options.settings }
    this.#closesBroker = options.closesBroker ?? true
    this.#fencing = new Fencing({
      broker: this.#broker,
      clock: this.#clock,
      random: this.#random,
      settings: this.#settings,
    })
  }

  /** Errors: UNAVAILABLE; the identity may be used up by it, take another one. A used identity throws an Error. */
  async open(identity: Incarnation): Promise<LogWriter> {
    this.#assertOpen()
    const deadlineMs = this.#clock.monotonicMs() + this.#settings.appendDeadlineMs
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#broker.initProducerId(identity)
      if (answer.kind === 'ok') {
        if (answer.epoch !== writerEpoch) throw new Error('this identity was used before')
        return this.#writer(identity, answer.pid)
      }
      if (this.#closing !== undefined || this.#clock.monotonicMs() >= deadlineMs) {
        throw new TrunklineError('UNAVAILABLE', { details: { code: answer.code } })
      }
      await sleep(this.#clock, pauseBefore(attempt, this.#settings, this.#random.fraction()))
    }
  }

  async fence(target: FenceTarget, at: readonly TopicPartition[]): Promise<FenceAnswer> {
    this.#assertOpen()
    return await this.#fencing.fence(target, at)
  }

  fetch(at: readonly FetchPosition[], options: FetchOptions): Promise<readonly PartitionFetch[]> {
    return this.#broker.fetch(at, options)
  }

  offsets(at: readonly TopicPartition[], query: OffsetQuery): Promise<readonly number[]> {
    return this.#broker.offsets(at, query)
  }

  createTopic(spec: TopicSpec): Promise<TopicInfo> {
    return this.#broker.createTopic(spec)
  }

  deleteTopic(name: TopicName): Promise<void> {
    return this.#broker.deleteTopic(name)
  }

  topic(name: TopicName): Promise<TopicInfo | undefined> {
    return this.#broker.topic(name)
  }

  topics(): Promise<readonly TopicInfo[]> {
    return this.#broker.topics()
  }

  clusterId(): Promise<string> {
    return this.#broker.clusterId()
  }

  /** Retires its writers (`closed`) and waits until nothing is being sent. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#fencing.close()
    await Promise.all([...this.#writers].map((writer) => writer.close()))
    if (this.#closesBroker) await this.#broker.close()
  }

  #writer(identity: Incarnation, pid: number): FencedWriter {
    const writer = new FencedWriter({
      broker: this.#broker,
      clock: this.#clock,
      random: this.#random,
      settings: this.#settings,
      identity,
      pid,
    })
    this.#writers.add(writer)
    void writer.retired.then(() => this.#writers.delete(writer))
    return writer
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw new TrunklineError('UNAVAILABLE', { details: { log: 'closed' } })
  }
}
