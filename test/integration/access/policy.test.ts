// Rights, through every front of a real gateway: deny by default, nothing told of what exists, changes while it runs.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { buildBlock } from '../../../src/protocol/block.ts'
import { encoding, mode } from '../../../src/protocol/messages.ts'
import { RawSession } from '../../support/raw-client.ts'
import { AccessWorld, errorIn, errorOf, modes } from './harness.ts'

const owner = { id: 'owner', allow: ['publish', 'read', 'admin'], topics: ['*'], to: [{ client: 'owner' }] }
const reader = { id: 'reader', allow: ['read'], topics: ['open.*'], to: [{ client: 'reader' }] }
const writer = { id: 'writer', allow: ['publish'], topics: ['open.*'], to: [{ client: 'writer' }] }
const rules = [owner, reader, writer]

let world: AccessWorld
beforeAll(async () => {
  world = await AccessWorld.start([{ clientId: 'owner' }, { clientId: 'reader' }, { clientId: 'writer' }], rules)
  for (const topic of ['open.a', 'open.b', 'secret'])
    expect((await world.json('owner', 'POST', '/v1/topics', { name: topic, partitions: 1 })).status).toBe(201)
  expect((await world.publish('owner', 'open.a', 'one')).status).toBe(200)
})
afterAll(() => world.close())

// First: a second with more than 20 denials is told in short.
describe('the audit', () => {
  it('tells each denial and each allocation, counted, and without a secret', async () => {
    const from = world.lines.length
    await world.publish('reader', 'secret', 'CANARY')
    await world.publish('writer', 'open.b', 'CANARY')
    const audited = world.lines.slice(from).filter(({ event }) => event === 'audit')
    expect(audited).toEqual([
      expect.objectContaining({
        outcome: 'denied',
        action: 'publish',
        topic: 'secret',
        clientId: 'reader',
        tenant: 'default',
      }),
      expect.objectContaining({
        outcome: 'allowed',
        action: 'publish',
        topic: 'open.b',
        rule: 'writer',
        method: 'allocate',
      }),
    ])
    for (const { requestId, issuer } of audited) expect([typeof requestId, typeof issuer]).toEqual(['string', 'string'])
    const told = JSON.stringify(world.lines)
    expect(told).not.toContain('CANARY')
    expect(told).not.toContain(await world.token('writer'))
    const metrics = await (await fetch(`${world.gateway.adminUrl}/metrics`)).text()
    expect(metrics).toMatch(/trunkline_access_decisions_total\{action="publish",outcome="denied"\} [1-9]/)
    expect(metrics).not.toContain('open.b')
  })
})

describe('a right', () => {
  it('is what a rule gives: the reader reads, the writer writes, and neither does what the other may', async () => {
    expect(await world.textsOf('reader', 'open.a')).toEqual(['one'])
    expect((await world.publish('writer', 'open.a', 'two')).status).toBe(200)
    expect(await world.publish('reader', 'open.a', 'x')).toMatchObject({
      status: 403,
      json: { name: 'FORBIDDEN', details: { right: 'publish', topic: 'open.a' } },
    })
    expect((await world.json('writer', 'GET', '/v1/topics/open.a/events')).status).toBe(403)
    for (const client of ['reader', 'writer']) {
      expect((await world.json(client, 'POST', '/v1/topics', { name: 'open.new' })).status).toBe(403)
      expect((await world.json(client, 'DELETE', '/v1/topics/open.a')).status).toBe(403)
      expect((await world.json(client, 'GET', '/v1/topics/open.a')).status).toBe(200)
    }
  })

  it('is missing to the gateway’s own client as well, once there is a policy', async () => {
    const { httpUrl, clientId, clientSecret } = world.gateway
    const answer = await fetch(`${httpUrl}/oauth/token`, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'client_credentials', client_id: clientId, client_secret: clientSecret }),
    })
    const { access_token: token } = (await answer.json()) as { access_token: string }
    expect(await errorOf(world.raw.call('describe', { topic: 'open.a', proof: { bearer: token } }))).toBe('FORBIDDEN')
  })

  it('is asked for alike by all fronts', async () => {
    const bearer = await world.token('reader')
    const allocate = { topic: 'open.a', mode: mode.write, proof: { bearer } }
    for (const frame of [await world.tcpFrame('allocate', allocate), await world.httpFrame('allocate', allocate)])
      expect(errorIn('allocate', frame)).toMatchObject({ name: 'FORBIDDEN', details: { right: 'publish' } })
    const session = await world.json('reader', 'POST', '/v1/sessions', { topic: 'open.a', mode: 'write' })
    expect(session).toMatchObject({ status: 403, json: { name: 'FORBIDDEN' } })
    const fine = { ...allocate, mode: mode.read }
    for (const frame of [await world.tcpFrame('allocate', fine), await world.httpFrame('allocate', fine)])
      expect(errorIn('allocate', frame)).toBeUndefined()
    expect((await world.json('reader', 'POST', '/v1/sessions', { topic: 'open.a', mode: 'read' })).status).toBe(201)
  })
})

describe('a denial', () => {
  // Names of equal length, so that the frames may be compared whole.
  const [there, none] = ['secret', 'nobody']

  it('is the same answer, byte for byte, whether or not the topic is there', async () => {
    const bearer = await world.token('reader')
    const renamed = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1').replaceAll(none, there)
    for (const over of [modes.read, modes.publish]) {
      const asked = (topic: string) => ({ topic, mode: over, proof: { bearer } })
      expect(renamed(await world.tcpFrame('allocate', asked(none)))).toBe(
        renamed(await world.tcpFrame('allocate', asked(there))),
      )
      expect(renamed(await world.httpFrame('allocate', asked(none)))).toBe(
        renamed(await world.httpFrame('allocate', asked(there))),
      )
    }
    expect(renamed(await world.tcpFrame('describe', { topic: none, proof: { bearer } }))).toBe(
      renamed(await world.tcpFrame('describe', { topic: there, proof: { bearer } })),
    )
    const asks: readonly (readonly [string, (name: string) => string, ((name: string) => object)?])[] = [
      ['GET', (name) => `/v1/topics/${name}`],
      ['DELETE', (name) => `/v1/topics/${name}`],
      ['GET', (name) => `/v1/topics/${name}/events`],
      ['POST', (name) => `/v1/topics/${name}/events`, () => ({ payload: { text: 'x' } })],
      ['POST', () => '/v1/topics', (name) => ({ name })],
      ['POST', () => '/v1/sessions', (name) => ({ topic: name, mode: 'read' })],
    ]
    for (const [method, path, body] of asks) {
      const [one, other] = await Promise.all(
        [there, none].map((name) => world.json('reader', method, path(name), body?.(name))),
      )
      expect(one?.status, `${method} ${path('x')}`).toBe(403)
      expect(other?.text.replaceAll(none, there), `${method} ${path('x')}`).toBe(one?.text)
      const headersOf = (answer: typeof one): string[] =>
        [...(answer?.headers ?? [])].filter(([name]) => !['x-request-id', 'date'].includes(name)).map(String)
      expect(headersOf(other)).toEqual(headersOf(one))
    }
  })

  it('hides the topic from lists', async () => {
    const names = async (client: string) =>
      (await world.json(client, 'GET', '/v1/topics')).json.topics?.map(({ name }) => name)
    expect(await names('owner')).toEqual(['open.a', 'open.b', 'secret'])
    expect(await names('reader')).toEqual(['open.a', 'open.b'])
    const first = await world.json('reader', 'GET', '/v1/topics?pageSize=2')
    expect(first.json.nextPageToken).toBeUndefined()
  })
})

describe('a policy that changes', () => {
  it('given a right more, then it counts; given a broken file, then nothing changes and the gateway stays ready', async () => {
    expect((await world.publish('reader', 'open.b', 'x')).status).toBe(403)
    await world.replacePolicy([owner, { ...reader, allow: ['read', 'publish'] }])
    expect((await world.publish('reader', 'open.b', 'x')).status).toBe(200)
    expect((await world.publish('writer', 'open.b', 'x')).status).toBe(403)

    await world.replacePolicy('{"version":1,"rules":[{"allow":[]}]}')
    expect((await world.publish('reader', 'open.b', 'x')).status).toBe(200)
    expect((await fetch(`${world.gateway.adminUrl}/health/ready`)).status).toBe(200)
    const metrics = await (await fetch(`${world.gateway.adminUrl}/metrics`)).text()
    expect(metrics).toMatch(/trunkline_policy_loads_total\{outcome="failed"\} 1/)
    expect(world.lines.filter(({ problem }) => String(problem).includes('/rules/0'))).not.toHaveLength(0)

    await world.replacePolicy(rules)
    expect((await world.publish('reader', 'open.b', 'x')).status).toBe(403)
  })

  it('given a right less, then sessions end at their next call, with and without a bearer, and may still be disposed', async () => {
    const bearer = await world.token('reader')
    const session = await RawSession.read(world.raw, bearer, 'open.a', { earliest: true })
    const json = await world.json('reader', 'POST', '/v1/sessions', { topic: 'open.a', mode: 'read' })
    expect((await session.call('read', { n: 1 })).count).toBeGreaterThan(0)
    const ofJson = (path: string, body: object) =>
      world.json('reader', 'POST', `/v1/sessions/${json.json.sessionId}/${path}`, body, {
        'trunkline-session': json.headers.get('trunkline-session') ?? '',
        'trunkline-seq': json.headers.get('trunkline-next-seq') ?? '',
        'trunkline-challenge': json.headers.get('trunkline-next-challenge') ?? '',
      })
    await world.replacePolicy([owner, writer])
    try {
      expect(await errorOf(session.call('ack', { n: 1 }))).toBe('FORBIDDEN')
      expect(await errorOf(session.call('extend', {}, 1))).toBe('FORBIDDEN')
      const refresh = { proof: { ...session.proof(1), bearer: await world.newToken('reader') } }
      expect(await errorOf(world.raw.call('extend', { ...refresh, session: session.allocated.session }))).toBe(
        'FORBIDDEN',
      )
      expect(await ofJson('read', { n: '1' })).toMatchObject({ status: 403, json: { name: 'FORBIDDEN' } })
      await session.call('dispose', {}, 1)
    } finally {
      await world.replacePolicy(rules)
    }
  })

  it('given applications that use the SDK, then they hear FORBIDDEN once their right is gone, and do not go on', async () => {
    const [readerSdk, writerSdk] = [world.sdk('reader'), world.sdk('writer')]
    const reading = readerSdk.reader('open.a', { from: 'earliest', waitMs: 50 })
    const producer = writerSdk.producer('open.a')
    await producer.publish({ payload: new TextEncoder().encode('before') })
    const batches = reading[Symbol.asyncIterator]()
    await (await batches.next()).value?.ack()
    await world.replacePolicy([owner])
    try {
      const publish = () => errorOf(producer.publish({ payload: new TextEncoder().encode('after') }))
      // The first was under way when the session ended: no other session says what became of it.
      expect(await publish()).toBe('OUTCOME_UNKNOWN')
      expect(await publish()).toBe('FORBIDDEN')
      const toTheEnd = async (): Promise<void> => {
        while ((await batches.next()).done !== true);
      }
      expect(await errorOf(toTheEnd())).toBe('FORBIDDEN')
      expect(await world.textsOf('owner', 'open.a')).not.toContain('after')
    } finally {
      await Promise.all([readerSdk.close(), writerSdk.close()])
      await world.replacePolicy(rules)
    }
  })

  it('given a writer’s right taken away, then nothing of it is published any more', async () => {
    const session = await RawSession.write(world.raw, await world.token('writer'), 'open.b')
    const block = buildBlock(0, [{ payload: new TextEncoder().encode('late') }], encoding.none)
    await session.call('write', { n: 1, blocks: [block] })
    await world.replacePolicy([owner, reader])
    try {
      expect(await errorOf(session.call('ack', { n: 1 }))).toBe('FORBIDDEN')
      expect(await world.textsOf('owner', 'open.b')).not.toContain('late')
    } finally {
      await world.replacePolicy(rules)
    }
  })
})
