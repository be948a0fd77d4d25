// Owns: the JSON API's common values: int64 as decimal strings, bytes as base64url, times, page tokens; their schemas.
// 1. What is read is checked again here: a schema's pattern cannot say "below 2^53".
import { Type } from 'typebox'
import { TrunklineError } from '../../protocol/errors.ts'
import { base64url } from './session-headers.ts'

/** Written as a decimal string; read from a string or an integer. */
export const int64In = Type.Union([Type.Integer({ minimum: 0 }), Type.String({ pattern: '^\\d{1,16}$' })], {
  description: 'int64, as a decimal string (an integer is accepted).',
  examples: ['1'],
})
export type Int64In = number | string
export const int64Out = Type.String({
  pattern: '^-?\\d{1,16}$',
  description: 'int64, as a decimal string.',
  examples: ['1'],
})
export const bytesText = Type.String({
  pattern: '^[A-Za-z0-9_-]*={0,2}$',
  maxLength: 16_384,
  description: 'Opaque bytes, base64url.',
  examples: ['dGwx'],
})

/** Errors: BAD_REQUEST naming `field`. */
export function numberOf(value: Int64In, field: string): number {
  const number = typeof value === 'number' ? value : Number(value)
  if (!Number.isSafeInteger(number)) throw badField(field, 'beyond 2^53')
  return number
}

export function optionalNumber(value: Int64In | undefined, field: string): number | undefined {
  return value === undefined ? undefined : numberOf(value, field)
}

export function textOf(value: number): string
export function textOf(value: number | undefined): string | undefined
export function textOf(value: number | undefined): string | undefined {
  return value === undefined ? undefined : String(value)
}

export function optionalBytesText(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : base64url(bytes)
}

const rfc3339 = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?([Zz]|[+-]\d{2}:\d{2})$/
const milliseconds = /^\d{1,16}$/

/** RFC 3339, or ms since 1970. Errors: BAD_REQUEST naming `field`. */
export function timeMsOf(text: string, field: string): number {
  const timeMs = milliseconds.test(text) ? Number(text) : rfc3339.test(text) ? Date.parse(text) : Number.NaN
  if (!Number.isSafeInteger(timeMs)) throw badField(field, 'not a time (RFC 3339, or ms since 1970)')
  return timeMs
}

export function badField(field: string, why: string): TrunklineError {
  return new TrunklineError('BAD_REQUEST', { details: { field, why } })
}

/** The object without members that are undefined: JSON has none, and strict types want none. */
export function defined<T extends Record<string, unknown>>(object: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>
  }
}
