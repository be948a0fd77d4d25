// Owns: times as people and data write them: RFC 3339, a date, or ms since 1970.

const rfc3339 = /^\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?([Zz]|[+-]\d{2}:\d{2}))?$/
const milliseconds = /^\d{1,16}$/

/** Ms since 1970; undefined when it is not a time. A date alone is its start in UTC. */
export function timeMsOf(text: string): number | undefined {
  const timeMs = milliseconds.test(text)
    ? Number(text)
    : rfc3339.test(text)
      ? Date.parse(text.replace(' ', 'T'))
      : Number.NaN
  return Number.isSafeInteger(timeMs) ? timeMs : undefined
}

/** RFC 3339 in UTC; a time beyond the calendar stays a number. */
export function timeText(timeMs: number): string | number {
  const date = new Date(timeMs)
  return Number.isNaN(date.getTime()) ? timeMs : date.toISOString()
}
