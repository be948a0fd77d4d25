// W1 to W5 of a writing session: order under sealing that waits, parts that land alone, changed content, refusals, and
// retirement, which answers nothing.
import { beforeEach, describe, expect, it } from 'vitest'
import { decodeRecordHeader } from '../../../src/protocol/record-header.ts'
import { writeHash } from '../../../src/protocol/write-hash.ts'
import type { Answered } from '../../../src/stream-tier/conversation.ts'
import type { WriteSession } from '../../../src/stream-tier/write-session.ts'
import { blockOf, type Client, isSettled, nameOf, replyOf, SessionsWorld, settle, topicId } from './sessions-world.ts'

const session = new Uint8Array()
let world: SessionsWorld
let writer: Client<WriteSession>
beforeEach(() => {
  world = new SessionsWorld()
  writer = world.writer()
})

type Blocks = Parameters<typeof writeHash>[0]
const commit = (n: number, ...blocks: Blocks): Promise<Answered> =>
  writer.ask((proof) => writer.session.write({ n, blocks, commit: true, proof, session }))
const stage = (n: number, ...blocks: Blocks): Promise<Answered> =>
  writer.ask((proof) => writer.session.write({ n, blocks, proof, session }))
const ack = (n: number): Promise<Answered> => writer.ask((proof) => writer.session.ack({ n, proof, session }))

/** n.part of every record at the log, by batch. */
const atLog = (): string[][] =>
  world.log.out.map(({ records }) =>
    records.map(({ header }) => {
      const decoded = header === null ? undefined : decodeRecordHeader(header)
      return decoded?.kind === 'data' ? `${decoded.n}.${decoded.part}` : '?'
    }),
  )

describe('W1 order', () => {
  it('given sealing that answers in the other order, then records still reach the log by n', async () => {
    const sealings: NonNullable<SessionsWorld['sealings']> = []
    world.sealings = sealings
    const answers = [commit(1, blockOf(0, 'a')), commit(2, blockOf(1, 'b')), commit(3, blockOf(2, 'c'))]
    await settle(world)
    // The second is not even sealed before the first is handed over.
    expect(sealings.length).toBe(1)
    for (let i = 0; i < 3; i++) {
      expect(atLog().length).toBe(i)
      sealings[i]?.resolve(new Uint8Array(3))
      await settle(world)
    }
    expect(atLog()).toEqual([['1.0'], ['2.0'], ['3.0']])
    for (let i = 0; i < 3; i++) world.log.land()
    expect((await Promise.all(answers)).map(nameOf)).toEqual(['answered', 'answered', 'answered'])
  })

  it('given parts of several partitions, then the write is answered when the last has landed', async () => {
    const answer = commit(1, blockOf(0, 'a'), blockOf(1, 'b'))
    await settle(world)
    world.log.land()
    expect(await isSettled(answer)).toBe(false)
    world.log.land()
    const { published, parts } = replyOf(await answer)
    expect([published, parts]).toEqual([
      true,
      [
        { part: 0, partition: 0, state: 1, offset: 100 },
        { part: 1, partition: 1, state: 1, offset: 101 },
      ],
    ])
    expect(world.published).toBe(2)
  })
})

describe('W2 parts that are there are not appended again', () => {
  it('given one part landed and one refused, then the write is held, comes again whole, and only the missing part goes out', async () => {
    const blocks = [blockOf(0, 'a'), blockOf(1, 'b')]
    const first = commit(1, ...blocks)
    await settle(world)
    world.log.land()
    world.log.refuse('WRITE_REFUSED')
    expect(nameOf(await first)).toBe('WRITE_HELD')
    const again = commit(1, ...blocks)
    await settle(world)
    expect(atLog()).toEqual([['1.1']])
    world.log.land()
    expect(replyOf(await again)['parts']).toMatchObject([{ offset: 100 }, { offset: 101 }])
  })

  it('given what a take-over found, then only what is missing is appended, and other content is WRITE_CHANGED', async () => {
    const blocks = [blockOf(0, 'a'), blockOf(1, 'b')]
    writer = world.takingOver()
    writer.session.send({ type: 'TAKE_OVER' })
    const landed = new Map([[3, new Map([[0, { offset: 9, writeHash: writeHash(blocks) }]])]])
    writer.session.takeOver({ landed, missing: [3], partitions: new Map([[3, [0, 1]]]), from: [9, 0, 0, 0] })
    writer.session.send({ type: 'TAKEN_OVER', missing: [3], nextN: 4 })
    expect(nameOf(await commit(4, blockOf(0, 'x')))).toBe('SEQUENCE_MISMATCH')
    expect(nameOf(await commit(3, blockOf(0, 'other'), blockOf(1, 'b')))).toBe('WRITE_CHANGED')
    // Looked for in partitions 0 and 1: elsewhere it may have landed unseen.
    expect(nameOf(await commit(3, blockOf(0, 'a'), blockOf(2, 'b')))).toBe('WRITE_CHANGED')
    const answer = commit(3, ...blocks)
    await settle(world)
    expect(atLog()).toEqual([['3.1']])
    world.log.land()
    expect(replyOf(await answer)['parts']).toMatchObject([{ offset: 9 }, { offset: 100 }])
    const next = commit(4, blockOf(0, 'x'))
    await settle(world)
    world.log.land()
    expect(nameOf(await next)).toBe('answered')
  })
})

describe('W3 and repeats', () => {
  it('given a write that is at the log, then a repeat under a new seq waits for the same answer', async () => {
    const first = commit(1, blockOf(0, 'a'))
    const second = commit(1, blockOf(0, 'a'))
    await settle(world)
    expect(atLog()).toEqual([['1.0']])
    expect(nameOf(await commit(1, blockOf(0, 'b')))).toBe('WRITE_CHANGED')
    world.log.land()
    expect(replyOf(await first)['parts']).toEqual(replyOf(await second)['parts'])
  })

  it('given a staged write, then it is not at the log before its ack, and its ack twice publishes it once', async () => {
    expect(replyOf(await stage(1, blockOf(0, 'a')))['published']).toBe(false)
    expect(atLog()).toEqual([])
    const acks = [ack(1), ack(1)]
    await settle(world)
    expect(atLog()).toEqual([['1.0']])
    world.log.land()
    const [first, second] = await Promise.all(acks)
    expect(first && second && replyOf(first)['parts']).toEqual(second && replyOf(second)['parts'])
  })

  it('given numbers settled long ago, then memory is bounded: the oldest are only known as taken', async () => {
    for (let n = 1; n <= 40; n++) {
      const answer = commit(n, blockOf(0, `${n}`))
      await settle(world)
      world.log.land()
      await answer
    }
    expect(nameOf(await commit(1, blockOf(0, '1')))).toBe('SEQUENCE_MISMATCH')
    expect(nameOf(await commit(40, blockOf(0, '40')))).toBe('answered')
    expect(atLog()).toEqual([])
  })
})

describe('W4 refusals', () => {
  it('given a refusal, then what comes behind it is held, nothing overtakes, and all go on in order', async () => {
    const answers = [commit(1, blockOf(0, 'a')), commit(2, blockOf(0, 'b')), commit(3, blockOf(0, 'c'))]
    await settle(world)
    expect(atLog()).toEqual([['1.0']])
    world.log.refuse('WRITE_REFUSED')
    await settle(world)
    expect((await Promise.all(answers)).map(nameOf)).toEqual(['WRITE_REFUSED', 'WRITE_HELD', 'WRITE_HELD'])
    expect(atLog()).toEqual([])
    // 1 is due again: a client that has not seen its refusal and sends 2 or 3 does not get past it.
    for (const n of [2, 3]) {
      const behind = await commit(n, blockOf(0, 'x'))
      expect('error' in behind && [behind.error.name, behind.error.expected]).toEqual(['SEQUENCE_MISMATCH', 1])
    }
    const again = [commit(1, blockOf(0, 'corrected')), commit(2, blockOf(0, 'b')), commit(3, blockOf(0, 'c'))]
    await settle(world)
    while (world.log.out.length > 0) {
      world.log.land()
      await settle(world)
    }
    expect((await Promise.all(again)).map(nameOf)).toEqual(['answered', 'answered', 'answered'])
    expect(nameOf(await commit(1, blockOf(0, 'a')))).toBe('WRITE_CHANGED')
  })

  it('given a refusal that a repeat can cure, then the number is due again', async () => {
    const first = commit(1, blockOf(0, 'a'))
    await settle(world)
    world.log.refuse('STORAGE_FULL')
    expect(nameOf(await first)).toBe('STORAGE_FULL')
    const again = commit(1, blockOf(0, 'a'))
    await settle(world)
    world.log.land()
    expect(nameOf(await again)).toBe('answered')
  })

  it('given sealing that fails, then the write is held with its reason, and goes on when the key is back', async () => {
    world.sealFault = 'KEY_UNAVAILABLE'
    const [first, second] = [commit(1, blockOf(0, 'a')), commit(2, blockOf(0, 'b'))]
    expect([nameOf(await first), nameOf(await second)]).toEqual(['KEY_UNAVAILABLE', 'WRITE_HELD'])
    expect(atLog()).toEqual([])
    world.sealFault = undefined
    const again = commit(1, blockOf(0, 'a'))
    await settle(world)
    world.log.land()
    expect(nameOf(await again)).toBe('answered')
  })

  it('given writes that were staged behind a refusal, then they come again before they are published', async () => {
    await stage(1, blockOf(0, 'a'))
    await stage(2, blockOf(0, 'b'))
    const first = ack(1)
    await settle(world)
    world.log.refuse('WRITE_REFUSED')
    expect(nameOf(await first)).toBe('WRITE_REFUSED')
    expect(nameOf(await ack(2))).toBe('NOTHING_TO_ACK')
    await stage(1, blockOf(0, 'corrected'))
    await stage(2, blockOf(0, 'b'))
    const both = [ack(1), ack(2)]
    await settle(world)
    expect(atLog()).toEqual([['1.0']])
    world.log.land()
    await settle(world)
    world.log.land()
    expect((await Promise.all(both)).map(nameOf)).toEqual(['answered', 'answered'])
  })
})

describe('W5 the end', () => {
  it('given that the incarnation retires, then no write is answered as landed or refused: SESSION_GONE', async () => {
    const answers = [commit(1, blockOf(0, 'a')), commit(2, blockOf(0, 'b'))]
    await settle(world)
    world.log.retire('fenced')
    await settle(world)
    for (const answer of answers) expect(await isSettled(answer)).toBe(false)
    writer.session.send({ type: 'NODE_CLOSED' })
    world.log.out.shift()?.answer({ kind: 'retired', reason: 'fenced' })
    expect((await Promise.all(answers)).map(nameOf)).toEqual(['SESSION_GONE', 'SESSION_GONE'])
    expect(world.reasons).toEqual(['node-closed'])
  })

  it('given a release while a write is at the log, then it is not released before that has settled, and what waited is never sent', async () => {
    const [first, second] = [commit(1, blockOf(0, 'a')), commit(2, blockOf(0, 'b'))]
    await settle(world)
    expect(world.sessions.release(writer.session.id)).toBe(false)
    world.log.land()
    await settle(world)
    expect(atLog()).toEqual([])
    expect([nameOf(await first), nameOf(await second)]).toEqual(['answered', 'SESSION_GONE'])
    expect(world.sessions.release(writer.session.id)).toBe(true)
  })

  it('given two disposes while a write is at the log, then both wait for it and answer where it ended', async () => {
    const write = commit(1, blockOf(0, 'a'))
    await settle(world)
    const disposes = [1, 2].map(() => writer.ask((proof) => writer.session.dispose({ proof, session }), 1))
    await settle(world)
    for (const one of disposes) expect(await isSettled(one)).toBe(false)
    world.log.land()
    for (const one of await Promise.all(disposes)) expect(world.offsetsOf(one)[0]).toBe(101)
    expect(nameOf(await write)).toBe('answered')
    expect([world.defects, world.unknown, world.reasons]).toEqual([[], [], ['disposed']])
  })

  it('given a closed session, then every new request is answered at once', async () => {
    const done = commit(1, blockOf(0, 'a'))
    await settle(world)
    world.log.land()
    await done
    await writer.ask((proof) => writer.session.dispose({ proof, session }), 1)
    expect(nameOf(await commit(2, blockOf(0, 'b')))).toBe('SESSION_GONE')
    expect(nameOf(await ack(1))).toBe('SESSION_GONE')
    expect(nameOf(await writer.ask((proof) => writer.session.extend({ proof, session }, undefined), 1))).toBe(
      'SESSION_GONE',
    )
    const again = await writer.ask((proof) => writer.session.dispose({ proof, session }), 1)
    expect(world.offsetsOf(again)[0]).toBe(101)
  })
})

describe('W6 a topic made anew', () => {
  it('given a refusal as TOPIC_CHANGED, then the write hears so, nothing behind it is sent, and the session ends', async () => {
    const [first, second] = [commit(1, blockOf(0, 'a')), commit(2, blockOf(0, 'b'))]
    await settle(world)
    expect(world.log.out[0]?.at).toEqual({ topic: 't', partition: 0, topicId })
    world.log.refuse('TOPIC_CHANGED')
    expect([nameOf(await first), nameOf(await second)]).toEqual(['TOPIC_CHANGED', 'WRITE_HELD'])
    expect([atLog(), world.reasons, world.defects, world.unknown]).toEqual([[], ['released'], [], []])
    expect(nameOf(await commit(3, blockOf(0, 'c')))).toBe('SESSION_GONE')
  })

  it('given parts of which one landed before, then the write is held for the client to take elsewhere', async () => {
    const first = commit(1, blockOf(0, 'a'), blockOf(1, 'b'))
    await settle(world)
    world.log.land()
    world.log.refuse('TOPIC_CHANGED')
    await settle(world)
    expect([nameOf(await first), world.reasons, world.defects]).toEqual(['WRITE_HELD', ['released'], []])
  })
})

describe('a plain topic', () => {
  beforeEach(() => {
    world = new SessionsWorld()
    world.format = 'plain'
    writer = world.writer()
  })

  it('given a write, then its events are records of their own, and the answer and the cursor say so', async () => {
    world.sealFault = 'KEY_UNAVAILABLE' // Nothing is sealed: no key is asked for.
    const answer = commit(1, blockOf(0, 'a', 'b', 'c'), blockOf(1, 'd'))
    await settle(world)
    expect(atLog()).toEqual([['1.0', '1.0', '1.0'], ['1.1']])
    world.log.land()
    world.log.land()
    const told = await answer
    expect(replyOf(told)).toMatchObject({
      published: true,
      parts: [
        { part: 0, partition: 0, state: 1, offset: 100, perEvent: true },
        { part: 1, partition: 1, state: 1, offset: 103, perEvent: true },
      ],
    })
    // Behind the last record of each part.
    expect(world.offsetsOf(told)).toEqual([103, 104, 0, 0])
    expect([world.published, world.bufferedBytes]).toEqual([4, 0])
  })

  it('given a staged write, then its records count against the buffer until it ends', async () => {
    await stage(1, blockOf(0, 'a', 'b', 'c'))
    const held = world.bufferedBytes
    expect(held).toBeGreaterThan(blockOf(0, 'a', 'b', 'c').data.length)
    writer.session.send({ type: 'NODE_CLOSED' })
    expect(world.bufferedBytes).toBe(0)
  })
})

describe('the write cursor', () => {
  it('given extend while nothing is outstanding, then it moves to the ends of the log', async () => {
    const extended = await writer.ask((proof) => writer.session.extend({ proof, session }, undefined), 1)
    expect(world.offsetsOf(extended)).toEqual([500, 500, 500, 500])
  })

  it('given a write that is taken while the ends are asked for, then they are not believed: they may lie behind it', async () => {
    let tell: (ends: number[]) => void = () => {}
    world.ends = () => new Promise((resolve) => (tell = resolve))
    const extended = writer.ask((proof) => writer.session.extend({ proof, session }, undefined), 1)
    const [first, second] = [commit(1, blockOf(0, 'a')), commit(2, blockOf(1, 'b'))]
    await settle(world)
    world.log.land()
    const firstAnswer = await first
    tell([102, 102, 0, 0])
    expect(world.offsetsOf(await extended)).toEqual([101, 0, 0, 0])
    world.log.land()
    expect(world.offsetsOf(firstAnswer)).toEqual([101, 0, 0, 0])
    expect(world.offsetsOf(await second)).toEqual([101, 102, 0, 0])
  })
})
