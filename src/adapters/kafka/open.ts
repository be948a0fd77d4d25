// Owns: opening the Kafka log: options, the first contact, and what a refusal is called.
// 1. When it resolves, the cluster has answered and the topic registry has been read.
// Leaves out: where the options come from (config), trying again while nobody answers (the composition root).
import type { Clock } from '../../ports/clock.ts'
import type { EventLog } from '../../ports/event-log.ts'
import type { Random } from '../../ports/random.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { FencedLog } from '../log-core/fenced-log.ts'
import type { LogCoreSettings } from '../log-core/settings.ts'
import type { BrokerAddress } from './api-metadata.ts'
import { Dialer, type KafkaAccess } from './dialer.ts'
import { KafkaBroker } from './kafka-broker.ts'
import { type KafkaMetrics, noMetrics } from './metrics.ts'
import { defaultKafkaSettings, type KafkaSettings } from './settings.ts'
import { TransportError } from './transport-error.ts'

export interface KafkaLogOptions extends KafkaAccess {
  /** host:port; an IPv6 address in brackets. */
  readonly brokers: readonly string[]
  readonly clientId: string
  /** Asked before each connection instead of `tls` and `sasl`: what it reads may be rotated. */
  readonly access?: (() => KafkaAccess) | undefined
  readonly clock: Clock
  readonly random: Random
  readonly topicDefaults: { readonly replication: number; readonly minInsyncReplicas: number }
  /** Topics that may be written to although they lack what exactly-once needs; `*` allows all. */
  readonly unsafeTopics: readonly string[]
  /** Connections per broker for reads behind the end of the log. Default 2. */
  readonly catchUpLanesMax?: number | undefined
  /** Overrides of defaultLogCoreSettings. */
  readonly settings?: Partial<LogCoreSettings> | undefined
  /** Overrides of defaultKafkaSettings; for tests. */
  readonly kafka?: Partial<KafkaSettings> | undefined
  readonly metrics?: KafkaMetrics | undefined
  /** Hears of failures that no caller waits for. For logs. */
  readonly onProblem?: ((problem: unknown) => void) | undefined
}

export type KafkaLog = EventLog & { readonly isReachable: boolean }

const catchUpLanesDefault = 2
/** A re-send is small, and an election ends at any moment: a producer waits no longer behind it than for this. */
const pauseMsMax = 250

class KafkaFencedLog extends FencedLog {
  readonly #kafka: KafkaBroker

  constructor(kafka: KafkaBroker, options: KafkaLogOptions) {
    const { clock, random, settings } = options
    super({ broker: kafka, clock, random, settings: { pauseMsMax, ...settings } })
    this.#kafka = kafka
  }

  get isReachable(): boolean {
    return this.#kafka.isReachable
  }
}

/**
 * The caller closes it.
 * Errors: BROKER_REFUSED (credentials, certificate, name, version: details.reason), UNAVAILABLE (nobody answers),
 * BAD_REQUEST (an address that is none).
 */
export async function openKafkaLog(options: KafkaLogOptions): Promise<KafkaLog> {
  return new KafkaFencedLog(await openKafkaBroker(options), options)
}

/** The broker alone: for several FencedLogs over one set of connections (`closesBroker: false`). Errors: as above. */
export async function openKafkaBroker(options: KafkaLogOptions): Promise<KafkaBroker> {
  const { clock, random, clientId, tls, sasl, access = () => ({ tls, sasl }), topicDefaults, unsafeTopics } = options
  const settings = { ...defaultKafkaSettings, ...options.kafka }
  const bootstrap = options.brokers.map(addressOf)
  const dialer = new Dialer({ clientId, access, clock, connectTimeoutMs: settings.connectTimeoutMs })
  const broker = new KafkaBroker({
    dialer,
    bootstrap,
    clientId,
    clock,
    random,
    settings,
    topicDefaults,
    unsafeTopics,
    catchUpLanesMax: options.catchUpLanesMax ?? catchUpLanesDefault,
    metrics: options.metrics ?? noMetrics,
    onProblem: options.onProblem ?? (() => {}),
  })
  try {
    await broker.start()
    return broker
  } catch (error) {
    await broker.close()
    if (!(error instanceof TransportError)) throw error
    if (error.failure === 'refused') {
      const details = { broker: options.brokers.join(','), reason: error.message }
      throw new TrunklineError('BROKER_REFUSED', { details, cause: error })
    }
    throw new TrunklineError('UNAVAILABLE', { cause: error })
  }
}

function addressOf(text: string): BrokerAddress {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^[\]:/\s]+)):(\d{1,5})$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host === undefined || port < 1 || port > 65_535) {
    throw new TrunklineError('BAD_REQUEST', { details: { field: 'brokers' } })
  }
  return { nodeId: -1, host, port }
}
