// Owns: what the unit tests of a whole stream node share: real nodes on a simulated cluster, called through the real core
// of the API tier; the log and the switchboard fail when the test says so.

import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { InProcessHub } from '../../../src/adapters/in-process/in-process-switchboard.ts'
import { freshKeyring } from '../../../src/adapters/keyring/keyring-content.ts'
import { KeyringProvider } from '../../../src/adapters/keyring/keyring-provider.ts'
import { FencedLog } from '../../../src/adapters/log-core/fenced-log.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { nullApiMetrics } from '../../../src/api-tier/api-metrics.ts'
import { GatewayCalls } from '../../../src/api-tier/gateway-calls.ts'
import { GatewayKeys } from '../../../src/crypto/gateway-keys.ts'
import { type Logger, nullLogger } from '../../../src/observability/log.ts'
import { createMetrics } from '../../../src/observability/metrics.ts'
import { streamTierMetrics } from '../../../src/observability/tier-metrics.ts'
import type { EventLog, LogWriter, TopicInfo } from '../../../src/ports/event-log.ts'
import type { Serving, Switchboard } from '../../../src/ports/switchboard.ts'
import { makeIncarnation, parseTopicName } from '../../../src/protocol/ids.ts'
import { defaultLimits } from '../../../src/protocol/limits.ts'
import {
  type AllocateReply,
  type MethodName,
  mode,
  type Proof,
  type ReplyOf,
  type RequestOf,
  slot,
  type Turn,
} from '../../../src/protocol/messages.ts'
import { StreamNode } from '../../../src/stream-tier/stream-node.ts'
import { FaultyKeyProvider } from '../../conformance/key-provider-faulty.ts'
import { type FaultPlan, FaultySwitchboard, noFaults } from '../../support/faulty-switchboard.ts'
import { namedBearers } from '../../support/named-bearers.ts'
import { openAuthorizer } from '../../support/open-authorizer.ts'
import { SimCluster } from '../../support/sim-log/sim-cluster.ts'

export const drainTimeoutMs = 5_000
export const topic = parseTopicName('quakes')

/** Wall time in whole ms, as every real clock tells it; the cluster's delays are finer. */
class WholeClock extends SimulatedClock {
  override nowMs(): number {
    return Math.floor(super.nowMs())
  }
}

export class NodeWorld {
  readonly clock = new WholeClock()
  readonly random = new SeededRandom('nodes')
  readonly cluster = new SimCluster({ clock: this.clock, random: this.random.fork('cluster') })
  readonly hub = new InProcessHub(this.clock)
  /** What the nodes did, in order. */
  readonly did: string[] = []
  readonly logged: string[] = []
  /** Asked for every call of the API tier. */
  plan: FaultPlan = noFaults
  /** Awaited by a writer before it closes. */
  beforeWriterCloses: () => Promise<void> = async () => {}
  /** Awaited before a node's key is unbound. */
  beforeUnbinding: () => Promise<void> = async () => {}
  /** Laid over what the log says of a topic. */
  topicFacts: Partial<TopicInfo> = {}
  readonly calls: GatewayCalls
  /** The key service of all nodes. */
  readonly keys: FaultyKeyProvider
  readonly #gatewayKeys: GatewayKeys
  #hung: Promise<void> | undefined
  #hungOnly: 'offsets' | undefined
  #comeBack: () => void = () => {}

  constructor() {
    const { clock, random, hub } = this
    this.keys = new FaultyKeyProvider(new KeyringProvider('', freshKeyring(random, clock), random))
    this.#gatewayKeys = GatewayKeys.generate(random, clock)
    this.calls = new GatewayCalls({
      switchboard: new FaultySwitchboard(hub.connect(), clock, (call) => this.plan(call)),
      gatewayKeys: this.#gatewayKeys,
      tokens: namedBearers,
      authorizer: openAuthorizer(clock),
      clock,
      metrics: nullApiMetrics,
      logger: nullLogger,
      limits: defaultLimits,
    })
    this.cluster.createTopic({ name: topic, partitions: 2, format: 'sealed' })
  }

  /** Questions to the log (or one kind) wait, unanswered, until it is back. Appends are for the cluster's faults. */
  logHangs(only?: 'offsets'): void {
    this.#hungOnly = only
    this.#hung = new Promise((resolve) => {
      this.#comeBack = resolve
    })
  }

  logIsBack(): void {
    this.#hung = undefined
    this.#comeBack()
  }

  /** A node that serves. */
  async start(name = 'n1'): Promise<StreamNode> {
    const node = this.node(name)
    const booted = node.boot()
    await this.clock.advance(100)
    await booted
    return node
  }

  node(name = 'n1'): StreamNode {
    const { clock, random, cluster, hub } = this
    const incarnation = makeIncarnation(name, 'e1')
    const log = new FencedLog({ broker: cluster.broker(incarnation), clock, random: random.fork(name) })
    return new StreamNode({
      incarnation,
      log: this.#watched(log),
      switchboard: this.#watchedSwitchboard(hub.connect()),
      keys: this.keys,
      gatewayKeys: this.#gatewayKeys,
      clock,
      random: random.fork(`${name} node`),
      limits: defaultLimits,
      bounds: {
        sessionsMax: 100,
        allocationsMax: 8,
        readCacheBytes: 1_000_000,
        appendBufferBytes: 4_000_000,
        drainTimeoutMs,
      },
      topics: { autoCreate: false, partitions: 1 },
      metrics: streamTierMetrics(createMetrics().metrics),
      logger: this.#logger(),
      version: '0',
    })
  }

  async reader(): Promise<NodeClient> {
    return this.#open({ topic, mode: mode.read, startAt: { latest: true } })
  }

  async writer(): Promise<NodeClient> {
    return this.#open({ topic, mode: mode.write })
  }

  allocate(request: RequestOf<'allocate'>): Promise<AllocateReply> {
    return this.calls.call('allocate', { ...request, proof: { bearer: 'a' } }, { requestId: 'r' })
  }

  /** Lets time pass until it is answered. */
  async during<T>(answer: Promise<T>, ms = 100): Promise<T> {
    // Heard at the end, and perhaps late: it is no unhandled rejection meanwhile.
    answer.catch(() => {})
    await this.clock.advance(ms)
    return answer
  }

  async #open(request: RequestOf<'allocate'>): Promise<NodeClient> {
    return new NodeClient(this, await this.during(this.allocate(request)))
  }

  #watched(log: EventLog): EventLog {
    const answered = async <T>(ask: () => Promise<T>, kind?: 'offsets'): Promise<T> => {
      if (this.#hungOnly === undefined || this.#hungOnly === kind) await this.#hung
      return ask()
    }
    return {
      open: async (identity) => this.#watchedWriter(await log.open(identity)),
      fence: (target, at) => answered(() => log.fence(target, at)),
      fetch: (at, options) => answered(() => log.fetch(at, options)),
      offsets: (at, query) => answered(() => log.offsets(at, query), 'offsets'),
      createTopic: (spec) => log.createTopic(spec),
      deleteTopic: (name) => log.deleteTopic(name),
      topic: (name) =>
        answered(async () => {
          const info = await log.topic(name)
          return info === undefined ? undefined : { ...info, ...this.topicFacts }
        }),
      topics: () => log.topics(),
      clusterId: () => log.clusterId(),
      close: () => log.close(),
    }
  }

  #watchedWriter(writer: LogWriter): LogWriter {
    return {
      identity: writer.identity,
      pid: writer.pid,
      retired: writer.retired,
      append: (at, records) => writer.append(at, records),
      close: async () => {
        await this.beforeWriterCloses()
        await writer.close()
        this.did.push('writer closed')
      },
    }
  }

  #watchedSwitchboard(switchboard: Switchboard): Switchboard {
    return {
      allocate: (body, options) => switchboard.allocate(body, options),
      call: (key, body, options) => switchboard.call(key, body, options),
      serve: async (key, handlers): Promise<Serving> => {
        const serving = await switchboard.serve(key, handlers)
        return {
          setCapacity: (allocations) => serving.setCapacity(allocations),
          drain: () => serving.drain(),
          close: async () => {
            await this.beforeUnbinding()
            await serving.close()
            this.did.push('unbound')
          },
        }
      },
      presence: () => switchboard.presence(),
      close: () => switchboard.close(),
    }
  }

  #logger(): Logger {
    const logger: Logger = {
      debug: () => {},
      info: (_, message) => void this.did.push(message),
      warn: () => {},
      error: (fields, message) => void this.logged.push(`${message}: ${String(fields.event)}`),
      with: () => logger,
    }
    return logger
  }
}

type SessionCall = 'read' | 'write' | 'ack' | 'extend' | 'dispose'

/** A session as its client has it; one call of a slot at a time. */
export class NodeClient {
  readonly allocated: AllocateReply
  readonly #world: NodeWorld
  readonly #turns: [Turn, Turn]

  constructor(world: NodeWorld, allocated: AllocateReply) {
    this.#world = world
    this.allocated = allocated
    this.#turns = [allocated.turn, allocated.turn]
  }

  async call<M extends SessionCall>(
    method: M,
    request: Omit<RequestOf<M>, 'proof' | 'session'>,
    at: 0 | 1 = slot.data,
  ): Promise<ReplyOf<M>> {
    const { nextSeq, challenge } = this.#turns[at]
    const proof: Proof = { slot: at, seq: nextSeq, challenge }
    const whole = { ...request, proof, session: this.allocated.session } as RequestOf<M>
    const reply: ReplyOf<M> & { turn: Turn } = await this.#world.calls.call(method satisfies MethodName, whole, {
      requestId: 'r',
    })
    this.#turns[at] = reply.turn
    return reply
  }
}
