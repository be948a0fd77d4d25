// Taking a producer along: over a restart (the old incarnation is silent: fence and look-up), on the same node (release),
// and the answers when nobody can tell or the topic is another one.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { openEmbeddedLog, openLmdbBroker } from '../../../src/adapters/embedded/open.ts'
import { openKeyring } from '../../../src/adapters/keyring/keyring-provider.ts'
import { systemRandom } from '../../../src/adapters/random/system-random.ts'
import { BlockSealer } from '../../../src/crypto/block-sealer.ts'
import { GatewayKeys } from '../../../src/crypto/gateway-keys.ts'
import { openSessionToken } from '../../../src/crypto/session-token.ts'
import { makeIncarnation } from '../../../src/protocol/ids.ts'
import { type Block, partState } from '../../../src/protocol/messages.ts'
import { encodeRecordHeader } from '../../../src/protocol/record-header.ts'
import { writeHash } from '../../../src/protocol/write-hash.ts'
import type { RawSession } from '../../support/raw-client.ts'
import { blockOf, Harness, payloadsOf, refused, resumeOf } from './harness.ts'

let at: Harness
beforeEach(async () => {
  at = await Harness.start()
})
afterEach(() => at.end())

describe('a producer over a restart of the gateway', () => {
  it('Given unanswered writes that landed and one that did not, then the answer says which, and the rest goes on in order', async () => {
    const writer = await at.writer('over')
    await writer.call('write', { n: 1, blocks: [blockOf(0, 'a')], commit: true })
    const landed = [blockOf(0, 'b'), blockOf(1, 'c')]
    await writer.call('write', { n: 2, blocks: landed, commit: true })
    await writer.call('write', { n: 3, blocks: [blockOf(0, 'd')] })
    await at.restart()
    // The client never saw the answers to 2 and 3.
    const resume = resumeOf(writer, undefined, [
      { n: 2, partitions: [0, 1] },
      { n: 3, partitions: [0] },
    ])
    const next = await at.writer('over', resume)
    expect(await at.metric('trunkline_take_overs_total', { outcome: 'fenced' })).toBe(1)
    expect(next.allocated.nextN).toBe(4)
    expect(next.allocated.outcomes).toEqual([
      {
        n: 2,
        parts: [
          { part: 0, partition: 0, state: partState.landed, offset: 1 },
          { part: 1, partition: 1, state: partState.landed, offset: 0 },
        ],
      },
      { n: 3, parts: [{ part: 0, partition: 0, state: partState.missing }] },
    ])
    // Only what is missing, under its own number; then new ones.
    await refused(next.call('write', { n: 4, blocks: [blockOf(0, 'e')], commit: true }), 'SEQUENCE_MISMATCH')
    await next.call('write', { n: 3, blocks: [blockOf(0, 'd')], commit: true })
    await next.call('write', { n: 4, blocks: [blockOf(0, 'e')], commit: true })
    expect(await at.everything('over')).toEqual(
      new Map([
        [0, ['a', 'b', 'd', 'e']],
        [1, ['c']],
      ]),
    )
  })

  it('Given a write that landed in one of its partitions only, then just the missing part is appended, whole and once', async () => {
    const writer = await at.writer('partly')
    await writer.call('write', { n: 1, blocks: [blockOf(0, 'a')], commit: true })
    const blocks = [blockOf(0, 'b0'), blockOf(1, 'b1')]
    await at.restart(() => appendPart(writer, 2, blocks, 0))
    const resume = resumeOf(writer, undefined, [
      { n: 1, partitions: [0] },
      { n: 2, partitions: [0, 1] },
    ])
    const next = await at.writer('partly', resume)
    expect(next.allocated.outcomes?.[1]?.parts.map(({ state }) => state)).toEqual([partState.landed, partState.missing])
    await refused(
      next.call('write', { n: 2, blocks: [blockOf(0, 'b0'), blockOf(1, 'xx')], commit: true }),
      'WRITE_CHANGED',
    )
    // Lost again before its answer: the write cursor still has what landed of it.
    const cursor = next.allocated.writeCursor
    await at.restart()
    const last = await at.writer('partly', { ...resumeOf(next, cursor, [{ n: 2, partitions: [0, 1] }]) })
    const { parts = [] } = await last.call('write', { n: 2, blocks, commit: true })
    expect(parts.map(({ partition, state }) => [partition, state])).toEqual([
      [0, partState.landed],
      [1, partState.landed],
    ])
    await last.call('write', { n: 3, blocks: [blockOf(1, 'c')], commit: true })
    expect(await at.everything('partly')).toEqual(
      new Map([
        [0, ['a', 'b0']],
        [1, ['b1', 'c']],
      ]),
    )
  })

  it('Given a write that landed, when it comes again with other content, then it is never a success', async () => {
    const writer = await at.writer('over-changed')
    await writer.call('write', { n: 1, blocks: [blockOf(0, 'a')], commit: true })
    await at.restart()
    const next = await at.writer('over-changed', resumeOf(writer, undefined, [{ n: 1, partitions: [0] }]))
    await refused(next.call('write', { n: 1, blocks: [blockOf(0, 'b')], commit: true }), 'WRITE_CHANGED')
    await next.call('write', { n: 2, blocks: [blockOf(0, 'c')], commit: true })
    expect(await at.everything('over-changed')).toEqual(new Map([[0, ['a', 'c']]]))
  })

  it('Given the write cursor of an answer, then what it covers is not scanned, and the producer goes on', async () => {
    const writer = await at.writer('over-cursor')
    const { writeCursor } = await writer.call('write', { n: 1, blocks: [blockOf(0, 'a')], commit: true })
    await at.restart()
    const next = await at.writer('over-cursor', { ...resumeOf(writer, writeCursor, []), nextN: 2 })
    expect(next.allocated.outcomes).toEqual([])
    await next.call('write', { n: 2, blocks: [blockOf(0, 'b')], commit: true })
    expect((await at.everything('over-cursor')).get(0)).toEqual(['a', 'b'])
  })

  it('Given two take-overs one after the other, each with the newest token, then nothing is lost or doubled', async () => {
    let writer = await at.writer('chain')
    await writer.call('write', { n: 1, blocks: [blockOf(0, 'w1')], commit: true })
    for (let n = 2; n <= 4; n++) {
      await at.restart()
      writer = await at.writer('chain', resumeOf(writer, undefined, [{ n: n - 1, partitions: [0] }]))
      expect(writer.allocated.outcomes?.[0]?.parts[0]?.state).toBe(partState.landed)
      await writer.call('write', { n, blocks: [blockOf(0, `w${n}`)], commit: true })
    }
    expect((await at.everything('chain')).get(0)).toEqual(['w1', 'w2', 'w3', 'w4'])
  })
})

describe('a producer on the same node', () => {
  it('Given a later allocate, then the earlier session is closed for good and released, not fenced', async () => {
    const writer = await at.writer('superseded')
    await writer.call('write', { n: 1, blocks: [blockOf(0, 'a')], commit: true })
    await writer.call('write', { n: 2, blocks: [blockOf(0, 'staged')] })
    const next = await at.writer(
      'superseded',
      resumeOf(writer, undefined, [
        { n: 1, partitions: [0] },
        { n: 2, partitions: [0] },
      ]),
    )
    expect(next.allocated.outcomes?.map(({ parts }) => parts[0]?.state)).toEqual([partState.landed, partState.missing])
    expect(await at.metric('trunkline_take_overs_total', { outcome: 'released' })).toBe(1)
    expect(await at.metric('trunkline_sessions_closed_total', { reason: 'superseded' })).toBe(1)
    await refused(writer.call('ack', { n: 2 }), 'SESSION_GONE')
    await next.call('write', { n: 2, blocks: [blockOf(0, 'staged')], commit: true })
    expect((await at.everything('superseded')).get(0)).toEqual(['a', 'staged'])
    expect(await at.openSessions()).toBe(1)
  })

  it('Given the token and cursor of another topic, a read cursor, or numbers that cannot be, then it is typed and no session stays open', async () => {
    const writer = await at.writer('one')
    await at.publish('two', blockOf(0, 'a'))
    const good = resumeOf(writer, undefined, [{ n: 1, partitions: [0] }])
    const reader = await at.reader('one')
    await refused(at.writer('two', good), 'TOPIC_CHANGED')
    const { cursor = new Uint8Array() } = reader.allocated
    await refused(at.writer('one', { ...good, writeCursor: cursor }), 'BAD_CURSOR')
    await refused(at.writer('one', { ...good, session: reader.allocated.session }), 'BAD_SESSION_TOKEN')
    for (const bad of [
      { ...good, nextN: 0 },
      { ...good, nextN: 1 },
      { ...good, writes: [{ n: 1, partitions: [99] }] },
      { ...good, writes: [{ n: 1, partitions: [] }] },
      {
        ...good,
        writes: [
          { n: 1, partitions: [0] },
          { n: 1, partitions: [0] },
        ],
        nextN: 5,
      },
    ]) {
      await refused(at.writer('one', bad), 'BAD_REQUEST')
    }
    await reader.call('dispose', {}, 1)
    expect(await at.openSessions()).toBe(0)
    const next = await at.writer('one', good)
    await next.call('write', { n: 1, blocks: [blockOf(0, 'x')], commit: true })
    expect((await at.everything('one')).get(0)).toEqual(['x'])
  })
})

describe('when nobody can tell', () => {
  it('Given that retention removed the place of a write, then its state is unknown and it is never appended by itself', async () => {
    await at.createTopic('kept-short', { retentionMs: '60000' })
    const writer = await at.writer('kept-short')
    await writer.call('write', { n: 1, blocks: [blockOf(0, 'a')], commit: true })
    await at.restart(async () => {
      // An hour passes.
      const clock = new SimulatedClock(Date.now() + 3_600_000)
      const dir = join(at.dir, 'log')
      const broker = await openLmdbBroker({ dir, clock, random: systemRandom, retentionSweepMs: 1 })
      await clock.advance(1)
      await broker.idle()
      await broker.close()
    })
    expect(await at.everything('kept-short')).toEqual(new Map())
    const next = await at.writer('kept-short', resumeOf(writer, undefined, [{ n: 1, partitions: [0] }]))
    expect(next.allocated.outcomes?.[0]?.parts[0]?.state).toBe(partState.unknown)
    await refused(
      next.call('write', { n: 1, blocks: [blockOf(0, 'a')], commit: true }),
      'SEQUENCE_MISMATCH',
      'OUTCOME_UNKNOWN',
    )
    await next.call('write', { n: 2, blocks: [blockOf(0, 'b')], commit: true })
    expect((await at.everything('kept-short')).get(0)).toEqual(['b'])
  })

  it('Given a reader behind what retention removed, then CURSOR_OUT_OF_RANGE with a cursor that goes on', async () => {
    await at.createTopic('short', { retentionMs: '60000' })
    await at.publish('short', blockOf(0, 'a'))
    const { cursor = new Uint8Array() } = (await at.reader('short')).allocated
    await at.restart(async () => {
      const clock = new SimulatedClock(Date.now() + 3_600_000)
      const dir = join(at.dir, 'log')
      const broker = await openLmdbBroker({ dir, clock, random: systemRandom, retentionSweepMs: 1 })
      await clock.advance(1)
      await broker.idle()
      await broker.close()
    })
    await at.publish('short', blockOf(0, 'b'))
    const reader = await at.reader('short', { cursor })
    const gone = await refused(reader.call('read', { n: 1 }), 'CURSOR_OUT_OF_RANGE')
    if (gone.cursor === undefined) throw new Error('no cursor')
    expect(payloadsOf(await (await at.reader('short', { cursor: gone.cursor })).call('read', { n: 1 }))).toEqual(['b'])
  })
})

describe('a topic that was deleted and made again', () => {
  it('Given an open reader and a waiting one, then TOPIC_CHANGED or UNKNOWN_TOPIC at once, and no event of the new topic', async () => {
    await at.publish('again', blockOf(0, 'old'))
    const reader = await at.reader('again')
    await reader.call('read', { n: 1 })
    const parked = await at.reader('again', { latest: true })
    const waits = refused(parked.call('read', { n: 1, waitMs: 30_000 }), 'TOPIC_CHANGED', 'UNKNOWN_TOPIC')
    await at.eventually(async () => (await at.metric('trunkline_tail_waiters')) === 1, 'a read waits')
    await at.deleteTopic('again')
    await waits
    await at.publish('again', blockOf(0, 'new'))
    await refused(reader.call('read', { n: 2, ackOf: 1 }), 'TOPIC_CHANGED', 'UNKNOWN_TOPIC')
    await refused(parked.call('read', { n: 1 }), 'TOPIC_CHANGED', 'UNKNOWN_TOPIC')
    const { cursor = new Uint8Array() } = reader.allocated
    await refused(at.reader('again', { cursor }), 'CURSOR_FOREIGN', 'TOPIC_CHANGED')
    expect(await at.everything('again')).toEqual(new Map([[0, ['new']]]))
  })

  it('Given an open writer, then nothing of it lands in the new topic, and its resume says TOPIC_CHANGED', async () => {
    const writer = await at.writer('rewritten')
    await writer.call('write', { n: 1, blocks: [blockOf(0, 'old')], commit: true })
    await writer.call('write', { n: 2, blocks: [blockOf(0, 'staged')] })
    await at.deleteTopic('rewritten')
    await at.createTopic('rewritten')
    const error = await refused(writer.call('ack', { n: 2 }))
    expect(['SESSION_GONE', 'TOPIC_CHANGED', 'UNKNOWN_TOPIC']).toContain(error.name)
    await refused(writer.call('write', { n: 3, blocks: [blockOf(0, 'more')], commit: true }))
    await refused(at.writer('rewritten', resumeOf(writer, undefined, [{ n: 2, partitions: [0] }])), 'TOPIC_CHANGED')
    await at.publish('rewritten', blockOf(0, 'new'))
    expect(await at.everything('rewritten')).toEqual(new Map([[0, ['new']]]))
  })
})

/** What a node that died in the middle leaves behind: one part of a write in the log of the stopped gateway. */
async function appendPart(writer: RawSession, n: number, blocks: readonly Block[], part: number): Promise<void> {
  const clock = systemClock
  const random = systemRandom
  const gatewayKeys = GatewayKeys.parse(await readFile(join(at.dir, 'gateway-keys.json'), 'utf8'))
  const { topic, topicId, producerId } = openSessionToken(gatewayKeys, writer.allocated.session)
  const block = blocks[part]
  if (producerId === undefined || block === undefined) throw new Error('a part of a producer')
  const keys = await openKeyring(join(at.dir, 'keyring.json'), { create: false, clock, random })
  const sealer = new BlockSealer({ keys, clock, random, tenant: 'default' })
  await sealer.prepare(topicId)
  const value = await sealer.seal(block, { topicId, producerId, partition: block.partition, n, part })
  const log = await openEmbeddedLog({ dir: join(at.dir, 'log'), clock, random })
  const dying = await log.open(makeIncarnation('dev', 'died'))
  const header = encodeRecordHeader({
    kind: 'data',
    producerId,
    n,
    part,
    parts: blocks.length,
    writeHash: writeHash(blocks),
  })
  const outcome = await dying.append({ topic, partition: block.partition }, [{ key: null, value, header }])
  expect(outcome.kind).toBe('landed')
  await log.close()
  sealer.close()
  await keys.close()
  gatewayKeys.close()
}
