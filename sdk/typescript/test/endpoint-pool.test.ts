// Owns: which endpoint a call takes, with endpoints that do what they are told and simulated time.
import { describe, expect, test } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { defaultLimits } from '../../../src/protocol/limits.ts'
import type { DescribeReply, MethodName, ReplyOf } from '../../../src/protocol/messages.ts'
import { EndpointPool } from '../src/endpoint-pool.ts'
import { notReached, onTheWay, type Transport } from '../src/transport.ts'

type Answer = () => Promise<DescribeReply>

class Told implements Transport {
  calls = 0
  closed = false
  answer: Answer = serves

  call<M extends MethodName>(): Promise<ReplyOf<M>> {
    this.calls += 1
    return this.answer() as Promise<ReplyOf<M>>
  }

  close(): Promise<void> {
    this.closed = true
    return Promise.resolve()
  }
}

const serves: Answer = () => Promise.resolve({ version: '1', limits: defaultLimits, features: [] })
const refuses: Answer = () => Promise.reject(notReached('connect failed', 'unsent'))
const breaks: Answer = () => Promise.reject(notReached('connection lost', 'unanswered'))
const says =
  (error: TrunklineError): Answer =>
  () =>
    Promise.reject(error)

function pool(count: number, seed = 1): { transports: Told[]; clock: SimulatedClock; pool: EndpointPool } {
  const transports = Array.from({ length: count }, () => new Told())
  const clock = new SimulatedClock()
  const endpoints = transports.map((transport, i) => ({ name: `e${i}`, transport }))
  return { transports, clock, pool: new EndpointPool({ endpoints, clock, random: new SeededRandom(seed) }) }
}

const ask = (one: EndpointPool): Promise<DescribeReply> => one.call('describe', {}, { timeoutMs: 1_000 })
const failure = (one: EndpointPool): Promise<TrunklineError> =>
  ask(one).then(
    () => {
      throw new Error('the call was answered')
    },
    (thrown: unknown) => TrunklineError.from(thrown),
  )
const callsOf = (transports: readonly Told[]): number[] => transports.map(({ calls }) => calls)
const usedOf = (transports: readonly Told[]): Told => {
  const used = transports.find(({ calls }) => calls > 0)
  if (used === undefined) throw new Error('none was asked')
  return used
}

describe('an endpoint pool', () => {
  test('Given endpoints that serve, then every call takes the same one, and pools start at different ones', async () => {
    const starts = new Set<number>()
    for (let seed = 1; seed <= 20; seed += 1) {
      const { transports, pool: one } = pool(3, seed)
      for (let i = 0; i < 5; i += 1) await ask(one)
      expect(callsOf(transports).toSorted((a, b) => a - b)).toEqual([0, 0, 5])
      starts.add(transports.indexOf(usedOf(transports)))
    }
    expect(starts.size).toBe(3)
  })

  test('Given no connection to one, then the call goes to another in the same breath, and later calls stay there', async () => {
    const { transports, pool: one } = pool(2)
    await ask(one)
    const used = usedOf(transports)
    used.answer = refuses
    await ask(one)
    await ask(one)
    expect(callsOf(transports).toSorted((a, b) => a - b)).toEqual([2, 2])
  })

  test('Given a connection that broke, when the call comes again only after its rest, then it goes to one that has not failed', async () => {
    const { transports, clock, pool: one } = pool(3)
    await ask(one)
    const used = usedOf(transports)
    used.answer = breaks
    await failure(one)
    await clock.advance(10_000)
    await ask(one)
    expect(callsOf(transports).toSorted((a, b) => a - b)).toEqual([0, 1, 2])
    // And stays there.
    used.answer = serves
    await clock.advance(10_000)
    await ask(one)
    expect(callsOf(transports).toSorted((a, b) => a - b)).toEqual([0, 2, 2])
  })

  test('Given one that is away and one whose certificate is wrong, in either order, then it is told as what may pass', async () => {
    const misconfigured = says(
      onTheWay(new TrunklineError('TLS_REFUSED', { details: { why: 'its certificate has expired' } }), 'unsent'),
    )
    for (const answers of [
      [refuses, misconfigured],
      [misconfigured, refuses],
    ]) {
      const { transports, pool: one } = pool(2)
      transports.forEach((transport, i) => {
        transport.answer = answers[i] ?? serves
      })
      const error = await failure(one)
      expect(error).toMatchObject({ name: 'UNAVAILABLE', details: { why: 'connect failed' } })
      expect(callsOf(transports)).toEqual([1, 1])
    }
    const { transports, pool: alone } = pool(2)
    for (const transport of transports) transport.answer = misconfigured
    const error = await failure(alone)
    expect([error.name, error.details['endpoints']]).toEqual([
      'TLS_REFUSED',
      expect.stringMatching(/e0 .*expired.*e1|e1 .*expired.*e0/),
    ])
  })

  test('Given a connection that breaks, then the call is not repeated here, and the error says that it can go elsewhere', async () => {
    const { transports, pool: one } = pool(3)
    await ask(one)
    usedOf(transports).answer = breaks
    const error = await failure(one)
    expect(one.wayOf(error)).toMatchObject({ elsewhere: true, unsent: false })
    expect(callsOf(transports).toSorted((a, b) => a - b)).toEqual([0, 0, 2])
    await ask(one)
  })

  test('Given none that can be reached, then each is asked once, then none before its rest is over, and rests grow to two seconds', async () => {
    const { transports, clock, pool: one } = pool(3)
    for (const transport of transports) transport.answer = refuses
    const error = await failure(one)
    expect(callsOf(transports)).toEqual([1, 1, 1])
    expect(one.wayOf(error)).toMatchObject({ elsewhere: false, unsent: true })
    for (const i of [0, 1, 2]) expect(error.details['endpoints']).toContain(`e${i} (connect failed)`)
    const next = await failure(one)
    expect(callsOf(transports)).toEqual([1, 1, 1])
    expect(next).toMatchObject({ name: 'UNAVAILABLE', details: { why: 'gateway not reached' } })
    expect(next.details['endpoints']).toContain('e2 (connect failed)')
    let asked = 0
    for (let i = 0; i < 600; i += 1) {
      await clock.advance(100)
      await failure(one)
    }
    asked = callsOf(transports).reduce((sum, calls) => sum + calls, 0)
    // A minute of calls ten times a second: about one try in 1.5 s of each.
    expect(asked).toBeGreaterThan(3 * 25)
    expect(asked).toBeLessThan(3 * 75)
    for (const transport of transports) transport.answer = serves
    await clock.advance(2_000)
    await ask(one)
  })

  test('Given many calls that fail with one connection, then that is one failure', async () => {
    const { clock, pool: one, transports } = pool(1)
    const [only] = transports as [Told]
    only.answer = breaks
    await Promise.all(Array.from({ length: 50 }, () => failure(one)))
    await clock.advance(40)
    only.answer = serves
    await ask(one)
  })

  test('Given an endpoint that shuts down, then the call goes to another; given no other, then the session hears of no draining', async () => {
    const draining = says(new TrunklineError('DRAINING', { details: { tier: 'api' } }))
    const two = pool(2)
    await ask(two.pool)
    usedOf(two.transports).answer = draining
    await ask(two.pool)
    const single = pool(1)
    const [only] = single.transports as [Told]
    only.answer = draining
    const error = await failure(single.pool)
    expect(error.name).toBe('UNAVAILABLE')
    expect(single.pool.wayOf(error)).toMatchObject({ elsewhere: false, unsent: true })
  })

  test('Given a stream node that drains, or a session that is gone, then that is its word, and the endpoint serves', async () => {
    const { transports, pool: one } = pool(2)
    await ask(one)
    const used = usedOf(transports)
    for (const name of ['DRAINING', 'SESSION_GONE', 'NO_CAPACITY', 'INTERNAL'] as const) {
      used.answer = says(new TrunklineError(name))
      const error = await failure(one)
      expect(error.name).toBe(name)
      expect(one.wayOf(error)).toBeUndefined()
    }
    expect(callsOf(transports).toSorted((a, b) => a - b)).toEqual([0, 5])
  })

  test('Given all answer that they cannot serve, then there is an elsewhere for each once, and they are asked all the same', async () => {
    const { transports, pool: one } = pool(2)
    for (const transport of transports) transport.answer = says(new TrunklineError('UNAVAILABLE'))
    expect(one.wayOf(await failure(one))?.elsewhere).toBe(true)
    expect(one.wayOf(await failure(one))?.elsewhere).toBe(false)
    expect(one.wayOf(await failure(one))?.elsewhere).toBe(false)
    expect(callsOf(transports).reduce((sum, calls) => sum + calls, 0)).toBe(3)
  })

  test('Given a failure of an earlier time, when the endpoint has failed since and serves again, then it is not held against it', async () => {
    const { transports, clock, pool: one } = pool(1)
    const [only] = transports as [Told]
    let fail: (error: TrunklineError) => void = () => undefined
    only.answer = () => new Promise<DescribeReply>((_, reject) => (fail = reject))
    const early = failure(one)
    only.answer = breaks
    await failure(one)
    await clock.advance(100)
    only.answer = serves
    await ask(one)
    fail(notReached('connection lost', 'unanswered'))
    await early
    await ask(one)
  })

  test('When it is closed, then every transport is', async () => {
    const { transports, pool: one } = pool(3)
    await one.close()
    expect(transports.map(({ closed }) => closed)).toEqual([true, true, true])
  })
})
