// Owns: batches on their way to one broker: which go together, on which connection, and what each one's answer was.
// 1. Never two requests under way that carry the same partition: a younger batch must not arrive first.
// 2. Sent at once when a connection is free; what comes meanwhile joins the next request.
// 3. A partition whose last answer was no landing has a connection of its own kind: it may be slow, and a request is
//    answered only when all of its partitions are.
// 4. What waits has a bound in bytes and in time; a batch that was never handed to a socket is NOT_SENT, and so is one
//    that waited while this process stood still: whoever sends it again checks first.
// 5. No answer: uncertain.
import type { Clock } from '../../ports/clock.ts'
import type { BrokerCode, ProduceAnswer } from '../log-core/log-broker.ts'
import { apiKeys } from './api.ts'
import type { BrokerAddress } from './api-metadata.ts'
import { type ProduceAnswers, produceByIdVersion, produceRequest } from './api-produce.ts'
import type { Connection } from './connection.ts'
import { brokerCodeOf, kafkaCode } from './kafka-codes.ts'
import type { Lane } from './lane.ts'
import type { KafkaMetrics } from './metrics.ts'
import type { KafkaSettings } from './settings.ts'
import { TransportError } from './transport-error.ts'

export interface OutgoingBatch {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly acks: 'all' | 'leader'
  readonly batch: Buffer
  readonly timestampMs: number
}

export interface ProduceQueueParts {
  /** Of one broker: what is well goes by the first ones, what is in doubt by the last. */
  readonly lanes: readonly Lane[]
  readonly clock: Clock
  readonly settings: KafkaSettings
  readonly metrics: KafkaMetrics
  readonly onProblem: (problem: unknown) => void
  /** Told at each request whether the broker takes topics by their id. */
  readonly onVersion: (isById: boolean) => void
  /** Asked while a request gets no answer: whether the partition is led by somebody else by now. */
  readonly hasMoved: (batch: OutgoingBatch, nodeId: number) => Promise<boolean>
}

interface Waiting {
  readonly out: OutgoingBatch
  readonly key: string
  readonly sinceMs: number
  readonly sinceWallMs: number
  readonly answer: (answer: ProduceAnswer) => void
}

interface Slot {
  readonly lane: Lane
  readonly forDoubtful: boolean
  busy: boolean
}

const requestBytesMax = 8 * 1024 * 1024
const doubtfulMax = 10_000
const waitingBytesMax = 64 * 1024 * 1024
/** As long as an append may take in all. */
const waitMsMax = 30_000

export class ProduceQueue {
  readonly #parts: ProduceQueueParts
  readonly #slots: readonly Slot[]
  readonly #inFlight = new Set<string>()
  readonly #doubtful = new Set<string>()
  #at: BrokerAddress
  #waiting: Waiting[] = []
  #bytes = 0
  #pumping = false

  constructor(at: BrokerAddress, parts: ProduceQueueParts) {
    this.#at = at
    this.#parts = parts
    this.#slots = parts.lanes.map((lane, index) => ({
      lane,
      forDoubtful: parts.lanes.length > 1 && index === parts.lanes.length - 1,
      busy: false,
    }))
  }

  /** Never rejects. */
  produce(at: BrokerAddress, out: OutgoingBatch): Promise<ProduceAnswer> {
    this.#at = at
    const { clock } = this.#parts
    if (this.#bytes + out.batch.length > waitingBytesMax) return Promise.resolve(failed('THROTTLING_QUOTA_EXCEEDED'))
    this.#bytes += out.batch.length
    return new Promise((resolve) => {
      this.#waiting.push({
        out,
        key: `${out.topicId}/${out.partition}`,
        sinceMs: clock.monotonicMs(),
        sinceWallMs: clock.nowMs(),
        answer: (answer) => {
          this.#bytes -= out.batch.length
          resolve(answer)
        },
      })
      this.#soon()
    })
  }

  /** Behind everything that comes in the same turn of the event loop, so that it goes together. */
  #soon(): void {
    if (this.#pumping) return
    this.#pumping = true
    setImmediate(() => {
      this.#pumping = false
      this.#pump()
    })
  }

  #pump(): void {
    for (const slot of this.#slots) {
      if (slot.busy || !this.#waiting.some((one) => this.#mayGo(one, slot))) continue
      slot.busy = true
      void this.#serve(slot).finally(() => {
        slot.busy = false
        if (this.#waiting.length > 0) this.#soon()
      })
    }
  }

  #mayGo({ key }: Waiting, slot: Slot): boolean {
    if (this.#inFlight.has(key)) return false
    return this.#slots.length === 1 || this.#doubtful.has(key) === slot.forDoubtful
  }

  async #serve(slot: Slot): Promise<void> {
    let connection: Connection
    try {
      connection = slot.lane.ready(this.#at) ?? (await slot.lane.connection(this.#at))
    } catch {
      // The lane has counted it; nothing of these was sent, and whoever asks again looks who leads first.
      for (const one of this.#take(slot)) one.answer(failed('NOT_SENT'))
      return
    }
    const batch = this.#take(slot).filter((one) => !this.#isStale(one))
    if (batch.length === 0) return
    for (const { key } of batch) this.#inFlight.add(key)
    try {
      await this.#send(connection, batch)
    } finally {
      for (const { key } of batch) this.#inFlight.delete(key)
    }
  }

  /** One per partition, oldest first, as much as fits. */
  #take(slot: Slot): Waiting[] {
    const taken: Waiting[] = []
    const keys = new Set<string>()
    const left: Waiting[] = []
    let bytes = 0
    let acks: 'all' | 'leader' | undefined
    for (const one of this.#waiting) {
      const fits = taken.length === 0 || bytes + one.out.batch.length <= requestBytesMax
      if (fits && !keys.has(one.key) && this.#mayGo(one, slot) && (acks === undefined || acks === one.out.acks)) {
        acks = one.out.acks
        bytes += one.out.batch.length
        taken.push(one)
      } else {
        left.push(one)
      }
      // What is behind it in its partition waits with it.
      keys.add(one.key)
    }
    this.#waiting = left
    return taken
  }

  /** Invariant 4: answers it, too. */
  #isStale(one: Waiting): boolean {
    const { clock } = this.#parts
    const isStale =
      clock.monotonicMs() - one.sinceMs > waitMsMax || Math.abs(clock.nowMs() - one.sinceWallMs) > waitMsMax
    if (isStale) one.answer(failed('NOT_SENT'))
    return isStale
  }

  async #send(connection: Connection, batch: readonly Waiting[]): Promise<void> {
    const { clock, settings, metrics } = this.#parts
    const byId = (connection.versions.get(apiKeys.Produce) ?? 0) >= produceByIdVersion
    this.#parts.onVersion(byId)
    const request = produceRequest({
      acks: batch[0]?.out.acks ?? 'all',
      waitMs: settings.produceWaitMs,
      byId,
      partitions: batch.map(({ out }) => out),
    })
    const timer = clock.after(settings.produceDoubtMs, () => this.#watch(connection, batch))
    let answers: ProduceAnswers
    try {
      answers = await connection.send(request, settings.produceWaitMs + settings.graceMs)
    } catch (error) {
      // Whatever it was, each batch gets an answer: none of them is waited for in vain.
      if (!(error instanceof TransportError)) this.#parts.onProblem(error)
      const answer = withoutAnswer(error)
      for (const one of batch) this.#answer(one, answer)
      return
    } finally {
      timer.cancel()
    }
    if (answers.throttleMs > 0) metrics.throttled('Produce', answers.throttleMs)
    const byPlace = new Map(answers.answers.map((one) => [`${one.topic}/${one.partition}`, one]))
    for (const one of batch) {
      const { out } = one
      const answer = byPlace.get(`${byId ? out.topicId : out.topic}/${out.partition}`)
      if (answer === undefined) this.#answer(one, { kind: 'uncertain', why: 'a partition was not answered' })
      else if (answer.error !== kafkaCode.none)
        this.#answer(one, failed(brokerCodeOf(answer.error), answer.baseOffset >= 0))
      else if (answer.baseOffset < 0) this.#answer(one, { kind: 'uncertain', why: 'no offset' })
      else {
        const appendTimeMs = answer.appendTimeMs >= 0 ? answer.appendTimeMs : out.timestampMs
        this.#answer(one, { kind: 'landed', baseOffset: answer.baseOffset, appendTimeMs })
      }
    }
  }

  #answer(one: Waiting, answer: ProduceAnswer): void {
    if (answer.kind === 'landed') this.#doubtful.delete(one.key)
    else {
      // Partitions of topics that are gone stay in it: nothing is lost by forgetting all.
      if (this.#doubtful.size >= doubtfulMax) this.#doubtful.clear()
      this.#doubtful.add(one.key)
    }
    one.answer(answer)
  }

  /** A leader that has been replaced may never answer: its connection is given up as soon as that is known. */
  #watch(connection: Connection, batch: readonly Waiting[]): void {
    const { clock, settings, hasMoved } = this.#parts
    if (connection.inFlight === 0) return
    void Promise.all(batch.map(({ out }) => hasMoved(out, this.#at.nodeId))).then((moved) => {
      const isSame = batch.every(({ key }) => this.#inFlight.has(key))
      if (!isSame || connection.inFlight === 0) return
      if (moved.includes(true)) connection.destroy('a partition has another leader')
      else clock.after(settings.produceDoubtMs, () => this.#watch(connection, batch))
    })
  }
}

function withoutAnswer(error: unknown): ProduceAnswer {
  if (!(error instanceof TransportError)) return { kind: 'uncertain', why: 'a fault of this process' }
  if (error.neverSent) return failed('NOT_SENT')
  return { kind: 'uncertain', why: error.message }
}

function failed(code: BrokerCode, appended = false): ProduceAnswer {
  return { kind: 'failed', code, appended }
}
