// Real callers that open connections without end: from one address before anybody is known, and as a client that may log in.
// As many as allowed stay, the others are closed or refused with words, and nobody else notices.
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { framed } from '../../../src/api-tier/thrift/foreign-protocols.ts'
import { startGateway } from '../../../src/main/gateway.ts'
import { nullLogger } from '../../../src/observability/log.ts'
import { mode } from '../../../src/protocol/messages.ts'
import { decodeReply, encodeCall } from '../../../src/protocol/thrift/message.ts'
import { RawClient, RawSession } from '../../support/raw-client.ts'
import { greet, makeTlsWorld, opensslRequirement, pem } from '../../support/tls-world.ts'
import { refused } from '../sessions/harness.ts'
import { ask, counted, eventually, manyAddresses, Peer } from './attacker.ts'
import { AccessWorld } from './harness.ts'

const everything = [{ allow: ['publish', 'read', 'admin'], topics: ['*'], to: [{ everyone: true }], tenant: '*' }]
const clients = [
  { clientId: 'greedy', tenant: 'noisy' },
  { clientId: 'sibling', tenant: 'noisy' },
  { clientId: 'quiet', tenant: 'quiet' },
]
const [attacker, other] = ['127.0.0.2', '127.0.0.3'] as const
const refusals = (limit: string): string => `trunkline_quota_refusals_total{limit="${limit}"}`
const guardMs = 120_000

const peers: Peer[] = []
const open = async (url: string, from: string): Promise<Peer> => {
  const peer = await Peer.open(url, from)
  peers.push(peer)
  return peer
}
const closedOf = (all: readonly Peer[]): number => all.filter(({ isClosed }) => isClosed).length
afterEach(() => {
  for (const { socket } of peers.splice(0)) socket.destroy()
})

manyAddresses.describe('connections of an address', () => {
  let world: AccessWorld
  beforeAll(async () => {
    world = await AccessWorld.start(clients, everything, {
      sharedAddresses: ['127.0.0.1'],
      addressConnectionsMax: 10,
      // What is silent stays for this test.
      requestTimeoutMs: 300_000,
    })
  })
  afterAll(() => world.close())

  it(
    'Given silent connections to the Thrift port from one address, then as many as it may have stay, the rest is closed and counted, others are served, and a closed one makes room',
    async () => {
      const { thriftUrl } = world.gateway
      const before = await counted(world, refusals('address connections'))
      const silent = await Promise.all(Array.from({ length: 40 }, () => open(thriftUrl, attacker)))
      await eventually(() => closedOf(silent) === 30, 'thirty are closed')
      expect((await counted(world, refusals('address connections'))) - before).toBe(30)
      const fellow = await RawClient.open(thriftUrl, other)
      const bearer = await world.token('quiet')
      expect((await fellow.call('describe', { proof: { bearer } })).version).toMatch(/\d/)
      fellow.close()
      silent.find(({ isClosed }) => !isClosed)?.socket.destroy()
      await eventually(async () => {
        const late = await RawClient.open(thriftUrl, attacker)
        const isServed = await late.call('describe', { proof: { bearer } }).then(
          () => true,
          () => false,
        )
        late.close()
        return isServed
      }, 'a place for the same address')
      const told = world.lines.filter(({ message }) => message.startsWith('refused a connection'))
      expect(told.length).toBeGreaterThan(0)
      expect(told.every(({ remote }) => remote === attacker)).toBe(true)
    },
    guardMs,
  )

  it(
    'Given half-sent requests to the HTTP port from one address, then the same',
    async () => {
      const { httpUrl } = world.gateway
      const before = await counted(world, refusals('address connections'))
      const halves = await Promise.all(Array.from({ length: 40 }, () => open(httpUrl, attacker)))
      for (const { socket } of halves) socket.write('POST /v1/topics HTTP/1.1\r\nHost: x\r\nContent-Le')
      await eventually(() => closedOf(halves) === 30, 'thirty are closed')
      expect((await counted(world, refusals('address connections'))) - before).toBe(30)
      expect((await ask(`${httpUrl}/v1/topics`, other, { bearer: await world.token('quiet') })).status).toBe(200)
    },
    guardMs,
  )

  it(
    'Given a shared address, then it has more than others may have',
    async () => {
      const { thriftUrl } = world.gateway
      const many = await Promise.all(Array.from({ length: 30 }, () => open(thriftUrl, '127.0.0.1')))
      expect((await world.call('quiet', 'describe', {})).version).toMatch(/\d/)
      expect(closedOf(many)).toBe(0)
    },
    guardMs,
  )
})

manyAddresses.describe('handshakes of an address', () => {
  opensslRequirement.it(
    'Given TLS handshakes that are never finished from one address, then those above its number are closed, and others shake hands',
    async () => {
      const tls = makeTlsWorld()
      const gateway = await startGateway({
        dataDir: join(tls.dir, 'data'),
        httpPort: 0,
        thriftPort: 0,
        adminPort: 0,
        sharedAddresses: ['127.0.0.1'],
        addressConnectionsMax: 5,
        logger: nullLogger,
        ...tls.served,
      })
      try {
        for (const url of [gateway.httpUrl, gateway.thriftUrl]) {
          const halves = await Promise.all(Array.from({ length: 20 }, () => open(url, attacker)))
          // The head of a ClientHello.
          for (const { socket } of halves) socket.write(Uint8Array.of(0x16, 0x03, 0x01, 0x02, 0x00, 0x01))
          await eventually(() => closedOf(halves) >= 15, 'fifteen are closed')
          expect((await greet(url, { ca: pem(tls.ours.ca) })).protocol).toBe('TLSv1.3')
        }
      } finally {
        await gateway.close()
        tls.remove()
      }
    },
    guardMs,
  )
})

manyAddresses.describe('connections of a client and a tenant', () => {
  let world: AccessWorld
  beforeAll(async () => {
    world = await AccessWorld.start(clients, everything, { clientConnectionsMax: 3, tenantConnectionsMax: 4 })
  })
  afterAll(() => world.close())

  it(
    'Given a client with as many HTTP connections as it may have, when it asks over more, then those are 429 with Retry-After and end, the earlier ones and another tenant are served, and a closed one makes room',
    async () => {
      const { httpUrl } = world.gateway
      const bearer = await world.token('greedy')
      const own = [await open(httpUrl, attacker), await open(httpUrl, other), await open(httpUrl, attacker)]
      for (const each of own) expect((await each.get('/v1/topics', bearer)).status).toBe(200)
      for (let attempt = 0; attempt < 20; attempt++) {
        const more = await open(httpUrl, attacker)
        const { status, text } = await more.get('/v1/topics', bearer)
        expect([status, /^retry-after: 5\r$/im.test(text), /^connection: close\r$/im.test(text)]).toEqual([
          429,
          true,
          true,
        ])
        expect(text).toContain('"limit":"client connections"')
        await more.closed
      }
      expect(await counted(world, refusals('client connections'))).toBe(20)
      for (const each of own) expect((await each.get('/v1/topics', bearer)).status).toBe(200)
      const sibling = await world.token('sibling')
      expect((await (await open(httpUrl, attacker)).get('/v1/topics', sibling)).status).toBe(200)
      // Four of the tenant.
      expect((await (await open(httpUrl, attacker)).get('/v1/topics', sibling)).text).toContain('tenant connections')
      expect((await (await open(httpUrl, attacker)).get('/v1/topics', await world.token('quiet'))).status).toBe(200)
      own[0]?.socket.destroy()
      await eventually(
        async () => (await (await open(httpUrl, attacker)).get('/v1/topics', bearer)).status === 200,
        'a place for the client',
      )
    },
    guardMs,
  )

  it(
    'Given the same over Thrift, then the refusal is typed, signed in a session and ends the connection; dispose is served',
    async () => {
      const { thriftUrl } = world.gateway
      const bearer = await world.token('greedy')
      const own = await Promise.all([attacker, other, attacker].map((from) => RawClient.open(thriftUrl, from)))
      const sessions: RawSession[] = []
      for (const client of own)
        sessions.push(await RawSession.open(client, bearer, { topic: 'orders', mode: mode.write }))
      const [first] = sessions
      if (first === undefined) throw new Error('three sessions are open')
      const described = await RawClient.open(thriftUrl, attacker)
      const error = await refused(described.call('describe', { proof: { bearer } }), 'TOO_MANY_REQUESTS')
      expect([error.details, error.retryAfterMs]).toEqual([{ limit: 'client connections' }, 5_000])
      for (let attempt = 0; attempt < 10; attempt++) {
        const more = await open(thriftUrl, attacker)
        more.socket.write(framed(encodeCall('describe', 7, { proof: { bearer } })))
        // Not by us.
        await more.closed
        const answer = decodeReply('describe', more.received.subarray(4))
        expect('error' in answer && answer.error.name).toBe('TOO_MANY_REQUESTS')
      }
      // The raw client has checked the MAC; nothing was spent, so the same turn is good elsewhere.
      const elsewhere = new RawSession(await RawClient.open(thriftUrl, attacker), first.allocated)
      await refused(elsewhere.call('extend', {}, 1), 'TOO_MANY_REQUESTS')
      await first.call('extend', {}, 1)
      const last = new RawSession(await RawClient.open(thriftUrl, attacker), first.allocated)
      last.turns[1] = first.turns[1]
      await last.call('dispose', {}, 1)
      for (const client of own) client.close()
    },
    guardMs,
  )

  it(
    'Given an application of the SDK whose client has no connection left, then it waits and publishes once there is one',
    async () => {
      const { thriftUrl } = world.gateway
      const bearer = await world.token('greedy')
      const hoarders = await Promise.all(Array.from({ length: 3 }, () => RawClient.open(thriftUrl, attacker)))
      await eventually(async () => {
        const outcomes = await Promise.allSettled(hoarders.map((each) => each.call('describe', { proof: { bearer } })))
        return outcomes.every(({ status }) => status === 'fulfilled')
      }, 'they hold all that there are')
      const before = await counted(world, refusals('client connections'))
      const client = world.sdk('greedy')
      const published = client.producer('orders').publish({ key: 'k', payload: 'late' })
      await eventually(
        async () => (await counted(world, refusals('client connections'))) > before,
        'the application is refused',
      )
      for (const each of hoarders) each.close()
      await published
      await client.close()
    },
    guardMs,
  )
})
