// Proves that a flood of one tenant delays no other, that nothing is reordered within a tenant, and that what waits is bounded.
import { describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { FairQueue, placeMs, readAheadMax, sliceMs, waitMsMax } from '../../../src/api-tier/quotas/fair-queue.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'

interface Hands {
  readonly name: string
  /** Ends its work. */
  answer(bytes?: number): Promise<void>
  fail(error: Error): Promise<void>
}

interface Asked extends Hands {
  readonly outcome: Promise<Uint8Array>
}

function world({ places = 4, waitingMax = 1_000, startTakesMs = 0 } = {}) {
  const clock = new SimulatedClock()
  /** Of work, within turns: the simulated clock stands still in them. */
  let workedMs = 0
  const turns: (() => void)[] = []
  const limit = { places, used: () => {} }
  const started: string[] = []
  const refusedBy: string[] = []
  const waitedMs: number[] = []
  let waitingSaid = 0
  const queue = new FairQueue({
    limit,
    waitingMax,
    clock: {
      nowMs: () => clock.nowMs(),
      monotonicMs: () => clock.monotonicMs() + workedMs,
      after: (ms, callback) => clock.after(ms, callback),
    },
    // By hand where turns are what is tested.
    afterTurn: startTakesMs > 0 ? (run) => void turns.push(run) : queueMicrotask,
    metrics: {
      waiting: (requests) => {
        waitingSaid = requests
      },
      waited: (ms) => void waitedMs.push(ms),
      refused: (name) => void refusedBy.push(name),
    },
  })
  const running = new Map<string, Hands>()
  const ask = (name: string, over: { bytes?: number; waits?: boolean; signal?: AbortSignal } = {}): Asked => {
    let resolve: (bytes: Uint8Array) => void = () => {}
    let reject: (error: Error) => void = () => {}
    const work = new Promise<Uint8Array>((yes, no) => {
      resolve = yes
      reject = no
    })
    const end = async (settle: () => void): Promise<void> => {
      running.delete(name)
      settle()
      await clock.settle()
    }
    const hands = {
      name,
      answer: (bytes = 0) => end(() => resolve(new Uint8Array(bytes))),
      fail: (error: Error) => end(() => reject(error)),
    }
    const demand = { bytes: over.bytes ?? 0, waits: over.waits ?? false }
    const outcome = queue.run(name.split(' ')[0] ?? '', demand, over.signal, () => {
      started.push(name)
      workedMs += startTakesMs
      running.set(name, hands)
      return work
    })
    outcome.catch(() => {})
    return { ...hands, outcome }
  }
  const refusal = async (asked: Asked): Promise<TrunklineError> => {
    const thrown = await asked.outcome.then(
      () => undefined,
      (error: unknown) => error,
    )
    if (!(thrown instanceof TrunklineError)) throw new Error(`${asked.name} was not refused`)
    return thrown
  }
  /** Ends what runs, the oldest first, until `count` have ended. */
  const work = async (count: number, bytes = 0): Promise<void> => {
    for (let done = 0; done < count; done++) await [...running.values()][0]?.answer(bytes)
  }
  const nextTurn = async (): Promise<void> => {
    for (const run of turns.splice(0)) run()
    await clock.settle()
  }
  return {
    clock,
    limit,
    queue,
    started,
    refusedBy,
    waitedMs,
    running,
    ask,
    refusal,
    work,
    nextTurn,
    said: () => waitingSaid,
  }
}

const names = (tenant: string, from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, index) => `${tenant} ${from + index}`)

describe('a fair queue', () => {
  it('given room, when somebody asks, then it starts at once and nothing waits', async () => {
    const { ask, started, queue, clock } = world()
    const first = ask('a 1')
    expect(started).toEqual(['a 1'])
    await first.answer(3)
    expect(await first.outcome).toHaveLength(3)
    expect([queue.waiting, clock.pendingCount]).toEqual([0, 0])
  })

  it('given work that fails, when it ends, then its caller hears of it and its place is free', async () => {
    const { ask, started } = world({ places: 1 })
    const first = ask('a 1')
    ask('a 2')
    await first.fail(new RangeError('own'))
    await expect(first.outcome).rejects.toThrow('own')
    expect(started).toEqual(['a 1', 'a 2'])
  })

  it('given a flood that has every place and a long queue, when another tenant asks, then it starts at once', async () => {
    const { ask, started, queue } = world({ places: 4 })
    for (const name of names('noisy', 1, 100)) ask(name)
    expect(started).toEqual(names('noisy', 1, 4))
    ask('quiet 1')
    ask('quiet 2')
    // Half of the places are its own.
    ask('quiet 3')
    expect(started.slice(4)).toEqual(['quiet 1', 'quiet 2'])
    expect(queue.waiting).toBe(97)
  })

  it('given many that wait, when places get free, then a turn starts what fits in its slice, and each later turn goes on', async () => {
    const { ask, started, limit, work, nextTurn, queue } = world({ places: 1, startTakesMs: sliceMs / 2 })
    for (const name of names('noisy', 1, 10)) ask(name)
    limit.places = 100
    await work(1)
    // In the turn in which one has ended: two, then the slice is over.
    expect(started).toEqual(names('noisy', 1, 3))
    // Who has not waited does not wait for the slice.
    ask('quiet 1')
    expect(started.at(-1)).toBe('quiet 1')
    await nextTurn()
    expect(started.slice(4)).toEqual(names('noisy', 4, 5))
    for (let turn = 0; turn < 3; turn++) await nextTurn()
    expect([started.length, queue.waiting]).toEqual([11, 0])
  })

  it('given two tenants that both ask for too much, when places get free, then they take turns, each in its own order', async () => {
    const { ask, started, work } = world({ places: 2 })
    for (const name of names('a', 1, 30)) ask(name)
    for (const name of names('b', 1, 30)) ask(name)
    await work(50)
    const served = (tenant: string): string[] => started.filter((name) => name.startsWith(tenant))
    expect(served('a')).toEqual(names('a', 1, served('a').length))
    expect(served('b')).toEqual(names('b', 1, served('b').length))
    expect(Math.abs(served('a').length - served('b').length)).toBeLessThanOrEqual(2)
  })

  it.each(['requests', 'answers'])(
    'given a tenant with large %s and one with small ones, then they get about the same bytes, not the same number',
    async (of) => {
      const { ask, started, running } = world({ places: 16 })
      const bytes = 9 * 32 * 1_024
      for (const name of names('large', 1, 400)) ask(name, of === 'requests' ? { bytes } : {})
      for (const name of names('small', 1, 400)) ask(name)
      for (let done = 0; done < 300; done++) {
        const [oldest] = running.values()
        await oldest?.answer(of === 'answers' && oldest.name.startsWith('large') ? bytes : 0)
      }
      const large = started.filter((name) => name.startsWith('large')).length
      const small = started.length - large
      expect(small).toBeLessThan(400)
      expect(small / large).toBeGreaterThan(4)
      expect(small / large).toBeLessThan(16)
    },
  )

  it('given a tenant that was idle for long, when it asks again for much, then it has no credit against the others', async () => {
    const { ask, started, work } = world({ places: 1 })
    for (const name of names('busy', 1, 200)) ask(name)
    await work(100)
    for (const name of names('late', 1, 100)) ask(name)
    await work(40)
    const late = started.filter((name) => name.startsWith('late')).length
    expect(late).toBeGreaterThanOrEqual(18)
    expect(late).toBeLessThanOrEqual(22)
  })

  it('given many tenants with one request each, then at most twice the places and one of each tenant run', () => {
    const { ask, started } = world({ places: 4 })
    for (const name of names('noisy', 1, 50)) ask(name)
    for (let tenant = 0; tenant < 100; tenant++) for (const name of names(`t${tenant}`, 1, 5)) ask(name)
    expect(started.length).toBeLessThanOrEqual(2 * 4 + 101)
    expect(started.filter((name) => /^t\d+ 1$/.test(name))).toHaveLength(100)
  })

  it('given work that takes long, when others wait, then its place is taken over after a while and given back once', async () => {
    const { ask, started, running, clock, queue } = world({ places: 2 })
    for (const name of names('a', 1, 6)) ask(name)
    expect(started).toEqual(['a 1', 'a 2'])
    await clock.advance(placeMs)
    expect(started).toEqual(names('a', 1, 4))
    // The two that lost their places end: nobody starts for them.
    await running.get('a 1')?.answer()
    await running.get('a 2')?.answer()
    expect(started).toEqual(names('a', 1, 4))
    await running.get('a 3')?.answer()
    expect(started).toEqual(names('a', 1, 5))
    expect(queue.waiting).toBe(1)
  })

  it('given places that have all had their time, when one more asks before anybody looked, then those that wait start', async () => {
    const { ask, started, clock, queue } = world({ places: 4 })
    // Before the queue's own timer, which is due in the same moment.
    clock.after(placeMs, () => void ask('a 7'))
    for (const name of names('a', 1, 6)) ask(name)
    await clock.advance(placeMs)
    await clock.advance(placeMs)
    expect(started).toEqual(names('a', 1, 7))
    expect(queue.waiting).toBe(0)
  })

  it('given reads that may wait for events, when others wait, then their places are soon free, whatever answers are like', async () => {
    const { ask, started, clock } = world({ places: 4 })
    // It keeps its tenant known.
    ask('a 0')
    await ask('a 1').answer(10 * 32 * 1_024)
    for (const name of names('a', 2, 11)) ask(name, { waits: true })
    expect(started).toEqual(names('a', 0, 4))
    await clock.advance(placeMs / 4)
    expect(started).toEqual(names('a', 0, 11))
  })

  it('given nobody who waits, when work takes long, then no timer runs', async () => {
    const { ask, clock } = world({ places: 2 })
    ask('a 1')
    ask('a 2')
    expect(clock.pendingCount).toBe(0)
  })

  it('given as many waiting as may wait, when one more comes, then the newest of the tenant with most of them is refused', async () => {
    const { ask, refusal, refusedBy, queue } = world({ places: 1, waitingMax: 10 })
    const noisy = names('noisy', 1, 9).map((name) => ask(name))
    ask('quiet 1')
    const quiet = ask('quiet 2')
    ask('quiet 3')
    expect(queue.waiting).toBe(10)
    ask('quiet 4')
    const last = noisy.at(-1)
    if (last === undefined) throw new Error('there is one')
    const error = await refusal(last)
    expect([error.name, error.details, error.retryAfterMs]).toEqual([
      'TOO_MANY_REQUESTS',
      { limit: 'waiting requests of the process' },
      1_000,
    ])
    expect(refusedBy).toEqual(['waiting requests of the process'])
    const more = ask('noisy 10')
    expect((await refusal(more)).name).toBe('TOO_MANY_REQUESTS')
    expect(queue.waiting).toBe(10)
    let ended = false
    void quiet.outcome.then(() => {
      ended = true
    })
    expect(ended).toBe(false)
  })

  it('given some that have waited too long, when their turn comes, then they are refused and younger ones start', async () => {
    const { ask, refusal, started, clock } = world({ places: 1 })
    const asked = names('a', 1, 60).map((name) => ask(name))
    // Nothing is answered: one starts whenever a place has had its time.
    await clock.advance(waitMsMax + placeMs)
    const begun = Math.floor(waitMsMax / placeMs)
    expect(started).toEqual(names('a', 1, begun))
    for (const one of asked.slice(begun)) expect((await refusal(one)).name).toBe('TOO_MANY_REQUESTS')
    const young = ask('a 61')
    await clock.advance(placeMs)
    expect(started.at(-1)).toBe('a 61')
    await young.answer()
  })

  it('given a caller that goes while it waits, then it leaves the queue, is never started, and its place in line is closed', async () => {
    const { ask, refusal, started, queue, said, work } = world({ places: 1 })
    ask('a 1')
    const gone = new AbortController()
    const left = ask('a 2', { signal: gone.signal })
    ask('a 3')
    gone.abort()
    expect((await refusal(left)).name).toBe('DEADLINE')
    expect([queue.waiting, said()]).toEqual([1, 1])
    await work(2)
    expect(started).toEqual(['a 1', 'a 3'])
    const late = ask('a 4', { signal: gone.signal })
    await late.answer()
    const [busy, never] = [ask('a 5'), ask('a 6', { signal: gone.signal })]
    expect((await refusal(never)).name).toBe('DEADLINE')
    await busy.answer()
  })

  it('given a drain, then what waits and what would have to wait is DRAINING, and what runs is answered', async () => {
    const { ask, refusal, queue, clock } = world({ places: 1 })
    const runs = ask('a 1')
    const waits = [ask('a 2'), ask('b 1'), ask('b 2')]
    queue.drain()
    queue.drain()
    const error = await refusal(waits[0] as Asked)
    expect([error.name, error.details]).toEqual(['DRAINING', { tier: 'api' }])
    expect((await refusal(ask('a 3'))).name).toBe('DRAINING')
    expect([queue.waiting, clock.pendingCount]).toEqual([0, 0])
    await runs.answer(7)
    expect(await runs.outcome).toHaveLength(7)
  })

  it('given connections held back that have nothing to say, when nothing waits any more, then all go on, also while reads are parked', async () => {
    const { ask, queue, work, clock, running } = world({ places: 64 })
    ask('a parked', { waits: true })
    for (const name of names('a', 1, 200)) ask(name)
    const went = new Set<number>()
    const held = Array.from({ length: 5_000 }, (_, connection) => queue.holdBack('a', () => void went.add(connection)))
    expect(held.every((forget) => forget !== undefined)).toBe(true)
    running.delete('a parked')
    await work(200)
    await clock.advance(5_000)
    expect(went.size).toBe(5_000)
    expect(queue.holdBack('a', () => {})).toBeUndefined()
    expect([queue.waiting, clock.pendingCount]).toEqual([0, 0])
  })

  it('given a tenant with enough waiting, then its connections are held back, go on in their order, and all when it is idle', async () => {
    const { ask, queue, work, clock } = world({ places: 1 })
    expect(queue.holdBack('a', () => {})).toBeUndefined()
    for (const name of names('a', 1, readAheadMax)) ask(name)
    expect(queue.holdBack('a', () => {})).toBeUndefined()
    ask(`a ${readAheadMax + 1}`)
    const went: number[] = []
    const holds = [1, 2, 3, 4, 5, 6].map((connection) => queue.holdBack('a', () => void went.push(connection)))
    expect(queue.holdBack('b', () => {})).toBeUndefined()
    // The second one has closed.
    holds[1]?.()
    await work(1)
    expect(went.slice(0, 1)).toEqual([1])
    // No overtaking, although there is room now.
    expect(queue.holdBack('a', () => void went.push(7))).toBeDefined()
    await work(readAheadMax)
    await clock.advance(10)
    expect(went).toEqual([1, 3, 4, 5, 6, 7])
    expect(clock.pendingCount).toBe(0)
  })

  it('given any mixture of tenants, sizes, failures and departures, then each request ends once, in order, and nothing is left over', async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const random = new SeededRandom(seed)
      const pick = (below: number): number => Math.floor(random.fraction() * below)
      const { ask, queue, started, running, clock, limit, said } = world({ places: 1 + pick(8), waitingMax: 40 })
      const asked: Asked[] = []
      let ended = 0
      for (let step = 0; step < 400; step++) {
        const what = pick(10)
        if (what < 6) {
          const leaves = new AbortController()
          const one = ask(`t${pick(5)} ${step}`, { bytes: pick(100_000), signal: leaves.signal })
          one.outcome.then(
            () => ended++,
            () => ended++,
          )
          asked.push(one)
          if (pick(10) === 0) leaves.abort()
        } else if (what < 9) {
          const some = [...running.values()]
          await (pick(8) === 0
            ? some[pick(some.length)]?.fail(new Error('x'))
            : some[pick(some.length)]?.answer(pick(99_999)))
        } else {
          await clock.advance(pick(3) * placeMs)
          limit.places = 1 + pick(8)
        }
        expect(queue.waiting).toBeLessThanOrEqual(40)
      }
      while (running.size > 0) await [...running.values()][0]?.answer()
      await clock.settle()
      expect([ended, queue.waiting, said(), clock.pendingCount], `seed ${seed}`).toEqual([asked.length, 0, 0, 0])
      expect(new Set(started).size, `seed ${seed}`).toBe(started.length)
      for (let tenant = 0; tenant < 5; tenant++) {
        const order = started.filter((name) => name.startsWith(`t${tenant} `)).map((name) => Number(name.split(' ')[1]))
        expect(order, `seed ${seed}`).toEqual([...order].sort((a, b) => a - b))
      }
    }
  })
})
