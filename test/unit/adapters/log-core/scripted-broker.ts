// Owns: a LogBroker that answers what a test tells it, in order, and keeps what it was asked.
import type {
  BrokerFetch,
  BrokerRecord,
  InitProducerIdAnswer,
  LogBroker,
  ProduceAnswer,
  ProduceRequest,
} from '../../../../src/adapters/log-core/log-broker.ts'
import type { FetchPosition, OffsetQuery, TopicInfo, TopicPartition } from '../../../../src/ports/event-log.ts'
import { parseTopicId, parseTopicName, type TopicName } from '../../../../src/protocol/ids.ts'

export const topic = parseTopicName('t')
export const at: TopicPartition = { topic, partition: 0 }

export const info: TopicInfo = {
  name: topic,
  partitions: 2,
  format: 'sealed',
  topicId: parseTopicId('0'.repeat(32)),
  createdAtMs: 0,
}

export class ScriptedBroker implements LogBroker {
  readonly requests: ProduceRequest[] = []
  /** Answers to produce, in order; after the last one it is given again and again. */
  answers: (ProduceAnswer | 'never')[] = []
  raised: InitProducerIdAnswer[] = [{ kind: 'ok', pid: 7, epoch: 0 }]
  raisedCount = 0
  topicInfo: TopicInfo | undefined = info
  records: BrokerRecord[] = []
  logStart = 0
  closed = 0

  async initProducerId(): Promise<InitProducerIdAnswer> {
    const answer = this.raised[Math.min(this.raisedCount, this.raised.length - 1)]
    this.raisedCount += 1
    if (answer === undefined) throw new Error('nothing scripted')
    return answer
  }

  produce(request: ProduceRequest): Promise<ProduceAnswer> {
    const answer = this.answers[Math.min(this.requests.length, this.answers.length - 1)]
    this.requests.push(request)
    if (answer === undefined) return Promise.reject(new Error('nothing scripted'))
    return answer === 'never' ? new Promise(() => {}) : Promise.resolve(answer)
  }

  async fetch(positions: readonly FetchPosition[]): Promise<readonly BrokerFetch[]> {
    return positions.map(({ topic, partition, offset }) => {
      const records = this.records.filter((record) => record.offset >= offset).slice(0, 10)
      const highWatermark = this.#end()
      const nextOffset = offset + records.length
      return { topic, partition, logStart: this.logStart, highWatermark, nextOffset, records }
    })
  }

  async offsets(positions: readonly TopicPartition[], query: OffsetQuery): Promise<readonly number[]> {
    return positions.map(() => (query === 'earliest' ? this.logStart : this.#end()))
  }

  async topic(name: TopicName): Promise<TopicInfo | undefined> {
    return name === topic ? this.topicInfo : undefined
  }

  async topics(): Promise<readonly TopicInfo[]> {
    return [info]
  }

  createTopic(): Promise<TopicInfo> {
    return Promise.reject(new Error('not scripted'))
  }

  deleteTopic(): Promise<void> {
    return Promise.reject(new Error('not scripted'))
  }

  async clusterId(): Promise<string> {
    return 'scripted'
  }

  async close(): Promise<void> {
    this.closed += 1
  }

  #end(): number {
    return (this.records.at(-1)?.offset ?? this.logStart - 1) + 1
  }
}

export function landed(baseOffset: number): ProduceAnswer {
  return { kind: 'landed', baseOffset, appendTimeMs: 1 }
}
