// Owns: what every part of a gateway process is given, made once from its configuration.
import { systemClock } from '../adapters/clock/system-clock.ts'
import { systemRandom } from '../adapters/random/system-random.ts'
import type { ProcessConfig } from '../config/roles.ts'
import { tracingMetrics } from '../observability/adapter-metrics.ts'
import { createLogger, type LogFields, type Logger } from '../observability/log.ts'
import { createMetrics, type MetricsRegistry } from '../observability/metrics.ts'
import { createTracing } from '../observability/otlp-tracing.ts'
import type { Tracing } from '../observability/tracing.ts'
import type { Clock } from '../ports/clock.ts'
import type { Random } from '../ports/random.ts'
import { packageVersion } from './cli/package-version.ts'
import { ListenerCertificates } from './listener-tls.ts'

export interface Parts {
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly registry: MetricsRegistry
  readonly tracing: Tracing
  readonly version: string
  /** Of the listeners; undefined: they are plain. */
  readonly tls: ListenerCertificates | undefined
}

export function loggerOf(config: ProcessConfig, fields: LogFields): Logger {
  const { logLevel: level, logFormat: format } = config
  return createLogger({ level, format, nowMs: () => systemClock.nowMs(), fields })
}

/** The caller closes the tracing and the certificates. Errors: BAD_CONFIG (files of TLS). `instanceId` tells processes of one role apart. */
export async function makeParts(
  config: ProcessConfig,
  logger: Logger,
  service: { readonly role: string; readonly instanceId: string },
): Promise<Parts> {
  const version = packageVersion()
  const registry = createMetrics()
  registry.metrics.buildInfo.set({ version, node_version: process.version }, 1)
  const tls = ListenerCertificates.open({ config, clock: systemClock, logger, metrics: registry.metrics })
  const tracing = await createTracing({
    endpoint: config.otlpEndpoint,
    serviceName: `trunkline-${service.role}`,
    serviceVersion: version,
    instanceId: service.instanceId,
    metrics: tracingMetrics(registry.metrics),
    clock: systemClock,
  })
  return { clock: systemClock, random: systemRandom, logger, registry, tracing, version, tls }
}

export async function closeParts({ tls, tracing }: Pick<Parts, 'tls' | 'tracing'>): Promise<void> {
  tls?.close()
  await tracing.close()
}

/** `host:port` as URLs write it. */
export function authority(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}
