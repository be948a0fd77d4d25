// A rest that is longer than a read may wait: the read is answered empty in its own time, and what was given back comes
// when the rest is over, not before.
import { beforeEach, describe, expect, it } from 'vitest'
import type { Answered } from '../../../src/stream-tier/conversation.ts'
import type { ReadSession } from '../../../src/stream-tier/read-session.ts'
import { type Client, isSettled, nameOf, replyOf, SessionsWorld, settle } from './sessions-world.ts'

const session = new Uint8Array()
let world: SessionsWorld
let reader: Client<ReadSession>
beforeEach(async () => {
  world = new SessionsWorld()
  reader = world.reader()
  const first = read(1, 0)
  await settle(world)
  world.found('a')
  await first
  await reader.ask((proof) => reader.session.nack({ n: 1, delayMs: 60_000, proof, session }))
})

const read = (n: number, waitMs: number, ackOf?: number): Promise<Answered> =>
  reader.ask((proof) => reader.session.read({ n, waitMs, ...(ackOf === undefined ? {} : { ackOf }), proof, session }))

describe('reads while a batch rests', () => {
  it('given a wait shorter than the rest, then it ends empty on time, again and again, and then the batch comes', async () => {
    for (const n of [2, 3]) {
      const waits = read(n, 20_000)
      await world.clock.advance(19_999)
      expect(await isSettled(waits)).toBe(false)
      await world.clock.advance(1)
      expect(replyOf(await waits)).toMatchObject({ n, count: 0, atEnd: false })
      expect(world.positionOf(await waits)).toEqual({ offset: 0, index: 0 })
    }
    expect(world.fetches.length).toBe(0)
    const comes = read(4, 30_000, 3)
    await world.clock.advance(20_000)
    expect(world.fetches[0]?.options.waitMs).toBe(10_000)
    world.found('a')
    expect(replyOf(await comes)).toMatchObject({ n: 4, count: 1 })
    expect([world.defects, world.unknown]).toEqual([[], []])
  })

  it('given an ack of an empty step, then it is answered as at any other time, and nothing moves', async () => {
    const waits = read(2, 0)
    await world.clock.advance(0)
    await waits
    const acked = await reader.ask((proof) => reader.session.ack({ n: 2, proof, session }))
    expect(world.positionOf(acked)).toEqual({ offset: 0, index: 0 })
    const old = await reader.ask((proof) => reader.session.ack({ n: 1, proof, session }))
    expect(nameOf(old)).toBe('NOTHING_TO_ACK')
  })

  it('given an end meanwhile, then the read is answered once, and no timer is left', async () => {
    const before = world.clock.pendingCount
    const waits = read(2, 20_000)
    await settle(world)
    const gone = await reader.ask((proof) => reader.session.dispose({ proof, session }), 1)
    expect(nameOf(gone)).toBe('answered')
    expect(nameOf(await waits)).toBe('SESSION_GONE')
    expect(world.clock.pendingCount).toBeLessThan(before)
    await world.clock.advance(60_000)
    expect([world.defects, world.unknown]).toEqual([[], []])
  })
})
