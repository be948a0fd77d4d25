// What a tenant, a client and a session may ask for: refused in every front with the time to wait, a client that waits gets
// everything done, and others never notice.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { buildBlock } from '../../../src/protocol/block.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { encoding, mode, slot } from '../../../src/protocol/messages.ts'
import { RawSession } from '../../support/raw-client.ts'
import { refused } from '../sessions/harness.ts'
import { AccessWorld } from './harness.ts'

const everything = [{ allow: ['publish', 'read', 'admin'], topics: ['*'], to: [{ everyone: true }], tenant: '*' }]

describe('quotas', () => {
  let world: AccessWorld
  beforeAll(async () => {
    world = await AccessWorld.start(
      [
        { clientId: 'app' },
        { clientId: 'other' },
        { clientId: 'noisy', tenant: 'noisy' },
        { clientId: 'quiet', tenant: 'quiet' },
      ],
      everything,
      { clientRequestsPerSecond: 20, clientWaitingReadsMax: 2, clientHeldBytesMax: 600_000 },
    )
  })
  afterAll(() => world.close())

  it('Given more calls than a client may make, then JSON answers 429 with Retry-After, and another client is served', async () => {
    const { httpUrl } = world.gateway
    const [app, other] = [await world.token('app'), await world.token('other')]
    const list = (token: string): Promise<Response> =>
      fetch(`${httpUrl}/v1/topics`, { headers: { authorization: `Bearer ${token}` } })
    // So many that even a slow machine does not need the time in which they would be allowed.
    const answers = await Promise.all(Array.from({ length: 100 }, () => list(app)))
    const limited = answers.filter(({ status }) => status === 429)
    expect(limited.length).toBeGreaterThan(0)
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(20)
    expect(limited[0]?.headers.get('retry-after')).toBe('1')
    expect(await limited[0]?.json()).toMatchObject({
      name: 'TOO_MANY_REQUESTS',
      retryable: true,
      details: { limit: 'client requests per second' },
    })
    expect((await list(other)).status).toBe(200)
  })

  it('Given an SDK that publishes far above its rate, then all of it is published once, in order', async () => {
    const client = world.sdk('quiet')
    const producer = client.producer('paced', { windowWrites: 1 })
    const published: Promise<unknown>[] = []
    for (let index = 0; index < 60; index++) {
      published.push(producer.publish({ key: 'k', payload: String(index) }))
      // A write of its own.
      await new Promise((resolve) => setImmediate(resolve))
    }
    await Promise.all(published)
    const reader = client.reader('paced', { waitMs: 100 })
    const found: string[] = []
    while (found.length < 60) {
      const batch = await reader.pull()
      for (const { payload } of batch?.events ?? []) found.push(Buffer.from(payload).toString())
      await batch?.ack()
    }
    expect(found).toEqual(Array.from({ length: 60 }, (_, index) => String(index)))
    await client.close()
  }, 300_000)

  it('Given reads that wait, then as many as allowed wait and the next is refused, signed and without a turn', async () => {
    const bearer = await world.token('noisy')
    // Makes the topic.
    await RawSession.write(world.raw, bearer, 'waiting')
    const open = (): Promise<RawSession> => RawSession.read(world.raw, bearer, 'waiting', { latest: true })
    const [first, second, third] = [await open(), await open(), await open()] as const
    const waiting = [first, second].map((session) => session.call('read', { n: 1, waitMs: 3_000 }))
    await new Promise((resolve) => setTimeout(resolve, 100))
    // The raw client has checked its MAC.
    const error = await refused(third.call('read', { n: 1, waitMs: 3_000 }), 'TOO_MANY_REQUESTS')
    expect([error.details, error.turn]).toEqual([{ limit: 'client waiting reads' }, undefined])
    // Nothing was spent: the same request, once others are done.
    await Promise.all(waiting)
    expect((await third.call('read', { n: 1, waitMs: 10 })).count).toBe(0)
  })

  it('Given large writes at once, then those beyond what may be held are refused and go through later', async () => {
    const bearer = await world.token('quiet')
    const block = buildBlock(0, [{ payload: new Uint8Array(250_000) }], encoding.none)
    const writers = await Promise.all(
      Array.from({ length: 4 }, () => RawSession.open(world.raw, bearer, { topic: 'large', mode: mode.write })),
    )
    const write = (writer: RawSession): Promise<unknown> =>
      writer.call('write', { n: 1, blocks: [block], commit: true })
    const outcomes = await Promise.allSettled(writers.map(write))
    const refusals = outcomes.filter(({ status }) => status === 'rejected')
    expect(refusals.length).toBeGreaterThan(0)
    expect(refusals.length).toBeLessThan(4)
    for (const [index, { status }] of outcomes.entries()) {
      const writer = writers[index]
      if (status === 'rejected' && writer !== undefined) await write(writer)
    }
  })
})

describe('sessions', () => {
  let world: AccessWorld
  beforeAll(async () => {
    world = await AccessWorld.start(
      ['a', 'b', 'c'].map((clientId) => ({ clientId, tenant: clientId === 'c' ? 'other' : 'blue' })),
      everything,
      { clientSessionsMax: 2, tenantSessionsMax: 3 },
    )
  })
  afterAll(() => world.close())

  it('Given as many as a client and a tenant may have, then the next is refused, others open theirs, and a disposed one makes room', async () => {
    const open = async (clientId: string): Promise<RawSession> =>
      RawSession.write(world.raw, await world.token(clientId), 'orders')
    const [first] = [await open('a'), await open('a')]
    const error = await refused(open('a'), 'TOO_MANY_REQUESTS')
    expect([error.details, error.retryAfterMs]).toEqual([{ limit: 'client sessions' }, 5_000])
    await open('b')
    expect((await refused(open('b'), 'TOO_MANY_REQUESTS')).details).toEqual({ limit: 'tenant sessions' })
    await open('c')
    await first.call('dispose', {}, 1)
    await open('b')
    expect((await refused(open('a'), 'TOO_MANY_REQUESTS')).details).toEqual({ limit: 'tenant sessions' })
  })
})

describe('staged bytes', () => {
  let world: AccessWorld
  beforeAll(async () => {
    world = await AccessWorld.start(
      [
        { clientId: 'hoarder', tenant: 'noisy' },
        { clientId: 'quiet', tenant: 'quiet' },
      ],
      everything,
    )
  })
  afterAll(() => world.close())

  it('Given a client that stages all it can in many sessions and keeps them, then another tenant publishes all the time, and its own acks make room', async () => {
    const block = buildBlock(0, [{ payload: new Uint8Array(500_000) }], encoding.none)
    const bearer = await world.token('hoarder')
    const statuses: number[] = []
    const refusals: unknown[] = []
    const sessions: { readonly session: RawSession; readonly staged: number }[] = []
    for (let index = 0; index < 18; index++) {
      const session = await RawSession.write(world.raw, bearer, 'orders')
      let staged = 0
      while (staged < 8) {
        try {
          await session.call('write', { n: staged + 1, blocks: [block], commit: false })
          staged += 1
        } catch (thrown) {
          const { name, details, retryAfterMs, turn } = TrunklineError.from(thrown)
          refusals.push([name, details?.['limit'], retryAfterMs, turn !== undefined])
          break
        }
      }
      await session.call('extend', {}, slot.control)
      sessions.push({ session, staged })
      statuses.push((await world.publish('quiet', 'orders', 'x'.repeat(200_000))).status)
    }
    expect(statuses).toEqual(Array.from({ length: 18 }, () => 200))
    expect(refusals.length).toBeGreaterThan(0)
    for (const refusal of refusals) expect(refusal).toEqual(['TOO_MANY_REQUESTS', 'client staged bytes', 1_000, true])
    // The refused write comes again as it was, and is taken once an ack has made room.
    const full = sessions.find(({ staged }) => staged === 8)
    const waiting = sessions.find(({ staged }) => staged === 0)
    if (full === undefined || waiting === undefined) throw new Error('one session is full, another staged nothing')
    await full.session.call('ack', { n: 1 })
    expect(await waiting.session.call('write', { n: 1, blocks: [block], commit: false })).toMatchObject({
      n: 1,
      published: false,
    })
    expect(await waiting.session.call('ack', { n: 1 })).toMatchObject({ n: 1 })
  }, 300_000)
})
