// Owns: the API tier of a process with its two listeners, over whatever switchboard it is given.
// 1. Drain: new connections are refused, what runs is answered, reads that wait are sent elsewhere as DRAINING, kept-alive
//    connections are closed; at the latest after drainTimeoutMs nothing of it listens or runs.
import { ClientRegistry, type StaticClient } from '../api-tier/auth/client-registry.ts'
import { FailedLogins } from '../api-tier/auth/failed-logins.ts'
import { publicJwk, type SigningJwk } from '../api-tier/auth/signing-key.ts'
import { TokenIssuer } from '../api-tier/auth/token-issuer.ts'
import { Authorizer } from '../api-tier/authorize/authorizer.ts'
import { openPolicy } from '../api-tier/authorize/policy.ts'
import { GatewayCalls } from '../api-tier/gateway-calls.ts'
import { buildHttpApp } from '../api-tier/http/app.ts'
import { closeHttp, listenHttp } from '../api-tier/http/http-listener.ts'
import { ConcurrencyLimit } from '../api-tier/quotas/concurrency-limit.ts'
import { ConnectionPlaces } from '../api-tier/quotas/connection-places.ts'
import { FairQueue } from '../api-tier/quotas/fair-queue.ts'
import { Quotas } from '../api-tier/quotas/quotas.ts'
import { ThriftDispatcher } from '../api-tier/thrift/dispatcher.ts'
import { ThriftTcpServer } from '../api-tier/thrift/tcp-server.ts'
import { addressRanges } from '../config/address-ranges.ts'
import type { FrontConfig, ProviderConfig } from '../config/roles.ts'
import type { GatewayKeys } from '../crypto/gateway-keys.ts'
import {
  accessTierMetrics,
  apiTierMetrics,
  arrivalMetrics,
  concurrencyMetrics,
  fairQueueMetrics,
  quotaMetrics,
} from '../observability/tier-metrics.ts'
import type { Switchboard } from '../ports/switchboard.ts'
import type { Limits } from '../protocol/messages.ts'
import { startBearers } from './bearers.ts'
import { authority, type Parts } from './parts.ts'
import type { PolicySource } from './policy-source.ts'
import type { Provider } from './providers-file.ts'

export interface ApiPartOptions {
  readonly parts: Parts
  readonly config: FrontConfig & ProviderConfig
  readonly switchboard: Switchboard
  readonly limits: Limits
  readonly gatewayKeys: GatewayKeys
  readonly signingKey: SigningJwk
  readonly clients: readonly StaticClient[]
  /** Whose tokens count besides. */
  readonly providers: readonly Provider[]
  /** `iss` of access tokens: the same for all processes that take each other's tokens. */
  readonly issuer: string
  /** Undefined, named on purpose: everybody who can log in may do everything. Closed by the caller. */
  readonly policy: PolicySource | undefined
}

export interface ApiPart {
  readonly httpUrl: string
  readonly thriftUrl: string
  /** Invariant 1. Idempotent. */
  drain(): Promise<void>
}

const audience = 'trunkline'

/** Resolves when both listen. An address that cannot be had rejects with Node's own error; nothing listens then. */
export async function startApiPart(options: ApiPartOptions): Promise<ApiPart> {
  const { parts, config, switchboard, limits, gatewayKeys, signingKey, issuer, providers } = options
  const { clock, random, registry, logger, tracing, version, tls } = parts
  const { host, connectionsMax, drainTimeoutMs, requestTimeoutMs } = config
  const metrics = apiTierMetrics(registry.metrics)
  const ownIssuer = { jwks: { keys: [publicJwk(signingKey)] }, issuer, audience, clock }
  if (config.allowHmacMd5) {
    const count = options.clients.filter(({ allowHmacMd5 }) => allowHmacMd5 === true).length
    logger.warn({ tier: 'api', count }, 'so many clients may sign their sessions with HMAC-MD5')
  }
  const bearers = startBearers(parts, ownIssuer, providers, config)
  const tokens = bearers.verifier
  const authorizer = new Authorizer({
    policy: options.policy?.watch((policy) => authorizer.replace(policy)) ?? openPolicy,
    issuer,
    clients: options.clients,
    clock,
    logger,
    metrics: accessTierMetrics(registry.metrics),
    allowHmacMd5: config.allowHmacMd5,
  })
  const limitMetrics = quotaMetrics(registry.metrics)
  const sharedAddresses = addressRanges(config.sharedAddresses)
  if (sharedAddresses === undefined) throw new Error('a rule of the configuration has looked at them')
  const connectionLimits = { ...config, sharedAddresses }
  const { failedLoginsPerMinute } = config
  const failedLogins = new FailedLogins({ failedLoginsPerMinute, sharedAddresses, clock, metrics: limitMetrics })
  const { concurrentRequestsMax: placesMax, waitingRequestsMax: waitingMax } = config
  const fairQueue =
    placesMax === 0
      ? undefined
      : new FairQueue({
          limit: new ConcurrencyLimit({ placesMax, clock, metrics: concurrencyMetrics(registry.metrics) }),
          waitingMax,
          clock,
          metrics: fairQueueMetrics(registry.metrics),
        })
  const calls = new GatewayCalls({
    switchboard,
    gatewayKeys,
    tokens,
    authorizer,
    clock,
    metrics,
    logger,
    tracing,
    limits,
    quotas: new Quotas(config, clock, limitMetrics),
    failedLogins,
    fairQueue,
    signatures: config.sessionSignatures,
  })
  const dispatcher = new ThriftDispatcher({ calls, metrics })
  const lifetimeSeconds = Math.floor(config.accessTokenMs / 1_000)
  const app = await buildHttpApp({
    calls,
    dispatcher,
    oauth: {
      issuer: new TokenIssuer({ key: signingKey, issuer, audience, clock, random, lifetimeSeconds }),
      clients: new ClientRegistry(options.clients),
      failedLogins,
    },
    issuers: providers.map(({ profile }) => profile.issuer),
    clock,
    random,
    metrics,
    logger,
    tracing,
    version,
    limits: { requestTimeoutMs, connectionTimeoutMs: config.idleTimeoutMs, arrivingBytesMax: config.arrivingBytesMax },
    arrivalMetrics: arrivalMetrics(registry.metrics, 'http'),
    places: new ConnectionPlaces(connectionLimits, limitMetrics),
    tls: tls?.of('http'),
  })
  app.server.on('connection', (socket) => {
    registry.metrics.httpConnections.add({}, 1)
    socket.once('close', () => registry.metrics.httpConnections.add({}, -1))
  })
  const tcp = new ThriftTcpServer({
    dispatcher,
    clock,
    random,
    metrics,
    backlog: fairQueue,
    logger,
    connectionsMax,
    limits: { frameTimeoutMs: requestTimeoutMs, idleTimeoutMs: config.idleTimeoutMs },
    arrivingBytesMax: config.arrivingBytesMax,
    arrivalMetrics: arrivalMetrics(registry.metrics, 'thrift'),
    places: new ConnectionPlaces(connectionLimits, limitMetrics),
    tls: tls?.of('thrift'),
  })
  const drain = async (): Promise<void> => {
    calls.drain()
    await Promise.all([tcp.drain(drainTimeoutMs), closeHttp(app, drainTimeoutMs, clock)])
    authorizer.close()
    bearers.close()
  }
  try {
    const http = await listenHttp(app, { host, port: config.httpPort, connectionsMax })
    const thrift = await tcp.listen({ host, port: config.thriftPort })
    const secure = tls === undefined ? '' : 's'
    const httpUrl = `http${secure}://${authority(host, http.port)}`
    const thriftUrl = `thrift${secure}://${authority(host, thrift.port)}`
    logger.info({ tier: 'api', listener: 'http', url: httpUrl }, 'listening')
    logger.info({ tier: 'api', listener: 'thrift', url: thriftUrl }, 'listening')
    let draining: Promise<void> | undefined
    return {
      httpUrl,
      thriftUrl,
      drain: () => {
        draining ??= drain()
        return draining
      },
    }
  } catch (thrown) {
    bearers.close()
    await Promise.all([tcp.close(), app.close()])
    throw thrown
  }
}
