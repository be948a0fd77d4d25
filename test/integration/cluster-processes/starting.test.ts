// Processes of a cluster whose brokers are not there: what they say, how they wait, how they end. Needs no broker.
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Cluster, type ClusterProcess, makeCluster, startApi, startStream } from '../../support/cluster-process.ts'
import { removeFolder } from '../../support/gateway-process.ts'
import { runCli } from '../../support/run-cli.ts'

let dir: string
const started: ClusterProcess[] = []
beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'trunkline-roles-')))
})
afterEach(async () => {
  for (const one of started.splice(0)) await one.kill()
  removeFolder(dir)
})

/** A port on which nobody listens: it was free a moment ago. */
async function deadPort(): Promise<number> {
  const { server, port } = await listener()
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function listener(): Promise<{ readonly server: Server; readonly port: number }> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP listener has a port')
  return { server, port: address.port }
}

async function clusterWithoutBrokers(): Promise<Cluster> {
  const port = await deadPort()
  return await makeCluster(dir, {
    kafkaAddresses: [`127.0.0.1:${port}`],
    rabbitUrls: [`amqp://user:secret@127.0.0.1:${port}`],
  })
}

describe('keys init', () => {
  it('given a folder, when it is made, then all files are for the owner only and the secret fits its hash', async () => {
    const keys = join(dir, 'keys')
    const end = await runCli(['keys', 'init', keys, '--client-id', 'orders'], { cwd: dir })
    expect(end.code).toBe(0)
    const names = [
      'client-secret',
      'clients.json',
      'gateway-keys.json',
      'keyring.json',
      'policy.json',
      'signing-key.json',
    ]
    expect(readdirSync(keys).sort()).toEqual(names)
    for (const name of names) expect(statSync(join(keys, name)).mode & 0o777, name).toBe(0o600)
    const secret = readFileSync(join(keys, 'client-secret'), 'utf8').trim()
    expect(end.stdout + end.stderr).not.toContain(secret)
    expect(readFileSync(join(keys, 'clients.json'), 'utf8')).toContain('"orders"')
    expect(readFileSync(join(keys, 'clients.json'), 'utf8')).not.toContain(secret)
  })

  it('given one of the files, when asked again, then it refuses, names it and changes nothing', async () => {
    const keys = join(dir, 'keys')
    await runCli(['keys', 'init', keys], { cwd: dir })
    const before = readdirSync(keys).map((name) => [name, readFileSync(join(keys, name), 'utf8')])
    const again = await runCli(['keys', 'init', keys], { cwd: dir })
    expect(again).toMatchObject({ code: 6, stderr: expect.stringContaining('never overwritten') })
    expect(readdirSync(keys).map((name) => [name, readFileSync(join(keys, name), 'utf8')])).toEqual(before)

    const other = join(dir, 'other')
    await runCli(['keys', 'init', other], { cwd: dir })
    for (const name of readdirSync(other)) if (name !== 'keyring.json') removeFolder(join(other, name))
    const partly = await runCli(['keys', 'init', other], { cwd: dir })
    expect(partly).toMatchObject({ code: 6, stderr: expect.stringContaining('keyring.json is there') })
    expect(readdirSync(other)).toEqual(['keyring.json'])
  })
})

describe('a configuration with mistakes', () => {
  it('given five mistakes of all kinds, when it starts, then all five are told at once and the exit code is 2', async () => {
    const file = join(dir, 'config.json')
    writeFileSync(file, JSON.stringify({ nodeId: 'not a name', kafkaBroker: ['one:9092'], topicReplication: 1 }))
    const end = await runCli(['stream', '--config', file, '--rabbit-shards', 'a=amqps://user:hunter2@mq:5671'], {
      cwd: dir,
      env: {
        TRUNKLINE_KAFKA_BROKERS: 'kafka:9092',
        TRUNKLINE_KAFKA_SASL_PASSWORD_FILE: 'p',
        TRUNKLINE_KEYRING_FILE: 'k',
        TRUNKLINE_GATEWAY_KEY_FILE: 'g',
      },
    })
    expect(end.code).toBe(2)
    const problems = end.stderr.trim().split('\n').slice(1)
    expect(problems.map((line) => line.trim().split(':')[0])).toEqual([
      'kafkaBroker',
      'nodeId',
      'kafkaSaslUsername, kafkaSaslPasswordFile',
      'topicMinInsyncReplicas, topicReplication',
      'rabbitShards',
    ])
    expect(end.stderr).toContain('did you mean kafkaBrokers?')
    expect(end.stderr).not.toContain('hunter2')
  })

  it('given files that are not as they should be, when it starts, then it names the settings', async () => {
    const cluster = await clusterWithoutBrokers()
    chmodSync(join(dir, 'rabbit-password'), 0o644)
    const api = await runCli(['api'], { cwd: dir, env: cluster.env })
    expect(api).toMatchObject({ code: 2, stderr: expect.stringContaining('rabbitPasswordFile: its file can be read') })
    chmodSync(join(dir, 'rabbit-password'), 0o600)
    const clients = join(dir, 'clients.json')
    writeFileSync(clients, '{"version":1,"clients":[{"clientId":"a","secretHash":"hunter2"}]}')
    const env = { ...cluster.env, TRUNKLINE_CLIENTS_FILE: clients }
    const bad = await runCli(['api'], { cwd: dir, env })
    expect(bad).toMatchObject({ code: 2, stderr: expect.stringContaining('clientsFile: its file has another form') })
    expect(bad.stderr).not.toContain('hunter2')
    const missing = { ...cluster.env, TRUNKLINE_KEYRING_FILE: join(dir, 'none') }
    const stream = await runCli(['stream', '--node-id', 'one'], { cwd: dir, env: missing })
    expect(stream).toMatchObject({ code: 7, stderr: expect.stringContaining('KEYRING_MISSING: ') })
    expect(existsSync(join(dir, 'none'))).toBe(false)
  })

  it('given an admin port in use, when it starts, then it says which one', async () => {
    const cluster = await clusterWithoutBrokers()
    const { server, port } = await listener()
    const end = await runCli(['stream', '--node-id', 'one', '--admin-port', String(port)], {
      cwd: dir,
      env: cluster.env,
    })
    expect(end).toMatchObject({ code: 6, stderr: expect.stringContaining(`port 127.0.0.1:${port} is in use`) })
    await new Promise((resolve) => server.close(resolve))
  })
})

describe('a process that waits for its brokers', () => {
  it.each(['api', 'stream'] as const)(
    'given none, when %s starts, then it is alive, not ready and says why; SIGTERM ends it with 0',
    async (role) => {
      const cluster = await clusterWithoutBrokers()
      const options = { until: 'listening' } as const
      const one =
        role === 'api' ? await startApi(cluster, options) : await startStream(cluster, { ...options, nodeId: 'one' })
      started.push(one)
      const { status, reasons } = await one.health()
      expect(status).toBe(503)
      expect(reasons).toEqual(
        role === 'api'
          ? ['no shard of the switchboard is up', 'no stream node is there', 'it does not listen yet']
          : ['the log is not reachable', 'no shard of the switchboard is up', 'the stream node does not serve'],
      )
      expect((await fetch(`${one.url('admin')}/health/live`)).status).toBe(200)
      // It keeps trying.
      const tries = (): number => one.lines().filter(({ message }) => message === 'a broker is away').length
      while (tries() < 2) await one.untilHealth((health) => health.status === 503)
      expect(await one.stop()).toEqual({ code: 0, signal: null })
      expect(one.output()).not.toContain('secret')
    },
  )

  it('given a second signal, when it comes during the stop, then the process ends at once', async () => {
    const cluster = await clusterWithoutBrokers()
    // A request to the admin port that never comes whole holds the stop up.
    const one = await startStream(cluster, {
      nodeId: 'one',
      until: 'listening',
      args: ['--drain-timeout-ms', '60000', '--shutdown-timeout-ms', '90000'],
    })
    started.push(one)
    const holder = await heldRequest(one.url('admin'))
    one.signal('SIGTERM')
    await until(() => one.output().includes('draining'))
    // What follows within half a second is taken for the echo of the same key press.
    await new Promise((resolve) => setTimeout(resolve, 600))
    one.signal('SIGTERM')
    expect(await one.exited).toEqual({ code: 143, signal: null })
    holder.destroy()
  })
})

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 20))
}

/** A request whose head is not finished. */
async function heldRequest(url: string): Promise<{ destroy(): void }> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port) })
  socket.on('error', () => undefined)
  await new Promise<void>((resolve) => socket.once('connect', () => resolve()))
  socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\n')
  return { destroy: () => socket.destroy() }
}
