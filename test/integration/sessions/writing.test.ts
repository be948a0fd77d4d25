// What a writing session promises: nothing is published before its ack, order in the window, repeats, refusals that spend
// no number, and leases, over a real socket and a real folder.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { type Proof, partState, type WriteReply, type WriteRequest } from '../../../src/protocol/messages.ts'
import type { RawSession } from '../../support/raw-client.ts'
import { blockOf, decoded, Harness, payloadsOf, rawReply, refused } from './harness.ts'

let at: Harness
beforeAll(async () => {
  at = await Harness.start()
})
afterAll(() => at.end())

/** Sends writes in one go, seq after seq, without waiting; answers in the order of sending. */
function pipelined(
  writer: RawSession,
  writes: readonly Omit<WriteRequest, 'proof' | 'session'>[],
): Promise<(WriteReply | TrunklineError)[]> {
  const { nextSeq, challenge } = writer.turns[0]
  return Promise.all(
    writes.map((write, i) => {
      const proof: Proof = { slot: 0, seq: nextSeq + i, challenge }
      return writer.client
        .call('write', { ...write, proof, session: writer.allocated.session })
        .catch((error: unknown) => {
          if (error instanceof TrunklineError) return error
          throw error
        })
    }),
  )
}

const outcome = (answer: WriteReply | TrunklineError | undefined): string =>
  answer instanceof TrunklineError ? answer.name : answer?.published === true ? 'published' : 'staged'

describe('two phases', () => {
  it('Given a staged write, then nothing can be read before its ack, and after a dispose nothing ever', async () => {
    const writer = await at.writer('staged')
    expect((await writer.call('write', { n: 1, blocks: [blockOf(0, 'a')] })).published).toBe(false)
    expect((await writer.call('write', { n: 2, blocks: [blockOf(0, 'b')] })).published).toBe(false)
    expect(await at.everything('staged')).toEqual(new Map())
    const { parts } = await writer.call('ack', { n: 1 })
    expect(parts).toEqual([{ part: 0, partition: 0, state: partState.landed, offset: 0 }])
    await writer.call('dispose', {}, 1)
    expect(await at.everything('staged')).toEqual(new Map([[0, ['a']]]))
  })

  it('Given staged writes, then an ack out of order and a commit that would overtake are refused', async () => {
    const writer = await at.writer('overtake')
    await writer.call('write', { n: 1, blocks: [blockOf(0, 'a')] })
    await writer.call('write', { n: 2, blocks: [blockOf(0, 'b')] })
    expect((await refused(writer.call('ack', { n: 2 }), 'SEQUENCE_MISMATCH')).expected).toBe(1)
    const commit = writer.call('write', { n: 3, blocks: [blockOf(0, 'c')], commit: true })
    expect((await refused(commit, 'SEQUENCE_MISMATCH')).expected).toBe(1)
    await writer.call('ack', { n: 1 })
    await writer.call('ack', { n: 2 })
    await writer.call('write', { n: 3, blocks: [blockOf(0, 'c')], commit: true })
    expect(await at.everything('overtake')).toEqual(new Map([[0, ['a', 'b', 'c']]]))
  })

  it('Given commit, then one round trip publishes every part and answers each position', async () => {
    const writer = await at.writer('commit')
    const reply = await writer.call('write', {
      n: 1,
      blocks: [blockOf(2, 'a'), blockOf(5, 'b'), blockOf(2, 'c')],
      commit: true,
    })
    expect(reply.published).toBe(true)
    expect(reply.parts).toEqual([
      { part: 0, partition: 2, state: partState.landed, offset: 0 },
      { part: 1, partition: 5, state: partState.landed, offset: 0 },
      { part: 2, partition: 2, state: partState.landed, offset: 1 },
    ])
  })
})

describe('the window', () => {
  it('Given eight writes in one go, then all land in their order', async () => {
    const writer = await at.writer('window')
    const answers = await pipelined(
      writer,
      Array.from({ length: 8 }, (_, i) => ({ n: i + 1, blocks: [blockOf(0, `w${i + 1}`)], commit: true })),
    )
    expect(answers.map(outcome)).toEqual(Array.from({ length: 8 }, () => 'published'))
    expect((await at.everything('window')).get(0)).toEqual(Array.from({ length: 8 }, (_, i) => `w${i + 1}`))
  })

  it('Given a ninth, then it is WINDOW_FULL, spends no number, and lands when it is sent again', async () => {
    const writer = await at.writer('window-full')
    for (let n = 1; n <= 8; n++) await writer.call('write', { n, blocks: [blockOf(0, `w${n}`)] })
    const full = await refused(writer.call('write', { n: 9, blocks: [blockOf(0, 'w9')] }), 'WINDOW_FULL')
    expect(full.retryable).toBe(true)
    for (let n = 1; n <= 8; n++) await writer.call('ack', { n })
    await writer.call('write', { n: 9, blocks: [blockOf(0, 'w9')], commit: true })
    expect((await at.everything('window-full')).get(0)).toEqual(Array.from({ length: 9 }, (_, i) => `w${i + 1}`))
  })

  it('Given more than the window in one go, then what is over it is refused and nothing is lost, doubled or turned round', async () => {
    const writer = await at.writer('window-over')
    const writes = Array.from({ length: 12 }, (_, i) => ({ n: i + 1, blocks: [blockOf(0, `w${i + 1}`)], commit: true }))
    const answers = await pipelined(writer, writes)
    const landed = answers.filter((answer) => outcome(answer) === 'published').length
    expect(answers.slice(landed).every((answer) => answer instanceof TrunklineError)).toBe(true)
    const last = answers.at(-1)
    if (last !== undefined && last.turn !== undefined) writer.turns[0] = last.turn
    for (let n = landed + 1; n <= 12; n++)
      await writer.call('write', { n, blocks: [blockOf(0, `w${n}`)], commit: true })
    expect((await at.everything('window-over')).get(0)).toEqual(Array.from({ length: 12 }, (_, i) => `w${i + 1}`))
  })

  it('Given a batch above the bytes of the window, then BATCH_TOO_LARGE and the number is free', async () => {
    const writer = await at.writer('window-bytes')
    const large = { ...blockOf(0, 'x'), data: new Uint8Array(997_953), rawSize: 997_953 }
    await refused(writer.call('write', { n: 1, blocks: [large] }), 'BLOCK_TOO_LARGE')
    await writer.call('write', { n: 1, blocks: [blockOf(0, 'a')], commit: true })
  })
})

describe('repeats of a write', () => {
  it('Given the same seq, then the very same bytes; given a new seq, then the same positions; the log has it once', async () => {
    const writer = await at.writer('repeats')
    const request = {
      n: 1,
      blocks: [blockOf(0, 'a')],
      commit: true,
      proof: writer.proof(),
      session: writer.allocated.session,
    }
    const [first, second] = await Promise.all([
      rawReply(at.client, 'write', request),
      rawReply(await at.connect(), 'write', request),
    ])
    expect(Buffer.compare(first, second)).toBe(0)
    const third = await rawReply(at.client, 'write', request)
    expect(Buffer.compare(first, third)).toBe(0)
    const reply = decoded('write', first)
    writer.turns[0] = reply.turn
    const again = await writer.call('write', { n: 1, blocks: [blockOf(0, 'a')], commit: true })
    expect(again.parts).toEqual(reply.parts)
    expect((await writer.call('ack', { n: 1 })).parts).toEqual(reply.parts)
    expect(await at.everything('repeats')).toEqual(new Map([[0, ['a']]]))
  })

  it('Given a staged write again, then it is staged still; given its ack twice, then it is published once', async () => {
    const writer = await at.writer('repeat-staged')
    for (let i = 0; i < 3; i++)
      expect((await writer.call('write', { n: 1, blocks: [blockOf(0, 'a')] })).published).toBe(false)
    const request = { n: 1, proof: writer.proof(), session: writer.allocated.session }
    const [first, second] = await Promise.all([
      rawReply(at.client, 'ack', request),
      rawReply(await at.connect(), 'ack', request),
    ])
    expect(Buffer.compare(first, second)).toBe(0)
    writer.turns[0] = decoded('ack', first).turn
    expect((await writer.call('ack', { n: 1 })).parts).toEqual(decoded('ack', first).parts)
    expect(await at.everything('repeat-staged')).toEqual(new Map([[0, ['a']]]))
  })

  it('Given other content under the same n, then WRITE_CHANGED, staged or published, under any seq', async () => {
    const writer = await at.writer('changed')
    const { session } = writer.allocated
    const proof = writer.proof()
    await at.client.call('write', { n: 1, blocks: [blockOf(0, 'a')], proof, session })
    const sameSeq = await refused(
      at.client.call('write', { n: 1, blocks: [blockOf(0, 'b')], proof, session }),
      'WRITE_CHANGED',
    )
    if (sameSeq.turn !== undefined) writer.turns[0] = sameSeq.turn
    await refused(writer.call('write', { n: 1, blocks: [blockOf(0, 'b')] }), 'WRITE_CHANGED')
    await writer.call('ack', { n: 1 })
    await refused(writer.call('write', { n: 1, blocks: [blockOf(0, 'b')], commit: true }), 'WRITE_CHANGED')
    await refused(writer.call('write', { n: 1, blocks: [blockOf(1, 'a')], commit: true }), 'WRITE_CHANGED')
    expect(await at.everything('changed')).toEqual(new Map([[0, ['a']]]))
  })

  it('Given a refusal while staging, then its number is not spent', async () => {
    const writer = await at.writer('not-spent')
    await refused(writer.call('write', { n: 1, blocks: [] }), 'EMPTY_BATCH')
    await refused(writer.call('write', { n: 1, blocks: [blockOf(99, 'a')] }), 'UNKNOWN_PARTITION')
    await refused(writer.call('write', { n: 1, blocks: [{ ...blockOf(0, 'a'), count: 9_000 }] }), 'BAD_BLOCK')
    await refused(writer.call('write', { n: 2, blocks: [blockOf(0, 'b')] }), 'SEQUENCE_MISMATCH')
    await writer.call('write', { n: 1, blocks: [blockOf(0, 'a')], commit: true })
    expect(await at.everything('not-spent')).toEqual(new Map([[0, ['a']]]))
  })
})

describe('the end of a writing session', () => {
  it('Given dispose twice while a write is at the log, then both answer the same end and the write is answered', async () => {
    const writer = await at.writer('dispose-busy')
    const { session } = writer.allocated
    const control = writer.proof(1)
    const write = at.client.call('write', {
      n: 1,
      blocks: [blockOf(0, 'a')],
      commit: true,
      proof: writer.proof(),
      session,
    })
    const first = at.client.call('dispose', { proof: control, session })
    const second = at.client.call('dispose', { proof: { ...control, seq: 2 }, session })
    const answers = await Promise.allSettled([write, first, second])
    expect(answers.slice(1).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled'])
    // Sealed before the end, it is published; after it, it is unanswered: never anything else.
    const [answer] = answers
    const found = await at.everything('dispose-busy')
    if (answer?.status === 'fulfilled') expect(found).toEqual(new Map([[0, ['a']]]))
    else expect(answer?.reason).toMatchObject({ name: 'SESSION_GONE' })
  })

  it('Given calls of the other mode, then WRONG_MODE', async () => {
    const writer = await at.writer('mode')
    await refused(writer.call('read', { n: 1 }), 'WRONG_MODE')
    await refused(writer.call('nack', { n: 1 }), 'WRONG_MODE')
    const reader = await at.reader('mode')
    await refused(reader.call('write', { n: 1, blocks: [blockOf(0, 'a')] }), 'WRONG_MODE')
    expect((await reader.call('read', { n: 1 })).count).toBe(0)
  })
})

describe('leases', () => {
  it('Given a lease that ends, then the session closes, extend keeps one open, a waiting read too, and nothing is lost', async () => {
    const short = await Harness.start({ sessionLeaseMs: 1_000, keepAliveMs: 500 })
    try {
      await short.publish('lease', blockOf(0, 'a'))
      const reader = await short.reader('lease')
      const batch = await reader.call('read', { n: 1 })
      const writer = await short.writer('lease')
      await writer.call('write', { n: 1, blocks: [blockOf(0, 'staged')] })
      const kept = await short.reader('lease', { latest: true })
      const parked = await short.reader('lease', { latest: true })
      const waits = parked.call('read', { n: 1, waitMs: 4_000 })
      expect(await short.openSessions()).toBe(4)
      await short.eventually(async () => {
        await kept.call('extend', {}, 1)
        return (await short.metric('trunkline_sessions_closed_total', { reason: 'expired' })) === 2
      }, 'two leases end')
      expect(await short.openSessions()).toBe(2)
      await refused(reader.call('ack', { n: 1 }), 'SESSION_GONE')
      await refused(writer.call('ack', { n: 1 }), 'SESSION_GONE')
      expect((await kept.call('read', { n: 1 })).count).toBe(0)
      await short.publish('lease', blockOf(0, 'b'))
      expect(payloadsOf(await waits)).toEqual(['b'])
      const { cursor = new Uint8Array() } = reader.allocated
      expect(payloadsOf(await (await short.reader('lease', { cursor })).call('read', { n: 1 }))).toEqual(['a', 'b'])
      expect(payloadsOf(batch)).toEqual(['a'])
    } finally {
      await short.end()
    }
  })
})
