import { describe, expect, it } from 'vitest'
import { parseTopicId } from '../../../../src/protocol/ids.ts'
import { WriteCursor } from '../../../../src/stream-tier/write/write-cursor.ts'

const topicId = parseTopicId('1'.repeat(32))
const at = (partition: number, offset: number) => [{ partition, offset }]

describe('the write cursor', () => {
  it('moves the partitions a write touched, in the reply to that write', () => {
    const cursor = new WriteCursor(topicId, [10, 20])
    cursor.taken(1)
    expect(cursor.landed(1, at(1, 33), 5)).toEqual({ kind: 'write', topicId, issuedAtMs: 5, offsets: [10, 34] })
  })

  it('keeps a later write out of the reply to an earlier one: that later reply may be lost', () => {
    const cursor = new WriteCursor(topicId, [0])
    cursor.taken(1)
    cursor.taken(2)
    expect(cursor.landed(2, at(0, 6), 0).offsets).toEqual([0])
    expect(cursor.landed(1, at(0, 5), 0).offsets).toEqual([6])
    expect(cursor.content(0).offsets).toEqual([7])
  })

  it('does not pass a write that is outstanding', () => {
    const cursor = new WriteCursor(topicId, [0, 0])
    for (const n of [1, 2, 3]) cursor.taken(n)
    expect(cursor.landed(3, at(1, 9), 0).offsets).toEqual([0, 0])
    expect(cursor.landed(2, at(1, 8), 0).offsets).toEqual([0, 0])
    cursor.dropped(1, false)
    expect(cursor.content(0).offsets).toEqual([0, 10])
  })

  it('stays below a part that landed of a write that was refused', () => {
    const cursor = new WriteCursor(topicId, [0, 0])
    cursor.taken(1)
    cursor.taken(2)
    cursor.dropped(1, true)
    expect(cursor.landed(2, at(0, 5), 0).offsets).toEqual([0, 0])
    cursor.taken(1)
    expect(cursor.landed(1, [...at(0, 4), ...at(1, 7)], 0).offsets).toEqual([5, 8])
    expect(cursor.content(0).offsets).toEqual([6, 8])
  })

  it('is refreshed to the ends only when nothing was outstanding from the asking to the answer', async () => {
    const cursor = new WriteCursor(topicId, [0, 50])
    cursor.taken(1)
    let asked = 0
    const ends = async (): Promise<readonly number[]> => {
      asked += 1
      return [100, 40]
    }
    await cursor.refresh(ends)
    expect(asked).toBe(0)
    cursor.landed(1, at(0, 1), 0)
    const refreshing = cursor.refresh(ends)
    cursor.taken(2)
    await refreshing
    // Write 2 may have landed below those ends.
    expect(cursor.content(0).offsets).toEqual([2, 50])
    cursor.landed(2, at(0, 2), 0)
    await cursor.refresh(ends)
    expect(cursor.content(0).offsets).toEqual([100, 50])
  })

  it('covers no write above the one answered when two land while the ends are being read', async () => {
    const cursor = new WriteCursor(topicId, [50])
    let answer: (ends: readonly number[]) => void = () => {}
    const refreshing = cursor.refresh(
      () =>
        new Promise((resolve) => {
          answer = resolve
        }),
    )
    cursor.taken(5)
    cursor.taken(6)
    answer([52]) // both are in the log by now: 5 at 50, 6 at 51
    await refreshing
    expect(cursor.landed(5, at(0, 50), 0).offsets).toEqual([51])
  })

  it('is loud about a write it was not told of', () => {
    const cursor = new WriteCursor(topicId, [0])
    expect(() => cursor.landed(1, at(0, 1), 0)).toThrow('not taken')
    cursor.taken(1)
    expect(() => cursor.landed(1, at(3, 1), 0)).toThrow('partition')
  })
})
