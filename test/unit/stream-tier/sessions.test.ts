// X1 to X3: one session per producer, closed ones answer repeats for a lease and then nobody knows them, bounded.
import { describe, expect, it } from 'vitest'
import { parseProducerId, parseSessionId } from '../../../src/protocol/ids.ts'
import { blockOf, isSettled, leaseMs, nameOf, producerA, SessionsWorld, settle } from './sessions-world.ts'

const session = new Uint8Array()
const producerB = parseProducerId('b'.repeat(32))

describe('X1 one session per producer', () => {
  it('given a later one, then it is the one of the producer, also when the earlier closes after it', async () => {
    const world = new SessionsWorld()
    const first = world.writer()
    const write = first.ask((proof) =>
      first.session.write({ n: 1, blocks: [blockOf(0, 'a')], commit: true, proof, session }),
    )
    await settle(world)
    first.session.send({ type: 'SUPERSEDE' })
    const second = world.writer()
    expect(world.sessions.ofProducer(producerA)).toBe(second.session)
    expect(world.sessions.size).toBe(2)
    world.log.land()
    expect(nameOf(await write)).toBe('answered')
    expect([world.reasons, world.sessions.size]).toEqual([['superseded'], 1])
    expect(world.sessions.ofProducer(producerA)).toBe(second.session)
    expect(world.sessions.ofProducer(producerB)).toBeUndefined()
    second.session.send({ type: 'NODE_CLOSED' })
    expect(world.sessions.ofProducer(producerA)).toBeUndefined()
  })
})

describe('X2 closed sessions', () => {
  it('given a repeat within a lease, then the same answer; after it, when another has closed, SESSION_GONE', async () => {
    const world = new SessionsWorld()
    const reader = world.reader()
    const proof = reader.proof(1)
    const first = await reader.session.dispose({ proof, session })
    expect(world.sessions.find(reader.session.id)).toBe(reader.session)
    expect(await reader.session.dispose({ proof, session })).toBe(first)
    await world.clock.advance(leaseMs)
    const other = world.reader()
    other.session.send({ type: 'NODE_CLOSED' })
    expect(() => world.sessions.find(reader.session.id)).toThrow(expect.objectContaining({ name: 'SESSION_GONE' }))
    expect(world.sessions.find(other.session.id)).toBe(other.session)
  })

  it('given an id that nobody knows, then SESSION_GONE, and its release is done', () => {
    const world = new SessionsWorld()
    const id = parseSessionId('never-was-one')
    expect(() => world.sessions.find(id)).toThrow(expect.objectContaining({ name: 'SESSION_GONE' }))
    expect(world.sessions.release(id)).toBe(true)
  })

  it('given many that close within a lease, then only the youngest 4,096 are remembered', () => {
    const world = new SessionsWorld(10_000)
    const clients = Array.from({ length: 4_200 }, () => world.reader())
    for (const { session: one } of clients) one.send({ type: 'NODE_CLOSED' })
    const isKnown = (index: number): boolean => {
      try {
        return world.sessions.find(clients[index]?.session.id ?? parseSessionId('never-was-one')) !== undefined
      } catch {
        return false
      }
    }
    expect([isKnown(0), isKnown(103), isKnown(104), isKnown(4_199)]).toEqual([false, false, true, true])
  })
})

describe('X3 bounds', () => {
  it('given sessionsMax open ones, then NO_CAPACITY, and room again when one has closed', () => {
    const world = new SessionsWorld(2)
    const [first] = [world.reader(), world.reader()]
    expect(world.sessions.isFull).toBe(true)
    expect(() => world.reader()).toThrow(expect.objectContaining({ name: 'NO_CAPACITY' }))
    expect(world.sessions.size).toBe(2)
    first?.session.send({ type: 'NODE_CLOSED' })
    expect(world.sessions.isFull).toBe(false)
    world.reader()
  })
})

describe('leases', () => {
  it('given silence for longer than a lease, then the session closes; given any request, it stays', async () => {
    const world = new SessionsWorld()
    const [silent, alive] = [world.reader(), world.reader()]
    for (let i = 0; i < 3; i++) {
      await world.clock.advance(leaseMs / 2)
      await alive.ask((proof) => alive.session.extend({ proof, session }, undefined), 1)
    }
    expect([world.sessions.size, world.reasons]).toEqual([1, ['expired']])
    expect(world.sessions.find(alive.session.id)).toBe(alive.session)
    expect(nameOf(await silent.ask((proof) => silent.session.read({ n: 1, proof, session })))).toBe('SESSION_GONE')
  })

  it('given a request that is not answered yet, then it holds the lease', async () => {
    const world = new SessionsWorld()
    const reader = world.reader()
    const waits = reader.ask((proof) => reader.session.read({ n: 1, waitMs: 30_000, proof, session }))
    await world.clock.advance(10 * leaseMs)
    expect([world.sessions.size, await isSettled(waits)]).toEqual([1, false])
    world.found('a')
    expect(nameOf(await waits)).toBe('answered')
    await world.clock.advance(2 * leaseMs)
    expect(world.sessions.size).toBe(0)
  })

  it('given no session, then no timer is left', async () => {
    const world = new SessionsWorld()
    const reader = world.reader()
    const emptied = world.sessions.empty()
    reader.session.send({ type: 'NODE_CLOSED' })
    await emptied
    await world.sessions.empty()
    await world.clock.advance(leaseMs)
    expect(world.clock.pendingCount).toBe(0)
  })
})
