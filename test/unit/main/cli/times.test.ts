import { describe, expect, it } from 'vitest'
import { timeMsOf, timeText } from '../../../../src/main/cli/times.ts'

describe('times', () => {
  it.each([
    ['2026-01-31T12:00:00Z', Date.UTC(2026, 0, 31, 12)],
    ['2026-01-31 12:00:00.250+01:00', Date.UTC(2026, 0, 31, 11, 0, 0, 250)],
    ['2026-01-31T12:00Z', Date.UTC(2026, 0, 31, 12)],
    ['2026-01-31', Date.UTC(2026, 0, 31)],
    ['0', 0],
    ['1767225600000', 1_767_225_600_000],
  ])('given %s, reads it', (text, timeMs) => {
    expect(timeMsOf(text)).toBe(timeMs)
  })

  // Without a zone a time means another moment on every machine.
  it.each(['', 'now', '1.5', '-1', '2026-01-31T12:00:00', '2026-13-01', '31.01.2026', '99999999999999999999'])(
    'given %j, refuses it',
    (text) => {
      expect(timeMsOf(text)).toBeUndefined()
    },
  )

  it('writes what it reads', () => {
    expect(timeMsOf(String(timeText(1_767_225_600_123)))).toBe(1_767_225_600_123)
  })
})
