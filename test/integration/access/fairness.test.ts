// A flood of one tenant through real sockets into a gateway that works one request at a time: what others ask for is served
// before what the flood asked earlier, the flood is served too, once and in its order, and what waits is bounded.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { buildBlock } from '../../../src/protocol/block.ts'
import { encoding } from '../../../src/protocol/messages.ts'
import { RawClient, RawSession } from '../../support/raw-client.ts'
import { AccessWorld } from './harness.ts'

const everything = [{ allow: ['publish', 'read', 'admin'], topics: ['*'], to: [{ everyone: true }], tenant: '*' }]
const clients = ['noisy', 'quiet'].map((clientId) => ({ clientId, tenant: clientId }))

/** What the topic holds, as often as it is there. */
async function published(world: AccessWorld, clientId: string, topic: string, count: number): Promise<string[]> {
  const client = world.sdk(clientId)
  const reader = client.reader(topic, { waitMs: 200 })
  const found: string[] = []
  for (let empty = 0; empty < 2; ) {
    const batch = await reader.pull()
    for (const { payload } of batch?.events ?? []) found.push(Buffer.from(payload).toString())
    await batch?.ack()
    // Once more when all are there: is there one too many?
    if (found.length >= count || batch === undefined) empty += 1
  }
  await client.close()
  return found
}

describe('a flood over Thrift', () => {
  let world: AccessWorld
  beforeAll(async () => {
    world = await AccessWorld.start(clients, everything, { concurrentRequestsMax: 1 })
  })
  afterAll(() => world.close())

  it('Given 64 sessions of one tenant that never stop, when another tenant writes, then few of the flood are served before it', async () => {
    const connections = await Promise.all(Array.from({ length: 16 }, () => RawClient.open(world.gateway.thriftUrl)))
    const bearer = await world.token('noisy')
    const sessions: RawSession[] = []
    for (let index = 0; index < 64; index++)
      sessions.push(await RawSession.write(connections[index % 16] as RawClient, bearer, 'flood'))
    const quiet = await RawSession.write(world.raw, await world.token('quiet'), 'calm')
    const write = (session: RawSession, n: number, text: string): Promise<unknown> =>
      session.call('write', {
        n,
        blocks: [buildBlock(0, [{ payload: Buffer.from(text) }], encoding.none)],
        commit: true,
      })
    let served = 0
    let stop = false
    const sent: string[] = []
    const flood = sessions.map(async (session, index) => {
      for (let n = 1; !stop; n++) {
        const text = `${index} ${n}`
        await write(session, n, text)
        sent.push(text)
        served += 1
      }
    })
    while (served < 64) await new Promise((resolve) => setImmediate(resolve))
    const servedBefore: number[] = []
    for (let n = 1; n <= 15; n++) {
      const before = served
      await write(quiet, n, String(n))
      servedBefore.push(served - before)
    }
    stop = true
    await Promise.all(flood)
    // One or two. In order of arrival it would be all that is read ahead, or all 64.
    const median = servedBefore.sort((a, b) => a - b)[7]
    expect(median).toBeLessThan(8)
    const found = await published(world, 'noisy', 'flood', sent.length)
    expect([...found].sort()).toEqual([...sent].sort())
    for (let index = 0; index < 64; index++) {
      const own = found.filter((text) => text.startsWith(`${index} `))
      expect(own).toEqual(own.map((_, at) => `${index} ${at + 1}`))
    }
    for (const connection of connections) connection.close()
  }, 120_000)
})

describe('a flood over HTTP', () => {
  let world: AccessWorld
  beforeAll(async () => {
    world = await AccessWorld.start(clients, everything, { concurrentRequestsMax: 1, waitingRequestsMax: 8 })
  })
  afterAll(() => world.close())

  it('Given more publishes at once than may wait, then the flood hears 429 with Retry-After, another tenant is served, and what was accepted is there once', async () => {
    const publish = async (clientId: string, text: string): Promise<Response> =>
      fetch(`${world.gateway.httpUrl}/v1/topics/orders/events`, {
        method: 'POST',
        headers: { authorization: `Bearer ${await world.token(clientId)}`, 'content-type': 'application/octet-stream' },
        body: text,
      })
    expect((await publish('noisy', 'first')).ok).toBe(true)
    expect((await publish('quiet', 'first')).ok).toBe(true)
    const accepted = ['first']
    const refusals: Response[] = []
    let others = 0
    for (let round = 0; refusals.length === 0 && round < 20; round++) {
      const flood = Array.from({ length: 64 }, async (_, index) => {
        const text = `${round} ${index}`
        const answer = await publish('noisy', text)
        if (answer.ok) accepted.push(text)
        else refusals.push(answer)
      })
      for (let index = 0; index < 3; index++) if ((await publish('quiet', 'more')).ok) others += 1
      await Promise.all(flood)
    }
    expect(others % 3).toBe(0)
    expect(others).toBeGreaterThan(0)
    expect(refusals.map(({ status }) => status)).toEqual(refusals.map(() => 429))
    expect(refusals[0]?.headers.get('retry-after')).toBe('1')
    expect(await refusals[0]?.json()).toMatchObject({
      name: 'TOO_MANY_REQUESTS',
      retryable: true,
      details: { limit: 'waiting requests of the process' },
    })
    expect((await published(world, 'noisy', 'orders', accepted.length)).sort()).toEqual(accepted.sort())
  }, 120_000)
})
