// Owns: the seeded random runs of lanes, cursor and take-over over the simulated cluster: nodes are left in the middle,
// answer a release or stay silent, and go on as zombies. Replay one with TRUNKLINE_SEED=<seed>.
import { describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../../src/adapters/clock/simulated-clock.ts'
import { FencedLog } from '../../../../src/adapters/log-core/fenced-log.ts'
import { SeededRandom } from '../../../../src/adapters/random/seeded-random.ts'
import { type LogWriter, type TopicInfo, topicFormat } from '../../../../src/ports/event-log.ts'
import { isErrorNamed } from '../../../../src/protocol/errors.ts'
import {
  type Incarnation,
  makeIncarnation,
  parseProducerId,
  parseSessionId,
  parseTopicName,
  type SessionId,
} from '../../../../src/protocol/ids.ts'
import { partState } from '../../../../src/protocol/messages.ts'
import { decodeRecordHeader } from '../../../../src/protocol/record-header.ts'
import type { EntryOutcome } from '../../../../src/stream-tier/write/append-entry.ts'
import { AppendLanes } from '../../../../src/stream-tier/write/append-lanes.ts'
import { type ReleaseAnswer, type TakeOverOutcome, TakeOvers } from '../../../../src/stream-tier/write/take-over.ts'
import { WriteCursor } from '../../../../src/stream-tier/write/write-cursor.ts'
import { scale } from '../../../support/scale.ts'
import { SimCluster } from '../../../support/sim-log/sim-cluster.ts'
import { stormy } from '../../../support/sim-log/sim-faults.ts'
import { dataRecord } from '../read/tiny-log.ts'

const topic = parseTopicName('storm')
const partitions = 3
const writesTotal = 40
const window = 4
const producerId = parseProducerId('c'.repeat(32))

interface Write {
  readonly n: number
  /** partitions[i] is where part i goes. */
  readonly partitions: readonly number[]
  readonly landed: Map<number, number>
}

interface Hold {
  readonly incarnation: Incarnation
  readonly pid: number
  readonly sessionId: SessionId
  readonly lanes: AppendLanes
  readonly cursor: WriteCursor
}

/** One client with a window of writes, walking from node to node. */
class Walk {
  readonly #clock = new SimulatedClock()
  readonly #random: SeededRandom
  readonly #cluster: SimCluster
  readonly #nodes = new Map<Incarnation, AppendLanes>()
  readonly #unanswered = new Map<number, Write>()
  readonly #info: TopicInfo
  #hold: Hold | undefined
  #from: readonly number[] = new Array<number>(partitions).fill(0)
  #nextN = 1
  #nodesMade = 0
  takeOvers = { released: 0, fenced: 0, unneeded: 0 }

  constructor(seed: string) {
    this.#random = new SeededRandom(seed)
    this.#cluster = new SimCluster({ clock: this.#clock, random: this.#random.fork('cluster'), faults: stormy })
    this.#info = this.#cluster.createTopic({ name: topic, partitions, format: topicFormat.sealed })
  }

  async run(): Promise<void> {
    await this.#goTo()
    while (this.#nextN <= writesTotal || this.#unanswered.size > 0) {
      while (this.#nextN <= writesTotal && this.#unanswered.size < window) this.#publish(this.#take())
      await this.#clock.advance(this.#random.fraction() * 150)
      const isStuck = this.#nextN > writesTotal || this.#unanswered.size >= window
      if (this.#random.fraction() < (isStuck ? 0.3 : 0.1)) await this.#goTo()
    }
    // Zombies and what is in the air get their chance.
    await this.#clock.advance(60_000)
    this.#cluster.stop()
  }

  /** What is wrong with the log: every part once, in order per partition. */
  violations(): string[] {
    const wrong: string[] = []
    const seen = new Set<string>()
    for (let partition = 0; partition < partitions; partition += 1) {
      let last = 0
      for (const { header } of this.#cluster.visible({ topic, partition })) {
        const decoded = header === null ? undefined : decodeRecordHeader(header)
        if (decoded?.kind !== 'data') continue
        const name = `${decoded.n}/${decoded.part}`
        if (seen.has(name)) wrong.push(`duplicate ${name} in ${partition}`)
        if (decoded.n < last) wrong.push(`reordered ${name} in ${partition}`)
        last = decoded.n
        seen.add(name)
      }
    }
    for (let n = 1; n <= writesTotal; n += 1) {
      for (let part = 0; part < partsOf(n); part += 1) if (!seen.has(`${n}/${part}`)) wrong.push(`lost ${n}/${part}`)
    }
    return wrong
  }

  #take(): Write {
    const n = this.#nextN
    this.#nextN += 1
    const first = Math.floor(this.#random.fraction() * partitions)
    const to = Array.from({ length: partsOf(n) }, (_, part) => (first + part) % partitions)
    const write = { n, partitions: to, landed: new Map<number, number>() }
    this.#unanswered.set(n, write)
    return write
  }

  #publish(write: Write): void {
    const hold = this.#hold
    if (hold === undefined) throw new Error('no session')
    hold.cursor.taken(write.n)
    const missing = write.partitions.map((_, part) => part).filter((part) => !write.landed.has(part))
    const outcomes = missing.map((part) => {
      const record = dataRecord(producerId, write.n, part, Uint8Array.of(1), write.partitions.length)
      const at = { topic, partition: write.partitions[part] ?? 0 }
      return hold.lanes.append(at, { producerId, session: hold.sessionId, n: write.n, records: [record] })
    })
    void Promise.all(outcomes).then((all) => this.#settle(hold, write, missing, all))
  }

  #settle(hold: Hold, write: Write, missing: readonly number[], outcomes: readonly EntryOutcome[]): void {
    if (outcomes.some(({ kind }) => kind !== 'landed')) return
    const landed = new Map(write.landed)
    for (const [index, outcome] of outcomes.entries()) {
      if (outcome.kind === 'landed') landed.set(missing[index] ?? 0, outcome.offset)
    }
    const parts = write.partitions.map((partition, part) => ({ partition, offset: landed.get(part) ?? 0 }))
    const { offsets } = hold.cursor.landed(write.n, parts, 0)
    // The client has left, or the answer is lost: the write stays unanswered.
    if (this.#hold !== hold || this.#random.fraction() < 0.15) return
    this.#unanswered.delete(write.n)
    // Rule 7, the client's part.
    if (![...this.#unanswered.keys()].some((n) => n < write.n)) this.#from = offsets
  }

  /** Leaves the node it is at, dead or alive, and goes on at another. */
  async #goTo(): Promise<void> {
    const old = this.#hold
    this.#hold = undefined
    const name = `n${this.#nodesMade}`
    this.#nodesMade += 1
    const log = new FencedLog({
      broker: this.#cluster.broker(name),
      clock: this.#clock,
      random: this.#random.fork(name),
    })
    const writer = await this.#open(log, name)
    const incarnation = writer.identity
    const lanes = new AppendLanes({ writer, bufferBytesMax: 1_000_000, clock: this.#clock })
    this.#nodes.set(incarnation, lanes)
    const sessionId = parseSessionId(`session-${name}`)
    const answersReleases = this.#random.fraction() < 0.5
    const takeOvers = new TakeOvers({
      log,
      clock: this.#clock,
      self: incarnation,
      localRelease: () => true,
      switchboardCall: async (of) => (answersReleases ? this.#release(of, old) : 'silent'),
    })
    if (old !== undefined) {
      const writes = [...this.#unanswered.values()].sort((a, b) => a.n - b.n)
      const found = await this.#takeOver(takeOvers, old, writes)
      this.takeOvers[found.how] += 1
      this.#learn(found)
      this.#from = found.writeCursor
    }
    this.#hold = {
      incarnation,
      pid: writer.pid,
      sessionId,
      lanes,
      cursor: new WriteCursor(this.#info.topicId, this.#from),
    }
    for (const write of [...this.#unanswered.values()].sort((a, b) => a.n - b.n)) this.#publish(write)
  }

  /** An id whose first answer was lost is used up: another one is taken. */
  async #open(log: FencedLog, name: string): Promise<LogWriter> {
    for (let epoch = 1; epoch < 20; epoch += 1) {
      try {
        return await this.#timed(log.open(makeIncarnation(name, `e${epoch}`)))
      } catch {
        await this.#clock.advance(10)
      }
    }
    throw new Error('no identity could be opened')
  }

  #learn({ outcomes }: TakeOverOutcome): void {
    for (const { n, parts } of outcomes) {
      const write = this.#unanswered.get(n)
      if (write === undefined) throw new Error('an outcome of a write nobody asked for')
      write.landed.clear()
      for (const { part, state, offset } of parts) {
        if (state === partState.unknown) throw new Error(`write ${n} is unknown`)
        if (state === partState.landed) write.landed.set(part, offset ?? 0)
      }
      if (write.landed.size === write.partitions.length) this.#unanswered.delete(n)
    }
  }

  #release(of: Incarnation, old: Hold | undefined): ReleaseAnswer {
    const lanes = this.#nodes.get(of)
    if (lanes === undefined || old === undefined) return 'unroutable'
    lanes.release(old.sessionId)
    if (lanes.isRetired) return 'unroutable'
    return lanes.hasInFlight(old.sessionId) ? 'pending' : 'released'
  }

  async #takeOver(takeOvers: TakeOvers, old: Hold, writes: readonly Write[]): Promise<TakeOverOutcome> {
    for (let tries = 0; tries < 200; tries += 1) {
      const token = {
        sessionId: old.sessionId,
        incarnation: old.incarnation,
        pid: old.pid,
        topic,
        topicId: this.#info.topicId,
        producerId,
        partitions,
      }
      const asked = writes.map(({ n, partitions: to }) => ({ n, partitions: to }))
      const deadlineAtMs = this.#clock.monotonicMs() + 2_000
      try {
        return await this.#timed(
          takeOvers.takeOver({ token, from: this.#from, writes: asked, nextN: this.#nextN, deadlineAtMs }),
        )
      } catch (error) {
        if (!isErrorNamed(error, 'PENDING', 'UNAVAILABLE')) throw error
        await this.#clock.advance(100)
      }
    }
    throw new Error('a take-over that never ends')
  }

  /** Gives a promise all the time it needs. */
  async #timed<T>(promise: Promise<T>): Promise<T> {
    let settled = false
    const done = (): void => {
      settled = true
    }
    promise.then(done, done)
    for (let step = 0; step < 10_000 && !settled; step += 1) await this.#clock.advance(20)
    return promise
  }
}

const partsOf = (n: number): number => (n % 3 === 0 ? 2 : 1)

describe('lanes, cursor and take-over in a storm', () => {
  const given = process.env['TRUNKLINE_SEED']
  const runs = scale(40, 1_000)

  it(`land every part once, in order (${given ?? `seeds 1-${runs}`})`, {
    timeout: scale(60_000, 1_200_000),
  }, async () => {
    const seeds = given === undefined ? Array.from({ length: runs }, (_, index) => String(index + 1)) : [given]
    const total = { released: 0, fenced: 0, unneeded: 0 }
    for (const seed of seeds) {
      const walk = new Walk(seed)
      await walk.run()
      expect({ seed, violations: walk.violations() }).toEqual({ seed, violations: [] })
      for (const how of ['released', 'fenced', 'unneeded'] as const) total[how] += walk.takeOvers[how]
    }
    // A storm without take-overs of both kinds would prove nothing.
    expect(total.released).toBeGreaterThan(seeds.length / 4)
    expect(total.fenced).toBeGreaterThan(seeds.length / 4)
  })
})
