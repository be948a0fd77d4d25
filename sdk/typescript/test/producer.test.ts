// Owns: the producer against a gateway in memory: what it answers, in which order, and what survives which loss.
import { describe, expect, test } from 'vitest'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { writeEventsMax, writeRawBytesMax } from '../../../src/protocol/limits.ts'
import { type Block, partState } from '../../../src/protocol/messages.ts'
import type { Position } from '../src/events.ts'
import type { Producer } from '../src/producer.ts'
import { FakeGateway, type Fault } from './support/fake-gateway.ts'

const decoder = new TextDecoder()

function textsOf(gateway: FakeGateway): string[] {
  return gateway.events().map(({ payload }) => decoder.decode(payload))
}

function textAt(gateway: FakeGateway, position: Position | undefined): string | undefined {
  const at = String(position)
  const event = gateway.events().find(({ partition, offset, index }) => `${partition}:${offset}:${index}` === at)
  return event === undefined ? undefined : decoder.decode(event.payload)
}

/** Publishes "0".."count-1", one call each, all with one key, so that they share a partition and an order. */
function publishEach(
  producer: Producer,
  count: number,
  payload: (i: number) => string = String,
): Promise<Position[][]> {
  return Promise.all(
    Array.from({ length: count }, (_, i) =>
      Promise.resolve().then(() => producer.publish({ key: 'k', payload: payload(i) })),
    ),
  )
}

/** Publishes one after another without waiting, each as a write of its own. */
async function publishApart(gateway: FakeGateway, producer: Producer, count: number): Promise<Promise<Position[]>[]> {
  const published: Promise<Position[]>[] = []
  for (let i = 0; i < count; i += 1) {
    const one = producer.publish({ key: 'k', payload: String(i) })
    one.catch(() => undefined)
    published.push(one)
    await gateway.clock.settle()
  }
  return published
}

/** A write method's fault at its nth sending. */
function onWrite(gateway: FakeGateway, countOfMethod: number, fault: Fault): void {
  gateway.fault = (call) => (call.method === 'write' && call.countOfMethod === countOfMethod ? fault : { kind: 'pass' })
}

async function openProducer(gateway: FakeGateway, options = {}): Promise<Producer> {
  const producer = gateway.client().producer('t', options)
  const first = producer.publish({ key: 'k', payload: 'first' })
  await gateway.clock.advance(50)
  await first
  return producer
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i))

describe('publishing', () => {
  test('Given events of several keys, when they are published, then each gets its own position, in the order given', async () => {
    const gateway = new FakeGateway()
    const producer = gateway.client().producer('t')
    const published = producer.publish(['a', 'b', 'c', 'a', 'b', 'c'].map((key, i) => ({ key, payload: String(i) })))
    await gateway.clock.advance(50)
    const positions = await published
    expect(positions.map((position) => textAt(gateway, position))).toEqual(numbers(6))
  })

  test('Given calls of one turn, when they are published, then they leave in one write and each has its own answer', async () => {
    const gateway = new FakeGateway()
    const producer = await openProducer(gateway)
    const before = gateway.countOf('write')
    const published = publishEach(producer, 100)
    await gateway.clock.advance(50)
    const positions = await published
    expect(gateway.countOf('write') - before).toBe(1)
    expect(positions.map(([position]) => textAt(gateway, position))).toEqual(numbers(100))
  })

  test('Given a full window, when more is published, then it waits, is joined, and keeps its order', async () => {
    const gateway = new FakeGateway()
    const producer = await openProducer(gateway)
    const before = gateway.countOf('write')
    gateway.fault = (call) => (call.method === 'write' ? { kind: 'delay-reply', delayMs: 100 } : { kind: 'pass' })
    const published = await publishApart(gateway, producer, 50)
    expect(gateway.countOf('write') - before).toBe(8)
    await gateway.clock.advance(1_000)
    await Promise.all(published)
    expect(gateway.countOf('write') - before).toBeLessThan(12)
    expect(textsOf(gateway)).toEqual(['first', ...numbers(50)])
  })

  test('Given more than one frame holds, when it is published in one call, then it is split in order and answered once', async () => {
    const gateway = new FakeGateway()
    const producer = gateway.client().producer('t', { encoding: 'none' })
    const published = producer.publish(
      Array.from({ length: 40 }, (_, i) => ({ key: 'k', payload: String(i).padEnd(100_000) })),
    )
    await gateway.clock.advance(200)
    const positions = await published
    expect(positions.map((position) => textAt(gateway, position)?.trim())).toEqual(numbers(40))
    expect(gateway.countOf('write')).toBeGreaterThan(3)
  })

  test.each([
    ['the smallest events', Array.from({ length: 120_000 }, () => ({ id: '', type: '', source: '' }))],
    ['what compresses best', Array.from({ length: 60 }, () => ({ key: 'k', payload: 'x'.repeat(400_000) }))],
  ])(
    'Given many of %s, when they are published in one call, then no write comes near what one may unpack to',
    async (_name, events) => {
      const gateway = new FakeGateway()
      const writes: { raw: number; events: number }[] = []
      gateway.judgeWrite = (_n, blocks) => {
        const sum = (of: (block: Block) => number): number => blocks.reduce((total, block) => total + of(block), 0)
        writes.push({ raw: sum(({ rawSize }) => rawSize), events: sum(({ count }) => count) })
        return undefined
      }
      const published = gateway.client().producer('t').publish(events)
      await gateway.clock.advance(500)
      expect(await published).toHaveLength(events.length)
      expect(writes.reduce((total, write) => total + write.events, 0)).toBe(events.length)
      for (const write of writes) {
        expect(write.raw).toBeLessThan(writeRawBytesMax / 8)
        expect(write.events).toBeLessThan(writeEventsMax / 2)
      }
    },
  )

  test('Given an event without id, type and source, when it is published, then they are filled in', async () => {
    const gateway = new FakeGateway()
    await openProducer(gateway)
    const [event] = gateway.events()
    expect(event?.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(event).toMatchObject({ type: 'event', source: '/clients/test' })
  })
})

describe('bad input', () => {
  test.each([
    ['EMPTY_BATCH', []],
    ['EVENT_TOO_LARGE', { payload: 'x'.repeat(1_000_000) }],
    ['HEADERS_TOO_LARGE', { headers: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`h${i}`, ''])) }],
    ['BAD_EVENT', { timestamp: 1.5 }],
  ] as const)('When %s is published, then that call alone is refused and nothing is sent', async (name, input) => {
    const gateway = new FakeGateway()
    const producer = await openProducer(gateway)
    const before = gateway.calls.length
    const bad = producer.publish(input)
    const good = producer.publish({ payload: 'good' })
    await expect(bad).rejects.toMatchObject({ name })
    await gateway.clock.advance(50)
    await good
    expect(gateway.calls.length - before).toBe(1)
  })

  test('Given a joined write with an unknown partition, when it is packed, then only the guilty call is refused', async () => {
    const gateway = new FakeGateway()
    const producer = await openProducer(gateway)
    const before = producer.publish({ key: 'k', payload: 'before' })
    const bad = producer.publish({ partition: 99, payload: 'bad' })
    const after = producer.publish({ key: 'k', payload: 'after' })
    bad.catch(() => undefined)
    await gateway.clock.advance(50)
    await expect(bad).rejects.toMatchObject({ name: 'UNKNOWN_PARTITION' })
    await Promise.all([before, after])
    expect(textsOf(gateway)).toEqual(['first', 'before', 'after'])
  })

  test('Given a full buffer, when more is published, then it is refused and the rest goes on', async () => {
    const gateway = new FakeGateway()
    const producer = gateway.client().producer('t', { bufferBytesMax: 10_000 })
    const first = producer.publish({ payload: 'x'.repeat(9_000) })
    await expect(producer.publish({ payload: 'x'.repeat(9_000) })).rejects.toMatchObject({ name: 'WINDOW_FULL' })
    await gateway.clock.advance(50)
    await first
  })
})

describe('what is lost on the way', () => {
  const faults: [string, Fault][] = [
    ['a lost request', { kind: 'lose-request' }],
    ['a lost reply', { kind: 'lose-reply' }],
    ['a connection that breaks before the reply', { kind: 'break-reply' }],
    ['a request that arrives twice', { kind: 'duplicate' }],
    ['a request that arrives late', { kind: 'delay-request', delayMs: 60_000 }],
    ['a reply that comes late', { kind: 'delay-reply', delayMs: 40_000 }],
    ['a deadline of the tier before', { kind: 'refuse', error: new TrunklineError('DEADLINE') }],
    ['an unavailable tier', { kind: 'refuse', error: new TrunklineError('UNAVAILABLE') }],
    ['an internal error of the tier before', { kind: 'refuse', error: new TrunklineError('INTERNAL') }],
    ['a session that is gone', { kind: 'refuse', error: new TrunklineError('SESSION_GONE') }],
    ['a node that drains', { kind: 'refuse', error: new TrunklineError('DRAINING') }],
    ['a bearer that ended', { kind: 'refuse', error: new TrunklineError('TOKEN_EXPIRED') }],
  ]
  for (const [name, fault] of faults) {
    for (const nth of [2, 3, 6]) {
      test(`Given ${name} at write ${nth}, when ten writes are published, then each lands once, in order`, async () => {
        const gateway = new FakeGateway()
        const producer = await openProducer(gateway)
        onWrite(gateway, nth, fault)
        const published = await publishApart(gateway, producer, 10)
        await gateway.clock.advance(300_000)
        const positions = await Promise.all(published)
        expect(textsOf(gateway)).toEqual(['first', ...numbers(10)])
        expect(positions.map(([position]) => textAt(gateway, position))).toEqual(numbers(10))
        expect(gateway.defects).toEqual([])
      })
    }
  }

  test.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])(
    'Given crashes and losses by seed %i, when two hundred are published, then each lands once, in order',
    async (seed) => {
      const gateway = new FakeGateway()
      const producer = await openProducer(gateway)
      const dice = new SeededRandom(seed)
      gateway.fault = () => {
        const roll = dice.fraction()
        if (roll < 0.02) gateway.crash()
        if (roll < 0.06) return { kind: 'lose-request' }
        if (roll < 0.1) return { kind: 'lose-reply' }
        if (roll < 0.16) return { kind: 'break-reply' }
        if (roll < 0.2) return { kind: 'delay-reply', delayMs: Math.floor(dice.fraction() * 60_000) }
        if (roll < 0.24) return { kind: 'delay-request', delayMs: Math.floor(dice.fraction() * 60_000) }
        return roll < 0.28 ? { kind: 'duplicate' } : { kind: 'pass' }
      }
      const published: Promise<Position[]>[] = []
      for (let i = 0; i < 200; i += 1) {
        published.push(producer.publish({ key: 'k', payload: String(i) }))
        await gateway.clock.advance(Math.floor(dice.fraction() * 500))
      }
      await gateway.clock.advance(3_600_000)
      await Promise.all(published)
      expect(textsOf(gateway)).toEqual(['first', ...numbers(200)])
      expect(gateway.defects).toEqual([])
    },
  )

  test('Given the gateway is away for a minute, when it is back, then what waited is published', async () => {
    const gateway = new FakeGateway()
    const producer = gateway.client().producer('t')
    gateway.fault = () => ({ kind: 'refuse', error: new TrunklineError('UNAVAILABLE') })
    const published = producer.publish({ payload: 'late' })
    await gateway.clock.advance(60_000)
    gateway.fault = () => ({ kind: 'pass' })
    await gateway.clock.advance(10_000)
    await published
    expect(textsOf(gateway)).toEqual(['late'])
  })
})

describe('take-over', () => {
  test('Given two allocates with one token, when the first answers late, then only the answer under the token held now counts', async () => {
    const gateway = new FakeGateway()
    const producer = await openProducer(gateway)
    let allocates = 0
    gateway.fault = (call) => {
      if (call.method === 'write' && call.countOfMethod === 2)
        return { kind: 'refuse', error: new TrunklineError('SESSION_GONE') }
      if (call.method === 'write' && call.countOfMethod === 3) {
        gateway.crash()
        return { kind: 'pass' }
      }
      if (call.method !== 'allocate') return { kind: 'pass' }
      allocates += 1
      // The first take-over's answer comes while the third is out, when write 2 has landed under the second.
      if (allocates === 1) return { kind: 'delay-reply', delayMs: 13_000 }
      if (allocates === 3) return { kind: 'delay-reply', delayMs: 5_000 }
      return { kind: 'pass' }
    }
    const published = producer.publish({ key: 'k', payload: 'x' })
    await gateway.clock.advance(60_000)
    await published
    expect(textsOf(gateway)).toEqual(['first', 'x'])
  })

  test('Given a write whose outcome nobody knows, when the session is taken over, then that publish says so and later ones go on', async () => {
    const gateway = new FakeGateway()
    const producer = await openProducer(gateway)
    gateway.judgeLookUp = (n, found) =>
      n === 2 ? { n, parts: found.parts.map((part) => ({ ...part, state: partState.unknown })) } : found
    onWrite(gateway, 2, { kind: 'refuse', error: new TrunklineError('SESSION_GONE') })
    const [lost, next] = await publishApart(gateway, producer, 2)
    await gateway.clock.advance(60_000)
    await expect(lost).rejects.toMatchObject({ name: 'OUTCOME_UNKNOWN' })
    await next
    expect(textsOf(gateway)).toEqual(['first', '1'])
  })

  test('Given a token the gateway no longer opens, when the session is lost, then what was sent is unknown and the rest goes on as a new producer', async () => {
    const gateway = new FakeGateway()
    const producer = await openProducer(gateway, { windowWrites: 1 })
    let broken = false
    gateway.fault = (call) => {
      if (call.method === 'write' && call.countOfMethod === 2) {
        broken = true
        return { kind: 'refuse', error: new TrunklineError('SESSION_GONE') }
      }
      const resumes = call.method === 'allocate' && 'resume' in call.request
      return broken && resumes ? { kind: 'refuse', error: new TrunklineError('BAD_SESSION_TOKEN') } : { kind: 'pass' }
    }
    const [sent, waiting] = await publishApart(gateway, producer, 2)
    await gateway.clock.advance(60_000)
    await expect(sent).rejects.toMatchObject({ name: 'OUTCOME_UNKNOWN', details: { because: 'BAD_SESSION_TOKEN' } })
    await waiting
    expect(textsOf(gateway)).toEqual(['first', '1'])
  })

  test('Given a write that is refused in the middle of a window, then that publish alone fails and the others land in order', async () => {
    const gateway = new FakeGateway()
    const producer = await openProducer(gateway)
    gateway.judgeWrite = (n) => (n === 4 ? new TrunklineError('BAD_BLOCK') : undefined)
    const published = await publishApart(gateway, producer, 6)
    await gateway.clock.advance(60_000)
    const outcomes = await Promise.allSettled(published)
    expect(outcomes.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'fulfilled',
      'fulfilled',
      'fulfilled',
    ])
    expect(textsOf(gateway)).toEqual(['first', '0', '1', '3', '4', '5'])
  })

  test.each(['STORAGE_FULL', 'WINDOW_FULL', 'STEP_BUSY', 'UNAVAILABLE', 'WRITE_HELD'] as const)(
    'Given the session answers %s for a while, when it ends, then every write has landed once, in order',
    async (name) => {
      const gateway = new FakeGateway()
      const producer = await openProducer(gateway)
      let left = 3
      gateway.judgeWrite = (n) => (n === 3 && left-- > 0 ? new TrunklineError(name) : undefined)
      const published = await publishApart(gateway, producer, 8)
      await gateway.clock.advance(120_000)
      await Promise.all(published)
      expect(textsOf(gateway)).toEqual(['first', ...numbers(8)])
    },
  )
})

describe('giving up', () => {
  test('Given retries that are used up, then what was sent is unknown, what was not has the error, and a later publish starts anew', async () => {
    const gateway = new FakeGateway()
    const producer = await openProducer(gateway, { windowWrites: 1, retry: { attemptsMax: 3 } })
    gateway.fault = () => ({ kind: 'refuse', error: new TrunklineError('UNAVAILABLE') })
    const [sent, waiting] = await publishApart(gateway, producer, 2)
    await gateway.clock.advance(60_000)
    await expect(sent).rejects.toMatchObject({ name: 'OUTCOME_UNKNOWN', details: { because: 'UNAVAILABLE' } })
    await expect(waiting).rejects.toMatchObject({ name: 'UNAVAILABLE' })
    gateway.fault = () => ({ kind: 'pass' })
    const later = producer.publish({ key: 'k', payload: 'later' })
    await gateway.clock.advance(1_000)
    await later
    expect(textsOf(gateway)).toEqual(['first', 'later'])
  })

  test('Given a topic that does not exist, when it is published to, then the publish fails at once with UNKNOWN_TOPIC', async () => {
    const gateway = new FakeGateway()
    const producer = gateway.client().producer('t')
    gateway.fault = () => ({ kind: 'refuse', error: new TrunklineError('UNKNOWN_TOPIC') })
    const published = producer.publish({ payload: 'x' })
    published.catch(() => undefined)
    await gateway.clock.advance(10)
    await expect(published).rejects.toMatchObject({ name: 'UNKNOWN_TOPIC' })
  })

  test('Given a bearer that the gateway refuses at allocate, when another can be had, then it is used', async () => {
    const gateway = new FakeGateway()
    gateway.fault = (call) =>
      call.method === 'allocate' && call.countOfMethod === 1
        ? { kind: 'refuse', error: new TrunklineError('TOKEN_EXPIRED') }
        : { kind: 'pass' }
    await openProducer(gateway)
    expect(gateway.bearers).toEqual(['bearer-2'])
  })
})

describe('the life of a producer', () => {
  test('Given an idle producer, when time passes, then its session is extended, with a new bearer before the old one ends', async () => {
    const gateway = new FakeGateway()
    await openProducer(gateway)
    await gateway.clock.advance(3_600_000)
    expect(gateway.countOf('extend')).toBe(360)
    expect(gateway.bearers.filter((bearer) => bearer === 'bearer-2')).toHaveLength(1)
  })

  test('Given a new bearer that cannot be judged just then, when the session is extended again, then it is sent again', async () => {
    const gateway = new FakeGateway()
    await openProducer(gateway)
    let refusals = 0
    gateway.fault = ({ method, request }) => {
      if (method !== 'extend' || request.proof?.bearer !== 'bearer-2' || refusals > 0) return { kind: 'pass' }
      refusals += 1
      return { kind: 'refuse', error: new TrunklineError('UNAVAILABLE') }
    }
    await gateway.clock.advance(3_600_000)
    expect(gateway.bearers.filter((bearer) => bearer === 'bearer-2')).toHaveLength(1)
    expect([refusals, gateway.countOf('allocate')]).toEqual([1, 1])
  })

  test('Given the write cursor of a reply, when an older write has no answer yet, then a take-over still finds what landed', async () => {
    const gateway = new FakeGateway()
    const producer = await openProducer(gateway)
    // Write 2 lands, its answer is lost; write 3 is answered with a cursor behind both; then the session is lost.
    onWrite(gateway, 2, { kind: 'lose-reply' })
    const [lost, next] = await publishApart(gateway, producer, 2)
    await gateway.clock.advance(100)
    await next
    gateway.crash()
    await gateway.clock.advance(120_000)
    await lost
    expect(textsOf(gateway)).toEqual(['first', '0', '1'])
  })

  test('When it is closed, then everything is flushed, the session is disposed, and later publishes are refused', async () => {
    const gateway = new FakeGateway()
    const producer = gateway.client().producer('t')
    const published = producer.publish({ payload: 'x' })
    const closed = producer.close()
    await gateway.clock.advance(100)
    await Promise.all([published, closed])
    expect(gateway.countOf('dispose')).toBe(1)
    await expect(producer.publish({ payload: 'y' })).rejects.toMatchObject({ name: 'SESSION_CLOSED' })
    expect(gateway.clock.pendingCount).toBe(0)
  })

  test('When the client is closed, then its producers are, and the transport', async () => {
    const gateway = new FakeGateway()
    const client = gateway.client()
    const published = client.producer('t').publish({ payload: 'x' })
    const closed = client.close()
    await gateway.clock.advance(100)
    await Promise.all([published, closed])
    expect(gateway.closed).toBe(true)
    expect(() => client.producer('t')).toThrow(TrunklineError)
  })
})
