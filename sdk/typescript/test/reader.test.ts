// Owns: the reader against a gateway in memory: batches, acks, cursors, what comes again and what never does.
import { describe, expect, test } from 'vitest'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { buildBlock } from '../../../src/protocol/block.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import type { ReaderOptions } from '../src/client.ts'
import type { Batch, Reader } from '../src/reader.ts'
import { FakeGateway, type Fault } from './support/fake-gateway.ts'

const encoder = new TextEncoder()

/** `count` events in blocks of `perBlock`, over the partitions in turn. */
function fill(gateway: FakeGateway, count: number, perBlock = 3, from = 0): void {
  for (let i = from; i < from + count; i += perBlock) {
    const events = Array.from({ length: Math.min(perBlock, from + count - i) }, (_, j) => ({
      payload: encoder.encode(String(i + j)),
    }))
    gateway.append(buildBlock(Math.floor(i / perBlock) % gateway.partitions, events, 0))
  }
}

async function moved<T>(gateway: FakeGateway, work: Promise<T>, ms = 100): Promise<T> {
  work.catch(() => undefined)
  await gateway.clock.advance(ms)
  return work
}

function textsOf(batch: Batch | undefined): string[] {
  return (batch?.events ?? []).map((event) => event.text())
}

const sorted = (texts: readonly string[]): string[] => [...texts].sort((a, b) => Number(a) - Number(b))
const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i))

function readerOf(gateway: FakeGateway, options: ReaderOptions = {}): Reader {
  return gateway.client().reader('t', { from: 'earliest', waitMs: 1_000, ...options })
}

describe('reading', () => {
  test('Given events, when batches are pulled and acked, then every event comes once and each ack rides on the next read', async () => {
    const gateway = new FakeGateway()
    fill(gateway, 30)
    const reader = readerOf(gateway, { batch: { maxEvents: 7 } })
    const seen: string[] = []
    for (
      let batch = await moved(gateway, reader.pull());
      batch !== undefined;
      batch = await moved(gateway, reader.pull(), 2_000)
    ) {
      seen.push(...textsOf(batch))
      await batch.ack()
    }
    expect(sorted(seen)).toEqual(numbers(30))
    expect(gateway.countOf('ack')).toBe(0)
    expect(gateway.countOf('allocate')).toBe(1)
  })

  test('Given an end of the topic, when something is published, then a waiting pull gets it', async () => {
    const gateway = new FakeGateway()
    fill(gateway, 3)
    const reader = readerOf(gateway, { from: 'latest', waitMs: 30_000 })
    const pulled = reader.pull()
    await gateway.clock.advance(5_000)
    fill(gateway, 3, 3, 100)
    expect(textsOf(await moved(gateway, pulled))).toEqual(['100', '101', '102'])
  })

  test('Given a reader from latest whose session is lost before its first answer, then nothing published since is skipped', async () => {
    const gateway = new FakeGateway()
    const reader = readerOf(gateway, { from: 'latest', waitMs: 30_000 })
    const pulled = reader.pull()
    await gateway.clock.advance(5_000)
    gateway.crash()
    fill(gateway, 3)
    expect(textsOf(await moved(gateway, pulled, 2_000))).toEqual(['0', '1', '2'])
  })

  test('When it is iterated, then batches come until it is closed', async () => {
    const gateway = new FakeGateway()
    fill(gateway, 9)
    const reader = readerOf(gateway, { batch: { maxEvents: 3 }, autoAck: true })
    const seen: string[] = []
    const loop = (async () => {
      for await (const batch of reader) seen.push(...textsOf(batch))
    })()
    await gateway.clock.advance(5_000)
    const closed = reader.close()
    await gateway.clock.advance(5_000)
    await Promise.all([loop, closed])
    expect(sorted(seen)).toEqual(numbers(9))
    expect(gateway.countOf('dispose')).toBe(1)
    await gateway.clock.advance(60_000)
    expect(gateway.clock.pendingCount).toBe(0)
  })

  test('Given an event, when it is read, then it carries what it was published with, and its position', async () => {
    const gateway = new FakeGateway()
    const headers = new Map([['__proto__', 'a name like any other']])
    gateway.append(
      buildBlock(
        2,
        [
          {
            key: encoder.encode('k'),
            payload: encoder.encode('{"a":1}'),
            headers,
            timestampMs: 5,
            id: 'i',
            type: 't',
            source: 's',
          },
        ],
        1,
      ),
    )
    const [event] = (await moved(gateway, readerOf(gateway).pull()))?.events ?? []
    expect(event).toMatchObject({ timestampMs: 5, id: 'i', type: 't', source: 's', headers })
    expect(event?.json()).toEqual({ a: 1 })
    expect(event?.keyText()).toBe('k')
    expect(String(event?.position)).toBe('2:0:0')
  })
})

describe('acks and cursors', () => {
  test('Given a cursor that was stored, when another reader starts from it, then it goes on behind what was acked', async () => {
    const gateway = new FakeGateway()
    fill(gateway, 20)
    const reader = readerOf(gateway, { batch: { maxEvents: 8 } })
    const first = await moved(gateway, reader.pull())
    await first?.ack()
    const unacked = await moved(gateway, reader.pull())
    const { cursor } = reader
    expect(cursor).toBe(first?.cursor)
    const other = readerOf(gateway, { from: { cursor: cursor ?? '' } })
    expect(textsOf(await moved(gateway, other.pull())).slice(0, 8)).toEqual(textsOf(unacked))
  })

  test('Given an ack of the front, then the next pull brings the rest, and the cursor stands between', async () => {
    const gateway = new FakeGateway({ partitions: 1 })
    fill(gateway, 6)
    const reader = readerOf(gateway)
    const batch = await moved(gateway, reader.pull())
    await moved(gateway, batch?.ack(4) ?? Promise.resolve())
    const other = readerOf(gateway, { from: { cursor: reader.cursor ?? '' } })
    expect(textsOf(await moved(gateway, other.pull()))).toEqual(['4', '5'])
    expect(textsOf(await moved(gateway, reader.pull()))).toEqual(['4', '5'])
  })

  test('Given a batch given back, then it comes again after the delay, and another ack of it is refused', async () => {
    const gateway = new FakeGateway({ partitions: 1 })
    fill(gateway, 3)
    const reader = readerOf(gateway)
    const batch = await moved(gateway, reader.pull())
    await moved(gateway, batch?.nack({ delayMs: 500 }) ?? Promise.resolve(), 1_000)
    await expect(batch?.nack()).rejects.toMatchObject({ name: 'NOTHING_TO_ACK' })
    expect(textsOf(await moved(gateway, reader.pull()))).toEqual(['0', '1', '2'])
  })

  test.each([0, 4, 1.5, -1])('When %d of 3 events are acked, then it is refused with ACK_RANGE', async (count) => {
    const gateway = new FakeGateway({ partitions: 1 })
    fill(gateway, 3)
    const batch = await moved(gateway, readerOf(gateway).pull())
    await expect(batch?.ack(count)).rejects.toMatchObject({ name: 'ACK_RANGE' })
  })

  test('Given a batch that was pulled past without an ack, when the session is lost, then it comes again; when it was acked, never', async () => {
    const gateway = new FakeGateway({ partitions: 1 })
    fill(gateway, 9)
    const reader = readerOf(gateway, { batch: { maxEvents: 3 } })
    await (await moved(gateway, reader.pull()))?.ack()
    await moved(gateway, reader.pull())
    expect(textsOf(await moved(gateway, reader.pull()))).toEqual(['6', '7', '8'])
    gateway.crash()
    expect(textsOf(await moved(gateway, reader.pull()))).toEqual(['3', '4', '5'])
  })

  test('Given the session is lost, when the batch in hand is acked after that, in part or whole, then what was acked never comes again', async () => {
    const gateway = new FakeGateway({ partitions: 1 })
    fill(gateway, 9)
    const reader = readerOf(gateway, { batch: { maxEvents: 5 } })
    const batch = await moved(gateway, reader.pull())
    gateway.crash()
    await moved(gateway, batch?.ack(2) ?? Promise.resolve(), 5_000)
    expect(textsOf(await moved(gateway, reader.pull(), 5_000))).toEqual(['2', '3', '4'])
  })

  test('Given a cursor that was cut, when a reader is made of it, then it is refused with BAD_CURSOR', () => {
    expect(() => readerOf(new FakeGateway(), { from: { cursor: 'abc*' } })).toThrow(
      expect.objectContaining({ name: 'BAD_CURSOR' }),
    )
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
    ['an unavailable tier', { kind: 'refuse', error: new TrunklineError('UNAVAILABLE') }],
    ['a session that is gone', { kind: 'refuse', error: new TrunklineError('SESSION_GONE') }],
  ]
  test.each(faults)('Given %s at the third read, then every event comes once', async (_, fault) => {
    const gateway = new FakeGateway()
    fill(gateway, 30)
    gateway.fault = (call) => (call.method === 'read' && call.countOfMethod === 3 ? fault : { kind: 'pass' })
    const reader = readerOf(gateway, { batch: { maxEvents: 7 } })
    const seen: string[] = []
    for (
      let batch = await moved(gateway, reader.pull());
      batch !== undefined;
      batch = await moved(gateway, reader.pull(), 100_000)
    ) {
      seen.push(...textsOf(batch))
      await batch.ack()
    }
    expect(sorted(seen)).toEqual(numbers(30))
    expect(gateway.defects).toEqual([])
  })

  test.each([1, 2, 3, 4, 5, 6])(
    'Given crashes, losses, nacks and partial acks by seed %i, then what was acked never comes again and nothing is left out',
    async (seed) => {
      const gateway = new FakeGateway({ seed })
      fill(gateway, 200)
      const dice = new SeededRandom(seed)
      gateway.fault = () => {
        const roll = dice.fraction()
        if (roll < 0.05) gateway.crash()
        if (roll < 0.08) return { kind: 'lose-request' }
        if (roll < 0.11) return { kind: 'lose-reply' }
        return roll < 0.16 ? { kind: 'break-reply' } : { kind: 'pass' }
      }
      const reader = readerOf(gateway, { batch: { maxEvents: 9 } })
      const acked: string[] = []
      while (acked.length < 200) {
        const batch = await moved(gateway, reader.pull(), 60_000)
        if (batch === undefined) continue
        const roll = dice.fraction()
        const count = Math.max(1, Math.floor(dice.fraction() * batch.events.length))
        if (roll < 0.2) await moved(gateway, batch.nack({ delayMs: 10 }), 60_000)
        else if (roll < 0.5 && count < batch.events.length) {
          acked.push(...textsOf(batch).slice(0, count))
          await moved(gateway, batch.ack(count), 60_000)
        } else {
          acked.push(...textsOf(batch))
          await batch.ack()
        }
      }
      expect(sorted(acked)).toEqual(numbers(200))
      expect(gateway.defects).toEqual([])
    },
  )
})

describe('damaged places', () => {
  function damageOnce(gateway: FakeGateway): void {
    let left = 1
    gateway.fault = (call) => {
      if (call.method !== 'read' || call.countOfMethod !== 2 || left-- <= 0) return { kind: 'pass' }
      const cursor = encoder.encode(JSON.stringify([6]))
      return {
        kind: 'refuse',
        error: new TrunklineError('BLOCK_DAMAGED', {
          cursor,
          details: { at: '0:1' },
          turn: { nextSeq: 3, challenge: new Uint8Array(12), leaseMs: 1 },
        }),
      }
    }
  }

  test("Given onDamaged 'throw', when a place cannot be read, then the pull says which and the reader lives on", async () => {
    const gateway = new FakeGateway({ partitions: 1 })
    fill(gateway, 9)
    damageOnce(gateway)
    const reader = readerOf(gateway, { batch: { maxEvents: 3 } })
    await (await moved(gateway, reader.pull()))?.ack()
    await expect(moved(gateway, reader.pull())).rejects.toMatchObject({ name: 'BLOCK_DAMAGED', details: { at: '0:1' } })
  })

  test("Given onDamaged 'skip', when a place cannot be read, then reading goes on behind it and it is counted", async () => {
    const gateway = new FakeGateway({ partitions: 1 })
    fill(gateway, 9)
    damageOnce(gateway)
    const reader = readerOf(gateway, { batch: { maxEvents: 3 }, onDamaged: 'skip' })
    await (await moved(gateway, reader.pull()))?.ack()
    expect(textsOf(await moved(gateway, reader.pull()))).toEqual(['6', '7', '8'])
    expect(reader.skippedCount).toBe(1)
  })
})

test('Given a topic that does not exist, when it is pulled, then it fails with UNKNOWN_TOPIC; a pull after it was made works', async () => {
  const gateway = new FakeGateway()
  fill(gateway, 3)
  gateway.fault = (call) =>
    call.count === 1 ? { kind: 'refuse', error: new TrunklineError('UNKNOWN_TOPIC') } : { kind: 'pass' }
  const reader = readerOf(gateway)
  await expect(moved(gateway, reader.pull())).rejects.toMatchObject({ name: 'UNKNOWN_TOPIC' })
  expect(textsOf(await moved(gateway, reader.pull()))).toEqual(['0', '1', '2'])
})
