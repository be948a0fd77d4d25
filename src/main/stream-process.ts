// Owns: `trunkline stream`: one stream node on Kafka and RabbitMQ. Chooses its adapters.
import { type KafkaLog, openKafkaLog } from '../adapters/kafka/open.ts'
import { loadOrCreateGatewayKeys } from '../adapters/keyring/key-files.ts'
import type { RabbitSwitchboard } from '../adapters/rabbitmq/open.ts'
import { redactedConfig } from '../config/redacted-config.ts'
import { type StreamConfig, streamRole } from '../config/roles.ts'
import { kafkaMetrics } from '../observability/adapter-metrics.ts'
import type { Logger } from '../observability/log.ts'
import {
  freshKafkaAccess,
  kafkaAccess,
  openPatiently,
  openSwitchboard,
  problemFields,
  rabbitAccess,
  shardIsUp,
} from './brokers.ts'
import { gatewayKeysFile, watchKeyFiles } from './key-reload.ts'
import { openKeyService } from './key-service.ts'
import { makeParts, type Parts } from './parts.ts'
import { type RunningProcess, startRoleProcess } from './role-process.ts'
import { makeStreamPart } from './stream-part.ts'
import type { StreamSupervisor } from './stream-supervisor.ts'

/** Resolves when it answers for its health. Errors: BAD_CONFIG, KEYRING_…, and those of a port that cannot be had. */
export async function startStreamProcess(config: StreamConfig, logger: Logger): Promise<RunningProcess> {
  logger.info({ tier: 'main', settings: redactedConfig(streamRole, config) }, 'effective configuration')
  kafkaAccess(config)
  rabbitAccess(config)
  const parts = await makeParts(config, logger, { role: 'stream', instanceId: config.nodeId })
  const { clock, random } = parts
  const gatewayKeys = await loadOrCreateGatewayKeys(config.gatewayKeyFile, { create: false, clock, random })
  const { keys, files } = await openKeyService(config, parts)
  const unwatch = watchKeyFiles(parts, config, [...files, gatewayKeysFile(config.gatewayKeyFile, gatewayKeys)])
  let log: KafkaLog | undefined
  let switchboard: RabbitSwitchboard | undefined
  let supervisor: StreamSupervisor | undefined
  return await startRoleProcess({
    parts,
    config,
    notReady: () => [
      ...(log?.isReachable === true ? [] : ['the log is not reachable']),
      ...(shardIsUp(switchboard) ? [] : ['no shard of the switchboard is up']),
      ...(supervisor?.isServing === true ? [] : ['the stream node does not serve']),
    ],
    serve: async (signal) => {
      const opened = await Promise.all([
        openLog(config, parts, signal).then((one) => {
          log = one
          return one
        }),
        openSwitchboard(config, parts, `trunkline-stream-${config.nodeId}`, signal).then((one) => {
          switchboard = one
          return one
        }),
      ])
      const [theLog, theSwitchboard] = opened
      if (theLog === undefined || theSwitchboard === undefined) return undefined
      supervisor = makeStreamPart({
        parts,
        config,
        autoCreateTopics: false,
        log: theLog,
        switchboard: () => theSwitchboard,
        keys,
        gatewayKeys,
        patience: { failuresMax: Number.POSITIVE_INFINITY, firstMustBoot: false },
      })
      await supervisor.start()
      return await supervisor.ended
    },
    drain: async () => {
      await supervisor?.drain()
      await switchboard?.close()
      await log?.close()
    },
    release: async () => {
      await unwatch()
      await keys.close()
      gatewayKeys.close()
    },
  })
}

async function openLog(config: StreamConfig, parts: Parts, signal: AbortSignal): Promise<KafkaLog | undefined> {
  const { clock, random, registry, logger } = parts
  const onProblem = (problem: unknown): void =>
    logger.warn({ tier: 'stream', ...problemFields(problem), err: problem }, 'the log met a problem')
  return await openPatiently('kafka', parts, signal, () =>
    openKafkaLog({
      brokers: config.kafkaBrokers,
      access: freshKafkaAccess(config, clock, onProblem),
      clientId: `trunkline-stream-${config.nodeId}`,
      clock,
      random,
      topicDefaults: { replication: config.topicReplication, minInsyncReplicas: config.topicMinInsyncReplicas },
      unsafeTopics: config.unsafeTopics,
      catchUpLanesMax: config.catchUpLanesMax,
      metrics: kafkaMetrics(registry.metrics),
      onProblem,
    }),
  )
}
