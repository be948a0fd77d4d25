// N1 to N3 of the node, and its promises while the log or the switchboard is away.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeIncarnation } from '../../../src/protocol/ids.ts'
import { mode, slot } from '../../../src/protocol/messages.ts'
import { drainTimeoutMs, NodeWorld, topic } from './node-world.ts'
import { blockOf } from './sessions-world.ts'

let world: NodeWorld
beforeEach(() => {
  world = new NodeWorld()
})
afterEach(() => world.cluster.stop())

const nameOf = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => 'answered',
    (thrown: { name: string }) => thrown.name,
  )

describe('the end of a node', () => {
  it('given a drain, then its sessions close, then the writer, then the key, and only then it has ended', async () => {
    const node = await world.start()
    const writer = await world.writer()
    await world.during(writer.call('write', { n: 1, blocks: [blockOf(0, 'a')], commit: true }))
    const reader = await world.reader()
    const parked = nameOf(reader.call('read', { n: 1, waitMs: 30_000 }))
    await world.clock.advance(10)
    world.did.length = 0
    void node.ended.then((end) => world.did.push(end))
    await world.during(node.drain())
    expect(world.did).toEqual(['writer closed', 'unbound', 'stream node closed', 'drained'])
    expect(await parked).toBe('SESSION_GONE')
    expect([node.sessions, world.logged]).toEqual([0, []])
  })

  it('given nothing but time after the end, then nothing of it is left to run', async () => {
    const node = await world.start()
    const reader = await world.reader()
    const parked = nameOf(reader.call('read', { n: 1, waitMs: 30_000 }))
    await world.clock.advance(10)
    await world.during(node.drain())
    await parked
    world.cluster.stop()
    // What the ended allocations and the closed sessions leave are timers that were cancelled.
    expect(world.clock.pendingCount).toBe(0)
  })

  it('given a log that takes nothing, then the drain is bounded, and the write has no answer but SESSION_GONE', async () => {
    const node = await world.start()
    const writer = await world.writer()
    world.cluster.faults.requestLost = 1
    const write = nameOf(writer.call('write', { n: 1, blocks: [blockOf(0, 'a')], commit: true }))
    await world.clock.advance(100)
    let end: string | undefined
    void node.drain().then((how) => {
      end = how
    })
    await world.clock.advance(drainTimeoutMs)
    expect(end).toBeUndefined()
    await world.clock.advance(3_000)
    expect([end, await write, world.logged]).toEqual(['drained', 'SESSION_GONE', []])
  })

  it('given a writer that does not close, then it is said, and the node ends all the same, its key unbound', async () => {
    const node = await world.start()
    world.beforeWriterCloses = () => new Promise(() => {})
    const ended = node.drain()
    await world.clock.advance(2 * drainTimeoutMs + 1_000)
    expect(await ended).toBe('drained')
    expect(world.logged).toEqual(['a node does not end: close writer'])
    expect(world.did).toContain('unbound')
  })

  it('given a writer that fails to close, then it is said, and the rest is closed', async () => {
    const node = await world.start()
    world.beforeWriterCloses = () => Promise.reject(new Error('no'))
    expect(await world.during(node.drain())).toBe('drained')
    expect(world.logged).toEqual(['a step of the end of a node failed: close writer'])
    expect(world.did).toContain('unbound')
  })

  it('given an allocation that was under way, then it is refused and opens nothing', async () => {
    for (const only of [undefined, 'offsets'] as const) {
      const node = await world.start(`n-${only}`)
      world.logHangs(only)
      const allocation = nameOf(world.allocate({ topic, mode: mode.write }))
      await world.clock.advance(10)
      const ended = node.drain()
      await world.clock.advance(10)
      world.logIsBack()
      await world.clock.advance(100)
      expect(await allocation).toBe('DRAINING')
      expect([await ended, node.sessions]).toEqual(['drained', 0])
    }
  })

  for (const step of ['beforeWriterCloses', 'beforeUnbinding'] as const)
    it(`given another node that asks for a producer at ${step}, then it hears that it is released`, async () => {
      const first = await world.start('n1')
      const writer = await world.writer()
      await world.during(writer.call('write', { n: 1, blocks: [blockOf(0, 'a')], commit: true }))
      await world.start('n2')
      let goOn: () => void = () => {}
      world[step] = () =>
        new Promise((resolve) => {
          goOn = resolve
        })
      const ended = first.drain()
      await world.clock.advance(100)
      const { session, writeCursor = new Uint8Array() } = writer.allocated
      const resume = {
        session,
        writeCursor,
        nextN: 3,
        writes: [
          { n: 1, partitions: [0] },
          { n: 2, partitions: [0] },
        ],
      }
      const taken = await world.during(world.allocate({ topic, mode: mode.write, resume }), 500)
      expect(taken.outcomes?.map(({ parts }) => parts[0]?.state)).toEqual([1, 2])
      // Released, not fenced: no barrier was needed.
      expect(world.cluster.visible({ topic, partition: 0 })).toHaveLength(1)
      goOn()
      await world.clock.advance(100)
      expect(await ended).toBe('drained')
    })

  it('given a boot that fails after the log was opened, then boot rejects when everything is closed again', async () => {
    await world.hub.connect().serve(makeIncarnation('n1', 'e1'), {
      allocate: async (body) => body,
      call: async (body) => body,
    })
    const node = world.node()
    const booted = node.boot()
    const failed = expect(booted).rejects.toThrow('already served')
    await world.clock.advance(100)
    await failed
    expect(world.did).toContain('writer closed')
    expect(await node.ended).toBe('boot-failed')
  })
})

describe('a log that does not answer', () => {
  it('given an allocation, then UNAVAILABLE before its caller gives up, and no session when the log is back', async () => {
    const node = await world.start()
    for (const request of [
      { topic, mode: mode.read },
      { topic, mode: mode.write },
    ]) {
      world.logHangs()
      const answer = nameOf(world.allocate(request))
      await world.clock.advance(9_900)
      expect(await answer).toBe('UNAVAILABLE')
      world.logIsBack()
      await world.clock.advance(1_000)
      expect(node.sessions).toBe(0)
    }
    expect((await world.reader()).allocated.partitions).toBe(2)
  })

  it('given a take-over, then PENDING before its caller gives up, and the repeat is answered when the log is back', async () => {
    await world.start()
    const writer = await world.writer()
    await world.during(writer.call('write', { n: 1, blocks: [blockOf(0, 'a')], commit: true }))
    const { session, writeCursor = new Uint8Array() } = writer.allocated
    const request = {
      topic,
      mode: mode.write,
      resume: { session, writeCursor, nextN: 2, writes: [{ n: 1, partitions: [0] }] },
    }
    const first = nameOf(world.allocate(request))
    // Held up inside the take-over, not before it.
    await world.clock.settle()
    world.logHangs()
    await world.clock.advance(9_900)
    expect(['PENDING', 'UNAVAILABLE']).toContain(await first)
    world.logIsBack()
    const again = await world.during(world.allocate(request), 1_000)
    expect(again.outcomes?.map(({ parts }) => parts[0]?.state)).toEqual([1])
  })

  it('given describe and a keep-alive, then both are answered in time', async () => {
    await world.start()
    const writer = await world.writer()
    world.logHangs()
    const described = nameOf(world.calls.call('describe', { topic, proof: { bearer: 'a' } }, { requestId: 'r' }))
    const extended = nameOf(writer.call('extend', {}, slot.control))
    await world.clock.advance(3_100)
    expect(await extended).toBe('answered')
    await world.clock.advance(6_800)
    expect(await described).toBe('DEADLINE')
  })
})

describe('a topic without what exactly-once needs', () => {
  it('given unsafe settings, then writers are refused with them, readers are not', async () => {
    await world.start()
    world.topicFacts = { unsafe: { 'min.insync.replicas': '2' } }
    await expect(world.during(world.allocate({ topic, mode: mode.write }))).rejects.toMatchObject({
      name: 'TOPIC_UNSAFE',
      details: { 'min.insync.replicas': '2' },
    })
    expect((await world.reader()).allocated.partitions).toBe(2)
    world.topicFacts = {}
    expect((await world.writer()).allocated.nextN).toBe(1)
  })
})

describe('a switchboard that is away for a while', () => {
  it('given calls that never arrive for 40 s, then the sessions are there when it is back, and nothing was lost', async () => {
    const node = await world.start()
    const reader = await world.reader()
    const writer = await world.writer()
    await world.during(writer.call('write', { n: 1, blocks: [blockOf(0, 'a')], commit: true }))
    world.plan = () => ({ dropRequest: true, noticedAs: 'lost' })
    for (let second = 0; second < 40; second += 1) {
      expect(await world.during(nameOf(reader.call('read', { n: 1, waitMs: 100 })), 1_000)).toBe('UNAVAILABLE')
    }
    expect(node.sessions).toBe(2)
    world.plan = () => ({})
    const batch = await world.during(reader.call('read', { n: 1, waitMs: 100 }), 200)
    expect(batch.count).toBe(1)
    const written = await world.during(writer.call('write', { n: 2, blocks: [blockOf(0, 'b')], commit: true }))
    expect(written.published).toBe(true)
  })

  it('given an answer that is lost on its way, then the same request has the same answer after the blip', async () => {
    await world.start()
    const writer = await world.writer()
    world.plan = () => ({ dropAnswer: true, noticedAs: 'lost' })
    const request = { n: 1, blocks: [blockOf(0, 'a')], commit: true }
    expect(await world.during(nameOf(writer.call('write', request)), 1_000)).toBe('UNAVAILABLE')
    world.plan = () => ({})
    expect((await world.during(writer.call('write', request))).published).toBe(true)
    expect(world.cluster.visible({ topic, partition: 0 })).toHaveLength(1)
  })
})

describe('a topic that another node made anew', () => {
  it('given an open writer, then its clients hear of it within seconds', async () => {
    const node = await world.start()
    const writer = await world.writer()
    await world.clock.advance(10_000)
    expect(node.sessions).toBe(1)
    world.cluster.deleteTopic(topic)
    world.cluster.createTopic({ name: topic, partitions: 2, format: 'sealed' })
    await world.clock.advance(5_500)
    const request = { n: 1, blocks: [blockOf(0, 'a')], commit: true }
    expect(await world.during(nameOf(writer.call('write', request)))).toBe('SESSION_GONE')
    const { session, writeCursor = new Uint8Array() } = writer.allocated
    const resume = { session, writeCursor, nextN: 1, writes: [] }
    expect(await world.during(nameOf(world.allocate({ topic, mode: mode.write, resume })))).toBe('TOPIC_CHANGED')
    expect(world.cluster.visible({ topic, partition: 0 })).toHaveLength(0)
  })
})
