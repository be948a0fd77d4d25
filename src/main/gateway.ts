// Owns: the embedded gateway: both tiers in one process on the embedded log and the in-process switchboard.
// The only place that chooses adapters for `trunkline dev`.
// Start: folder → node → listeners; stop in reverse: listeners refuse, the node drains, the folder closes.
import { systemClock } from '../adapters/clock/system-clock.ts'
import { InProcessHub } from '../adapters/in-process/in-process-switchboard.ts'
import { systemRandom } from '../adapters/random/system-random.ts'
import { ClientRegistry, hashClientSecret } from '../api-tier/auth/client-registry.ts'
import { JwtVerifier } from '../api-tier/auth/jwt-verifier.ts'
import { publicJwk } from '../api-tier/auth/signing-key.ts'
import { TokenIssuer } from '../api-tier/auth/token-issuer.ts'
import { GatewayCalls } from '../api-tier/gateway-calls.ts'
import { buildAdminApp } from '../api-tier/http/admin.ts'
import { buildHttpApp } from '../api-tier/http/app.ts'
import { closeHttp, listenHttp } from '../api-tier/http/http-listener.ts'
import { ThriftDispatcher } from '../api-tier/thrift/dispatcher.ts'
import { ThriftTcpServer } from '../api-tier/thrift/tcp-server.ts'
import type { GatewayConfig } from '../config/gateway-settings.ts'
import { loadConfig } from '../config/load-config.ts'
import { redactedConfig } from '../config/redacted-config.ts'
import { createLogger, type Logger } from '../observability/log.ts'
import { createMetrics, type MetricsRegistry } from '../observability/metrics.ts'
import { apiTierMetrics, streamTierMetrics } from '../observability/tier-metrics.ts'
import type { Switchboard } from '../ports/switchboard.ts'
import { makeIncarnation } from '../protocol/ids.ts'
import { defaultLimits } from '../protocol/limits.ts'
import type { Limits } from '../protocol/messages.ts'
import { StreamNode } from '../stream-tier/stream-node.ts'
import { packageVersion } from './cli/package-version.ts'
import { type DataFolder, openDataFolder } from './data-folder.ts'
import { StreamSupervisor } from './stream-supervisor.ts'

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

const audience = 'trunkline'

/**
 * Errors: BAD_CONFIG, DATA_DIR_…, KEYRING_…, STORAGE_…; an address that cannot be had rejects with Node's own error
 * (code EADDRINUSE, …).
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { logger: given, ...settings } = options
  const { config } = loadConfig({ options: settings, environment: {} })
  const clock = systemClock
  const random = systemRandom
  const { host, logLevel, logFormat } = config
  const version = packageVersion()
  const logger = given ?? createLogger({ level: logLevel, format: logFormat, nowMs: () => clock.nowMs() })
  const limits = { ...defaultLimits, leaseMs: config.sessionLeaseMs, keepAliveMs: config.keepAliveMs }
  const registry = createMetrics()
  registry.metrics.buildInfo.set({ version, node_version: process.version }, 1)
  logger.info({ settings: redactedConfig(config) }, 'effective configuration')
  const folder = await openDataFolder({
    dir: config.dataDir,
    clock,
    random,
    topicsMax: config.topicsMax,
    keyringFile: config.keyringFile,
    gatewayKeyFile: config.gatewayKeyFile,
    clientSecretFile: config.clientSecretFile,
    onProblem: (problem) => logger.error({ err: problem }, 'the embedded log met a problem'),
  })
  const started: { close(): Promise<unknown> }[] = [folder]
  try {
    const hub = new InProcessHub(clock)
    const epoch = (): string => clock.nowMs().toString(36) + Buffer.from(random.bytes(4)).toString('hex')
    const supervisor = new StreamSupervisor({
      clock,
      logger,
      metrics: registry.metrics,
      factory: () =>
        new StreamNode({
          incarnation: makeIncarnation(config.nodeId, epoch()),
          log: folder.log,
          switchboard: hub.connect(),
          keys: folder.keys,
          gatewayKeys: folder.gatewayKeys,
          clock,
          random,
          limits,
          bounds: config,
          metrics: streamTierMetrics(registry.metrics),
          logger: logger.with({ tier: 'stream' }),
          version,
          topics: { autoCreate: config.autoCreateTopics, partitions: config.topicPartitions },
        }),
    })
    await supervisor.start()
    started.unshift({ close: () => supervisor.drain() })
    const api = await startApi({
      config,
      folder,
      switchboard: hub.connect(),
      limits,
      registry,
      logger,
      version,
      started,
    })
    const admin = await buildAdminApp({
      notReady: () => (supervisor.isServing ? [] : ['no stream node serves']),
      metricsText: () => registry.text(),
      metricsContentType: registry.contentType,
      logger,
    })
    started.unshift({ close: () => admin.close() })
    const adminPort = await listenHttp(admin, { host, port: config.adminPort, connectionsMax: config.connectionsMax })

    // The listeners and the node together: the node answers parked reads, so that nothing waits for anything else.
    const drain = async (): Promise<void> => {
      await Promise.all([api.drain(), supervisor.drain()])
      await admin.close()
      await folder.close()
    }
    let closing: Promise<void> | undefined
    return {
      ...api.urls,
      adminUrl: `http://${host}:${adminPort.port}`,
      ...folder.devClient,
      ended: supervisor.ended,
      close: () => {
        closing ??= drain()
        return closing
      },
    }
  } catch (thrown) {
    for (const part of started) await part.close()
    throw thrown
  }
}

interface ApiParts {
  readonly config: GatewayConfig
  readonly folder: DataFolder
  readonly switchboard: Switchboard
  readonly limits: Limits
  readonly registry: MetricsRegistry
  readonly logger: Logger
  readonly version: string
  /** Gets what must be closed when the start fails later. */
  readonly started: { close(): Promise<unknown> }[]
}

/** The API tier with its two listeners. */
async function startApi(
  parts: ApiParts,
): Promise<{ urls: Pick<Gateway, 'httpUrl' | 'thriftUrl'>; drain(): Promise<void> }> {
  const { config, folder, switchboard, limits, registry, logger, version, started } = parts
  const { host, connectionsMax, drainTimeoutMs } = config
  const clock = systemClock
  const random = systemRandom
  // The log's own name: tokens stay valid over a restart on other ports.
  const issuer = `urn:trunkline:${await folder.log.clusterId()}`
  const metrics = apiTierMetrics(registry.metrics)
  const tokens = new JwtVerifier({ jwks: { keys: [publicJwk(folder.signingKey)] }, issuer, audience, clock })
  const calls = new GatewayCalls({
    switchboard,
    gatewayKeys: folder.gatewayKeys,
    tokens,
    clock,
    metrics,
    logger,
    limits,
  })
  const dispatcher = new ThriftDispatcher({ calls, metrics })
  const { clientId, clientSecret } = folder.devClient
  const devClient = { clientId, secretHash: hashClientSecret(clientSecret), subject: clientId, tenant: 'default' }
  const lifetimeSeconds = Math.floor(config.accessTokenMs / 1_000)
  const app = await buildHttpApp({
    calls,
    dispatcher,
    oauth: {
      issuer: new TokenIssuer({ key: folder.signingKey, issuer, audience, clock, random, lifetimeSeconds }),
      clients: new ClientRegistry([devClient]),
    },
    clock,
    random,
    metrics,
    logger,
    version,
    limits: { requestTimeoutMs: config.requestTimeoutMs, connectionTimeoutMs: config.idleTimeoutMs },
  })
  app.server.on('connection', (socket) => {
    registry.metrics.httpConnections.add({}, 1)
    socket.once('close', () => registry.metrics.httpConnections.add({}, -1))
  })
  started.unshift({ close: () => app.close() })
  const http = await listenHttp(app, { host, port: config.httpPort, connectionsMax })
  const tcpLimits = { frameTimeoutMs: config.requestTimeoutMs, idleTimeoutMs: config.idleTimeoutMs }
  const tcp = new ThriftTcpServer({ dispatcher, clock, random, metrics, logger, connectionsMax, limits: tcpLimits })
  started.unshift({ close: () => tcp.close() })
  const thrift = await tcp.listen({ host, port: config.thriftPort })
  return {
    urls: { httpUrl: `http://${host}:${http.port}`, thriftUrl: `thrift://${host}:${thrift.port}` },
    drain: async () => {
      await Promise.all([tcp.drain(drainTimeoutMs), closeHttp(app, drainTimeoutMs, clock)])
    },
  }
}
