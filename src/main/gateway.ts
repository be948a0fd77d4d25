// Owns: the embedded gateway: both tiers in one process on the embedded log and the in-process switchboard.
// The only place that chooses adapters for `trunkline dev`.
// Start: folder → node → listeners; stop in reverse: listeners refuse, the node drains, the folder closes.
import { systemClock } from '../adapters/clock/system-clock.ts'
import { InProcessHub } from '../adapters/in-process/in-process-switchboard.ts'
import { systemRandom } from '../adapters/random/system-random.ts'
import { hashClientSecret, type StaticClient } from '../api-tier/auth/client-registry.ts'
import { configError, loadConfig } from '../config/load-config.ts'
import { redactedConfig } from '../config/redacted-config.ts'
import { devRole, type GatewayConfig } from '../config/roles.ts'
import type { Logger } from '../observability/log.ts'
import { defaultTenant } from '../protocol/tenant-topics.ts'
import { startAdminPart } from './admin-part.ts'
import { startApiPart } from './api-part.ts'
import { readClientsFile } from './clients-file.ts'
import { type DataFolder, type DevClient, openDataFolder } from './data-folder.ts'
import { watchKeyFiles } from './key-reload.ts'
import { closeParts, loggerOf, makeParts, type Parts } from './parts.ts'
import { PolicySource } from './policy-source.ts'
import { type Provider, readProviders } from './providers-file.ts'
import { limitsOf, makeStreamPart } from './stream-part.ts'

/** Every setting of docs/configuration.md; what is not given takes its default. */
export interface GatewayOptions extends Partial<GatewayConfig> {
  readonly dataDir: string
  /** Default: lines to stderr by logLevel and logFormat. */
  readonly logger?: Logger
}

export interface Gateway {
  readonly httpUrl: string
  readonly thriftUrl: string
  readonly adminUrl: string
  readonly clientId: string
  readonly clientSecret: string
  /** Settles when the gateway cannot serve any more by itself; undefined after close(). */
  readonly ended: Promise<Error | undefined>
  /** Refuse, finish, publish what is queued, close. Idempotent. */
  close(): Promise<void>
}

/** Boots of the node in a row that may fail: the log is in this process, and waiting does not bring it back. */
const failuresMax = 5

/**
 * Errors: BAD_CONFIG, DATA_DIR_…, KEYRING_…, STORAGE_…; an address that cannot be had rejects with Node's own error
 * (code EADDRINUSE, …).
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { logger: given, ...settings } = options
  const { config } = loadConfig(devRole, { options: settings, environment: {} })
  const providers = readProviders(config)
  const logger = given ?? loggerOf(config, {})
  logger.info({ settings: redactedConfig(devRole, config) }, 'effective configuration')
  const parts = await makeParts(config, logger, { role: 'dev', instanceId: config.nodeId })
  const started: (() => Promise<unknown>)[] = [() => closeParts(parts)]
  try {
    const folder = await folderOf(config, logger)
    started.unshift(() => folder.close())
    const unwatch = watchKeyFiles(parts, config, folder.keyFiles)
    started.unshift(unwatch)
    return await startOn(folder, config, providers, parts, started, unwatch)
  } catch (thrown) {
    for (const close of started) await close()
    throw thrown
  }
}

/** `started` gets what must be closed when the start fails later. */
async function startOn(
  folder: DataFolder,
  config: GatewayConfig,
  providers: readonly Provider[],
  parts: Parts,
  started: (() => Promise<unknown>)[],
  unwatch: () => Promise<void>,
): Promise<Gateway> {
  const { log, keys, gatewayKeys, signingKey, devClient } = folder
  const clients = clientsOf(devClient, config)
  const policy = policyOf(config, parts)
  if (policy !== undefined) started.unshift(async () => policy.close())
  const hub = new InProcessHub(parts.clock)
  const supervisor = makeStreamPart({
    parts,
    config,
    autoCreateTopics: config.autoCreateTopics,
    log,
    switchboard: () => hub.connect(),
    keys,
    gatewayKeys,
    patience: { failuresMax, firstMustBoot: true },
  })
  await supervisor.start()
  started.unshift(() => supervisor.drain())
  const api = await startApiPart({
    parts,
    config,
    switchboard: hub.connect(),
    limits: limitsOf(config),
    gatewayKeys,
    signingKey,
    clients,
    policy,
    providers,
    // The log's own name: tokens stay valid over a restart on other ports.
    issuer: `urn:trunkline:${await log.clusterId()}`,
  })
  started.unshift(() => api.drain())
  const admin = await startAdminPart(parts, config, () => (supervisor.isServing ? [] : ['no stream node serves']))

  // The listeners and the node together: the node answers parked reads, so that nothing waits for anything else.
  const drain = async (): Promise<void> => {
    await Promise.all([api.drain(), supervisor.drain()])
    policy?.close()
    await admin.close()
    await unwatch()
    await folder.close()
    await closeParts(parts)
  }
  let closing: Promise<void> | undefined
  return {
    httpUrl: api.httpUrl,
    thriftUrl: api.thriftUrl,
    adminUrl: admin.adminUrl,
    ...devClient,
    ended: supervisor.ended,
    close: () => {
      closing ??= drain()
      return closing
    },
  }
}

/** Without a file the one client may do everything. Errors: BAD_CONFIG. */
function policyOf({ policyFile: path, policyPollMs: pollMs }: GatewayConfig, parts: Parts): PolicySource | undefined {
  const { clock, logger, registry } = parts
  return path === undefined ? undefined : new PolicySource({ path, pollMs, clock, logger, metrics: registry.metrics })
}

async function folderOf(config: GatewayConfig, logger: Logger): Promise<DataFolder> {
  const { dataDir: dir, topicsMax, keyringFile, gatewayKeyFile, clientSecretFile } = config
  return await openDataFolder({
    dir,
    clock: systemClock,
    random: systemRandom,
    topicsMax,
    keyringFile,
    gatewayKeyFile,
    clientSecretFile,
    onProblem: (problem) => logger.error({ err: problem }, 'the embedded log met a problem'),
  })
}

/** Errors: BAD_CONFIG. */
function clientsOf({ clientId, clientSecret }: DevClient, { clientsFile }: GatewayConfig): readonly StaticClient[] {
  const own = { clientId, secretHash: hashClientSecret(clientSecret), subject: clientId, tenant: defaultTenant }
  const others = clientsFile === undefined ? [] : readClientsFile(clientsFile)
  if (others.some((client) => client.clientId === clientId))
    throw configError([
      { subject: 'clientsFile', problem: `its file must not name ${clientId}: that is the gateway's own` },
    ])
  return [own, ...others]
}
