import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'vitest'
import { SeededRandom } from '../../src/adapters/random/seeded-random.ts'
import { bundleGateway } from '../support/crash/gateway-bundle.ts'
import { freePorts, GatewayLives } from '../support/crash/gateway-lives.ts'
import { mountMemory, workFolder } from '../support/crash/mounts.ts'
import { accessToken } from '../support/gateway-process.ts'

it('probe', async () => {
  const bundle = await bundleGateway()
  const work = workFolder('probe')
  const mount = mountMemory(join(work.dir, 'disk'), 24 * 1024 * 1024)
  mkdirSync(join(work.dir, 'home'))
  const lives = new GatewayLives({ entry: bundle.entry, dir: join(work.dir, 'home'), dataDir: join(mount.path, 'data'), ports: await freePorts(new SeededRandom(String(process.pid))) })
  try {
    let life = await lives.startReady()
    const a = lives.access()
    const token = await accessToken({ urls: { http: a.httpUrl, thrift: '', admin: '', token: `${a.httpUrl}/oauth/token` }, credentials: a })
    const call = async (method: string, path: string, body?: unknown) => {
      const r = await fetch(a.httpUrl + path, { method, headers: { authorization: `Bearer ${token}`, ...(body ? { 'content-type': 'application/json' } : {}) }, ...(body ? { body: JSON.stringify(body) } : {}) })
      const t = await r.text()
      return `${r.status} ${t.slice(0, 160)}`
    }
    const big = (): unknown => ({ payload: { base64: Buffer.from(crypto.getRandomValues(new Uint8Array(60000))).toString('base64') } })
    for (let i = 0; i < 60; i++) await call('POST', '/v1/topics/bulk/events', big())
    let n = 0
    for (;;) { const r = await call('POST', '/v1/topics/main/events', big()); n++; if (!r.startsWith('200')) { console.log('full after', n, r); break } }
    for (let i = 0; i < 5; i++) console.log('small', await call('POST', '/v1/topics/main/events', { payload: { text: 'x' } }))
    for (let i = 0; i < 3; i++) console.log('delete', await call('DELETE', '/v1/topics/bulk'))
    await new Promise((r) => setTimeout(r, 500))
    for (let i = 0; i < 3; i++) console.log('after delete big', await call('POST', '/v1/topics/main/events', big()))
    for (;;) { const r = await call('POST', '/v1/topics/main/events', big()); if (!r.startsWith('200')) { console.log('full again', r); break } }
    for (let i = 0; i < 400; i++) { const r = await call('POST', '/v1/topics/main/events', { payload: { text: 'x'.repeat(2000) } }); if (!r.startsWith('200')) break }
    await life.kill()
    try { life = await lives.startReady(); console.log('restart on full disk: ready') } catch (e) { console.log('restart on full disk:', String(e)) }
    if (!life.hasEnded) console.log('read', await call('GET', '/v1/topics/main/events?from=earliest&maxEvents=1'))
    console.log(life.output().slice(-500))
  } finally {
    await lives.end(); mount.unmount(); work.remove(); bundle.remove()
  }
}, 120000)
