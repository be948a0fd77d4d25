import { describe, expect, it } from 'vitest'
import { comparePositions, formatPosition, parsePosition } from '../../../src/protocol/position.ts'
import { errorOf } from './support/thrown.ts'

describe('positions', () => {
  it('Given a position, When shown and parsed, Then it is the same', () => {
    for (const position of [
      { partition: 0, offset: 0, index: 0 },
      { partition: 2 ** 31 - 1, offset: Number.MAX_SAFE_INTEGER, index: 65_535 },
    ]) {
      expect(parsePosition(formatPosition(position))).toEqual(position)
    }
    expect(formatPosition({ partition: 3, offset: 1_207, index: 0 })).toBe('3:1207:0')
  })

  it('Given text that is no position, When parsed, Then BAD_REQUEST', () => {
    const bad = [
      '',
      '1:2',
      '1:2:3:4',
      '-1:2:3',
      '1:2:65536',
      '01:2:3',
      '1: 2:3',
      '1:2:3\n',
      '1e3:2:3',
      '1:9007199254740992:0',
      '2147483648:0:0',
      '１:2:3',
    ]
    for (const text of bad) {
      expect({ text, name: errorOf(() => parsePosition(text)).name }).toEqual({ text, name: 'BAD_REQUEST' })
    }
  })

  it('Given two positions of a partition, When compared, Then the offset counts before the index', () => {
    expect(comparePositions({ offset: 1, index: 9 }, { offset: 2, index: 0 })).toBeLessThan(0)
    expect(comparePositions({ offset: 2, index: 1 }, { offset: 2, index: 0 })).toBeGreaterThan(0)
    expect(comparePositions({ offset: 2, index: 1 }, { offset: 2, index: 1 })).toBe(0)
  })
})
