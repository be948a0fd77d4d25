// R1 and R2 of a reading session: the kept batch until it is settled, the position that only acks move; rests, failures of
// a fetch, and what an end does to a read that waits.
import { beforeEach, describe, expect, it } from 'vitest'
import type { AckRequest, NackRequest, ReadRequest } from '../../../src/protocol/messages.ts'
import type { Answered } from '../../../src/stream-tier/conversation.ts'
import type { ReadSession } from '../../../src/stream-tier/read-session.ts'
import { type Client, isSettled, nameOf, replyOf, SessionsWorld, settle } from './sessions-world.ts'

const session = new Uint8Array()
let world: SessionsWorld
let reader: Client<ReadSession>
beforeEach(() => {
  world = new SessionsWorld()
  reader = world.reader()
})

const read = (request: Omit<ReadRequest, 'proof' | 'session'>): Promise<Answered> =>
  reader.ask((proof) => reader.session.read({ ...request, proof, session }))
const ack = (request: Omit<AckRequest, 'proof' | 'session'>): Promise<Answered> =>
  reader.ask((proof) => reader.session.ack({ ...request, proof, session }))
const nack = (request: Omit<NackRequest, 'proof' | 'session'>): Promise<Answered> =>
  reader.ask((proof) => reader.session.nack({ ...request, proof, session }))
const dispose = (): Promise<Answered> => reader.ask((proof) => reader.session.dispose({ proof, session }), 1)

async function delivered(n: number, ...payloads: string[]): Promise<Answered> {
  const answer = read({ n })
  await settle(world)
  world.found(...payloads)
  return await answer
}

describe('R1 the kept batch', () => {
  it('given a repeat of n under a new seq, then the very same blocks and cursor, without another fetch', async () => {
    const first = replyOf(await delivered(1, 'a', 'b'))
    const again = replyOf(await read({ n: 1 }))
    expect(world.fetches.length).toBe(0)
    expect(again['blocks']).toBe(first['blocks'])
    expect(again['cursor']).toBe(first['cursor'])
  })

  it('given a fetch that fails, then the step is not spent and no batch of before is shown for it', async () => {
    await delivered(1, 'a')
    await ack({ n: 1 })
    const failing = read({ n: 2 })
    await settle(world)
    const next = Array.from({ length: 4 }, () => ({ offset: 9, index: 0 }))
    world.fetches.shift()?.answer.resolve({ kind: 'blocked', error: 'BLOCK_DAMAGED', partition: 0, offset: 8, next })
    const failed = await failing
    expect(
      'error' in failed && [failed.error.name, failed.error.details['at'], failed.error.cursor === undefined],
    ).toEqual(['BLOCK_DAMAGED', '0:8', false])
    const old = await read({ n: 1 })
    expect('error' in old && [old.error.name, old.error.expected]).toEqual(['SEQUENCE_MISMATCH', 2])
    expect(nameOf(await ack({ n: 1 }))).toBe('answered')
    expect(replyOf(await delivered(2, 'b'))['count']).toBe(1)
    expect(world.defects).toEqual([])
  })

  it('given an ack, then the next fetch begins with the partition whose turn is next; given a nack, as before', async () => {
    await delivered(1, 'a')
    await nack({ n: 1, delayMs: 0 })
    void read({ n: 2 })
    await world.clock.advance(1)
    expect(world.fetches[0]?.options.turn).toBeUndefined()
    world.found('a')
    await settle(world)
    await ack({ n: 2 })
    void read({ n: 3 })
    await settle(world)
    expect(world.fetches[0]?.options.turn).toBe(1)
  })

  it('given another read while one is fetched, then STEP_BUSY, and the first is answered', async () => {
    const first = read({ n: 1 })
    expect(nameOf(await read({ n: 2 }))).toBe('STEP_BUSY')
    world.found('a')
    expect(replyOf(await first)['n']).toBe(1)
  })
})

describe('R2 the position', () => {
  it('given no ack, then it stays; given one, then it is behind the batch; given a prefix, behind that', async () => {
    await delivered(1, 'a', 'b', 'c')
    expect(world.positionOf(await ack({ n: 1, count: 2 }))).toEqual({ offset: 7, index: 2 })
    await delivered(2, 'c')
    expect(world.positionOf(await dispose())).toEqual({ offset: 7, index: 2 })
  })

  it('given the ack of the whole batch, then it is where the batch ends', async () => {
    await delivered(1, 'a', 'b', 'c')
    expect(world.positionOf(await ack({ n: 1, count: 3 }))).toEqual({ offset: 8, index: 0 })
  })

  it('given an ack on the next read, then the position moves before the fetch begins', async () => {
    await delivered(1, 'a')
    const second = read({ n: 2, ackOf: 1 })
    await settle(world)
    world.found()
    expect(replyOf(await second)['count']).toBe(0)
    expect(world.positionOf(await dispose())).toEqual({ offset: 8, index: 0 })
  })

  it('given nack, then it stays, and deliveries count until something is acked', async () => {
    await delivered(1, 'a')
    const first = await nack({ n: 1 })
    expect([replyOf(first)['deliveries'], world.positionOf(first)]).toEqual([1, { offset: 0, index: 0 }])
    await world.clock.advance(0)
    await delivered(2, 'a')
    expect(replyOf(await nack({ n: 2 }))['deliveries']).toBe(2)
    await world.clock.advance(0)
    await delivered(3, 'a')
    await ack({ n: 3 })
    await delivered(4, 'b')
    expect(replyOf(await nack({ n: 4 }))['deliveries']).toBe(1)
  })
})

describe('a rest', () => {
  it('given a read meanwhile, then it is fetched when the rest is over, with what it asked for', async () => {
    await delivered(1, 'a')
    await nack({ n: 1, delayMs: 1_000 })
    const waits = read({ n: 2, maxEvents: 3, waitMs: 30_000 })
    const second = await read({ n: 2, maxEvents: 9 })
    expect(nameOf(second)).toBe('SEQUENCE_MISMATCH')
    await world.clock.advance(999)
    expect([world.fetches.length, await isSettled(waits)]).toEqual([0, false])
    await world.clock.advance(1)
    expect(world.fetches[0]?.options).toMatchObject({ eventsMax: 3, waitMs: 29_000 })
    world.found('a')
    expect(replyOf(await waits)['n']).toBe(2)
    expect(world.defects).toEqual([])
  })

  it('given nobody who asks, then it just ends', async () => {
    await delivered(1, 'a')
    await nack({ n: 1, delayMs: 1_000 })
    await world.clock.advance(1_000)
    expect(world.fetches.length).toBe(0)
    expect(replyOf(await delivered(2, 'a'))['n']).toBe(2)
  })

  it('given a rest above the longest, then it is cut to that', async () => {
    await delivered(1, 'a')
    await nack({ n: 1, delayMs: 2 ** 40 })
    for (let n = 2; n <= 30; n++) {
      const waits = read({ n, waitMs: 30_000 })
      await world.clock.advance(30_000)
      expect(replyOf(await waits)['count']).toBe(0)
    }
    const last = read({ n: 31, waitMs: 30_000 })
    await world.clock.advance(30_000)
    world.found('a')
    expect(replyOf(await last)['count']).toBe(1)
  })
})

describe('the end', () => {
  it('given a read that waits, then its fetch is aborted, it is answered SESSION_GONE, and what comes late is let go', async () => {
    const waits = read({ n: 1, waitMs: 30_000 })
    await settle(world)
    const [fetch] = world.fetches
    const end = await dispose()
    expect(fetch?.options.signal?.aborted).toBe(true)
    expect(nameOf(await waits)).toBe('SESSION_GONE')
    expect(world.positionOf(end)).toEqual({ offset: 0, index: 0 })
    world.found('late')
    await settle(world)
    expect([world.defects, world.unknown]).toEqual([[], []])
    expect(nameOf(await read({ n: 1 }))).toBe('SESSION_GONE')
    expect(world.positionOf(await dispose())).toEqual({ offset: 0, index: 0 })
  })

  it('given a bearer that has expired, then TOKEN_EXPIRED spends nothing, and a fresh one revives the session', async () => {
    world.clock.jumpWall(3_600_000)
    const proof = reader.proof()
    expect(() => reader.session.read({ n: 1, proof, session })).toThrow(
      expect.objectContaining({ name: 'TOKEN_EXPIRED' }),
    )
    const fresh = { subject: 's', clientId: 'c', tenant: 't', expiresAtMs: world.clock.nowMs() + 1_000 }
    const extended = await reader.ask((control) => reader.session.extend({ proof: control, session }, fresh), 1)
    expect(replyOf(extended)['expiresAtMs']).toBe(fresh.expiresAtMs)
    const answer = reader.session.read({ n: 1, proof, session })
    world.found('a')
    expect(nameOf(await answer)).toBe('answered')
  })
})
