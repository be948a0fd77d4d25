// An old KEK is ended in a cluster: `keys rewrap --kafka` reads Kafka beside processes that serve, and they take it over.
import { mkdtempSync, readFileSync, realpathSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Stack } from '../../../scripts/stack/stack.ts'
import {
  type ApiProcess,
  type Cluster,
  type ClusterProcess,
  makeCluster,
  startApi,
  startStream,
} from '../../support/cluster-process.ts'
import { accessToken, removeFolder } from '../../support/gateway-process.ts'
import { type CliEnd, runCli } from '../../support/run-cli.ts'
import { privateStack, stackRequirement, stackStartMs } from '../../support/stack.ts'

stackRequirement.describe('an old KEK of a cluster', () => {
  const pollMs = 100
  let dir: string
  let stack: Stack
  let cluster: Cluster
  let api: ApiProcess
  let stream: ClusterProcess

  beforeAll(async () => {
    dir = realpathSync(mkdtempSync(join(tmpdir(), 'trunkline-rewrap-')))
    stack = await privateStack({ kafka: 1, rabbit: 1 })
    cluster = await makeCluster(dir, stack, { TRUNKLINE_KEY_RELOAD_MS: '100' })
    const waiting = startApi(cluster)
    stream = await startStream(cluster, { nodeId: 'one' })
    api = await waiting
  }, stackStartMs)
  afterAll(async () => {
    await Promise.all([api, stream].map((one) => one?.kill()))
    await stack?.stop()
    removeFolder(dir)
  }, 60_000)

  const keys = async (args: string): Promise<CliEnd> =>
    await runCli(['keys', ...args.split(' ')], { cwd: dir, env: cluster.env })

  async function call(method: string, path: string, body?: unknown): Promise<string> {
    const bearer = await accessToken({ ...api, credentials: cluster.credentials })
    const headers = { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' }
    const answer = await fetch(api.urls.http + path, {
      method,
      headers,
      ...(body ? { body: JSON.stringify(body) } : {}),
    })
    expect(answer.ok, await answer.clone().text()).toBe(true)
    return await answer.text()
  }
  const publish = (text: string): Promise<string> =>
    call('POST', '/v1/topics/orders/events', { key: text, payload: { text } })
  const read = (): Promise<string> => call('GET', '/v1/topics/orders/events?from=earliest')

  /** Until the stream process has both files as they are. */
  async function inUse(): Promise<void> {
    const { stdout } = await keys('verify')
    const [ring, rewrapped = '0'] = [...stdout.matchAll(/revision (\d+)/g)].map(([, revision]) => revision)
    for (;;) {
      const text = await stream.metrics()
      const has = (file: string, revision = ''): boolean =>
        text.includes(`trunkline_key_file_revision{file="${file}"} ${revision}\n`)
      if (has('keyring', ring) && has('rewrapped-keys', rewrapped)) return
      await new Promise((resolve) => setTimeout(resolve, pollMs))
    }
  }

  it('given events under it in Kafka, when it is re-wrapped, retired and destroyed, then they are read, and behind a restart as well', async () => {
    await call('POST', '/v1/topics', { name: 'orders', partitions: 3 })
    for (const payload of ['one', 'two', 'three', 'four']) await publish(payload)
    const ring = JSON.parse(readFileSync(join(dir, 'keys', 'keyring.json'), 'utf8')) as { readonly current: string }
    expect((await keys('rotate')).code).toBe(0)
    await inUse()
    await publish('five')
    const run = await keys('rewrap --kafka')
    expect([run.code, run.stderr]).toEqual([
      0,
      expect.stringMatching(/looked at 1 data key under old KEKs: 1 key re-wrapped/),
    ])
    for (const step of [`retire ${ring.current}`, `shred ${ring.current} --yes`])
      expect((await keys(step)).code, step).toBe(0)
    await inUse()
    const all = ['one', 'two', 'three', 'four', 'five']
    const first = await read()
    for (const payload of all) expect(first).toContain(`"${payload}"`)
    await stream.restart()
    const again = await read()
    for (const payload of all) expect(again).toContain(`"${payload}"`)
  }, 300_000)
})
