// Owns: the stream tier of a process: incarnation after incarnation of one node, over whatever log and switchboard it
// is given.
// 1. An incarnation is `<nodeId>.<epoch>`; the epoch is new for every one, also for each that fails to boot.
import type { NodeConfig } from '../config/roles.ts'
import type { GatewayKeys } from '../crypto/gateway-keys.ts'
import { streamTierMetrics } from '../observability/tier-metrics.ts'
import type { EventLog } from '../ports/event-log.ts'
import type { KeyProvider } from '../ports/key-provider.ts'
import type { Switchboard } from '../ports/switchboard.ts'
import { makeIncarnation } from '../protocol/ids.ts'
import { defaultLimits } from '../protocol/limits.ts'
import type { Limits } from '../protocol/messages.ts'
import { StreamNode } from '../stream-tier/stream-node.ts'
import type { Parts } from './parts.ts'
import { StreamSupervisor, type SupervisorPatience } from './stream-supervisor.ts'

export interface StreamPartOptions {
  readonly parts: Parts
  readonly config: NodeConfig
  readonly autoCreateTopics: boolean
  readonly log: EventLog
  /** A handle for one incarnation. */
  readonly switchboard: () => Switchboard
  readonly keys: KeyProvider
  readonly gatewayKeys: GatewayKeys
  readonly patience: SupervisorPatience
}

/** Not started yet. */
export function makeStreamPart(options: StreamPartOptions): StreamSupervisor {
  const { parts, config, log, switchboard, keys, gatewayKeys, patience } = options
  const { clock, random, registry, tracing, version } = parts
  const logger = parts.logger.with({ tier: 'stream' })
  const metrics = streamTierMetrics(registry.metrics)
  const limits = limitsOf(config)
  // The time makes epochs sort for people; the random part keeps two starts in one millisecond apart.
  const epoch = (): string => clock.nowMs().toString(36) + Buffer.from(random.bytes(4)).toString('hex')
  return new StreamSupervisor({
    clock,
    logger,
    metrics: registry.metrics,
    patience,
    factory: () =>
      new StreamNode({
        incarnation: makeIncarnation(config.nodeId, epoch()),
        log,
        switchboard: switchboard(),
        keys,
        gatewayKeys,
        clock,
        random,
        limits,
        bounds: config,
        metrics,
        logger,
        tracing,
        version,
        topics: { autoCreate: options.autoCreateTopics, partitions: config.topicPartitions },
      }),
  })
}

export function limitsOf(config: Pick<NodeConfig, 'sessionLeaseMs' | 'keepAliveMs'>): Limits {
  return { ...defaultLimits, leaseMs: config.sessionLeaseMs, keepAliveMs: config.keepAliveMs }
}
