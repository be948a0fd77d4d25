// Owns: how the RabbitMQ switchboard gets in, or is told why it does not: TLS, credentials, virtual hosts, dead addresses.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Stack } from '../../../scripts/stack/stack.ts'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import {
  openRabbitSwitchboard,
  type RabbitSwitchboard,
  type RabbitSwitchboardOptions,
} from '../../../src/adapters/rabbitmq/open.ts'
import { systemRandom } from '../../../src/adapters/random/system-random.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { makeIncarnation } from '../../../src/protocol/ids.ts'
import { bytes, echo } from '../../conformance/switchboard-suite.ts'
import { privateStack, stackRequirement, stackStartMs } from '../../support/stack.ts'
import { until, within } from './parties.ts'
import { rabbitTool } from './rabbitmqctl.ts'

const credentials = { username: 'trunkline', password: 'trunkline' }

stackRequirement.describe('RabbitMQ access', () => {
  let stack: Stack
  let dir: string
  let plainUrl: string
  let tlsUrl: string
  let ca: string
  /** Accepts and never answers. */
  let mute: Server
  let muteUrl: string
  beforeAll(async () => {
    stack = await privateStack({ kafka: 0, rabbit: 1, secured: true })
    dir = mkdtempSync(join(tmpdir(), 'trunkline-access-'))
    const [broker] = stack.plan.rabbit
    plainUrl = `amqp://127.0.0.1:${broker?.port}`
    tlsUrl = `amqps://127.0.0.1:${broker?.tlsPort}`
    ca = readFileSync(stack.plan.certificates?.ca ?? '', 'utf8')
    mute = createServer((socket) => socket.on('error', () => undefined))
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
    const address = mute.address()
    muteUrl = `amqp://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
  }, stackStartMs)
  afterAll(async () => {
    mute.close()
    rmSync(dir, { recursive: true, force: true })
    await stack.stop()
  })

  const open = (
    urls: readonly string[],
    access: RabbitSwitchboardOptions['access'] = { credentials },
    options: Partial<RabbitSwitchboardOptions> = {},
  ): Promise<RabbitSwitchboard> =>
    openRabbitSwitchboard({
      shards: urls.map((url, index) => ({ name: `shard-${index}`, url })),
      name: 'access',
      clock: systemClock,
      random: systemRandom,
      access,
      ...options,
    })

  const refused = async (opening: Promise<RabbitSwitchboard>): Promise<TrunklineError> => {
    const thrown: unknown = await within(12_000, opening).catch((error: unknown) => error)
    if (thrown instanceof TrunklineError) return thrown
    throw thrown instanceof Error ? thrown : new Error('it was opened')
  }

  const serves = async (switchboard: RabbitSwitchboard): Promise<void> => {
    const key = makeIncarnation('node', 'e1')
    await switchboard.serve(key, echo)
    expect((await switchboard.call(key, bytes(1), { deadlineMs: 5_000 })).kind).toBe('answered')
    await switchboard.close()
  }

  test('given TLS with the right CA, with a certificate of ours or without, then it serves', async () => {
    const client = stack.plan.certificates?.client
    const cert = readFileSync(client?.certificate ?? '', 'utf8')
    const key = readFileSync(client?.key ?? '', 'utf8')
    await serves(await open([tlsUrl], { credentials, tls: { ca } }))
    await serves(await open([tlsUrl], { credentials, tls: { ca, cert, key } }))
  })

  test('given a server whose certificate we do not trust, then it is refused for the certificate', async () => {
    const own = join(dir, 'ca.pem')
    const arguments_ = [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '1',
    ]
    execFileSync('openssl', [...arguments_, '-subj', '/CN=another', '-keyout', join(dir, 'key.pem'), '-out', own], {
      stdio: 'ignore',
    })
    for (const tls of [{ ca: readFileSync(own, 'utf8') }, {}]) {
      const error = await refused(open([tlsUrl], { credentials, tls }))
      expect([error.name, error.details]).toEqual([
        'BROKER_REFUSED',
        { broker: 'RabbitMQ', why: 'shard-0: certificate' },
      ])
    }
  })

  test('given a client certificate that has expired, then it is refused for the certificate', async () => {
    const client = stack.plan.certificates?.expiredClient
    const cert = readFileSync(client?.certificate ?? '', 'utf8')
    const key = readFileSync(client?.key ?? '', 'utf8')
    const error = await refused(open([tlsUrl], { credentials, tls: { ca, cert, key } }))
    expect([error.name, error.details['why']]).toEqual(['BROKER_REFUSED', 'shard-0: certificate'])
  })

  test('given a server whose certificate has expired, then it is refused for the certificate', async () => {
    const expired = stack.plan.certificates?.expiredServer
    const server = createTlsServer({
      cert: readFileSync(expired?.certificate ?? '', 'utf8'),
      key: readFileSync(expired?.key ?? '', 'utf8'),
    })
    // What a client that refuses the certificate leaves behind.
    server.on('tlsClientError', () => undefined)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : ''
    const error = await refused(open([`amqps://127.0.0.1:${port}`], { credentials, tls: { ca } }))
    expect([error.name, error.details['why']]).toEqual(['BROKER_REFUSED', 'shard-0: certificate'])
    await new Promise((resolve) => server.close(resolve))
  })

  test('given a password that is changed, when the connection was lost, then the new one is shown and it serves', async () => {
    await rabbitTool(stack, 'rabbit-1', 'rabbitmqctl', 'add_user', 'rotating', 'before')
    await rabbitTool(stack, 'rabbit-1', 'rabbitmqctl', 'set_permissions', 'rotating', '.*', '.*', '.*')
    let password: string | undefined = 'before'
    const problems: unknown[] = []
    const quick = { reconnectMaxMs: 200 }
    const switchboard = await open(
      [plainUrl],
      () => {
        if (password === undefined)
          throw new TrunklineError('BAD_CONFIG', { details: { rabbitPasswordFile: 'is empty' } })
        return { credentials: { username: 'rotating', password } }
      },
      { settings: quick, onProblem: (problem) => problems.push(problem) },
    )
    const names = (): string[] => problems.map((problem) => (problem as Error).name)
    await rabbitTool(stack, 'rabbit-1', 'rabbitmqctl', 'change_password', 'rotating', 'after')
    await rabbitTool(stack, 'rabbit-1', 'rabbitmqctl', 'close_all_user_connections', 'rotating', 'changed')
    // First lost, then refused: both are told once.
    await until('it is refused', 10_000, () => names().includes('BROKER_REFUSED'))
    password = undefined
    await until('the file is missed', 10_000, () => names().includes('BAD_CONFIG'))
    password = 'after'
    await until('it is up', 10_000, () => switchboard.shardStates()[0]?.state === 'up')
    await serves(switchboard)
    expect(names().filter((name) => name !== 'UNAVAILABLE')).toEqual(['BROKER_REFUSED', 'BAD_CONFIG'])
  })

  test('given TLS spoken to a plain port, then it is refused, and soon', async () => {
    const error = await refused(open([plainUrl.replace('amqp:', 'amqps:')], { credentials, tls: { ca } }))
    expect([error.name, error.details['why']]).toEqual(['BROKER_REFUSED', 'shard-0: tls'])
  })

  test.each([
    ['a wrong password', { ...credentials, password: 'wrong' }, '', 'credentials'],
    ['an unknown user', { ...credentials, username: 'nobody' }, '', 'credentials'],
    ['a virtual host that is not there', credentials, '/nowhere', 'virtual host'],
  ] as const)('given %s, then it is refused, and no secret is in the error', async (_, given, path, why) => {
    const problems: unknown[] = []
    const opening = open(
      [plainUrl + path, plainUrl + path],
      { credentials: given },
      { onProblem: (it) => problems.push(it) },
    )
    const error = await refused(opening)
    expect([error.name, error.details['why']]).toEqual(['BROKER_REFUSED', `shard-0: ${why}, shard-1: ${why}`])
    expect(problems.length).toBe(2)
    expect(JSON.stringify([error, problems, error.message])).not.toContain('wrong')
  })

  test('given nobody answers, then it is unavailable in time', async () => {
    for (const url of [muteUrl, 'amqp://127.0.0.1:1']) {
      const beganMs = systemClock.monotonicMs()
      const error = await refused(open([url], { credentials }, { settings: { connectTimeoutMs: 1_500 } }))
      expect([error.name, error.details['why']]).toEqual(['UNAVAILABLE', 'shard-0: no answer'])
      expect(systemClock.monotonicMs() - beganMs).toBeLessThan(5_000)
    }
  })

  test('given one of several shards is up, then it opens, and serves there', async () => {
    const switchboard = await open([muteUrl, 'amqp://127.0.0.1:1', plainUrl])
    expect(switchboard.shardStates().at(-1)).toEqual({ name: 'shard-2', state: 'up' })
    await serves(switchboard)
  })

  test.each([
    ['credentials in the url', ['amqp://trunkline:secret@127.0.0.1:5672']],
    ['no url', ['127.0.0.1:5672']],
    ['another protocol', ['http://127.0.0.1:5672']],
    ['no shard', []],
  ])('given %s, then that is a bad configuration, and the url is not shown', async (_, urls) => {
    const error = await refused(open(urls))
    expect(error.name).toBe('BAD_CONFIG')
    expect(JSON.stringify([error.details, error.message])).not.toContain('secret')
  })
})
