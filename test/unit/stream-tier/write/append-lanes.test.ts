import { beforeEach, describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../../src/adapters/clock/simulated-clock.ts'
import type {
  AppendOutcome,
  AppendRecord,
  AppendTarget,
  LogWriter,
  RetireReason,
} from '../../../../src/ports/event-log.ts'
import {
  parseIncarnation,
  parseProducerId,
  parseSessionId,
  parseTopicId,
  parseTopicName,
  type SessionId,
} from '../../../../src/protocol/ids.ts'
import type { EntryOutcome } from '../../../../src/stream-tier/write/append-entry.ts'
import { AppendLanes } from '../../../../src/stream-tier/write/append-lanes.ts'

const topic = parseTopicName('quakes')
const producerId = parseProducerId('a'.repeat(32))
const s1 = parseSessionId('session-1')
const s2 = parseSessionId('session-2')
const s3 = parseSessionId('session-3')

/** A log that answers when the test says so. */
class ScriptedWriter implements LogWriter {
  readonly identity = parseIncarnation('n1.e1')
  readonly pid = 1
  readonly batches: {
    at: AppendTarget
    values: string[]
    answer: (outcome: AppendOutcome) => void
    fail: (e: Error) => void
  }[] = []
  retire: (reason: RetireReason) => void = () => {}
  readonly retired = new Promise<RetireReason>((resolve) => {
    this.retire = resolve
  })

  append(at: AppendTarget, records: readonly AppendRecord[]): Promise<AppendOutcome> {
    return new Promise((answer, fail) => {
      this.batches.push({ at, values: records.map(({ value }) => Buffer.from(value).toString()), answer, fail })
    })
  }

  async close(): Promise<void> {}

  /** Answers the batch that is out longest; returns what it held. */
  async answer(outcome: AppendOutcome, partition = 0): Promise<string[]> {
    const index = this.batches.findIndex(({ at }) => at.partition === partition)
    const [batch] = this.batches.splice(index, 1)
    if (index < 0 || batch === undefined) throw new Error('nothing is out')
    batch.answer(outcome)
    await turn()
    return batch.values
  }

  out(partition = 0): string[][] {
    return this.batches.filter(({ at }) => at.partition === partition).map(({ values }) => values)
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const landed = (baseOffset: number): AppendOutcome => ({ kind: 'landed', baseOffset, appendTimeMs: 7 })
const refused: AppendOutcome = { kind: 'refused', error: 'STORAGE_FULL' }

describe('append lanes', () => {
  let writer: ScriptedWriter
  let lanes: AppendLanes
  let outcomes: Map<string, EntryOutcome>

  beforeEach(() => {
    writer = new ScriptedWriter()
    lanes = new AppendLanes({ writer, batchBytesMax: 10, bufferBytesMax: 100, clock: new SimulatedClock() })
    outcomes = new Map()
  })

  function append(session: SessionId, n: number, value: string, partition = 0): void {
    const record = { key: null, value: Buffer.from(value), header: null }
    void lanes
      .append({ topic, partition }, { producerId, session, n, records: [record] })
      .then((outcome) => outcomes.set(value, outcome))
  }

  it('sends at once when idle, and what comes meanwhile joins the next batch', async () => {
    append(s1, 1, 'a')
    expect(writer.out()).toEqual([['a']])
    append(s1, 2, 'b')
    append(s2, 1, 'c')
    expect(writer.out()).toEqual([['a']])
    await writer.answer(landed(5))
    expect(writer.out()).toEqual([['b', 'c']])
    await writer.answer(landed(6))
    expect(outcomes.get('a')).toEqual({ kind: 'landed', offset: 5, appendTimeMs: 7 })
    expect(outcomes.get('b')).toEqual({ kind: 'landed', offset: 6, appendTimeMs: 7 })
    expect(outcomes.get('c')).toEqual({ kind: 'landed', offset: 7, appendTimeMs: 7 })
    expect(lanes.bufferedBytes).toBe(0)
  })

  it('keeps one batch in flight per partition and lets partitions go on alone', async () => {
    append(s1, 1, 'a', 0)
    append(s1, 1, 'b', 1)
    append(s1, 2, 'c', 0)
    append(s1, 2, 'd', 1)
    expect(writer.out(0)).toEqual([['a']])
    expect(writer.out(1)).toEqual([['b']])
    await writer.answer(landed(0), 1)
    expect(writer.out(0)).toEqual([['a']])
    expect(writer.out(1)).toEqual([['d']])
  })

  it('fills a batch up to its bytes, and sends a larger part alone', async () => {
    append(s1, 1, 'x')
    for (const value of ['aaaa', 'bbbb', 'cccc']) append(s2, 1, value)
    append(s2, 1, 'd'.repeat(20))
    append(s2, 1, 'e')
    await writer.answer(landed(0))
    expect(await writer.answer(landed(1))).toEqual(['aaaa', 'bbbb'])
    expect(await writer.answer(landed(3))).toEqual(['cccc'])
    expect(await writer.answer(landed(4))).toEqual(['d'.repeat(20)])
    expect(writer.out()).toEqual([['e']])
  })

  it('tries a refused shared batch again session by session, before anything younger', async () => {
    append(s1, 1, 'x')
    append(s1, 2, 'a1')
    append(s2, 1, 'b1')
    append(s1, 3, 'a2')
    await writer.answer(landed(0))
    append(s3, 1, 'young')
    expect(await writer.answer(refused)).toEqual(['a1', 'b1', 'a2'])
    expect(writer.out()).toEqual([['a1', 'a2']])
    await writer.answer(refused)
    expect(writer.out()).toEqual([['b1']])
    await writer.answer(landed(1))
    expect(writer.out()).toEqual([['young']])
    expect(outcomes.get('a1')).toEqual({ kind: 'refused', error: 'STORAGE_FULL' })
    expect(outcomes.get('a2')).toEqual({ kind: 'held' })
    expect(outcomes.get('b1')).toMatchObject({ kind: 'landed', offset: 1 })
  })

  it('holds what a refused session has queued, in every lane, until it resumes', async () => {
    append(s1, 1, 'a', 0)
    append(s2, 1, 'other', 1)
    append(s1, 2, 'b', 0)
    append(s1, 2, 'c', 1)
    await writer.answer(refused, 0)
    expect(outcomes.get('a')).toEqual({ kind: 'refused', error: 'STORAGE_FULL' })
    expect(outcomes.get('b')).toEqual({ kind: 'held' })
    expect(outcomes.get('c')).toEqual({ kind: 'held' })
    append(s1, 3, 'd', 0)
    await turn()
    expect(outcomes.get('d')).toEqual({ kind: 'held' })
    await writer.answer(landed(0), 1)
    expect(writer.out(0)).toEqual([])
    expect(writer.out(1)).toEqual([])
    lanes.resume(s1)
    append(s1, 1, 'a again', 0)
    expect(writer.out(0)).toEqual([['a again']])
  })

  it('never sends what a released session had queued, and says when it is idle', async () => {
    append(s1, 1, 'a')
    append(s1, 2, 'b')
    append(s2, 1, 'c')
    lanes.release(s1)
    let idle = false
    void lanes.idle(s1).then(() => {
      idle = true
    })
    await turn()
    expect(outcomes.get('b')).toEqual({ kind: 'held' })
    expect(lanes.hasInFlight(s1)).toBe(true)
    expect(idle).toBe(false)
    await writer.answer(landed(0))
    expect(outcomes.get('a')).toMatchObject({ kind: 'landed', offset: 0 })
    expect(lanes.hasInFlight(s1)).toBe(false)
    expect(idle).toBe(true)
    expect(writer.out()).toEqual([['c']])
    append(s1, 3, 'late')
    lanes.resume(s1)
    append(s1, 4, 'later')
    await turn()
    expect(outcomes.get('late')).toEqual({ kind: 'held' })
    expect(outcomes.get('later')).toEqual({ kind: 'held' })
    expect(writer.out()).toEqual([['c']])
  })

  it('does not send a released session again when its shared batch was refused', async () => {
    append(s3, 1, 'x')
    append(s1, 1, 'a')
    append(s2, 1, 'b')
    await writer.answer(landed(0))
    lanes.release(s1)
    expect(await writer.answer(refused)).toEqual(['a', 'b'])
    expect(writer.out()).toEqual([['b']])
    expect(outcomes.get('a')).toEqual({ kind: 'held' })
  })

  it('refuses above its buffer before anything is queued, and nothing overtakes the refused part', async () => {
    append(s1, 1, 'a'.repeat(60))
    expect(lanes.roomFor(40)).toBe(true)
    expect(lanes.roomFor(41)).toBe(false)
    append(s2, 1, 'b'.repeat(41))
    append(s2, 2, 'c')
    await turn()
    expect(outcomes.get('b'.repeat(41))).toEqual({ kind: 'refused', error: 'UNAVAILABLE' })
    expect(outcomes.get('c')).toEqual({ kind: 'held' })
    expect(lanes.bufferedBytes).toBe(60)
  })

  it('answers everything as retired when the incarnation is over', async () => {
    append(s1, 1, 'a')
    append(s1, 2, 'b')
    append(s2, 1, 'c', 1)
    writer.retire('fenced')
    await turn()
    expect(outcomes.get('b')).toEqual({ kind: 'retired', reason: 'fenced' })
    expect(outcomes.has('a')).toBe(false)
    await writer.answer({ kind: 'retired', reason: 'fenced' })
    expect(outcomes.get('a')).toEqual({ kind: 'retired', reason: 'fenced' })
    append(s3, 1, 'd')
    await turn()
    expect(outcomes.get('d')).toEqual({ kind: 'retired', reason: 'fenced' })
    expect(await lanes.retired).toBe('fenced')
    await writer.answer(landed(9), 1)
    expect(outcomes.get('c')).toMatchObject({ kind: 'landed', offset: 9 })
    expect(lanes.bufferedBytes).toBe(0)
  })

  it('ends the incarnation when the log breaks its contract', async () => {
    append(s1, 1, 'a')
    append(s1, 2, 'b')
    writer.batches[0]?.fail(new Error('broken'))
    expect(await lanes.retired).toBe('failed')
    await turn()
    expect(outcomes.get('a')).toEqual({ kind: 'retired', reason: 'failed' })
    expect(outcomes.get('b')).toEqual({ kind: 'retired', reason: 'failed' })
  })

  it('refuses to take a lower number behind a higher one', () => {
    append(s1, 2, 'a')
    expect(() =>
      lanes.append(
        { topic, partition: 0 },
        { producerId, session: s1, n: 1, records: [{ key: null, value: Buffer.from('b'), header: null }] },
      ),
    ).toThrow('in their order')
  })

  it('Given parts of several records, when their batch lands, then each has the offset of its first', async () => {
    const part = (session: SessionId, n: number, ...values: string[]): void => {
      const records = values.map((value) => ({ key: null, value: Buffer.from(value), header: null }))
      void lanes
        .append({ topic, partition: 0 }, { producerId, session, n, records })
        .then((outcome) => outcomes.set(values.join(), outcome))
    }
    part(s1, 1, 'x')
    part(s1, 2, 'a', 'b', 'c')
    part(s2, 1, 'd', 'e')
    part(s3, 1, 'f')
    await writer.answer(landed(0))
    expect(await writer.answer(landed(10))).toEqual(['a', 'b', 'c', 'd', 'e', 'f'])
    expect(['a,b,c', 'd,e', 'f'].map((values) => outcomes.get(values))).toMatchObject([
      { offset: 10 },
      { offset: 13 },
      { offset: 15 },
    ])
  })

  it('Given a part that fills a batch, then it waits for the next one whole', async () => {
    const records = ['aaaa', 'bbbb', 'cccc'].map((value) => ({ key: null, value: Buffer.from(value), header: null }))
    append(s1, 1, 'x')
    append(s2, 1, 'y')
    void lanes.append({ topic, partition: 0 }, { producerId, session: s3, n: 1, records })
    append(s2, 2, 'z')
    await writer.answer(landed(0))
    expect(await writer.answer(landed(1))).toEqual(['y'])
    expect(await writer.answer(landed(2))).toEqual(['aaaa', 'bbbb', 'cccc'])
    expect(writer.out()).toEqual([['z']])
  })

  it('Given a topic made anew under its name, then its records never travel with those of the former one', async () => {
    const to = (id: string, session: SessionId, value: string): void => {
      const records = [{ key: null, value: Buffer.from(value), header: null }]
      const at = { topic, partition: 0, topicId: parseTopicId(id.repeat(32)) }
      void lanes.append(at, { producerId, session, n: 1, records }).then((outcome) => outcomes.set(value, outcome))
    }
    append(s1, 1, 'x')
    to('1', s1, 'a')
    to('1', s2, 'b')
    to('2', s3, 'c')
    await writer.answer(landed(0))
    // One batch at a time all the same: for the log it is one partition.
    expect(writer.out()).toEqual([['a', 'b']])
    expect(writer.batches[0]?.at.topicId).toBe('1'.repeat(32))
    await writer.answer({ kind: 'refused', error: 'TOPIC_CHANGED' })
    await writer.answer({ kind: 'refused', error: 'TOPIC_CHANGED' })
    await writer.answer({ kind: 'refused', error: 'TOPIC_CHANGED' })
    expect(writer.batches[0]?.at.topicId).toBe('2'.repeat(32))
    await writer.answer(landed(0))
    expect(['a', 'b', 'c'].map((value) => outcomes.get(value)?.kind)).toEqual(['refused', 'refused', 'landed'])
  })
})
