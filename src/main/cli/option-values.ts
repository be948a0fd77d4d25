// Owns: texts of options → values, with commander's own way to refuse them.
import { InvalidArgumentError } from 'commander'
import { timeMsOf } from './times.ts'

export function wholeNumber(minimum: number, maximum: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
    if (value >= minimum && value <= maximum) return value
    const range = maximum === Number.MAX_SAFE_INTEGER ? `from ${minimum} on` : `from ${minimum} to ${maximum}`
    throw new InvalidArgumentError(`It must be a whole number ${range}.`)
  }
}

export function startPosition(text: string): 'earliest' | 'latest' | number {
  if (text === 'earliest' || text === 'latest') return text
  const timeMs = timeMsOf(text)
  if (timeMs !== undefined) return timeMs
  throw new InvalidArgumentError('It must be earliest, latest, or a time: 2026-01-31T12:00:00Z, or ms since 1970.')
}
