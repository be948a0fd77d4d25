// What a reading session promises, over a real socket and a real folder: the same batch until it is acked, positions that
// move only by acks, prefixes, rests, leases, limits.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { buildBlock } from '../../../src/protocol/block.ts'
import { encoding } from '../../../src/protocol/messages.ts'
import { RawSession } from '../../support/raw-client.ts'
import { blockOf, bytes, decoded, Harness, payloadsOf, rawReply, refused } from './harness.ts'

let at: Harness
beforeAll(async () => {
  at = await Harness.start()
})
afterAll(() => at.end())

describe('a batch that is not acked', () => {
  it('Given a repeat under the same seq, then the answer is the very same bytes', async () => {
    await at.publish('same-bytes', blockOf(0, 'a', 'b'), blockOf(1, 'c'))
    const reader = await at.reader('same-bytes')
    const request = { n: 1, proof: reader.proof(), session: reader.allocated.session }
    const first = await rawReply(at.client, 'read', request)
    const second = await rawReply(await at.connect(), 'read', request)
    expect(Buffer.compare(first, second)).toBe(0)
    expect(payloadsOf(decoded('read', first)).sort()).toEqual(['a', 'b', 'c'])
  })

  it('Given a repeat of n under a new seq, then blocks and cursor are the same although more was published', async () => {
    await at.publish('same-n', blockOf(0, 'a', 'b'))
    const reader = await at.reader('same-n')
    const first = await reader.call('read', { n: 1 })
    await at.publish('same-n', blockOf(0, 'later'), blockOf(1, 'later too'))
    const again = await reader.call('read', { n: 1 })
    expect({ ...again, turn: undefined }).toEqual({ ...first, turn: undefined })
    expect(again.turn.nextSeq).toBe(first.turn.nextSeq + 1)
    await reader.call('ack', { n: 1 })
    expect(payloadsOf(await reader.call('read', { n: 2 })).sort()).toEqual(['later', 'later too'])
  })

  it('Given another reader from the cursor of the batch, then it starts behind the batch', async () => {
    await at.publish('cursor', blockOf(0, 'a', 'b', 'c'))
    const reader = await at.reader('cursor')
    const batch = await reader.call('read', { n: 1, maxEvents: 2 })
    const other = await at.reader('cursor', { cursor: batch.cursor })
    expect(payloadsOf(await other.call('read', { n: 1 }))).toEqual(['c'])
  })

  it('Given a session that ends without an ack, then its final cursor is before the batch', async () => {
    await at.publish('unacked', blockOf(0, 'a'))
    const reader = await at.reader('unacked')
    await reader.call('read', { n: 1 })
    const { cursor } = await reader.call('dispose', {}, 1)
    const next = await at.reader('unacked', { cursor })
    expect(payloadsOf(await next.call('read', { n: 1 }))).toEqual(['a'])
  })
})

describe('acks', () => {
  it('Given a prefix ack in the middle of a block, then the rest of that block comes next, with its true indexes', async () => {
    await at.publish('prefix', blockOf(0, 'a', 'b', 'c', 'd'))
    await at.publish('prefix', blockOf(0, 'e'))
    const reader = await at.reader('prefix')
    expect(payloadsOf(await reader.call('read', { n: 1 }))).toEqual(['a', 'b', 'c', 'd', 'e'])
    const acked = await reader.call('ack', { n: 1, count: 3 })
    const rest = await reader.call('read', { n: 2 })
    expect(payloadsOf(rest)).toEqual(['d', 'e'])
    expect(rest.blocks?.map(({ offset, first }) => [offset, first ?? 0])).toEqual([
      [0, 3],
      [1, 0],
    ])
    const fromCursor = await at.reader('prefix', { cursor: acked.cursor })
    expect(payloadsOf(await fromCursor.call('read', { n: 1 }))).toEqual(['d', 'e'])
    await reader.call('ack', { n: 2, count: 2 })
    expect((await reader.call('read', { n: 3 })).count).toBe(0)
  })

  it('Given a prefix of nothing, or of more than there is, then it is ACK_RANGE and the batch stays open', async () => {
    await at.publish('prefix-0', blockOf(0, 'a', 'b'))
    const reader = await at.reader('prefix-0')
    await reader.call('read', { n: 1 })
    for (const count of [0, 3])
      expect((await refused(reader.call('ack', { n: 1, count }), 'ACK_RANGE')).expected).toBe(2)
    await reader.call('ack', { n: 1, count: 1 })
    expect(payloadsOf(await reader.call('read', { n: 2 }))).toEqual(['b'])
  })

  it('Given the ack on the next read, then it counts, and only for the step it names', async () => {
    await at.publish('ack-of', blockOf(0, 'a', 'b', 'c'))
    const reader = await at.reader('ack-of')
    expect(payloadsOf(await reader.call('read', { n: 1, maxEvents: 1 }))).toEqual(['a'])
    expect((await refused(reader.call('read', { n: 2 }), 'SEQUENCE_MISMATCH')).expected).toBe(1)
    await refused(reader.call('read', { n: 2, ackOf: 7 }), 'SEQUENCE_MISMATCH')
    expect(payloadsOf(await reader.call('read', { n: 2, ackOf: 1, maxEvents: 1 }))).toEqual(['b'])
    expect(payloadsOf(await reader.call('read', { n: 3, ackOf: 2 }))).toEqual(['c'])
  })

  it('Given a repeated ack, under the same and under a new seq, then the position moves once', async () => {
    await at.publish('ack-twice', blockOf(0, 'a', 'b'))
    const reader = await at.reader('ack-twice')
    await reader.call('read', { n: 1, maxEvents: 1 })
    const request = { n: 1, proof: reader.proof(), session: reader.allocated.session }
    const first = await rawReply(at.client, 'ack', request)
    const second = await rawReply(at.client, 'ack', request)
    expect(Buffer.compare(first, second)).toBe(0)
    reader.turns[0] = decoded('ack', first).turn
    await reader.call('ack', { n: 1 })
    expect(payloadsOf(await reader.call('read', { n: 2 }))).toEqual(['b'])
  })

  it('Given an empty batch, then its ack is accepted and changes nothing', async () => {
    await at.createTopic('empty-step')
    const reader = await at.reader('empty-step')
    expect((await reader.call('read', { n: 1 })).count).toBe(0)
    await reader.call('ack', { n: 1 })
    await at.publish('empty-step', blockOf(0, 'a'))
    expect(payloadsOf(await reader.call('read', { n: 2 }))).toEqual(['a'])
  })
})

describe('nack', () => {
  it('Given a delay, then the position holds, deliveries count, and a read waits for the end of the rest', async () => {
    await at.publish('nack', blockOf(0, 'a', 'b'))
    const reader = await at.reader('nack')
    const batch = await reader.call('read', { n: 1 })
    const nacked = await reader.call('nack', { n: 1, delayMs: 150 })
    expect(nacked.deliveries).toBe(1)
    expect(nacked.n).toBe(1)
    const again = await reader.call('read', { n: 2, waitMs: 5_000 })
    expect(payloadsOf(again)).toEqual(payloadsOf(batch))
    expect((await reader.call('nack', { n: 2 })).deliveries).toBe(2)
    const third = await reader.call('read', { n: 3 })
    await reader.call('ack', { n: 3 })
    expect(payloadsOf(third)).toEqual(['a', 'b'])
    const { cursor } = nacked
    expect(payloadsOf(await (await at.reader('nack', { cursor })).call('read', { n: 1 }))).toEqual(['a', 'b'])
  })

  it('Given a second read while the first waits for the rest, then it is refused and the first is answered', async () => {
    await at.publish('nack-busy', blockOf(0, 'a'))
    const reader = await at.reader('nack-busy')
    await reader.call('read', { n: 1 })
    await reader.call('nack', { n: 1, delayMs: 300 })
    const proof = reader.proof()
    const { session } = reader.allocated
    const waits = at.client.call('read', { n: 2, waitMs: 5_000, proof, session })
    const second = at.client.call('read', {
      n: 2,
      maxEvents: 5,
      proof: { ...proof, seq: (proof.seq ?? 0) + 1 },
      session,
    })
    await refused(second, 'SEQUENCE_MISMATCH', 'STEP_BUSY')
    expect(payloadsOf(await waits)).toEqual(['a'])
  })

  it('Given a step that was nacked, then it cannot be acked any more', async () => {
    await at.publish('nack-ack', blockOf(0, 'a'))
    const reader = await at.reader('nack-ack')
    await reader.call('read', { n: 1 })
    await reader.call('nack', { n: 1 })
    await refused(reader.call('ack', { n: 1 }), 'NOTHING_TO_ACK')
    expect(payloadsOf(await reader.call('read', { n: 2 }))).toEqual(['a'])
  })

  it('Given a dead letter, which is not built, then UNSUPPORTED and the batch stays', async () => {
    await at.publish('dead', blockOf(0, 'a'))
    const reader = await at.reader('dead')
    await reader.call('read', { n: 1 })
    await refused(reader.call('nack', { n: 1, deadLetter: true }), 'UNSUPPORTED')
    await reader.call('ack', { n: 1 })
  })
})

describe('limits of a read', () => {
  it('Given maxEvents inside a block, then the block is split and nothing is lost or doubled', async () => {
    const all = Array.from({ length: 25 }, (_, i) => `e${i}`)
    await at.publish('max-events', blockOf(0, ...all.slice(0, 10)), blockOf(0, ...all.slice(10)))
    const reader = await at.reader('max-events')
    const got: string[] = []
    for (let n = 1; got.length < all.length; n++) {
      const batch = await reader.call('read', { n, maxEvents: 4, ...(n > 1 ? { ackOf: n - 1 } : {}) })
      expect(batch.count).toBeLessThanOrEqual(4)
      expect(batch.count).toBeGreaterThan(0)
      got.push(...payloadsOf(batch))
    }
    expect(got).toEqual(all)
  })

  it('Given maxBytes, then whole blocks are taken up to it, and one block above it comes alone', async () => {
    const large = buildBlock(0, [{ payload: new Uint8Array(50_000).fill(1) }], encoding.none)
    const small = buildBlock(0, [{ payload: new Uint8Array(100).fill(2) }], encoding.none)
    await at.publish('max-bytes', small)
    await at.publish('max-bytes', large)
    await at.publish('max-bytes', small)
    const reader = await at.reader('max-bytes')
    const sizes: number[][] = []
    for (let n = 1; n <= 3; n++) {
      const batch = await reader.call('read', { n, maxBytes: 1_000, ...(n > 1 ? { ackOf: n - 1 } : {}) })
      sizes.push((batch.blocks ?? []).map(({ data }) => data.length))
    }
    expect(sizes).toEqual([[124], [50_024], [124]])
  })

  it('Given the largest event there may be, then it is written and delivered alone', async () => {
    const eventBytesMax = at.client ? 896 * 1024 : 0
    const payload = Buffer.alloc(eventBytesMax - 24 - 3, 7)
    await at.publish('largest', blockOf(0, 'before'))
    await at.publish('largest', buildBlock(0, [{ id: 'big', payload }], encoding.none))
    await at.publish('largest', blockOf(0, 'after'))
    const reader = await at.reader('largest')
    expect(payloadsOf(await reader.call('read', { n: 1, maxBytes: 10 }))).toEqual(['before'])
    const big = await reader.call('read', { n: 2, ackOf: 1, maxBytes: 10 })
    expect(big.count).toBe(1)
    expect(big.blocks?.[0]?.data.length).toBe(eventBytesMax)
    expect(payloadsOf(await reader.call('read', { n: 3, ackOf: 2 }))).toEqual(['after'])
  })

  it('Given minBytes that are not there, then the read answers what there is after waitMs', async () => {
    await at.publish('min-bytes', blockOf(0, 'a'))
    const reader = await at.reader('min-bytes')
    expect(payloadsOf(await reader.call('read', { n: 1, minBytes: 100_000, waitMs: 50 }))).toEqual(['a'])
  })

  it('Given minBytes and a long wait, then the read is answered when enough has come', async () => {
    await at.publish('min-later', blockOf(0, 'a'))
    const reader = await at.reader('min-later')
    const waits = reader.call('read', { n: 1, minBytes: 1_000, waitMs: 30_000 })
    await at.publish('min-later', buildBlock(0, [{ payload: new Uint8Array(1_000) }], encoding.none))
    expect((await waits).count).toBe(2)
  })

  it('Given limits that mean nothing, then BAD_REQUEST names the field and the step is not spent', async () => {
    await at.publish('bad-limits', blockOf(0, 'a'))
    const reader = await at.reader('bad-limits')
    for (const field of ['maxEvents', 'maxBytes', 'minBytes', 'waitMs'] as const) {
      const error = await refused(reader.call('read', { n: 1, [field]: -1 }), 'BAD_REQUEST')
      expect(error.details['field']).toBe(field)
    }
    expect(payloadsOf(await reader.call('read', { n: 1 }))).toEqual(['a'])
  })
})

describe('the shared end of a topic', () => {
  it('Given many readers that wait there, when one write comes, then each gets it and the block is opened once', async () => {
    await at.createTopic('tail', { partitions: 1 })
    const readers = await Promise.all(
      Array.from({ length: 20 }, async () => RawSession.read(await at.connect(), at.bearer, 'tail', { latest: true })),
    )
    const before = await at.metric('trunkline_blocks_opened_total', { outcome: 'block' })
    const reads = readers.map((reader) => reader.call('read', { n: 1, waitMs: 30_000 }))
    await at.eventually(async () => (await at.metric('trunkline_tail_waiters')) === 20, '20 readers wait')
    await at.publish('tail', blockOf(0, 'news'))
    for (const batch of await Promise.all(reads)) expect(payloadsOf(batch)).toEqual(['news'])
    expect(await at.metric('trunkline_blocks_opened_total', { outcome: 'block' })).toBe(before + 1)
    expect(await at.metric('trunkline_tail_waiters')).toBe(0)
  })
})

describe('the end of a session', () => {
  it('Given dispose, then it is idempotent under the same and under a new seq, and everything else is SESSION_GONE at once', async () => {
    await at.publish('disposed', blockOf(0, 'a', 'b'))
    const open = await at.openSessions()
    const reader = await at.reader('disposed')
    await reader.call('read', { n: 1, maxEvents: 1 })
    await reader.call('ack', { n: 1 })
    const request = { proof: reader.proof(1), session: reader.allocated.session }
    const first = await rawReply(at.client, 'dispose', request)
    const second = await rawReply(at.client, 'dispose', request)
    expect(Buffer.compare(first, second)).toBe(0)
    expect(await at.openSessions()).toBe(open)
    const final = decoded('dispose', first)
    reader.turns[1] = final.turn
    const again = await reader.call('dispose', {}, 1)
    expect(payloadsOf(await (await at.reader('disposed', { cursor: again.cursor })).call('read', { n: 1 }))).toEqual([
      'b',
    ])
    await refused(reader.call('read', { n: 2 }), 'SESSION_GONE')
    await refused(reader.call('ack', { n: 1 }), 'SESSION_GONE')
    await refused(reader.call('extend', {}, 1), 'SESSION_GONE')
    expect(payloadsOf(await (await at.reader('disposed', { cursor: final.cursor })).call('read', { n: 1 }))).toEqual([
      'b',
    ])
  })

  it('Given dispose in the data slot, then its repeat is answered as well', async () => {
    await at.publish('disposed-0', blockOf(0, 'a'))
    const reader = await at.reader('disposed-0')
    const request = { proof: reader.proof(0), session: reader.allocated.session }
    const first = await rawReply(at.client, 'dispose', request)
    expect(Buffer.compare(first, await rawReply(at.client, 'dispose', request))).toBe(0)
    decoded('dispose', first)
  })

  it('Given dispose while a read waits, then the read is answered SESSION_GONE and the final cursor is its start', async () => {
    await at.createTopic('parked')
    const reader = await at.reader('parked')
    const parked = reader.call('read', { n: 1, waitMs: 30_000 })
    await at.eventually(async () => (await at.metric('trunkline_tail_waiters')) === 1, 'the read waits')
    const { cursor } = await reader.call('dispose', {}, 1)
    await refused(parked, 'SESSION_GONE')
    await at.publish('parked', blockOf(0, 'a'))
    expect(payloadsOf(await (await at.reader('parked', { cursor })).call('read', { n: 1 }))).toEqual(['a'])
  })

  it('Given events with a key and every field, then a reader gets them as they were', async () => {
    const event = {
      key: bytes('k'),
      payload: bytes('p'),
      id: 'i',
      type: 't',
      source: 's',
      timestampMs: 5,
      headers: new Map([['h', 'v']]),
    }
    await at.publish('fields', buildBlock(2, [event], encoding.none))
    const reader = await at.reader('fields')
    const batch = await reader.call('read', { n: 1, asEvents: true })
    expect(batch.blocks).toBeUndefined()
    const [found] = batch.events ?? []
    expect({ ...found, key: undefined, payload: undefined, appendTimeMs: 0 }).toEqual({
      ...event,
      key: undefined,
      payload: undefined,
      partition: 2,
      offset: 0,
      index: 0,
      appendTimeMs: 0,
    })
    expect(Buffer.from(found?.key ?? []).toString()).toBe('k')
    expect(Buffer.from(found?.payload ?? []).toString()).toBe('p')
  })
})
