// Owns: LogBroker.produce and initProducerId: to whom a batch goes, under which id, and what is asked again when the
// answer says that somebody else leads.
// 1. Neither rejects: what went wrong is an answer. Both settle in bounded time.
// 2. Barriers and producer ids have connections of their own.
// Leaves out: re-sending (log-core).
import { type Clock, sleep } from '../../ports/clock.ts'
import type { Incarnation } from '../../protocol/ids.ts'
import type { BrokerCode, InitProducerIdAnswer, ProduceAnswer, ProduceRequest } from '../log-core/log-broker.ts'
import type { BrokerAddress, TopicMetadata } from './api-metadata.ts'
import { findCoordinatorRequest, initProducerIdRequest } from './api-producer-id.ts'
import { brokerCodeOf, kafkaCode } from './kafka-codes.ts'
import type { Lane } from './lane.ts'
import { leadershipOf } from './leaders.ts'
import type { Metadata } from './metadata.ts'
import type { KafkaMetrics } from './metrics.ts'
import { type OutgoingBatch, ProduceQueue } from './produce-queue.ts'
import { encodeBatch } from './record-batch.ts'
import type { KafkaSettings } from './settings.ts'
import { TransportError } from './transport-error.ts'

export interface ProducerParts {
  readonly metadata: Metadata
  /** Two for what is well, one for what is in doubt. */
  readonly dataLanes: readonly Lane[]
  readonly barrierLane: Lane
  readonly idLane: Lane
  readonly clock: Clock
  readonly settings: KafkaSettings
  readonly metrics: KafkaMetrics
  readonly onProblem: (problem: unknown) => void
}

/** Above any topic's max.message.bytes that we make; a broker would hang up on what it will not read at all. */
const batchBytesMax = 16 * 1024 * 1024
/** How long a batch waits for its partition to have a leader before it is answered; its writer asks again. */
const leaderWaitMs = 1_000
/** Before Kafka 4.1: how long a batch may still land in a topic that was made anew under the name of its own. */
const byNameAgeMs = 250

export class Producer {
  readonly #parts: ProducerParts
  readonly #queues = new Map<string, ProduceQueue>()
  /** Another broker each time: a coordinator that is gone is found by the others. */
  #anyTurn = 0
  /** Some broker is older than Kafka 4.1. Until one was met: as if. */
  #isByName = true

  constructor(parts: ProducerParts) {
    this.#parts = parts
  }

  async produce(request: ProduceRequest): Promise<ProduceAnswer> {
    const { clock, metadata } = this.#parts
    const { topic: name, partition, topicId } = request.at
    const timestampMs = clock.nowMs()
    const batch = encodeBatch(request.records, { ...request, timestampMs })
    if (batch.length > batchBytesMax) return failed('MESSAGE_TOO_LARGE')
    const untilMs = clock.monotonicMs() + leaderWaitMs
    for (;;) {
      const topic = await this.#topic(name, topicId !== undefined)
      if (topic === 'unreachable') return failed('NOT_SENT')
      const led = leadershipOf(metadata, topic, partition)
      if (led.kind === 'no-topic' || led.kind === 'no-partition') return failed('UNKNOWN_TOPIC_OR_PARTITION')
      if (topicId !== undefined && topicId !== led.topic.topicId) return failed('UNKNOWN_TOPIC_ID')
      if (led.kind === 'led') {
        const out = { topic: name, topicId: led.topic.topicId, partition, acks: request.acks, batch, timestampMs }
        const answer = await this.#queue(request.purpose, led.leader).produce(led.leader, out)
        // Who leads is looked at before the next sending, whatever went wrong: it costs one question.
        if (answer.kind !== 'landed' && !isAboutBatch(answer)) metadata.doubt(name)
        return answer
      }
      if (clock.monotonicMs() >= untilMs) return failed('NOT_SENT')
      metadata.doubt(name)
      await sleep(clock, this.#parts.settings.metadataPauseMs)
    }
  }

  async initProducerId(identity: Incarnation): Promise<InitProducerIdAnswer> {
    const { metadata, idLane, settings } = this.#parts
    const transactionalId = `trunkline.${identity}`
    try {
      const asked = await this.#anyBroker()
      const found = await idLane.request(asked, findCoordinatorRequest(transactionalId), settings.requestTimeoutMs)
      if (found.error !== kafkaCode.none) return { kind: 'failed', code: brokerCodeOf(found.error) }
      // Its address may be news to us.
      const coordinator = metadata.broker(found.at.nodeId) ?? found.at
      const answer = await idLane.request(
        coordinator,
        initProducerIdRequest(transactionalId),
        settings.requestTimeoutMs,
      )
      if (answer.error !== kafkaCode.none) return { kind: 'failed', code: brokerCodeOf(answer.error) }
      return { kind: 'ok', pid: answer.pid, epoch: answer.epoch }
    } catch (error) {
      if (!(error instanceof TransportError)) throw error
      return { kind: 'failed', code: error.failure === 'timeout' ? 'REQUEST_TIMED_OUT' : 'NETWORK_EXCEPTION' }
    }
  }

  close(): void {
    const { dataLanes, barrierLane, idLane } = this.#parts
    for (const lane of [...dataLanes, barrierLane, idLane]) lane.close()
  }

  /** A broker that takes topics by name only cannot refuse another topic of that name: we look more often. */
  async #topic(name: string, isPinned: boolean): Promise<TopicMetadata | undefined | 'unreachable'> {
    const { metadata } = this.#parts
    const known = metadata.known(name)
    if (known !== undefined && !(isPinned && this.#isByName)) return known
    try {
      return await metadata.topic(name, byNameAgeMs)
    } catch (error) {
      if (error instanceof TransportError) return 'unreachable'
      throw error
    }
  }

  async #anyBroker(): Promise<BrokerAddress> {
    const { metadata } = this.#parts
    if (metadata.brokers.length === 0) await metadata.refresh([])
    const { brokers } = metadata
    const broker = brokers[this.#anyTurn++ % Math.max(1, brokers.length)]
    if (broker === undefined) throw new TransportError('unreachable', 'no broker is known')
    return broker
  }

  #queue(purpose: ProduceRequest['purpose'], leader: BrokerAddress): ProduceQueue {
    const key = `${purpose}/${leader.nodeId}`
    let queue = this.#queues.get(key)
    if (queue === undefined) {
      const { dataLanes, barrierLane, clock, settings, metrics, onProblem } = this.#parts
      queue = new ProduceQueue(leader, {
        lanes: purpose === 'data' ? dataLanes : [barrierLane],
        clock,
        settings,
        metrics,
        onProblem,
        onVersion: (isById) => {
          this.#isByName = !isById
        },
        hasMoved: (out, nodeId) => this.#hasMoved(out, nodeId),
      })
      this.#queues.set(key, queue)
    }
    return queue
  }

  async #hasMoved({ topic, topicId, partition }: OutgoingBatch, nodeId: number): Promise<boolean> {
    const { metadata, settings } = this.#parts
    try {
      const now = await metadata.topic(topic, settings.produceDoubtMs)
      if (now === undefined || now.topicId !== topicId) return true
      const leader = now.partitions[partition]?.leader
      return leader !== undefined && leader >= 0 && leader !== nodeId
    } catch (error) {
      // Nobody can say: the request's own time-out decides.
      if (error instanceof TransportError) return false
      throw error
    }
  }
}

/** The broker looked at this batch and did not like it: that has nothing to do with who leads. */
function isAboutBatch(answer: ProduceAnswer): boolean {
  if (answer.kind !== 'failed') return false
  const about: readonly BrokerCode[] = [
    'MESSAGE_TOO_LARGE',
    'RECORD_LIST_TOO_LARGE',
    'INVALID_RECORD',
    'INVALID_TIMESTAMP',
    'INVALID_PRODUCER_EPOCH',
    'PRODUCER_FENCED',
    'OUT_OF_ORDER_SEQUENCE_NUMBER',
    'DUPLICATE_SEQUENCE_NUMBER',
    'UNKNOWN_PRODUCER_ID',
    'THROTTLING_QUOTA_EXCEEDED',
  ]
  return about.includes(answer.code)
}

function failed(code: BrokerCode): ProduceAnswer {
  return { kind: 'failed', code, appended: false }
}
