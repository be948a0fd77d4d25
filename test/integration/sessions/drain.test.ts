// A gateway that stops: parked reads are answered at once, what comes is refused with a type, what was acked is there
// after the restart, what was not is unanswered and goes on exactly once.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { partState } from '../../../src/protocol/messages.ts'
import { RawClient, RawSession } from '../../support/raw-client.ts'
import { blockOf, Harness, payloadsOf, resumeOf } from './harness.ts'

let at: Harness
beforeEach(async () => {
  at = await Harness.start()
})
afterEach(() => at.end())

/** How a call ended, in one word. */
const ending = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => 'answered',
    (thrown: unknown) => (thrown instanceof TrunklineError ? thrown.name : (thrown as Error).message),
  )

describe('a gateway that drains', () => {
  it('Given reads that wait and calls that come, then every one of them ends before close does, with a type', async () => {
    await at.publish('drained', blockOf(0, 'a'))
    const parked = await Promise.all(
      Array.from({ length: 5 }, async () =>
        RawSession.read(await at.connect(), at.bearer, 'drained', { latest: true }),
      ),
    )
    const { cursor = new Uint8Array() } = (await at.reader('drained')).allocated
    const waits = parked.map((reader) => ending(reader.call('read', { n: 1, waitMs: 30_000 })))
    await at.eventually(async () => (await at.metric('trunkline_tail_waiters')) === 5, 'five reads wait')
    const closing = at.gateway.close()
    const late = [
      ending(at.reader('drained')),
      ending(at.client.call('describe', { proof: { bearer: at.bearer } })),
      ...parked.map((reader) => ending(reader.call('extend', {}, 1))),
    ]
    await closing
    // The API tier stops first, and lets go of what waits (api-tier/parked.ts).
    for (const end of await Promise.all(waits)) expect(end).toBe('DRAINING')
    for (const end of await Promise.all(late))
      expect([
        'DRAINING',
        'SESSION_GONE',
        'UNAVAILABLE',
        'connection closed',
        'read ECONNRESET',
        'answered',
        'write EPIPE',
      ]).toContain(end)
    await at.restart()
    expect(payloadsOf(await (await at.reader('drained', { cursor })).call('read', { n: 1 }))).toEqual(['a'])
  })

  it('Given a busy connection, then a new call on it is refused as DRAINING and not cut off', async () => {
    const writer = await at.writer('busy')
    const { session } = writer.allocated
    const { nextSeq, challenge } = writer.turns[0]
    const writes = Array.from({ length: 8 }, (_, i) =>
      ending(
        at.client.call('write', {
          n: i + 1,
          blocks: [blockOf(0, `w${i + 1}`)],
          commit: true,
          session,
          proof: { slot: 0, seq: nextSeq + i, challenge },
        }),
      ),
    )
    // By the time this is answered the gateway has the writes; how far it got with them is what the end must not lie about.
    await (await at.connect()).call('describe', { proof: { bearer: at.bearer } })
    const closing = at.gateway.close()
    const refusedLate = ending(at.client.call('extend', { session, proof: writer.proof(1) }))
    await closing
    expect(['DRAINING', 'SESSION_GONE', 'answered', 'connection closed']).toContain(await refusedLate)
    const ends = await Promise.all(writes)
    for (const end of ends) expect(['answered', 'SESSION_GONE', 'DRAINING']).toContain(end)
    const answered = ends.filter((end) => end === 'answered').length
    await at.restart()
    const unanswered = Array.from({ length: 8 }, (_, i) => ({ n: i + 1, partitions: [0] }))
    const next = await at.writer('busy', resumeOf(writer, undefined, unanswered))
    const states = (next.allocated.outcomes ?? []).map(({ n, parts }) => [n, parts[0]?.state] as const)
    // An answer was never a lie.
    expect(states.slice(0, answered).every(([, state]) => state === partState.landed)).toBe(true)
    for (const [n, state] of states)
      if (state === partState.missing) await next.call('write', { n, blocks: [blockOf(0, `w${n}`)], commit: true })
    expect((await at.everything('busy')).get(0)).toEqual(Array.from({ length: 8 }, (_, i) => `w${i + 1}`))
  })

  it('Given close twice, then it is one close, and nothing listens any more', async () => {
    const { thriftUrl } = at.gateway
    await Promise.all([at.gateway.close(), at.gateway.close()])
    await at.gateway.close()
    await expect(RawClient.open(thriftUrl)).rejects.toThrow('ECONNREFUSED')
    await at.restart()
  })
})
