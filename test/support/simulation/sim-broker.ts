// Owns: a process's connection to the simulated brokers, through its gate, noted in the trace.
// 1. A request that a process has sent goes its way, whatever becomes of the process; the answer is heard while it runs.
import type {
  BrokerCode,
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
import type { Incarnation, TopicName } from '../../../src/protocol/ids.ts'
import type { Gate } from './gate.ts'
import type { Trace } from './trace.ts'

export class GatedBroker implements LogBroker {
  readonly #inner: LogBroker
  readonly #gate: Gate
  readonly #trace: Trace
  readonly #name: string
  readonly #refuses: () => BrokerCode | undefined

  /** @param refuses asked for each batch of data: the code of a definite refusal. */
  constructor(inner: LogBroker, gate: Gate, trace: Trace, name: string, refuses: () => BrokerCode | undefined) {
    this.#inner = inner
    this.#gate = gate
    this.#trace = trace
    this.#name = name
    this.#refuses = refuses
  }

  async initProducerId(identity: Incarnation): Promise<InitProducerIdAnswer> {
    const answer = await this.#ask(() => this.#inner.initProducerId(identity))
    const text = answer.kind === 'ok' ? `pid ${answer.pid} epoch ${answer.epoch}` : answer.code
    this.#trace.note(`${this.#name} initProducerId ${identity}: ${text}`)
    if (answer.kind === 'failed') this.#trace.count('coordinator failures')
    return answer
  }

  async produce(request: ProduceRequest): Promise<ProduceAnswer> {
    const { at, pid, epoch, firstSequence, records, purpose } = request
    const what = `${this.#name} ${purpose} ${at.topic}/${at.partition} pid ${pid}.${epoch} seq ${firstSequence}+${records.length}`
    this.#trace.note(`${what} sent`)
    const code = purpose === 'data' ? this.#refuses() : undefined
    const answer = await this.#ask<ProduceAnswer>(() =>
      code === undefined ? this.#inner.produce(request) : Promise.resolve({ kind: 'failed', code, appended: false }),
    )
    this.#trace.note(`${what}: ${textOf(answer)}`)
    if (answer.kind === 'uncertain') this.#trace.count('appends unanswered')
    if (answer.kind === 'failed') this.#trace.count(`appends ${answer.code}`)
    return answer
  }

  fetch(at: readonly FetchPosition[], options: FetchOptions): Promise<readonly BrokerFetch[]> {
    return this.#ask(() => this.#inner.fetch(at, options))
  }

  offsets(at: readonly TopicPartition[], query: OffsetQuery): Promise<readonly number[]> {
    return this.#ask(() => this.#inner.offsets(at, query))
  }

  createTopic(spec: TopicSpec): Promise<TopicInfo> {
    return this.#ask(() => this.#inner.createTopic(spec))
  }

  deleteTopic(name: TopicName): Promise<void> {
    return this.#ask(() => this.#inner.deleteTopic(name))
  }

  topic(name: TopicName): Promise<TopicInfo | undefined> {
    return this.#ask(() => this.#inner.topic(name))
  }

  topics(): Promise<readonly TopicInfo[]> {
    return this.#ask(() => this.#inner.topics())
  }

  clusterId(): Promise<string> {
    return this.#ask(() => this.#inner.clusterId())
  }

  close(): Promise<void> {
    return this.#inner.close()
  }

  #ask<T>(request: () => Promise<T>): Promise<T> {
    if (this.#gate.isDead) return new Promise(() => undefined)
    return this.#gate.hear(request())
  }
}

function textOf(answer: ProduceAnswer): string {
  switch (answer.kind) {
    case 'landed':
      return `landed at ${answer.baseOffset}`
    case 'failed':
      return `${answer.code}${answer.appended ? ' appended' : ''}`
    case 'uncertain':
      return `uncertain (${answer.why})`
  }
}
