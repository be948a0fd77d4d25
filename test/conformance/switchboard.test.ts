// Owns: who passes the Switchboard suite, and what the in-process adapter promises beyond it.
import { describe, expect, test } from 'vitest'
import { SeededRandom } from '../../src/adapters/random/seeded-random.ts'
import type { AllocateOutcome, CallOutcome, Switchboard } from '../../src/ports/switchboard.ts'
import { makeIncarnation } from '../../src/protocol/ids.ts'
import { randomFaults } from '../support/faulty-switchboard.ts'
import { simulatedSwitchboard } from '../support/simulated-switchboard.ts'
import { bytes, describeSwitchboard, echo, HeldHandler } from './switchboard-suite.ts'

const keyA = makeIncarnation('node-a', 'e1')
const keyB = makeIncarnation('node-b', 'e1')
const seconds = 1_000

describeSwitchboard('in-process', async () => simulatedSwitchboard(), { allocateWaitMs: 200, promptMs: 1 })
describeSwitchboard('in-process without a queue', async () => simulatedSwitchboard({ allocateWaitMs: 0 }), {
  allocateWaitMs: 0,
  promptMs: 1,
})
// Delays reorder every message; nothing in the port's contract may depend on their order.
const slow = { drop: 0, delay: 1, delayMsMax: 20, repeat: 0 }
describeSwitchboard(
  'in-process, delayed and reordered',
  async () => simulatedSwitchboard({}, randomFaults(new SeededRandom('slow'), slow)),
  { allocateWaitMs: 240, promptMs: 50 },
)

describe('the in-process switchboard', () => {
  test('given nodes with places, then allocations go round strictly, past full ones', async () => {
    const fixture = simulatedSwitchboard()
    const api = await fixture.connect()
    const served: string[] = []
    const keys = ['a', 'b', 'c'].map((name) => makeIncarnation(name, 'e1'))
    for (const key of keys) {
      const serving = await api.serve(key, { ...echo, allocate: async (body) => body.fill(served.push(key)) })
      if (key === keys[1]) serving.setCapacity(0)
    }
    for (let index = 0; index < 5; index += 1) await api.allocate(bytes(1), { deadlineMs: seconds })
    expect(served).toEqual(['a.e1', 'c.e1', 'a.e1', 'c.e1', 'a.e1'])
  })

  test('given a full node, when a place becomes free in time, then the oldest that waits is served', async () => {
    const fixture = simulatedSwitchboard()
    const api = await fixture.connect()
    const held = new HeldHandler()
    const serving = await api.serve(keyA, { ...echo, allocate: held.handle })
    serving.setCapacity(1)
    const outcomes = [1, 2, 3].map((value) => api.allocate(bytes(value), { deadlineMs: 60 * seconds }))
    await fixture.pass(150)
    held.answer(0, bytes(1))
    await fixture.pass(0)
    expect(held.bodies.map((body) => body[0])).toEqual([1, 2])
    // The one that still waits is refused at 200 ms; the one that is served has all the time of its deadline.
    await fixture.pass(1_000)
    held.answer(1, bytes(2))
    expect(await Promise.all(outcomes)).toEqual([
      { kind: 'answered', body: bytes(1) },
      { kind: 'answered', body: bytes(2) },
      { kind: 'no-capacity' },
    ])
  })

  test('given an allocation that waits, when its deadline or abort comes first, then it never runs', async () => {
    const fixture = simulatedSwitchboard()
    const api = await fixture.connect()
    const held = new HeldHandler()
    const serving = await api.serve(keyA, { ...echo, allocate: held.handle })
    serving.setCapacity(0)
    const abort = new AbortController()
    const short = api.allocate(bytes(1), { deadlineMs: 50 })
    const aborted = api.allocate(bytes(2), { deadlineMs: 60 * seconds, signal: abort.signal })
    await fixture.pass(60)
    abort.abort()
    serving.setCapacity(8)
    await fixture.pass(1)
    expect([await short, await aborted]).toEqual([{ kind: 'timeout' }, { kind: 'timeout' }])
    expect(held.bodies).toEqual([])
  })

  test('given an allocation that waits, when the capacity grows, then it is served at once', async () => {
    const fixture = simulatedSwitchboard()
    const api = await fixture.connect()
    const serving = await api.serve(keyA, echo)
    serving.setCapacity(0)
    const outcome = api.allocate(bytes(1), { deadlineMs: seconds })
    await fixture.pass(100)
    serving.setCapacity(1)
    expect(await fixture.within(0, outcome)).toEqual({ kind: 'answered', body: bytes(1) })
  })

  test('given a caller that gives up, or a node that dies, in the turn of the call, then nothing runs', async () => {
    const fixture = simulatedSwitchboard()
    const api = await fixture.connect()
    const held = new HeldHandler()
    await api.serve(keyA, { allocate: held.handle, call: held.handle })
    const abort = new AbortController()
    const aborted = api.call(keyA, bytes(1), { deadlineMs: seconds, signal: abort.signal })
    abort.abort()
    const lost = api.allocate(bytes(2), { deadlineMs: seconds })
    fixture.hub.kill(keyA)
    expect(await fixture.within(0, Promise.all([aborted, lost]))).toEqual([{ kind: 'timeout' }, { kind: 'lost' }])
    expect(held.bodies).toEqual([])
  })

  test.each([
    ['count', { waitingAllocationsMax: 2 }],
    ['bytes', { waitingBytesMax: 20 }],
  ])('given a queue full by %s, when those that wait give up, then others can wait', async (_by, options) => {
    const fixture = simulatedSwitchboard(options)
    const api = await fixture.connect()
    const allocate = (deadlineMs: number): Promise<AllocateOutcome> => api.allocate(new Uint8Array(10), { deadlineMs })
    const gaveUp = [allocate(50), allocate(50)]
    await fixture.pass(50)
    const waits = [allocate(seconds), allocate(seconds)]
    await api.serve(keyA, echo)
    const outcomes = await fixture.within(1, Promise.all([...gaveUp, ...waits]))
    expect(outcomes.map(({ kind }) => kind)).toEqual(['timeout', 'timeout', 'answered', 'answered'])
  })

  test.each([
    ['count', { waitingAllocationsMax: 2 }],
    ['bytes', { waitingBytesMax: 20 }],
  ])('given a queue full by %s, then the next is refused at once', async (_by, options) => {
    const fixture = simulatedSwitchboard(options)
    const api = await fixture.connect()
    const outcomes = [0, 1, 2].map(() => api.allocate(new Uint8Array(10), { deadlineMs: 60 * seconds }))
    expect(await fixture.within(0, outcomes[2] ?? Promise.reject(new Error('none')))).toEqual({ kind: 'no-capacity' })
    const serving = await api.serve(keyA, echo)
    expect((await fixture.within(1, Promise.all(outcomes.slice(0, 2)))).map((outcome) => outcome.kind)).toEqual([
      'answered',
      'answered',
    ])
    await serving.close()
  })

  test('given a node with all the calls it may have in flight, then the next is lost and does not run', async () => {
    const fixture = simulatedSwitchboard({ inFlightPerNodeMax: 2 })
    const api = await fixture.connect()
    const held = new HeldHandler()
    await api.serve(keyA, { ...echo, call: held.handle })
    const outcomes = [0, 1, 2].map((value) => api.call(keyA, bytes(value), { deadlineMs: seconds }))
    await fixture.pass(0)
    expect(await outcomes[2]).toEqual({ kind: 'lost' })
    expect(held.bodies.length).toBe(2)
    const allocation = api.allocate(bytes(9), { deadlineMs: 100 })
    expect(await fixture.within(100, allocation)).toEqual({ kind: 'timeout' })
    expect(held.bodies.length).toBe(2)
  })

  test('given a handler that rejects, then its caller hears lost and the defect is reported', async () => {
    const fixture = simulatedSwitchboard()
    const api = await fixture.connect()
    const failure = new Error('a defect')
    await api.serve(keyA, {
      allocate: () => Promise.reject(failure),
      call: () => {
        throw failure
      },
    })
    const options = { deadlineMs: seconds }
    expect(await fixture.within(0, api.call(keyA, bytes(), options))).toEqual({ kind: 'lost' })
    expect(await fixture.within(0, api.allocate(bytes(), options))).toEqual({ kind: 'lost' })
    expect(fixture.defects).toEqual([failure, failure])
  })

  test('given a node that closes, when it is killed before its last call is answered, then that call is lost', async () => {
    const fixture = simulatedSwitchboard()
    const api = await fixture.connect()
    const held = new HeldHandler()
    const serving = await api.serve(keyA, { ...echo, call: held.handle })
    const outcome = api.call(keyA, bytes(1), { deadlineMs: seconds })
    await fixture.pass(0)
    const closing = serving.close()
    fixture.hub.kill(keyA)
    await fixture.within(0, closing)
    expect(await outcome).toEqual({ kind: 'lost' })
    expect(api.presence()).toEqual([])
  })

  test('given the same key on another handle, then serving it is an Error too', async () => {
    const fixture = simulatedSwitchboard()
    const [one, two] = [await fixture.connect(), await fixture.connect()]
    await one.serve(keyA, echo)
    await expect(two.serve(keyA, echo)).rejects.toThrow('already served')
  })

  test('given everything settled, then no timer is left', async () => {
    const fixture = simulatedSwitchboard()
    const api = await fixture.connect()
    const serving = await api.serve(keyA, echo)
    serving.setCapacity(1)
    await Promise.all([
      ...[1, 2, 3].map((value) => api.allocate(bytes(value), { deadlineMs: 60 * seconds })),
      api.call(keyA, bytes(1), { deadlineMs: 60 * seconds }),
      api.call(keyB, bytes(1), { deadlineMs: 60 * seconds }),
    ])
    await serving.close()
    await api.close()
    expect(fixture.clock.pendingCount).toBe(0)
  })
})

describe('a switchboard with faults', () => {
  const seeds = Array.from({ length: 20 }, (_, index) => index + 1)
  test.each(seeds)('seed %i: given drops, delays, repeats and deaths, then every outcome is true', async (seed) => {
    const random = new SeededRandom(`faulty-switchboard/${seed}`)
    const faults = randomFaults(random.fork('faults'), { drop: 0.15, delay: 0.5, delayMsMax: 300, repeat: 0.2 })
    const fixture = simulatedSwitchboard({}, faults)
    const api = await fixture.connect()
    const ran = new Map<number, number>()
    const late: number[] = []
    const nodes: Switchboard[] = []
    const handle = (body: Uint8Array, context: { readonly deadlineAtMs: number }): Promise<Uint8Array> => {
      const id = (body[0] ?? 0) * 256 + (body[1] ?? 0)
      ran.set(id, (ran.get(id) ?? 0) + 1)
      if (fixture.clock.monotonicMs() > context.deadlineAtMs) late.push(id)
      return new Promise((resolve) => fixture.clock.after(random.below(400), () => resolve(body)))
    }
    for (const key of [keyA, keyB]) {
      const node = await fixture.connect()
      nodes.push(node)
      const serving = await node.serve(key, { allocate: handle, call: handle })
      serving.setCapacity(3)
    }
    const outcomes: { id: number; outcome: CallOutcome | AllocateOutcome; tookMs: number; deadlineMs: number }[] = []
    const work = Array.from({ length: 200 }, async (_, id) => {
      await new Promise<void>((resolve) => fixture.clock.after(random.below(2_000), resolve))
      const body = bytes(id >> 8, id & 0xff)
      const options = { deadlineMs: 1 + random.below(800) }
      const key = random.pick([keyA, keyB])
      const beganMs = fixture.clock.monotonicMs()
      const outcome = await (random.chance(0.3) ? api.allocate(body, options) : api.call(key, body, options))
      outcomes.push({ id, outcome, tookMs: fixture.clock.monotonicMs() - beganMs, ...options })
    })
    fixture.clock.after(1_500, () => fixture.hub.kill(keyB))
    await fixture.within(60 * seconds, Promise.all(work))

    expect(outcomes.length, `seed ${seed}`).toBe(200)
    for (const { id, outcome, tookMs, deadlineMs } of outcomes) {
      expect(tookMs, `seed ${seed}, call ${id}: ${outcome.kind}`).toBeLessThanOrEqual(deadlineMs)
      if (outcome.kind === 'unroutable' || outcome.kind === 'no-capacity')
        expect(ran.get(id), `seed ${seed}, call ${id}: ${outcome.kind}`).toBeUndefined()
      if (outcome.kind === 'answered') {
        expect(ran.get(id), `seed ${seed}, call ${id}: ${outcome.kind}`).toBeGreaterThan(0)
        expect([...outcome.body], `seed ${seed}, call ${id}: ${outcome.kind}`).toEqual([id >> 8, id & 0xff])
      }
    }
    expect(late, `seed ${seed}`).toEqual([])
    const kinds = new Set(outcomes.map(({ outcome }) => outcome.kind))
    for (const kind of ['answered', 'unroutable', 'lost', 'timeout']) expect(kinds, `seed ${seed}`).toContain(kind)
    expect([...ran.values()].some((count) => count > 1)).toBe(true)
    await fixture.close()
  })
})
