// Owns: `trunkline api`: the API tier on RabbitMQ. Chooses its adapters.
// 1. It keeps no state and holds no data key: any number of these serve any request of any session.
// 2. Callers can connect when a shard is up: until then they are refused, and their clients go elsewhere at once.
import { hostname } from 'node:os'
import { loadOrCreateGatewayKeys } from '../adapters/keyring/key-files.ts'
import type { RabbitSwitchboard } from '../adapters/rabbitmq/open.ts'
import { redactedConfig } from '../config/redacted-config.ts'
import { type ApiConfig, apiRole } from '../config/roles.ts'
import type { Logger } from '../observability/log.ts'
import { defaultLimits } from '../protocol/limits.ts'
import { type ApiPart, startApiPart } from './api-part.ts'
import { nodeIsThere, openSwitchboard, rabbitAccess, shardIsUp } from './brokers.ts'
import { readClientsFile } from './clients-file.ts'
import { gatewayKeysFile, watchKeyFiles } from './key-reload.ts'
import { makeParts } from './parts.ts'
import { PolicySource } from './policy-source.ts'
import { checkClientSubjects, readProviders } from './providers-file.ts'
import { type RunningProcess, startRoleProcess } from './role-process.ts'
import { readSigningKey } from './shared-keys.ts'

/** Resolves when it answers for its health. Errors: BAD_CONFIG, KEYRING_…, and those of ports that cannot be had. */
export async function startApiProcess(config: ApiConfig, logger: Logger): Promise<RunningProcess> {
  logger.info({ tier: 'main', settings: redactedConfig(apiRole, config) }, 'effective configuration')
  rabbitAccess(config)
  const clients = readClientsFile(config.clientsFile)
  const providers = readProviders(config)
  checkClientSubjects(clients, providers)
  const signingKey = await readSigningKey(config.signingKeyFile)
  const instance = `${hostname()}-${process.pid}`
  const parts = await makeParts(config, logger, { role: 'api', instanceId: instance })
  const { clock, random } = parts
  const { policyFile: path, policyPollMs: pollMs } = config
  const metrics = parts.registry.metrics
  const policy = path === undefined ? undefined : new PolicySource({ path, pollMs, clock, logger, metrics })
  // The configuration has said so by allowAllCallers.
  if (policy === undefined) logger.warn({ tier: 'main' }, 'everybody who can log in may do everything')
  const gatewayKeys = await loadOrCreateGatewayKeys(config.gatewayKeyFile, { create: false, clock, random })
  const unwatch = watchKeyFiles(parts, config, [gatewayKeysFile(config.gatewayKeyFile, gatewayKeys)])
  let switchboard: RabbitSwitchboard | undefined
  let api: ApiPart | undefined
  return await startRoleProcess({
    parts,
    config,
    notReady: () => [
      ...(shardIsUp(switchboard) ? [] : ['no shard of the switchboard is up']),
      ...(nodeIsThere(switchboard) ? [] : ['no stream node is there']),
      ...(api === undefined ? ['it does not listen yet'] : []),
    ],
    serve: async (signal) => {
      switchboard = await openSwitchboard(config, parts, `trunkline-api-${instance}`, signal)
      if (switchboard === undefined) return undefined
      api = await startApiPart({
        parts,
        config,
        switchboard,
        limits: defaultLimits,
        gatewayKeys,
        signingKey,
        clients,
        policy,
        providers,
        // The signing key's own name: every process that has the key takes the tokens of every other.
        issuer: `urn:trunkline:${signingKey.kid}`,
      })
      // Told to stop while it began to listen: that found nothing to drain.
      if (signal.aborted) await api.drain()
      return await untilAborted(signal)
    },
    drain: async () => {
      await api?.drain()
      await switchboard?.close()
    },
    release: async () => {
      policy?.close()
      await unwatch()
      gatewayKeys.close()
    },
    reload: policy === undefined ? undefined : () => policy.reload(),
  })
}

function untilAborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined)
    else signal.addEventListener('abort', () => resolve(undefined), { once: true })
  })
}
