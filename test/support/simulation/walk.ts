// Owns: one walk: a world made of a seed, its clients, its storm, the healing, the draining, the judgement.
// 1. The same seed and profile give the same trace, byte for byte.
// 2. After the healing everything that is out is answered within `settleMs` of simulated time, or the walk is STUCK.

import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { InProcessHub } from '../../../src/adapters/in-process/in-process-switchboard.ts'
import { freshKeyring } from '../../../src/adapters/keyring/keyring-content.ts'
import { KeyringProvider } from '../../../src/adapters/keyring/keyring-provider.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { nullApiMetrics } from '../../../src/api-tier/api-metrics.ts'
import { GatewayCalls } from '../../../src/api-tier/gateway-calls.ts'
import { GatewayKeys } from '../../../src/crypto/gateway-keys.ts'
import { nullLogger } from '../../../src/observability/log.ts'
import { parseTopicName } from '../../../src/protocol/ids.ts'
import { defaultLimits } from '../../../src/protocol/limits.ts'
import { FaultySwitchboard } from '../faulty-switchboard.ts'
import { checkHistory, type DefectKind } from '../history/check-history.ts'
import { History } from '../history/history.ts'
import { namedBearers } from '../named-bearers.ts'
import { openAuthorizer } from '../open-authorizer.ts'
import { SimCluster } from '../sim-log/sim-cluster.ts'
import { type ClientWorld, retryOf, type SimTopicFacts, startClient } from './client-world.ts'
import { textOfThrown, within } from './draw.ts'
import { deliveredOf } from './payload.ts'
import type { Profile } from './profile.ts'
import { readRawLog } from './raw-log.ts'
import { SimApi } from './sim-api.ts'
import { calmLink } from './sim-link.ts'
import { type NodeWorld, SimNode } from './sim-node.ts'
import { SimProducer } from './sim-producer.ts'
import { SimRawWriter } from './sim-raw-writer.ts'
import { SimReader } from './sim-reader.ts'
import { runStrangers } from './sim-strangers.ts'
import { Storm } from './storm.ts'
import { Trace } from './trace.ts'

export interface WalkDefect {
  /** STUCK: something was not answered after the healing. BROKEN: a part of the gateway met what it must not meet. */
  readonly kind: DefectKind | 'STUCK' | 'BROKEN'
  readonly text: string
}

export interface WalkResult {
  readonly seed: string
  readonly profile: string
  readonly defects: readonly WalkDefect[]
  readonly traceHash: string
  readonly simulatedMs: number
  readonly ackedEvents: number
  readonly counts: Readonly<Record<string, number>>
  readonly lastLines: readonly string[]
}

export interface WalkOptions {
  readonly profile: Profile
  /** Lines of the trace that are kept; default none. */
  readonly traceLinesMax?: number
}

const settleMs = 180_000
/** What is still in the air, and every lease, ends within this. */
const quietMs = 75_000
const stepMs = 20
const brokenMax = 5
/** Ends a walk whose defect is noted already. */
const stuck = new Error('stuck')

export async function walk(seed: string, options: WalkOptions): Promise<WalkResult> {
  return await new Walk(seed, options).run()
}

/** Wall time in whole ms, as every real clock tells it; the network's delays are finer. */
class WholeClock extends SimulatedClock {
  override nowMs(): number {
    return Math.floor(super.nowMs())
  }
}

class Walk {
  readonly #seed: string
  readonly #profile: Profile
  readonly #clock = new WholeClock()
  readonly #random: SeededRandom
  readonly #trace: Trace
  readonly #history = new History()
  readonly #broken: WalkDefect[] = []
  #stormIsOver = false

  constructor(seed: string, { profile, traceLinesMax = 0 }: WalkOptions) {
    this.#seed = seed
    this.#profile = profile
    this.#random = new SeededRandom(`${profile.name} ${seed}`)
    this.#trace = new Trace(this.#clock, traceLinesMax)
  }

  async run(): Promise<WalkResult> {
    const defects: WalkDefect[] = []
    const onRejection = (thrown: unknown): void =>
      this.#noteBroken(`a rejection that nobody heard: ${textOfThrown(thrown)}`)
    process.on('unhandledRejection', onRejection)
    try {
      defects.push(...(await this.#run()))
    } catch (thrown) {
      if (thrown !== stuck) defects.push({ kind: 'BROKEN', text: `the walk ended by: ${textOfThrown(thrown)}` })
    } finally {
      process.off('unhandledRejection', onRejection)
    }
    const counts = this.#trace.counts
    return {
      seed: this.#seed,
      profile: this.#profile.name,
      defects: [...this.#broken, ...defects],
      traceHash: this.#trace.digest(),
      simulatedMs: this.#clock.monotonicMs(),
      ackedEvents: counts['acked events'] ?? 0,
      counts,
      lastLines: this.#trace.lines,
    }
  }

  async #run(): Promise<WalkDefect[]> {
    const profile = this.#profile
    const random = this.#random.fork('world')
    const clock = this.#clock
    const trace = this.#trace
    const onDefect = (text: string): void => this.#noteBroken(text)
    const keyRandom = this.#random.fork('keys')
    const keys = new KeyringProvider('', freshKeyring(keyRandom, clock), keyRandom)
    const gatewayKeys = GatewayKeys.generate(keyRandom, clock)
    const isPlain = profile.plain === true
    const cluster = new SimCluster({ clock, random: this.#random.fork('cluster'), plainTopics: isPlain })
    const hub = new InProcessHub(clock, { onDefect: (error) => onDefect(`a handler rejected: ${textOfThrown(error)}`) })

    const topics: SimTopicFacts[] = Array.from({ length: within(random, profile.topics) }, (_, index) => ({
      name: `topic-${index}`,
      partitions: within(random, profile.partitions),
    }))
    for (const { name, partitions } of topics) {
      cluster.createTopic({ name: parseTopicName(name), partitions, format: isPlain ? 'plain' : 'sealed' })
    }

    const linkFaults = { ...calmLink }
    const nodes: SimNode[] = []
    const apis: SimApi[] = []
    const producers: SimProducer[] = []
    const rawWriters: SimRawWriter[] = []
    const readers: SimReader[] = []

    const storm = new Storm({
      clock,
      random: this.#random.fork('storm'),
      trace,
      profile,
      cluster,
      linkFaults,
      topics,
      nodes,
      apis,
      abandonClient: () => {
        const index = random.below(producers.length)
        const [gone] = producers.splice(index, 1)
        if (gone === undefined) return
        trace.count('fault abandon')
        trace.note(`${gone.process.name} is abandoned with ${gone.outCount} publishes out`)
        gone.process.gate.kill()
        addProducer()
      },
      restartReader: () => {
        const index = random.below(readers.length)
        const reader = readers[index]
        if (reader === undefined) return
        trace.note(`${reader.name} starts again`)
        reader.startAgain()
      },
    })
    const nodeWorld: NodeWorld = {
      clock,
      random: this.#random.fork('nodes'),
      trace,
      hub,
      cluster,
      keys,
      gatewayKeys,
      switchboardPlan: storm.switchboardPlan,
      refuses: () => storm.refuses(),
      appendDeadlineMs: within(random, profile.appendDeadlineMs),
      onDefect,
    }
    const nodeCount = within(random, profile.nodes)
    for (let index = 0; index < nodeCount; index += 1) nodes.push(new SimNode(`n${index}`, nodeWorld))

    const startApi = (): GatewayCalls =>
      new GatewayCalls({
        switchboard: new FaultySwitchboard(hub.connect(), clock, storm.switchboardPlan),
        gatewayKeys,
        tokens: namedBearers,
        authorizer: openAuthorizer(clock),
        clock,
        metrics: nullApiMetrics,
        logger: {
          ...nullLogger,
          error: (fields, message) => onDefect(`api: ${message}: ${textOfThrown(fields.err)}`),
        },
        limits: defaultLimits,
      })
    const apiCount = within(random, profile.apiNodes)
    for (let index = 0; index < apiCount; index += 1)
      apis.push(new SimApi(`a${index}`, { clock, trace, start: startApi }))
    const world: ClientWorld = {
      clock,
      random: this.#random.fork('clients'),
      trace,
      history: this.#history,
      apis,
      linkFaults,
      topics,
      callTimeoutMs: within(random, profile.callTimeoutMs),
      allocatePatienceMs: within(random, profile.allocatePatienceMs),
      payloadBytesMax: profile.payloadBytesMax,
      onDefect,
      isOver: () => this.#stormIsOver,
    }
    let clients = 0
    const addProducer = (): void => {
      const plan = {
        thinkMs: within(random, profile.thinkMs),
        pipeline: within(random, profile.pipeline),
        eventsPerPublish: profile.eventsPerPublish,
      }
      const producer = new SimProducer(world, `p${++clients}`, random.pick(topics), plan)
      producers.push(producer)
      producer.start()
    }

    await this.#drive(Promise.all(nodes.map((node) => node.start())), 60_000, 'the nodes boot')
    const [producerCount, rawCount, readerCount] = [profile.producers, profile.rawWriters, profile.readers].map(
      (range) => within(random, range),
    ) as [number, number, number]
    for (let index = 0; index < producerCount; index += 1) addProducer()
    for (let index = 0; index < rawCount; index += 1) {
      const writer = new SimRawWriter(world, `w${++clients}`, random.pick(topics), within(random, profile.thinkMs))
      rawWriters.push(writer)
      writer.start()
    }
    for (let index = 0; index < readerCount; index += 1) {
      const reader = new SimReader(world, `r${++clients}`, random.pick(topics))
      readers.push(reader)
      reader.start()
    }

    const strangers = isPlain
      ? runStrangers({
          ...{ clock, trace, cluster, topics, history: this.#history },
          random: this.#random.fork('strangers'),
          payloadBytesMax: profile.payloadBytesMax,
          isOver: () => this.#stormIsOver,
        })
      : Promise.resolve()
    storm.begin()
    const stormMs = within(random, profile.stormMs)
    await this.#pass(stormMs)
    this.#stormIsOver = true
    storm.heal()

    await this.#drive(strangers, settleMs, 'the strangers end')
    const writers = [...producers, ...rawWriters]
    await this.#drive(Promise.all(writers.map((writer) => writer.done)), settleMs, () =>
      writers.map((writer) => `${writer.process.name}: ${writer.outCount} out`).join(', '),
    )
    await this.#drive(Promise.all(readers.map((reader) => reader.done)), settleMs, 'the readers end their pulls')
    await this.#pass(quietMs)
    const drained = Promise.all(topics.map((topic) => this.#drain(world, topic)))
    await this.#drive(drained, settleMs, 'the topics are drained')
    const closing = Promise.all([...producers, ...readers].map((client) => client.close()))
    await this.#drive(closing, settleMs, 'the clients close')
    for (const node of nodes) node.stop()
    cluster.stop()
    const raw = await readRawLog(cluster, topics, keys, clock)
    trace.count(
      'raw records',
      raw.reduce((sum, { records }) => sum + records.length, 0),
    )
    return checkHistory(this.#history, raw, { unknownIsDefect: true })
  }

  /** Reads a topic from its start until nothing new comes. */
  async #drain(world: ClientWorld, topic: SimTopicFacts): Promise<void> {
    const process = startClient(world, `drain-${topic.name}`)
    const reader = process.client.reader(topic.name, { from: 'earliest', waitMs: 1_000, retry: retryOf(world) })
    const history = this.#history.reader(process.name, topic.name, { at: 'earliest' }, { drains: true })
    for (let idle = 0; idle < 2; ) {
      const batch = await reader.pull()
      if (batch === undefined) {
        idle += 1
        continue
      }
      idle = 0
      const record = history.batch(batch.events.map(deliveredOf))
      record.ack()
      await batch.ack()
    }
    await process.client.close()
  }

  async #pass(ms: number): Promise<void> {
    await this.#clock.advance(ms)
  }

  /** Moves time until `work` settles. */
  async #drive<T>(work: Promise<T>, maxMs: number, what: string | (() => string)): Promise<T> {
    let settled = false
    const mark = (): void => {
      settled = true
    }
    work.then(mark, mark)
    const endMs = this.#clock.monotonicMs() + maxMs
    await this.#clock.settle()
    while (!settled && this.#clock.monotonicMs() < endMs) await this.#clock.advance(stepMs)
    if (!settled) {
      const text = typeof what === 'string' ? what : what()
      this.#broken.push({ kind: 'STUCK', text: `${text}: not within ${maxMs} ms` })
      throw stuck
    }
    return await work
  }

  #noteBroken(text: string): void {
    this.#trace.note(`BROKEN ${text}`)
    if (this.#broken.length < brokenMax) this.#broken.push({ kind: 'BROKEN', text })
  }
}
