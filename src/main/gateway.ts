// Owns: the embedded gateway: both tiers in one process on the embedded log and the in-process switchboard.
// The only place that chooses adapters for `trunkline dev`.
// Start: folder → node → listeners; stop in reverse: listeners refuse, the node drains, the folder closes.
import { readFileSync } from 'node:fs'
import { systemClock } from '../adapters/clock/system-clock.ts'
import { InProcessHub, InProcessSwitchboard } from '../adapters/in-process/in-process-switchboard.ts'
import { systemRandom } from '../adapters/random/system-random.ts'
import { ClientRegistry, hashClientSecret } from '../api-tier/auth/client-registry.ts'
import { JwtVerifier } from '../api-tier/auth/jwt-verifier.ts'
import { publicJwk } from '../api-tier/auth/signing-key.ts'
import { TokenIssuer } from '../api-tier/auth/token-issuer.ts'
import { GatewayCalls } from '../api-tier/gateway-calls.ts'
import { buildHttpApp } from '../api-tier/http/app.ts'
import { closeHttp, listenHttp } from '../api-tier/http/http-listener.ts'
import { ThriftDispatcher } from '../api-tier/thrift/dispatcher.ts'
import { ThriftTcpServer } from '../api-tier/thrift/tcp-server.ts'
import { createLogger, type Logger } from '../observability/log.ts'
import { createMetrics } from '../observability/metrics.ts'
import { apiTierMetrics } from '../observability/tier-metrics.ts'
import { makeIncarnation } from '../protocol/ids.ts'
import { defaultLimits } from '../protocol/limits.ts'
import type { Limits } from '../protocol/messages.ts'
import { nullStreamMetrics } from '../stream-tier/stream-metrics.ts'
import { StreamNode, type StreamNodeBounds } from '../stream-tier/stream-node.ts'
import { openDataFolder } from './data-folder.ts'
import { StreamSupervisor } from './stream-supervisor.ts'

export interface GatewayOptions {
  readonly dataDir: string
  /** Default 127.0.0.1. */
  readonly host?: string
  /** 0: any free port. Defaults 7470, 7471, 7479. */
  readonly httpPort?: number
  readonly thriftPort?: number
  readonly adminPort?: number
  readonly nodeId?: string
  readonly logger?: Logger
  readonly bounds?: Partial<StreamNodeBounds>
  readonly limits?: Partial<Limits>
  /** A topic that a writer names for the first time is made. Default true: this is the gateway to work with. */
  readonly autoCreateTopics?: boolean
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

export const defaultBounds: StreamNodeBounds = {
  sessionsMax: 20_000,
  readCacheBytes: 64 * 1024 * 1024,
  appendBufferBytes: 64 * 1024 * 1024,
  drainTimeoutMs: 10_000,
}

const audience = 'trunkline'

export function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  const content: unknown = JSON.parse(text)
  const version = typeof content === 'object' && content !== null && 'version' in content ? content.version : undefined
  if (typeof version !== 'string') throw new Error('package.json has no version')
  return version
}

/** Errors: DATA_DIR_…, KEYRING_…, STORAGE_…; a port that is taken rejects with Node's own error (code EADDRINUSE). */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const clock = systemClock
  const random = systemRandom
  const host = options.host ?? '127.0.0.1'
  const version = packageVersion()
  const logger = options.logger ?? createLogger({ nowMs: () => clock.nowMs() })
  const limits = { ...defaultLimits, ...options.limits }
  const bounds = { ...defaultBounds, ...options.bounds }
  const registry = createMetrics()
  const folder = await openDataFolder({
    dir: options.dataDir,
    clock,
    random,
    onProblem: (problem) => logger.error({ err: problem }, 'the embedded log met a problem'),
  })
  const started: { close(): Promise<unknown> }[] = [folder]
  try {
    const hub = new InProcessHub(clock)
    const epoch = (): string => clock.nowMs().toString(36) + Buffer.from(random.bytes(4)).toString('hex')
    const supervisor = new StreamSupervisor({
      clock,
      logger,
      factory: () =>
        new StreamNode({
          incarnation: makeIncarnation(options.nodeId ?? 'dev', epoch()),
          log: folder.log,
          switchboard: new InProcessSwitchboard(hub),
          keys: folder.keys,
          gatewayKeys: folder.gatewayKeys,
          clock,
          random,
          limits,
          bounds,
          metrics: nullStreamMetrics,
          logger,
          version,
          autoCreateTopics: options.autoCreateTopics ?? true,
        }),
    })
    await supervisor.start()
    started.unshift({ close: () => supervisor.drain() })

    const issuer = `http://${host}:${options.httpPort ?? 7470}`
    const metrics = apiTierMetrics(registry.metrics)
    const calls = new GatewayCalls({
      switchboard: new InProcessSwitchboard(hub),
      gatewayKeys: folder.gatewayKeys,
      tokens: new JwtVerifier({ jwks: { keys: [publicJwk(folder.signingKey)] }, issuer, audience, clock }),
      clock,
      metrics,
      logger,
      limits,
    })
    const dispatcher = new ThriftDispatcher({ calls, metrics })
    const { clientId, clientSecret } = folder.devClient
    const clients = new ClientRegistry([
      { clientId, secretHash: hashClientSecret(clientSecret), subject: clientId, tenant: 'default' },
    ])
    const app = await buildHttpApp({
      calls,
      dispatcher,
      oauth: { issuer: new TokenIssuer({ key: folder.signingKey, issuer, audience, clock, random }), clients },
      clock,
      random,
      metrics,
      logger,
      version,
    })
    const http = await listenHttp(app, { host, port: options.httpPort ?? 7470 })
    started.unshift({ close: () => app.close() })
    const tcp = new ThriftTcpServer({ dispatcher, clock, random, metrics, logger })
    const thrift = await tcp.listen({ host, port: options.thriftPort ?? 7471 })
    // Together: the node answers parked reads, so that the listeners have nothing to wait for.
    const drain = async (): Promise<void> => {
      await Promise.all([
        tcp.drain(bounds.drainTimeoutMs),
        closeHttp(app, bounds.drainTimeoutMs, clock),
        supervisor.drain(),
      ])
      await folder.close()
    }

    let closing: Promise<void> | undefined
    return {
      httpUrl: `http://${host}:${http.port}`,
      thriftUrl: `thrift://${host}:${thrift.port}`,
      adminUrl: '',
      clientId,
      clientSecret,
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
