// Owns: one run of writers that are taken over again and again, on logs over a stormy simulated cluster, and the check
// that every write landed once, in order. The client and the stream tier are played by the shortest code that obeys
// design.md §3: so a defect that is found here is one of log-core (or of the simulation).
// 1. A session's loops never learn that they were replaced: they go on until their writer retires (zombies).
// 2. Only landed, from the session that is current, or found by a look-up, answers a write.
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { FencedLog } from '../../../src/adapters/log-core/fenced-log.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { sleep } from '../../../src/ports/clock.ts'
import type { AppendOutcome, AppendRecord, EventLog, LogWriter, TopicPartition } from '../../../src/ports/event-log.ts'
import { isErrorNamed } from '../../../src/protocol/errors.ts'
import { makeIncarnation, parseTopicName } from '../../../src/protocol/ids.ts'
import { SimCluster } from './sim-cluster.ts'
import { type SimFaults, stormy } from './sim-faults.ts'

export interface StormOptions {
  readonly seed: string
  readonly writes: number
  readonly partitions: number
  /** Between two takeovers, uniform between 0 and twice that. */
  readonly takeoverMeanMs: number
  /** Short: writers give up in the middle of a doubt. Default 30 s. */
  readonly appendDeadlineMs?: number
  /** Laid over `stormy`. */
  readonly faults?: Partial<SimFaults>
}

export interface StormResult {
  readonly violations: readonly string[]
  readonly acked: number
  readonly refused: number
  readonly takeovers: number
  readonly simulatedMs: number
}

interface Session {
  readonly log: EventLog
  readonly writer: LogWriter
  /** Asked for and not yet appended, per partition, in order. */
  readonly queues: number[][]
}

const topic = parseTopicName('storm')
const windowWrites = 6
const batchWritesMax = 3

export async function runStorm(options: StormOptions): Promise<StormResult> {
  const storm = new Storm(options)
  return await storm.run()
}

class Storm {
  readonly #options: StormOptions
  readonly #clock = new SimulatedClock()
  readonly #random: SeededRandom
  readonly #cluster: SimCluster
  readonly #violations: string[] = []
  readonly #acked = new Set<number>()
  readonly #outstanding = new Set<number>()
  /** Refused for good: the client was told that nothing of them landed, and goes on without them. */
  readonly #refused = new Set<number>()
  readonly #logs: EventLog[] = []
  #next = 1
  #session: Session | undefined
  #takeovers = 0
  #calm = false

  constructor(options: StormOptions) {
    this.#options = options
    this.#random = new SeededRandom(options.seed)
    this.#cluster = new SimCluster({
      clock: this.#clock,
      random: this.#random.fork('cluster'),
      faults: { ...stormy, ...options.faults },
    })
  }

  async run(): Promise<StormResult> {
    const work = this.#produce()
    let done = false
    const watched = work.finally(() => {
      done = true
    })
    watched.catch(() => {})
    for (let steps = 0; !done; steps++) {
      if (steps > 20_000) {
        this.#violations.push('STUCK')
        break
      }
      await this.#clock.advance(50)
    }
    if (done) await watched
    this.#cluster.stop()
    this.#check()
    return {
      violations: this.#violations,
      acked: this.#acked.size,
      refused: this.#refused.size,
      takeovers: this.#takeovers,
      simulatedMs: this.#clock.monotonicMs(),
    }
  }

  async #produce(): Promise<void> {
    const { writes, partitions, takeoverMeanMs } = this.#options
    const first = await this.#openNode()
    await this.#eventually(() => first.log.createTopic({ name: topic, partitions, format: 'sealed' }))
    this.#session = first
    this.#startLoops(first)
    let takeoverAtMs = this.#clock.monotonicMs() + 2 * takeoverMeanMs * this.#random.fraction()
    while (this.#acked.size + this.#refused.size < writes) {
      if (this.#session === undefined) throw new Error('no session')
      while (this.#next <= writes && this.#outstanding.size < windowWrites) {
        const k = this.#next++
        this.#outstanding.add(k)
        this.#session.queues[k % partitions]?.push(k)
      }
      await sleep(this.#clock, 20 * this.#random.fraction())
      const over = await Promise.race([this.#session.writer.retired.then(() => true), Promise.resolve(false)])
      if (over || this.#clock.monotonicMs() >= takeoverAtMs) {
        await this.#takeOver(this.#session)
        takeoverAtMs = this.#clock.monotonicMs() + 2 * takeoverMeanMs * this.#random.fraction()
      }
    }
    // The rest of what is in the air arrives; then nothing moves any more.
    this.#calm = true
    Object.assign(this.#cluster.faults, { failoverMeanMs: 0, air: 0, answerLost: 0, requestLost: 0 })
    await sleep(this.#clock, 40_000)
    await Promise.all(this.#logs.map((log) => log.close()))
  }

  async #openNode(): Promise<Session> {
    for (;;) {
      const name = `n${this.#logs.length}`
      const log = new FencedLog({
        broker: this.#cluster.broker(name),
        clock: this.#clock,
        random: this.#random.fork(name),
        settings: { appendDeadlineMs: this.#options.appendDeadlineMs ?? 30_000 },
      })
      this.#logs.push(log)
      try {
        const writer = await log.open(makeIncarnation(name, 'a'))
        return { log, writer, queues: Array.from({ length: this.#options.partitions }, () => []) }
      } catch {
        // The answer of the coordinator was lost and the identity is used up: another one, as a node does.
        await log.close()
      }
    }
  }

  #startLoops(session: Session): void {
    session.queues.forEach((_, partition) => void this.#loop(session, { topic, partition }))
  }

  /** Appends what is asked for, in order; more than one batch at a time if the writer lets it (it must not). */
  async #loop(session: Session, at: TopicPartition): Promise<void> {
    const queue = session.queues[at.partition]
    if (queue === undefined) throw new Error('no such queue')
    const flying = new Set<Promise<void>>()
    for (;;) {
      if (this.#calm) return
      if (queue.length === 0) {
        await sleep(this.#clock, 3)
        continue
      }
      const ks = queue.slice(0, 1 + Math.floor(this.#random.fraction() * batchWritesMax))
      let appending: Promise<AppendOutcome>
      try {
        appending = session.writer.append(at, ks.map(recordOf))
      } catch {
        await Promise.race(flying)
        continue
      }
      queue.splice(0, ks.length)
      let over = false
      const flight = appending.then((outcome) => {
        flying.delete(flight)
        if (outcome.kind === 'landed') this.#landed(session, ks)
        else if (outcome.kind === 'refused') this.#onRefused(session, queue, ks)
        else over = true
      })
      flying.add(flight)
      await Promise.race([flight, sleep(this.#clock, 5)])
      if (over) return
    }
  }

  #landed(session: Session, ks: readonly number[]): void {
    if (session !== this.#session) return
    for (const k of ks) this.#ack(k)
  }

  /** As a client may: it drops the writes, or sends them again. */
  #onRefused(session: Session, queue: number[], ks: readonly number[]): void {
    if (session !== this.#session || this.#random.chance(0.5)) {
      queue.unshift(...ks)
      return
    }
    for (const k of ks) {
      this.#refused.add(k)
      this.#outstanding.delete(k)
    }
  }

  #ack(k: number): void {
    this.#acked.add(k)
    this.#outstanding.delete(k)
  }

  /** Fence, look up, go on: at a new node, with the old session's loops still running. */
  async #takeOver(old: Session): Promise<void> {
    this.#takeovers += 1
    // From here on the client takes no answer from the old session.
    this.#session = undefined
    const { partitions } = this.#options
    const touched = [...new Set([...this.#outstanding].map((k) => k % partitions))].sort((a, b) => a - b)
    const fresh = await this.#openNode()
    // Sometimes a second node fences the same one at the same time: a client may have asked twice.
    if (this.#random.chance(0.3)) void this.#fenceAside(old, touched)
    const at = touched.map((partition) => ({ topic, partition }))
    const barriers = await this.#eventually(() => fresh.log.fence(old.writer, at))
    for (const { at: one, barrierOffset } of barriers) {
      for (const k of await this.#eventually(() => landedBelow(fresh.log, one, barrierOffset))) {
        if (this.#outstanding.has(k)) this.#ack(k)
      }
    }
    for (const k of [...this.#outstanding].sort((a, b) => a - b)) fresh.queues[k % partitions]?.push(k)
    this.#session = fresh
    this.#startLoops(fresh)
  }

  async #fenceAside(old: Session, touched: readonly number[]): Promise<void> {
    const aside = await this.#openNode()
    const at = touched.map((partition) => ({ topic, partition }))
    await this.#eventually(() => aside.log.fence(old.writer, at))
  }

  async #eventually<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await ask()
      } catch (error) {
        if (!isErrorNamed(error, 'UNAVAILABLE') || this.#calm) throw error
        await sleep(this.#clock, 50)
      }
    }
  }

  #check(): void {
    const seen = new Set<number>()
    for (let partition = 0; partition < this.#options.partitions; partition++) {
      let last = 0
      for (const record of this.#cluster.visible({ topic, partition })) {
        const k = numberOf(record)
        if (k === undefined) continue
        if (seen.has(k)) this.#violations.push(`DUPLICATE ${k}`)
        else if (this.#refused.has(k)) this.#violations.push(`PHANTOM ${k}`)
        else if (k < last) this.#violations.push(`REORDERED ${k} behind ${last}`)
        seen.add(k)
        last = Math.max(last, k)
      }
    }
    for (const k of this.#acked) if (!seen.has(k)) this.#violations.push(`LOST ${k}`)
  }
}

function recordOf(k: number): AppendRecord {
  return { key: null, value: Buffer.from(String(k)), header: null }
}

function numberOf(record: AppendRecord): number | undefined {
  return record.value.length === 0 ? undefined : Number(Buffer.from(record.value).toString())
}

/** The look-up: everything below the barrier, read as far as the barrier itself. */
async function landedBelow(log: EventLog, at: TopicPartition, barrierOffset: number): Promise<readonly number[]> {
  const landed: number[] = []
  let offset = 0
  while (offset < barrierOffset) {
    const [fetched] = await log.fetch([{ ...at, offset }], { lane: 'lookup', waitMs: 1_000, bytesMax: 100_000 })
    if (fetched === undefined || fetched.error !== undefined) throw new Error('the look-up failed')
    for (const record of fetched.records) {
      const k = numberOf(record)
      if (k !== undefined && record.offset < barrierOffset) landed.push(k)
    }
    offset = fetched.nextOffset
  }
  return landed
}
