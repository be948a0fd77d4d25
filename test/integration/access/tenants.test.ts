// Two tenants on one gateway: the same names, and nothing of the other.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mode } from '../../../src/protocol/messages.ts'
import { RawSession } from '../../support/raw-client.ts'
import { runCli } from '../../support/run-cli.ts'
import { AccessWorld, errorOf } from './harness.ts'

const everything = { allow: ['publish', 'read', 'admin'], topics: ['*'], to: [{ everyone: true }], tenant: '*' }
const clients = [{ clientId: 'plain' }, { clientId: 'a', tenant: 'acme' }, { clientId: 'b', tenant: 'blue' }] as const

let world: AccessWorld
beforeAll(async () => {
  world = await AccessWorld.start(clients, [everything])
  for (const { clientId } of clients) {
    expect((await world.json(clientId, 'POST', '/v1/topics', { name: 'orders', partitions: 1 })).status).toBe(201)
    expect((await world.publish(clientId, 'orders', `of ${clientId}`)).status).toBe(200)
  }
})
afterAll(() => world.close())

describe('topics of one name', () => {
  it('are one for each tenant, sealed for it, and known by the plain name', async () => {
    for (const { clientId } of clients) {
      expect(await world.textsOf(clientId, 'orders')).toEqual([`of ${clientId}`])
      const described = await world.json(clientId, 'GET', '/v1/topics/orders')
      expect(described.text).toContain('"name":"orders"')
      expect(described.text).not.toContain('tl-')
      const { topics } = (await world.json(clientId, 'GET', '/v1/topics')).json
      expect(topics?.map(({ name }) => name)).toEqual(['orders'])
    }
  })

  it('are made by a first write, deleted and missed, each for itself', async () => {
    expect((await world.publish('a', 'mine', 'x')).status).toBe(200)
    expect((await world.json('b', 'GET', '/v1/topics/mine')).json).toMatchObject({
      name: 'UNKNOWN_TOPIC',
      details: { topic: 'mine' },
    })
    expect((await world.json('b', 'DELETE', '/v1/topics/mine')).status).toBe(404)
    expect((await world.json('a', 'DELETE', '/v1/topics/mine')).status).toBe(204)
    const gone = await world.json('a', 'GET', '/v1/topics/mine/events')
    expect(gone).toMatchObject({ status: 404, json: { details: { topic: 'mine' } } })
    const again = await world.json('a', 'POST', '/v1/topics', { name: 'orders' })
    expect(again).toMatchObject({ status: 409, json: { name: 'TOPIC_EXISTS' } })
    expect(again.text).not.toContain('tl-')
  })

  it('cannot be named from outside, whoever asks', async () => {
    for (const { clientId } of clients)
      for (const name of ['tl-acme.orders', 'tl-acme.nothing'])
        expect(await world.json(clientId, 'GET', `/v1/topics/${name}`)).toMatchObject({
          status: 403,
          json: { name: 'FORBIDDEN', details: { topic: name } },
        })
  })
})

describe('what a tenant holds', () => {
  it('given the folder, then every block opens with a key of the tenant that its topic’s name says', async () => {
    const { code, stdout, stderr } = await runCli(['check', world.dataDir], { cwd: world.dataDir })
    expect({ code, stdout, stderr }).toMatchObject({
      code: 0,
      stdout: '',
      stderr: expect.stringContaining('nothing is wrong'),
    })
  })

  it('given a cursor of another tenant’s topic, then it is foreign', async () => {
    const { cursor = '' } = (await world.json('a', 'GET', '/v1/topics/orders/events')).json
    expect((await world.json('a', 'GET', `/v1/topics/orders/events?cursor=${cursor}`)).status).toBe(200)
    for (const other of ['b', 'plain'])
      expect((await world.json(other, 'GET', `/v1/topics/orders/events?cursor=${cursor}`)).json.name).toBe(
        'CURSOR_FOREIGN',
      )
  })

  it('given a session token of another tenant, then a bearer of one’s own does not open it, nor takes its producer', async () => {
    const [ofA, ofB] = [await world.token('a'), await world.token('b')]
    const session = await RawSession.write(world.raw, ofA, 'orders')
    const { session: token, writeCursor = new Uint8Array() } = session.allocated
    const stolen = { session: token, proof: { ...session.proof(1), bearer: ofB } }
    expect(await errorOf(world.raw.call('extend', stolen))).toBe('BAD_SESSION_TOKEN')
    const resume = { session: token, writeCursor, nextN: 1 }
    const allocate = { topic: 'orders', mode: mode.write, resume, proof: { bearer: ofB } }
    expect(await errorOf(world.raw.call('allocate', allocate))).toBe('BAD_SESSION_TOKEN')
    await session.call('extend', {}, 1)
  })

  it('given pages, then they hold one’s own only, wherever a token says to go on', async () => {
    for (let at = 0; at < 5; at++)
      for (const clientId of ['a', 'b', 'plain'])
        expect((await world.json(clientId, 'POST', '/v1/topics', { name: `${clientId}${at}` })).status).toBe(201)
    for (const clientId of ['a', 'b', 'plain']) {
      const seen: string[] = []
      const sizes: number[] = []
      let page: string | undefined
      do {
        const { json } = await world.json(
          clientId,
          'GET',
          `/v1/topics?pageSize=2${page === undefined ? '' : `&pageToken=${page}`}`,
        )
        seen.push(...(json.topics ?? []).map(({ name }) => name))
        sizes.push(json.topics?.length ?? 0)
        page = json.nextPageToken
      } while (page !== undefined)
      expect(seen).toEqual([...Array.from({ length: 5 }, (_, at) => `${clientId}${at}`), 'orders'].sort())
      expect(sizes).toEqual([2, 2, 2])
    }
    for (const place of ['tl-acme.a0', 'tl-blue.', 'tl-'])
      for (const clientId of ['a', 'b', 'plain']) {
        const token = Buffer.from(place).toString('base64url')
        const { topics = [] } = (await world.json(clientId, 'GET', `/v1/topics?pageToken=${token}`)).json
        for (const { name } of topics) expect(name === 'orders' || name.startsWith(clientId)).toBe(true)
      }
  })
})
