// Owns: the specification of the Switchboard port, for every adapter. Nothing here knows the adapter: time passes only
// through the fixture, so that the same suite drives a simulated clock and a real broker.
// Leaves out: what one adapter promises beyond the port (test/conformance/switchboard.test.ts).
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { AllocateOutcome, CallOutcome, ServeHandlers, Switchboard } from '../../src/ports/switchboard.ts'
import { type Incarnation, makeIncarnation } from '../../src/protocol/ids.ts'

export interface SwitchboardFixture {
  /** Another party on the same switchboard. The fixture closes it if the test does not. */
  connect(): Promise<Switchboard>
  /** The node that serves the key dies without a word, as with kill -9. */
  kill(key: Incarnation): Promise<void>
  /** The clock that ServeContext.deadlineAtMs is read on. */
  monotonicMs(): number
  /** Resolves with the promise; rejects when it takes more than `ms`. */
  within<T>(ms: number, promise: Promise<T>): Promise<T>
  /** Lets `ms` pass. */
  pass(ms: number): Promise<void>
  close(): Promise<void>
}

export interface SwitchboardTraits {
  /** The longest an allocation waits for a free place before `no-capacity`; ≤ 200 by the port's users. */
  readonly allocateWaitMs: number
  /** What a call may take by itself, on a quiet machine with room to spare. */
  readonly promptMs: number
}

/** A handler that the test answers by hand. */
export class HeldHandler {
  readonly bodies: Uint8Array[] = []
  readonly deadlinesAtMs: number[] = []
  running = 0
  runningMax = 0
  readonly #answers: ((body: Uint8Array) => void)[] = []
  readonly #began: { readonly count: number; readonly resolve: () => void }[] = []

  readonly handle = (body: Uint8Array, context: { readonly deadlineAtMs: number }): Promise<Uint8Array> => {
    this.bodies.push(body)
    this.deadlinesAtMs.push(context.deadlineAtMs)
    this.running += 1
    this.runningMax = Math.max(this.runningMax, this.running)
    for (const waiter of this.#began) if (this.bodies.length >= waiter.count) waiter.resolve()
    return new Promise((resolve) => this.#answers.push(resolve))
  }

  /** Resolves when `count` calls have reached the handler. */
  began(count: number): Promise<void> {
    if (this.bodies.length >= count) return Promise.resolve()
    return new Promise((resolve) => this.#began.push({ count, resolve }))
  }

  /** Answers the call that came as number `index`. */
  answer(index: number, body: Uint8Array): void {
    const answer = this.#answers[index]
    if (answer === undefined) throw new Error(`call ${index} has not come`)
    this.running -= 1
    answer(body)
  }
}

const keyA = makeIncarnation('node-a', 'e1')
const keyB = makeIncarnation('node-b', 'e1')
const seconds = 1_000

export function bytes(...values: readonly number[]): Uint8Array {
  return Uint8Array.from(values)
}

export const echo: ServeHandlers = {
  allocate: (body) => Promise.resolve(body),
  call: (body) => Promise.resolve(body),
}

export function describeSwitchboard(
  name: string,
  factory: () => Promise<SwitchboardFixture>,
  traits: SwitchboardTraits,
): void {
  describe(`${name}: the Switchboard port`, () => {
    let fixture: SwitchboardFixture
    let api: Switchboard
    let node: Switchboard

    beforeEach(async () => {
      fixture = await factory()
      api = await fixture.connect()
      node = await fixture.connect()
    })
    afterEach(() => fixture.close())

    const settled = <T extends CallOutcome | AllocateOutcome>(promise: Promise<T>): Promise<T> =>
      fixture.within(traits.promptMs, promise)

    /** The caller sees these nodes and no others: now, or before long, since what it sees is told to it. */
    const present = async (...keys: readonly Incarnation[]): Promise<void> => {
      const wanted = [...keys].sort()
      const seen = (): readonly Incarnation[] =>
        api
          .presence()
          .map(({ key }) => key)
          .sort()
      for (let looks = 0; looks < 20 && seen().join() !== wanted.join(); looks += 1)
        await fixture.pass(traits.promptMs / 4)
      expect(seen()).toEqual(wanted)
    }

    describe('calls', () => {
      test('given a served key, when it is called, then the handler gets the bytes and the caller its answer', async () => {
        const held = new HeldHandler()
        await node.serve(keyA, { ...echo, call: held.handle })
        const outcome = api.call(keyA, bytes(1, 2, 3), { deadlineMs: 10 * seconds, cookie: 's1' })
        await fixture.within(traits.promptMs, held.began(1))
        held.answer(0, bytes(4, 5))
        expect(await settled(outcome)).toEqual({ kind: 'answered', body: bytes(4, 5) })
        expect(held.bodies.map((body) => [...body])).toEqual([[1, 2, 3]])
      })

      test.each([0, 1, 65_536, 1_310_720])(
        'given a body of %i bytes, then it arrives whole both ways',
        async (size) => {
          await node.serve(keyA, echo)
          const body = new Uint8Array(size).map((_, index) => (index * 31) & 0xff)
          const outcome = await settled(api.call(keyA, body.slice(), { deadlineMs: 10 * seconds }))
          if (outcome.kind !== 'answered') throw new Error(outcome.kind)
          expect(Buffer.compare(outcome.body, body)).toBe(0)
        },
      )

      test('given nobody serves the key, when it is called, then it is unroutable at once', async () => {
        await node.serve(keyA, echo)
        expect(await settled(api.call(keyB, bytes(1), { deadlineMs: 60 * seconds }))).toEqual({ kind: 'unroutable' })
      })

      test('given many calls at once, when they are answered in reverse, then each caller gets its own answer', async () => {
        const held = new HeldHandler()
        await node.serve(keyA, { ...echo, call: held.handle })
        const outcomes = Array.from({ length: 64 }, (_, index) =>
          api.call(keyA, bytes(index), { deadlineMs: 10 * seconds }),
        )
        await fixture.within(traits.promptMs, held.began(64))
        for (let index = 63; index >= 0; index -= 1) held.answer(index, bytes(held.bodies[index]?.[0] ?? 255, 7))
        const answers = await fixture.within(traits.promptMs, Promise.all(outcomes))
        expect(answers).toEqual(answers.map((_, index) => ({ kind: 'answered', body: bytes(index, 7) })))
      })

      test('given a slow handler, when the deadline passes, then the call times out and a late answer changes nothing', async () => {
        const held = new HeldHandler()
        await node.serve(keyA, { ...echo, call: held.handle })
        const late = api.call(keyA, bytes(1), { deadlineMs: 500 })
        await fixture.within(500, held.began(1))
        expect(await fixture.within(500 + traits.promptMs, late)).toEqual({ kind: 'timeout' })
        held.answer(0, bytes(9))
        const next = api.call(keyA, bytes(2), { deadlineMs: 10 * seconds })
        await fixture.within(traits.promptMs, held.began(2))
        held.answer(1, bytes(8))
        expect(await settled(next)).toEqual({ kind: 'answered', body: bytes(8) })
      })

      test('given a deadline, then the server sees what is left of it', async () => {
        const held = new HeldHandler()
        await node.serve(keyA, { ...echo, call: held.handle })
        const beforeMs = fixture.monotonicMs()
        const outcome = api.call(keyA, bytes(1), { deadlineMs: 5_000 })
        await fixture.within(traits.promptMs, held.began(1))
        const seenMs = held.deadlinesAtMs[0] ?? Number.NaN
        expect(seenMs).toBeGreaterThan(fixture.monotonicMs())
        expect(seenMs).toBeLessThanOrEqual(beforeMs + 5_000 + traits.promptMs)
        held.answer(0, bytes())
        await settled(outcome)
      })

      test('given no time is left, when called, then it times out and nothing runs', async () => {
        const held = new HeldHandler()
        await node.serve(keyA, { allocate: held.handle, call: held.handle })
        expect(await settled(api.call(keyA, bytes(1), { deadlineMs: 0 }))).toEqual({ kind: 'timeout' })
        expect(await settled(api.allocate(bytes(1), { deadlineMs: 0 }))).toEqual({ kind: 'timeout' })
        await fixture.pass(traits.promptMs)
        expect(held.bodies).toEqual([])
      })

      test('given an abort signal, when it fires, then the caller is answered at once', async () => {
        const held = new HeldHandler()
        await node.serve(keyA, { ...echo, call: held.handle })
        const abort = new AbortController()
        const outcome = api.call(keyA, bytes(1), { deadlineMs: 600 * seconds, signal: abort.signal })
        await fixture.within(traits.promptMs, held.began(1))
        abort.abort()
        expect(await settled(outcome)).toEqual({ kind: 'timeout' })
      })

      test('given a signal that has fired, when called, then nothing runs', async () => {
        const held = new HeldHandler()
        await node.serve(keyA, { allocate: held.handle, call: held.handle })
        const signal = AbortSignal.abort()
        expect(await settled(api.call(keyA, bytes(1), { deadlineMs: seconds, signal }))).toEqual({ kind: 'timeout' })
        expect(await settled(api.allocate(bytes(1), { deadlineMs: seconds, signal }))).toEqual({ kind: 'timeout' })
        await fixture.pass(traits.promptMs)
        expect(held.bodies).toEqual([])
      })

      test('given a call, then its handler never runs inside the caller', async () => {
        let inside = true
        const seen: boolean[] = []
        const note = (body: Uint8Array): Promise<Uint8Array> => {
          seen.push(inside)
          return Promise.resolve(body)
        }
        await node.serve(keyA, { allocate: note, call: note })
        inside = true
        const called = api.call(keyA, bytes(1), { deadlineMs: 10 * seconds })
        const allocated = api.allocate(bytes(1), { deadlineMs: 10 * seconds })
        inside = false
        await fixture.within(traits.promptMs, Promise.all([called, allocated]))
        expect(seen).toEqual([false, false])
      })

      test('given two nodes, then they call each other and themselves', async () => {
        await node.serve(keyA, { ...echo, call: (body) => Promise.resolve(bytes(1, ...body)) })
        await api.serve(keyB, { ...echo, call: (body) => Promise.resolve(bytes(2, ...body)) })
        const options = { deadlineMs: 10 * seconds }
        expect(await settled(node.call(keyB, bytes(9), options))).toEqual({ kind: 'answered', body: bytes(2, 9) })
        expect(await settled(api.call(keyA, bytes(9), options))).toEqual({ kind: 'answered', body: bytes(1, 9) })
        expect(await settled(node.call(keyA, bytes(9), options))).toEqual({ kind: 'answered', body: bytes(1, 9) })
      })
    })

    describe('a node that dies', () => {
      test('given calls in flight, when the node dies, then all are lost long before their deadlines', async () => {
        const held = new HeldHandler()
        await node.serve(keyA, { ...echo, call: held.handle })
        const outcomes = Array.from({ length: 16 }, () => api.call(keyA, bytes(1), { deadlineMs: 600 * seconds }))
        await fixture.within(traits.promptMs, held.began(16))
        await fixture.kill(keyA)
        const answers = await fixture.within(traits.promptMs, Promise.all(outcomes))
        expect(new Set(answers.map((answer) => answer.kind))).toEqual(new Set(['lost']))
      })

      test('given a node that died, then calls to it are unroutable and it is no longer present', async () => {
        await node.serve(keyA, echo)
        await api.serve(keyB, echo)
        await fixture.kill(keyA)
        await present(keyB)
        expect(await settled(api.call(keyA, bytes(1), { deadlineMs: 60 * seconds }))).toEqual({ kind: 'unroutable' })
      })

      test('given its only node dies while it allocates, then the caller never hears that nothing ran', async () => {
        const held = new HeldHandler()
        await node.serve(keyA, { ...echo, allocate: held.handle })
        const outcome = api.allocate(bytes(1), { deadlineMs: 2 * seconds })
        await fixture.within(traits.promptMs, held.began(1))
        await fixture.kill(keyA)
        const { kind } = await fixture.within(2 * seconds + traits.promptMs, outcome)
        expect(['lost', 'timeout']).toContain(kind)
      })

      test('given a node that died, when a new incarnation serves, then allocations go there', async () => {
        await node.serve(keyA, { ...echo, allocate: () => Promise.resolve(bytes(1)) })
        await fixture.kill(keyA)
        await fixture.pass(traits.promptMs)
        const second = await fixture.connect()
        await second.serve(keyB, { ...echo, allocate: () => Promise.resolve(bytes(2)) })
        const outcome = await settled(api.allocate(bytes(0), { deadlineMs: 10 * seconds }))
        expect(outcome).toEqual({ kind: 'answered', body: bytes(2) })
      })
    })

    describe('allocations', () => {
      const patient = { deadlineMs: 10 * seconds }
      const refused = (promise: Promise<AllocateOutcome>): Promise<AllocateOutcome> =>
        fixture.within(traits.allocateWaitMs + traits.promptMs, promise)

      test('given no node, then there is no capacity', async () => {
        expect(await refused(api.allocate(bytes(1), patient))).toEqual({ kind: 'no-capacity' })
      })

      test('given two nodes with places, then both get allocations', async () => {
        const served = { a: 0, b: 0 }
        const counting = (node: 'a' | 'b'): ServeHandlers => ({
          ...echo,
          allocate: (body) => {
            served[node] += 1
            return Promise.resolve(body)
          },
        })
        const second = await fixture.connect()
        await node.serve(keyA, counting('a'))
        await second.serve(keyB, counting('b'))
        await present(keyA, keyB)
        // Which comes first may be drawn by lot: 40 times the same one is not seen before 2^39 runs.
        for (let index = 0; index < 40; index += 1) await settled(api.allocate(bytes(index), patient))
        expect(served.a + served.b).toBe(40)
        expect(served.a).toBeGreaterThan(0)
        expect(served.b).toBeGreaterThan(0)
      })

      test('given a full node, then the next allocation is refused and never runs, also when a place becomes free', async () => {
        const held = new HeldHandler()
        const serving = await node.serve(keyA, { ...echo, allocate: held.handle })
        serving.setCapacity(2)
        const running = [api.allocate(bytes(1), patient), api.allocate(bytes(2), patient)]
        await fixture.within(traits.promptMs, held.began(2))
        expect(await refused(api.allocate(bytes(3), patient))).toEqual({ kind: 'no-capacity' })
        held.answer(0, bytes())
        held.answer(1, bytes())
        await fixture.within(traits.promptMs, Promise.all(running))
        await fixture.pass(traits.allocateWaitMs + traits.promptMs)
        expect(held.bodies.length).toBe(2)
        expect(held.runningMax).toBe(2)
      })

      test('given a place that became free, then the next allocation is served', async () => {
        const held = new HeldHandler()
        const serving = await node.serve(keyA, { ...echo, allocate: held.handle })
        serving.setCapacity(1)
        const first = api.allocate(bytes(1), patient)
        await fixture.within(traits.promptMs, held.began(1))
        held.answer(0, bytes(1))
        expect(await settled(first)).toEqual({ kind: 'answered', body: bytes(1) })
        const second = api.allocate(bytes(2), patient)
        await fixture.within(traits.promptMs, held.began(2))
        held.answer(1, bytes(2))
        expect(await settled(second)).toEqual({ kind: 'answered', body: bytes(2) })
        expect(held.runningMax).toBe(1)
      })

      test('given capacity 0, then nothing is allocated until it grows, and calls are served', async () => {
        const serving = await node.serve(keyA, echo)
        serving.setCapacity(0)
        await fixture.pass(traits.promptMs)
        expect(await refused(api.allocate(bytes(1), patient))).toEqual({ kind: 'no-capacity' })
        expect((await settled(api.call(keyA, bytes(1), patient))).kind).toBe('answered')
        serving.setCapacity(1)
        await fixture.pass(traits.promptMs)
        expect((await settled(api.allocate(bytes(1), patient))).kind).toBe('answered')
      })

      test('given a caller that gave up, then its place is taken until the handler settles', async () => {
        const held = new HeldHandler()
        const serving = await node.serve(keyA, { ...echo, allocate: held.handle })
        serving.setCapacity(1)
        const first = api.allocate(bytes(1), { deadlineMs: 500 })
        await fixture.within(500, held.began(1))
        expect(await fixture.within(500 + traits.promptMs, first)).toEqual({ kind: 'timeout' })
        expect(await refused(api.allocate(bytes(2), patient))).toEqual({ kind: 'no-capacity' })
        held.answer(0, bytes())
        await fixture.pass(traits.promptMs)
        const third = api.allocate(bytes(3), patient)
        await fixture.within(traits.promptMs, held.began(2))
        expect([...(held.bodies[1] ?? [])]).toEqual([3])
        held.answer(1, bytes())
        expect((await settled(third)).kind).toBe('answered')
      })

      test.each([-1, 1.5, Number.NaN])('given a capacity of %d, then setting it is an Error', async (capacity) => {
        const serving = await node.serve(keyA, echo)
        expect(() => serving.setCapacity(capacity)).toThrow(Error)
      })
    })

    describe('serving', () => {
      const patient = { deadlineMs: 10 * seconds }

      test('given a key that is served, when it is served again, then that is an Error and the first goes on', async () => {
        await node.serve(keyA, { ...echo, call: () => Promise.resolve(bytes(1)) })
        await expect(node.serve(keyA, { ...echo, call: () => Promise.resolve(bytes(2)) })).rejects.toThrow(Error)
        expect(await settled(api.call(keyA, bytes(0), patient))).toEqual({ kind: 'answered', body: bytes(1) })
      })

      test('given a draining node, then it takes no allocation and serves calls, and capacity does not undo it', async () => {
        const second = await fixture.connect()
        const serving = await node.serve(keyA, { ...echo, allocate: () => Promise.resolve(bytes(1)) })
        await second.serve(keyB, { ...echo, allocate: () => Promise.resolve(bytes(2)) })
        serving.drain()
        serving.drain()
        serving.setCapacity(8)
        await fixture.pass(traits.promptMs)
        for (let index = 0; index < 4; index += 1) {
          const outcome = await settled(api.allocate(bytes(0), patient))
          expect(outcome).toEqual({ kind: 'answered', body: bytes(2) })
        }
        expect(await settled(api.call(keyA, bytes(5), patient))).toEqual({ kind: 'answered', body: bytes(5) })
      })

      test('given a call that runs, when serving closes, then it is answered first and later calls are unroutable', async () => {
        const held = new HeldHandler()
        const serving = await node.serve(keyA, { ...echo, call: held.handle })
        const running = api.call(keyA, bytes(1), patient)
        await fixture.within(traits.promptMs, held.began(1))
        const closing = serving.close()
        await fixture.pass(traits.promptMs)
        expect(await settled(api.call(keyA, bytes(2), patient))).toEqual({ kind: 'unroutable' })
        held.answer(0, bytes(7))
        expect(await settled(running)).toEqual({ kind: 'answered', body: bytes(7) })
        await fixture.within(traits.promptMs, Promise.all([closing, serving.close()]))
        await present()
      })

      test('given a closed serving, then the same key can be served again', async () => {
        const serving = await node.serve(keyA, echo)
        await fixture.within(traits.promptMs, serving.close())
        await node.serve(keyA, { ...echo, call: () => Promise.resolve(bytes(3)) })
        expect(await settled(api.call(keyA, bytes(0), patient))).toEqual({ kind: 'answered', body: bytes(3) })
      })

      test('given nodes, then presence lists each with its shards until it closes', async () => {
        const serving = await node.serve(keyA, echo)
        await api.serve(keyB, echo)
        await present(keyA, keyB)
        for (const seen of api.presence()) expect(seen.shards.length).toBeGreaterThan(0)
        await fixture.within(traits.promptMs, serving.close())
        await present(keyB)
      })
    })

    describe('closing a handle', () => {
      test('given calls that are out, when the caller closes, then they settle as lost', async () => {
        const held = new HeldHandler()
        await node.serve(keyA, { allocate: held.handle, call: held.handle })
        const out = [
          api.call(keyA, bytes(1), { deadlineMs: 600 * seconds }),
          api.allocate(bytes(2), { deadlineMs: 600 * seconds }),
        ]
        await fixture.within(traits.promptMs, held.began(2))
        await fixture.within(traits.promptMs, api.close())
        const outcomes = await fixture.within(traits.promptMs, Promise.all(out))
        expect(outcomes).toEqual([{ kind: 'lost' }, { kind: 'lost' }])
      })

      test('given a handle that serves, when it closes, then its callers hear lost and its key is gone', async () => {
        const held = new HeldHandler()
        await node.serve(keyA, { ...echo, call: held.handle })
        const outcome = api.call(keyA, bytes(1), { deadlineMs: 600 * seconds })
        await fixture.within(traits.promptMs, held.began(1))
        await fixture.within(traits.promptMs, node.close())
        expect(await settled(outcome)).toEqual({ kind: 'lost' })
        await present()
        expect(await settled(api.call(keyA, bytes(1), { deadlineMs: seconds }))).toEqual({ kind: 'unroutable' })
      })

      test('given a closed handle, then its calls are lost, never unroutable: it knows nothing of the node', async () => {
        await node.serve(keyA, echo)
        await fixture.within(traits.promptMs, api.close())
        expect(await settled(api.call(keyA, bytes(1), { deadlineMs: seconds }))).toEqual({ kind: 'lost' })
        expect(await settled(api.allocate(bytes(1), { deadlineMs: seconds }))).toEqual({ kind: 'lost' })
      })
    })
  })
}
