// Owns: the admin listener of a process.
import { buildAdminApp } from '../api-tier/http/admin.ts'
import { closeHttp, listenHttp } from '../api-tier/http/http-listener.ts'
import type { ProcessConfig } from '../config/roles.ts'
import { authority, type Parts } from './parts.ts'

export interface AdminPart {
  readonly adminUrl: string
  close(): Promise<void>
}

/** An address that cannot be had rejects with Node's own error. */
export async function startAdminPart(
  { clock, registry, logger, tls }: Parts,
  { host, adminPort, connectionsMax, drainTimeoutMs }: ProcessConfig,
  notReady: () => readonly string[],
): Promise<AdminPart> {
  const app = await buildAdminApp({
    notReady,
    metricsText: () => registry.text(),
    metricsContentType: registry.contentType,
    logger,
    tls: tls?.of('admin'),
  })
  try {
    const { port } = await listenHttp(app, { host, port: adminPort, connectionsMax })
    const adminUrl = `${tls === undefined ? 'http' : 'https'}://${authority(host, port)}`
    logger.info({ tier: 'main', listener: 'admin', url: adminUrl }, 'listening')
    return { adminUrl, close: () => closeHttp(app, drainTimeoutMs, clock) }
  } catch (thrown) {
    await app.close()
    throw thrown
  }
}
