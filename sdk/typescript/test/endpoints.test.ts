// Owns: a client with several endpoints on real sockets: one dies, drains, falls silent, swallows connects; sessions go
// on at the others, nothing is lost or doubled, and the application hears of what lasts.
import { createServer as createHttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import type { TrunklineClient } from '../src/client.ts'
import type { ConnectOptions } from '../src/index.ts'
import { connect } from '../src/node/connect.ts'
import { systemClock } from '../src/node/system.ts'
import type { TroubleReport } from '../src/trouble.ts'
import type { FakeGateway } from './support/fake-gateway.ts'
import { BlackHole, runningGateway, SocketEndpoint } from './support/socket-gateway.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

const quick = { backoffMsMin: 10, backoffMsMax: 50 }
const decoder = new TextDecoder()
const textsOf = (gateway: FakeGateway): string[] => gateway.events().map(({ payload }) => decoder.decode(payload))
const numbers = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => String(from + i))
const pause = (ms: number): Promise<void> => new Promise((resolve) => systemClock.after(ms, resolve))

async function until(what: string, holds: () => boolean): Promise<void> {
  const endMs = systemClock.monotonicMs() + 10_000
  while (!holds()) {
    if (systemClock.monotonicMs() > endMs) throw new Error(`not within 10 s: ${what}`)
    await pause(5)
  }
}

async function world(count: number): Promise<{ gateway: FakeGateway; endpoints: SocketEndpoint[] }> {
  const gateway = runningGateway()
  const endpoints = Array.from({ length: count }, () => new SocketEndpoint(gateway))
  for (const endpoint of endpoints) {
    await endpoint.start()
    closers.push(() => endpoint.die())
  }
  return { gateway, endpoints }
}

function clientOf(endpoints: readonly { url: string }[], options: ConnectOptions = {}): TrunklineClient {
  const client = connect(
    endpoints.map(({ url }) => url),
    { token: 't' },
    options,
  )
  closers.push(() => client.close({ timeoutMs: 0 }).catch(() => undefined))
  return client
}

/** The endpoint that the client is connected to, and another. */
function sides(endpoints: readonly SocketEndpoint[]): { used: SocketEndpoint; other: SocketEndpoint } {
  const used = endpoints.find(({ connections }) => connections > 0)
  const other = endpoints.find(({ connections }) => connections === 0)
  if (used === undefined || other === undefined) throw new Error('one endpoint is used, another is not')
  return { used, other }
}

describe('several endpoints', () => {
  test('Given writes that are out, when their endpoint dies, then each lands once, in order, in the same session, at once', async () => {
    const { gateway, endpoints } = await world(3)
    const producer = clientOf(endpoints).producer('t')
    await producer.publish({ key: 'k', payload: 'first' })
    const { used } = sides(endpoints)
    gateway.fault = (call) => (call.method === 'write' ? { kind: 'delay-reply', delayMs: 300 } : { kind: 'pass' })
    const published = []
    for (const payload of numbers(8)) {
      published.push(producer.publish({ key: 'k', payload }))
      await pause(2)
    }
    await until('eight writes are out', () => gateway.countOf('write') === 9)
    gateway.fault = () => ({ kind: 'pass' })
    const startMs = systemClock.monotonicMs()
    await used.die()
    await Promise.all(published)
    expect(systemClock.monotonicMs() - startMs).toBeLessThan(1_000)
    expect(textsOf(gateway)).toEqual(['first', ...numbers(8)])
    expect(gateway.countOf('allocate')).toBe(1)
  })

  test('Given a reader that waits at the end, when its endpoint dies, then it reads on in the same session', async () => {
    const { gateway, endpoints } = await world(2)
    const client = clientOf(endpoints)
    const reader = client.reader('t', { waitMs: 20_000, autoAck: true })
    const pulled = reader.pull()
    await until('the read is out', () => gateway.countOf('read') === 1)
    await sides(endpoints).used.die()
    await until('the read was repeated', () => gateway.countOf('read') === 2)
    await client.producer('t').publish({ payload: 'news' })
    expect((await pulled)?.events.map((event) => event.text())).toEqual(['news'])
    expect(gateway.calls.filter(({ method, request }) => method === 'allocate' && 'startAt' in request)).toHaveLength(1)
  })

  test('Given an endpoint that drains, when more is published, then it goes to another, in the same session, without a pause', async () => {
    const { gateway, endpoints } = await world(2)
    const producer = clientOf(endpoints, { troubleAfterFailures: 1, onTrouble: (report) => reports.push(report) })
    const reports: TroubleReport[] = []
    const writer = producer.producer('t')
    await writer.publish({ key: 'k', payload: '0' })
    const { used, other } = sides(endpoints)
    used.behaviour = 'drain'
    for (const payload of numbers(4, 1)) await writer.publish({ key: 'k', payload })
    expect(textsOf(gateway)).toEqual(numbers(5))
    expect(gateway.countOf('allocate')).toBe(1)
    expect(other.calls.filter((method) => method === 'write')).toHaveLength(4)
    // The machine has not even noticed.
    expect(reports).toEqual([])
  })

  test('Given the only endpoint drains and starts again, then the session is kept', async () => {
    const { gateway, endpoints } = await world(1)
    const [only] = endpoints as [SocketEndpoint]
    const producer = clientOf(endpoints).producer('t', { retry: quick })
    await producer.publish({ key: 'k', payload: '0' })
    only.behaviour = 'drain'
    const next = producer.publish({ key: 'k', payload: '1' })
    await until('the write was refused', () => only.calls.filter((method) => method === 'write').length >= 2)
    await only.die()
    only.behaviour = 'serve'
    await only.start()
    await next
    expect(textsOf(gateway)).toEqual(numbers(2))
    expect(gateway.countOf('allocate')).toBe(1)
  })

  test('Given an endpoint that answers UNAVAILABLE, then the next one is asked at once', async () => {
    const { gateway, endpoints } = await world(2)
    const producer = clientOf(endpoints).producer('t')
    await producer.publish({ payload: '0' })
    sides(endpoints).used.behaviour = 'unavailable'
    const startMs = systemClock.monotonicMs()
    await producer.publish({ payload: '1' })
    // Its own retryAfterMs is 500.
    expect(systemClock.monotonicMs() - startMs).toBeLessThan(300)
    expect(gateway.countOf('allocate')).toBe(1)
  })

  test('Given an endpoint that takes no connection, then the others serve after its time limit at the latest', async () => {
    const hole = new BlackHole()
    closers.push(() => hole.stop())
    await hole.start()
    const { gateway, endpoints } = await world(1)
    // So many clients that not all of them start at the good one.
    const startMs = systemClock.monotonicMs()
    const holes = Array.from({ length: 2 }, () => ({ url: `thrift://127.0.0.1:${hole.port}` }))
    const clients = Array.from({ length: 12 }, () => clientOf([...holes, ...endpoints]))
    await Promise.all(clients.map((client, i) => client.producer('t').publish({ payload: String(i) })))
    const tookMs = systemClock.monotonicMs() - startMs
    expect(tookMs).toBeGreaterThan(1_900)
    expect(tookMs).toBeLessThan(8_000)
    expect(textsOf(gateway).toSorted()).toEqual(numbers(12).toSorted())
    expect(gateway.countOf('allocate')).toBe(12)
  })

  test('Given an endpoint that falls silent, when the silence has lasted, then its calls go to another and land once', async () => {
    const { gateway, endpoints } = await world(2)
    const producer = clientOf(endpoints).producer('t')
    await producer.publish({ key: 'k', payload: '0' })
    const { used, other } = sides(endpoints)
    used.behaviour = 'silent'
    const startMs = systemClock.monotonicMs()
    await producer.publish({ key: 'k', payload: '1' })
    expect(systemClock.monotonicMs() - startMs).toBeLessThan(12_000)
    expect(used.calls).toContain('alive')
    expect(other.calls).toContain('write')
    expect(textsOf(gateway)).toEqual(numbers(2))
    expect(gateway.countOf('allocate')).toBe(1)
  })

  test('Given many clients, then they spread over the endpoints, and stay where they are while it serves', async () => {
    const { gateway, endpoints } = await world(3)
    const producers = Array.from({ length: 30 }, () => clientOf(endpoints).producer('t'))
    for (let round = 0; round < 3; round += 1)
      await Promise.all(producers.map((producer) => producer.publish({ payload: 'x' })))
    const counts = endpoints.map(({ connections }) => connections)
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(30)
    expect(Math.min(...counts)).toBeGreaterThan(0)
    expect(gateway.countOf('allocate')).toBe(30)
  })

  test('Given endpoints that die and come back in turn, when much is published and read meanwhile, then each event lands once and no session is opened twice', async () => {
    const { gateway, endpoints } = await world(3)
    const client = clientOf(endpoints)
    const producer = client.producer('t', { retry: quick })
    const reader = client.reader('t', { retry: quick, waitMs: 500 })
    const read: string[] = []
    const count = 600
    const reading = (async () => {
      for await (const batch of reader) {
        read.push(...batch.events.map((event) => event.text()))
        await batch.ack()
        if (read.length >= count) return
      }
    })()
    let over = false
    const killing = (async () => {
      for (let i = 0; !over; i += 1) {
        const victim = endpoints[i % endpoints.length]
        await victim?.die()
        await pause(40)
        await victim?.start()
        await pause(20)
      }
    })()
    const published: Promise<unknown>[] = []
    for (const payload of numbers(count)) {
      published.push(producer.publish({ key: 'k', payload }))
      await pause(2)
    }
    await Promise.all(published)
    await reading
    over = true
    await killing
    expect(textsOf(gateway)).toEqual(numbers(count))
    expect(read).toEqual(numbers(count))
    // An allocate whose answer was lost is asked again; nothing else opens a session.
    expect(gateway.countOf('allocate')).toBeLessThan(8)
    expect(gateway.defects).toEqual([])
  })
})

describe('when no endpoint is there', () => {
  test('Given retries that are used up, then the error names every endpoint, and trouble was told with the next try', async () => {
    const { endpoints } = await world(2)
    for (const endpoint of endpoints) await endpoint.die()
    const reports: TroubleReport[] = []
    const client = clientOf(endpoints, { troubleAfterFailures: 2, onTrouble: (report) => reports.push(report) })
    const producer = client.producer('t', { retry: { attemptsMax: 5, ...quick } })
    const error = await producer.publish({ payload: 'x' }).then(
      () => undefined,
      (thrown: unknown) => TrunklineError.from(thrown),
    )
    expect(error?.name).toBe('UNAVAILABLE')
    for (const { port } of endpoints)
      expect(error?.details['endpoints']).toContain(`127.0.0.1:${port} (connect failed)`)
    expect(reports.map((report) => report.failures)).toEqual([2, 3, 4, 5, 6])
    expect(reports[0]).toMatchObject({ kind: 'failing', topic: 't', mode: 'write', error: { name: 'UNAVAILABLE' } })
    const [first, last] = [reports[0], reports.at(-1)]
    if (first?.kind !== 'failing' || last?.kind !== 'failing') throw new Error('both are failures')
    expect(first.nextTryMs).toBeGreaterThan(0)
    expect(endpoints.map(({ port }) => `127.0.0.1:${port}`)).toContain(first.endpoint)
    expect(last.nextTryMs).toBeUndefined()
  })

  test('Given endpoints that come back, then the publish lands and the recovery is told once', async () => {
    const { gateway, endpoints } = await world(2)
    for (const endpoint of endpoints) await endpoint.die()
    const reports: TroubleReport[] = []
    const client = clientOf(endpoints, { onTrouble: (report) => reports.push(report) })
    const published = client.producer('t', { retry: quick }).publish({ payload: 'x' })
    await until('trouble is told', () => reports.length > 0)
    for (const endpoint of endpoints) await endpoint.start()
    await published
    await until('recovery is told', () => reports.at(-1)?.kind === 'recovered')
    expect(reports.filter(({ kind }) => kind === 'recovered')).toHaveLength(1)
    expect(textsOf(gateway)).toEqual(['x'])
  })

  test('Given a hook that throws, then the client goes on', async () => {
    const { endpoints } = await world(1)
    const [only] = endpoints as [SocketEndpoint]
    await only.die()
    const heard = new Promise<unknown>((resolve) => {
      const previous = process.listeners('uncaughtException')
      process.removeAllListeners('uncaughtException')
      process.once('uncaughtException', (thrown) => {
        for (const listener of previous) process.on('uncaughtException', listener)
        resolve(thrown)
      })
    })
    let told = 0
    const client = clientOf(endpoints, {
      onTrouble: () => {
        told += 1
        if (told === 1) throw new Error('of the application')
      },
    })
    const published = client.producer('t', { retry: quick }).publish({ payload: 'x' })
    expect(String(await heard)).toContain('of the application')
    await only.start()
    await published
  })

  test('Given unanswered publishes, when the client is closed, then it ends in time, and each is answered and typed', async () => {
    const { gateway, endpoints } = await world(2)
    const client = clientOf(endpoints)
    const producer = client.producer('t', { windowWrites: 1, retry: quick })
    await producer.publish({ key: 'k', payload: '0' })
    gateway.fault = (call) => (call.method === 'write' ? { kind: 'lose-reply' } : { kind: 'pass' })
    const sent = producer.publish({ key: 'k', payload: '1' })
    await until('the write is out', () => gateway.countOf('write') === 2)
    for (const endpoint of endpoints) await endpoint.die()
    const waiting = producer.publish({ key: 'k', payload: '2' })
    const outcomes = Promise.allSettled([sent, waiting])
    const startMs = systemClock.monotonicMs()
    await expect(client.close({ timeoutMs: 300 })).rejects.toMatchObject({
      name: 'DEADLINE',
      details: { unanswered: '2' },
    })
    expect(systemClock.monotonicMs() - startMs).toBeLessThan(4_000)
    expect((await outcomes).map((one) => one.status === 'rejected' && TrunklineError.from(one.reason).name)).toEqual([
      'OUTCOME_UNKNOWN',
      'SESSION_CLOSED',
    ])
  })
})

describe('tokens from several endpoints', () => {
  test('Given token URLs of which one is away, then another issues the token; one that refuses is believed', async () => {
    let status = 200
    const server = createHttpServer((request, response) => {
      request.resume().on('end', () => {
        response.writeHead(status, { 'content-type': 'application/json' })
        response.end(JSON.stringify({ access_token: 'at', expires_in: 3600 }))
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    closers.push(() => new Promise((resolve) => server.close(resolve)))
    const { endpoints } = await world(2)
    const [serving, dead] = endpoints as [SocketEndpoint, SocketEndpoint]
    await dead.die()
    const tokenUrl = [
      `http://127.0.0.1:${dead.port}/oauth/token`,
      `http://127.0.0.1:${(server.address() as AddressInfo).port}/oauth/token`,
    ]
    for (let i = 0; i < 6; i += 1) {
      await using client = connect(serving.url, { clientId: 'c', clientSecret: 's', tokenUrl })
      await client.describe()
    }
    status = 401
    await using refused = connect(serving.url, { clientId: 'c', clientSecret: 's', tokenUrl })
    await expect(refused.describe()).rejects.toMatchObject({ name: 'UNAUTHENTICATED' })
    const away = [dead, dead].map(({ port }) => `http://127.0.0.1:${port}/oauth/token`)
    await using none = connect(serving.url, { clientId: 'c', clientSecret: 's', tokenUrl: away })
    await expect(none.describe()).rejects.toMatchObject({
      name: 'UNAVAILABLE',
      details: {
        endpoints: `127.0.0.1:${dead.port} (token URL not reached), 127.0.0.1:${dead.port} (token URL not reached)`,
      },
    })
  })
})
