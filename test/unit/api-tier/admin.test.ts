// Proves the admin port's answers.
import { describe, expect, it } from 'vitest'
import { buildAdminApp } from '../../../src/api-tier/http/admin.ts'
import { silentLogger } from './support.ts'

function adminApp(over: { notReady?: () => readonly string[]; metricsText?: () => Promise<string> } = {}) {
  return buildAdminApp({
    notReady: over.notReady ?? (() => []),
    metricsText: over.metricsText ?? (async () => 'trunkline_sessions 1\n'),
    metricsContentType: 'text/plain; version=0.0.4',
    logger: silentLogger,
  })
}

describe('the admin port', () => {
  it('is alive and ready', async () => {
    const app = await adminApp()
    expect((await app.inject('/healthz')).json()).toEqual({ status: 'ok' })
    const ready = await app.inject('/readyz')
    expect([ready.statusCode, ready.json()]).toEqual([200, { ready: true, reasons: [] }])
  })

  it('says why it is not ready, and stays alive', async () => {
    const app = await adminApp({ notReady: () => ['draining'] })
    const ready = await app.inject('/readyz')
    expect([ready.statusCode, ready.json()]).toEqual([503, { ready: false, reasons: ['draining'] }])
    expect((await app.inject('/healthz')).statusCode).toBe(200)
  })

  it('serves the metrics in their content type', async () => {
    const metrics = await (await adminApp()).inject('/metrics')
    expect([metrics.headers['content-type'], metrics.body]).toEqual([
      'text/plain; version=0.0.4',
      'trunkline_sessions 1\n',
    ])
  })

  it('tells nothing of a failure, and knows no other path', async () => {
    const app = await adminApp({ metricsText: () => Promise.reject(new Error('secret')) })
    const failed = await app.inject('/metrics')
    expect([failed.statusCode, failed.json()]).toEqual([500, { error: 'internal' }])
    expect((await app.inject('/v1/topics')).statusCode).toBe(404)
  })
})
