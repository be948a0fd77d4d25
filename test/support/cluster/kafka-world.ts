// Owns: stream nodes on a real Kafka, called through the real core of the API tier by the real SDK, all in this process:
// for tests that are about what lands in Kafka, not about processes.

import { Bearer } from '../../../sdk/typescript/src/bearer.ts'
import { TrunklineClient } from '../../../sdk/typescript/src/client.ts'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { InProcessHub } from '../../../src/adapters/in-process/in-process-switchboard.ts'
import { type KafkaLog, openKafkaLog } from '../../../src/adapters/kafka/open.ts'
import { freshKeyring } from '../../../src/adapters/keyring/keyring-content.ts'
import { KeyringProvider } from '../../../src/adapters/keyring/keyring-provider.ts'
import { systemRandom } from '../../../src/adapters/random/system-random.ts'
import { nullApiMetrics } from '../../../src/api-tier/api-metrics.ts'
import { GatewayCalls } from '../../../src/api-tier/gateway-calls.ts'
import { GatewayKeys } from '../../../src/crypto/gateway-keys.ts'
import { type Logger, nullLogger } from '../../../src/observability/log.ts'
import { createMetrics } from '../../../src/observability/metrics.ts'
import { streamTierMetrics } from '../../../src/observability/tier-metrics.ts'
import { errorFromStruct } from '../../../src/protocol/error-struct.ts'
import { type Incarnation, makeIncarnation } from '../../../src/protocol/ids.ts'
import { defaultLimits } from '../../../src/protocol/limits.ts'
import { decodeStruct } from '../../../src/protocol/thrift/codec.ts'
import { methodSchemas } from '../../../src/protocol/thrift/schemas.ts'
import { StreamNode } from '../../../src/stream-tier/stream-node.ts'
import { namedBearers } from '../named-bearers.ts'
import { openAuthorizer } from '../open-authorizer.ts'

interface RunningNode {
  readonly key: Incarnation
  readonly node: StreamNode
  readonly log: KafkaLog
}

export class KafkaWorld {
  readonly clock = systemClock
  readonly random = systemRandom
  readonly hub = new InProcessHub(this.clock)
  /** What the nodes logged as errors. */
  readonly errors: unknown[] = []
  readonly calls: GatewayCalls
  readonly #brokers: readonly string[]
  readonly #keys: KeyringProvider
  readonly #gatewayKeys: GatewayKeys
  readonly #nodes: RunningNode[] = []
  readonly #clients: TrunklineClient[] = []

  constructor(brokers: readonly string[]) {
    const { clock, random } = this
    this.#brokers = brokers
    this.#keys = new KeyringProvider('', freshKeyring(random, clock), random)
    this.#gatewayKeys = GatewayKeys.generate(random, clock)
    this.calls = new GatewayCalls({
      switchboard: this.hub.connect(),
      gatewayKeys: this.#gatewayKeys,
      tokens: namedBearers,
      authorizer: openAuthorizer(clock),
      clock,
      metrics: nullApiMetrics,
      logger: nullLogger,
      limits: defaultLimits,
    })
  }

  openLog(clientId: string): Promise<KafkaLog> {
    return openKafkaLog({
      brokers: this.#brokers,
      clientId,
      clock: this.clock,
      random: this.random,
      topicDefaults: { replication: 1, minInsyncReplicas: 1 },
      unsafeTopics: ['*'],
    })
  }

  /** Serves when it resolves. */
  async startNode(name: string): Promise<Incarnation> {
    const { clock, random } = this
    const key = makeIncarnation(name, Buffer.from(random.bytes(6)).toString('hex'))
    const log = await this.openLog(key)
    const node = new StreamNode({
      incarnation: key,
      log,
      switchboard: this.hub.connect(),
      keys: this.#keys,
      gatewayKeys: this.#gatewayKeys,
      clock,
      random,
      limits: defaultLimits,
      bounds: {
        sessionsMax: 100,
        allocationsMax: 16,
        readCacheBytes: 16_000_000,
        appendBufferBytes: 64_000_000,
        drainTimeoutMs: 5_000,
      },
      topics: { autoCreate: false, partitions: 1 },
      metrics: streamTierMetrics(createMetrics().metrics),
      logger: this.#logger(),
      version: '0',
    })
    this.#nodes.push({ key, node, log })
    await node.boot()
    return key
  }

  /** Nobody reaches the node any more; it goes on for itself, as a process that was cut off. */
  cutOff(key: Incarnation): void {
    this.hub.kill(key)
  }

  client(name: string): TrunklineClient {
    const client = new TrunklineClient({
      transport: {
        call: async (method, request) => {
          const answered = await this.calls.callSigned(method, request, { requestId: name })
          if ('error' in answered) throw errorFromStruct(answered.error)
          return decodeStruct(methodSchemas[method].reply, Buffer.concat(answered.reply))
        },
        close: async () => {},
      },
      bearer: new Bearer(() => Promise.resolve({ token: name }), this.clock),
      clock: this.clock,
      random: this.random,
      onUnknownEvent: (type) => this.errors.push(new Error(`${name}: unknown event ${type}`)),
    })
    this.#clients.push(client)
    return client
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()))
    await Promise.all(this.#nodes.map(({ node }) => node.drain()))
    await Promise.all(this.#nodes.map(({ log }) => log.close()))
  }

  #logger(): Logger {
    const logger: Logger = {
      ...nullLogger,
      error: (fields, message) => this.errors.push({ message, ...fields }),
      with: () => logger,
    }
    return logger
  }
}
