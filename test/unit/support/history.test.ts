// The judge of histories: a sound history is sound, and each kind of defect is found in a history that has it.
import { describe, expect, it } from 'vitest'
import {
  type CheckOptions,
  checkHistory,
  type DefectKind,
  type RawPartition,
  type RawRecord,
} from '../../support/history/check-history.ts'
import { type Delivered, History, type SentEvent } from '../../support/history/history.ts'

const topic = 't'
const hash = (value: string): string => `hash of ${value}`

function sent(value: string, partition: number | undefined = 0): SentEvent {
  return { value, seq: Number(value.slice(1)), partition, payloadHash: hash(value) }
}

function at(value: string, offset: number, partition = 0): Delivered {
  return { value, payloadHash: hash(value), place: { partition, offset, index: 0 } }
}

/** One record per value, from offset 0. */
function logOf(values: readonly string[], partition = 0): RawPartition {
  return { topic, partition, records: values.map((value, offset) => record(offset, value)) }
}

function record(offset: number, value: string, more: Partial<RawRecord> = {}): RawRecord {
  return { offset, isBarrier: false, events: [{ value, payloadHash: hash(value) }], ...more }
}

/** Producer `a` has a1 … a4 acked at offsets 0 … 3 of partition 0. */
function fourAcked(): History {
  const history = new History()
  for (const [offset, value] of ['a1', 'a2', 'a3', 'a4'].entries()) {
    history.send('a', topic, [sent(value)]).ok([{ partition: 0, offset, index: 0 }])
  }
  return history
}

const allFour = ['a1', 'a2', 'a3', 'a4'] as const
const allDelivered = allFour.map((value, offset) => at(value, offset))

function kinds(history: History, logs: readonly RawPartition[], options: CheckOptions = {}): DefectKind[] {
  return [...new Set(checkHistory(history, logs, options).map(({ kind }) => kind))].sort()
}

describe('a sound history', () => {
  it('has no defect', () => {
    const history = fourAcked()
    history.send('a', topic, [sent('a5')]).fail('BLOCK_TOO_LARGE')
    history.send('a', topic, [sent('a6')]).info('OUTCOME_UNKNOWN')
    history.send('b', topic, [{ ...sent('b1'), partition: undefined }])
    const reader = history.reader('r', topic, { at: 'earliest' }, { drains: true })
    reader.nothing()
    const first = reader.batch(allDelivered.slice(0, 3))
    first.ack(2)
    const again = reader.batch([at('a3', 2), at('a4', 3)])
    again.giveBack()
    reader.batch([at('a3', 2), at('a4', 3)]).ack()
    expect(kinds(history, [logOf(allFour)])).toEqual([])
  })

  it('may be read again from where a lost session had been acked', () => {
    const history = fourAcked()
    const reader = history.reader('r', topic, { at: 'earliest' })
    reader.batch(allDelivered.slice(0, 1)).ack()
    reader.batch(allDelivered.slice(1, 3))
    reader.batch(allDelivered.slice(1)).ack()
    expect(kinds(history, [logOf(allFour)])).toEqual([])
  })

  it('may have readers from the latest place and from cursors', () => {
    const history = fourAcked()
    const latest = history.reader('l', topic, { at: 'latest' })
    latest.nothing()
    history.send('a', topic, [sent('a5')]).ok([{ partition: 0, offset: 4, index: 0 }])
    latest.batch([at('a5', 4)]).ack()
    const reader = history.reader('r', topic, { at: 'earliest' })
    const batch = reader.batch(allDelivered.slice(0, 2))
    history.reader('behind the batch', topic, batch.cursor()).batch(allDelivered.slice(2)).ack()
    batch.ack(1)
    history.reader('behind the ack', topic, reader.cursor()).batch(allDelivered.slice(1)).ack()
    expect(kinds(history, [logOf([...allFour, 'a5'])])).toEqual([])
  })

  it('may have a cursor that a prefix ack has not reached, but no reader that shows it again', () => {
    const history = fourAcked()
    const reader = history.reader('r', topic, { at: 'earliest' })
    reader.batch(allDelivered.slice(0, 3)).ack(2, false)
    history.reader('behind', topic, reader.cursor()).batch(allDelivered)
    expect(kinds(history, [logOf(allFour)])).toEqual([])
    reader.batch(allDelivered)
    expect(kinds(history, [logOf(allFour)])).toEqual(['REDELIVERED'])
  })

  it('may hold a write that landed late although nobody could tell', () => {
    const history = new History()
    history.send('a', topic, [sent('a1')]).info('OUTCOME_UNKNOWN')
    history.send('a', topic, [sent('a2')]).ok([{ partition: 0, offset: 0, index: 0 }])
    expect(kinds(history, [logOf(['a2', 'a1'])])).toEqual([])
    expect(kinds(history, [logOf(['a2', 'a1'])], { unknownIsDefect: true })).toEqual(['UNKNOWN'])
  })
})

describe('a defect of the log is found', () => {
  it('LOST: acked and not there', () => {
    expect(kinds(fourAcked(), [logOf(['a1', 'a2', 'a3'])])).toEqual(['LOST'])
  })

  it('DUPLICATE: there twice, also in two partitions', () => {
    expect(kinds(fourAcked(), [logOf([...allFour, 'a4'])])).toEqual(['DUPLICATE'])
    expect(kinds(fourAcked(), [logOf(allFour), logOf(['a2'], 1)])).toContain('DUPLICATE')
  })

  it('REORDERED: a producer has another order in its partition', () => {
    const history = new History()
    const places = [{ partition: 0, offset: 1, index: 0 }]
    const first = history.send('a', topic, [sent('a1')])
    const second = history.send('a', topic, [sent('a2')])
    first.ok(places)
    second.ok([{ partition: 0, offset: 0, index: 0 }])
    expect(kinds(history, [logOf(['a2', 'a1'])])).toEqual(['REORDERED'])
  })

  it('REORDERED: an event stands before one that was acked before it was sent', () => {
    const history = new History()
    history.send('a', topic, [sent('a1')]).ok([{ partition: 0, offset: 1, index: 0 }])
    history.send('b', topic, [sent('b1')]).ok([{ partition: 0, offset: 0, index: 0 }])
    expect(kinds(history, [logOf(['b1', 'a1'])])).toEqual(['REORDERED'])
  })

  it('PHANTOM: nobody sent it, or not there', () => {
    expect(kinds(fourAcked(), [logOf([...allFour, 'z1'])])).toEqual(['PHANTOM'])
    const history = new History()
    history.send('a', topic, [sent('a1', 1)])
    expect(kinds(history, [logOf(['a1'])])).toEqual(['PHANTOM'])
  })

  it('ABORTED: its publish had certainly failed', () => {
    const history = fourAcked()
    history.send('a', topic, [sent('a5')]).fail('WRITE_REFUSED')
    expect(kinds(history, [logOf([...allFour, 'a5'])])).toEqual(['ABORTED'])
  })

  it('PAYLOAD_MISMATCH: other bytes', () => {
    const broken = record(3, 'a4', { events: [{ value: 'a4', payloadHash: 'other' }] })
    const log = { ...logOf(allFour), records: [...logOf(['a1', 'a2', 'a3']).records, broken] }
    expect(kinds(fourAcked(), [log])).toEqual(['PAYLOAD_MISMATCH'])
  })

  it('MOVED: acked with a place that is not its own', () => {
    const history = new History()
    history.send('a', topic, [sent('a1')]).ok([{ partition: 0, offset: 7, index: 0 }])
    expect(kinds(history, [logOf(['a1'])])).toEqual(['MOVED'])
  })

  it('GAP: missing before a later one of its producer', () => {
    const history = new History()
    history.send('a', topic, [sent('a1')]).info('OUTCOME_UNKNOWN')
    history.send('a', topic, [sent('a2')]).ok([{ partition: 0, offset: 0, index: 0 }])
    expect(kinds(history, [logOf(['a2'])])).toEqual(['GAP'])
    expect(kinds(history, [logOf(['a2'])], { unknownExcusesGaps: true })).toEqual([])
    const abandoned = new History()
    abandoned.send('a', topic, [sent('a1')])
    abandoned.send('a', topic, [sent('a2')])
    expect(kinds(abandoned, [logOf(['a2'])])).toEqual(['GAP'])
  })

  it('FENCE: a record of an incarnation behind the barrier against it', () => {
    const records = [
      record(0, 'a1', { pid: 7, epoch: 0 }),
      { offset: 1, isBarrier: true, pid: 7, epoch: 1, events: [] },
      record(2, 'a2', { pid: 7, epoch: 0 }),
    ]
    const history = new History()
    history.send('a', topic, [sent('a1')])
    history.send('a', topic, [sent('a2')])
    expect(kinds(history, [{ topic, partition: 0, records }])).toEqual(['FENCE'])
    const other = records.map((one) => (one.offset === 2 ? { ...one, pid: 8 } : one))
    expect(kinds(history, [{ topic, partition: 0, records: other }])).toEqual([])
  })

  it('RAW_DUPLICATE and RAW_REORDERED: numbers of one producer', () => {
    const history = new History()
    for (const value of ['a1', 'a2', 'a3']) history.send('a', topic, [sent(value)])
    const numbered = (numbers: readonly [number, number][]): RawPartition => ({
      topic,
      partition: 0,
      records: numbers.map(([n, part], offset) => record(offset, `a${offset + 1}`, { producerId: 'p', n, part })),
    })
    expect(
      kinds(history, [
        numbered([
          [1, 0],
          [1, 1],
          [2, 0],
        ]),
      ]),
    ).toEqual([])
    expect(
      kinds(history, [
        numbered([
          [1, 0],
          [2, 0],
          [2, 0],
        ]),
      ]),
    ).toEqual(['RAW_DUPLICATE'])
    expect(
      kinds(history, [
        numbered([
          [1, 0],
          [3, 0],
          [2, 0],
        ]),
      ]),
    ).toEqual(['RAW_REORDERED'])
  })
})

describe('a defect of reading is found', () => {
  const read = (...batches: readonly (readonly Delivered[])[]): DefectKind[] => {
    const history = fourAcked()
    const reader = history.reader('r', topic, { at: 'earliest' })
    for (const batch of batches) reader.batch(batch).ack()
    return kinds(history, [logOf(allFour)])
  }
  const [one, two, three, four] = allDelivered as [Delivered, Delivered, Delivered, Delivered]

  it('SKIP: left out at the start, between batches, inside one', () => {
    expect(read([two, three, four])).toEqual(['SKIP'])
    expect(read([one], [three, four])).toEqual(['SKIP'])
    expect(read([one, three, four])).toEqual(['SKIP'])
  })

  it('SKIP: given again, but not all of it', () => {
    const history = fourAcked()
    const reader = history.reader('r', topic, { at: 'earliest' })
    reader.batch([one]).ack()
    reader.batch([two, three, four])
    reader.batch([three, four]).ack()
    expect(kinds(history, [logOf(allFour)])).toEqual(['SKIP'])
  })

  it('SKIP: a reader at the latest place missed what was sent after its first answer', () => {
    const history = fourAcked()
    const reader = history.reader('r', topic, { at: 'latest' })
    reader.nothing()
    history.send('a', topic, [sent('a5')]).ok([{ partition: 0, offset: 4, index: 0 }])
    history.send('a', topic, [sent('a6')]).ok([{ partition: 0, offset: 5, index: 0 }])
    reader.batch([at('a6', 5)])
    expect(kinds(history, [logOf([...allFour, 'a5', 'a6'])])).toEqual(['SKIP'])
  })

  it('SKIP and REDELIVERED: a cursor that leads too far, or back', () => {
    const history = fourAcked()
    const reader = history.reader('r', topic, { at: 'earliest' })
    reader.batch([one, two]).ack()
    history.reader('far', topic, reader.cursor()).batch([four])
    expect(kinds(history, [logOf(allFour)])).toEqual(['SKIP'])
    history.reader('back', topic, reader.cursor()).batch([two])
    expect(kinds(history, [logOf(allFour)])).toEqual(['REDELIVERED', 'SKIP'])
  })

  it('NONMONOTONIC: backwards inside a batch', () => {
    expect(read([one, two, one, two, three, four])).toEqual(['NONMONOTONIC'])
  })

  it('REDELIVERED: acked, wholly or as a prefix, and given again', () => {
    expect(read([one, two], [two, three, four])).toEqual(['REDELIVERED'])
    const history = fourAcked()
    const reader = history.reader('r', topic, { at: 'earliest' })
    reader.batch([one, two, three]).ack(2)
    reader.batch([two, three, four])
    expect(kinds(history, [logOf(allFour)])).toEqual(['REDELIVERED'])
  })

  it('INCONSISTENT: from where nothing, or another, is', () => {
    expect(read([one, two, three, four, at('a5', 9)])).toEqual(['INCONSISTENT'])
    expect(read([one, { ...two, value: 'a4' }, three, four])).toEqual(['INCONSISTENT'])
    expect(read([one, { ...two, payloadHash: 'other' }, three, four])).toEqual(['INCONSISTENT'])
  })

  it('STALE_START: the latest place was behind the log', () => {
    const history = fourAcked()
    history.reader('r', topic, { at: 'latest' }).batch([four])
    expect(kinds(history, [logOf(allFour)])).toEqual(['STALE_START'])
  })

  it('UNSEEN: not shown to the reader that drained the topic', () => {
    const history = fourAcked()
    history.send('b', topic, [sent('b1')])
    history.reader('d', topic, { at: 'earliest' }, { drains: true }).batch([one, two, three, four]).ack()
    expect(kinds(history, [logOf([...allFour])])).toEqual([])
    expect(kinds(history, [logOf([...allFour, 'b1'])])).toEqual(['UNSEEN'])
    const short = fourAcked()
    short.reader('d', topic, { at: 'earliest' }, { drains: true }).batch([one, two, three]).ack()
    expect(kinds(short, [logOf(allFour)])).toEqual(['UNSEEN'])
  })
})

describe('recording', () => {
  it('answers a publish once', () => {
    const record = new History().send('a', topic, [sent('a1')])
    record.info('DEADLINE')
    expect(() => record.ok([])).toThrow('once')
  })

  it('refuses a test that sends one value twice', () => {
    const history = new History()
    history.send('a', topic, [sent('a1')])
    history.send('a', topic, [sent('a1')])
    expect(() => checkHistory(history, [])).toThrow('by the test itself')
  })
})
