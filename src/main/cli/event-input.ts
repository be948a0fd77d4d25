// Owns: a line of `publish` → an event.
// 1. The payload is the line's own bytes: nothing is parsed and written again, so no digit and no space changes.
// 2. A line that is not what was promised is bad, with a reason that names the field and never the content.
import type { EventInput } from '../../../sdk/typescript/src/events.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { packedEventSize } from '../../protocol/event-packing.ts'
import type { Event } from '../../protocol/messages.ts'
import { decodeUtf8 } from '../../protocol/utf8.ts'
import { timeMsOf } from './times.ts'

export const inputFormats = ['ndjson', 'lines'] as const
export type InputFormat = (typeof inputFormats)[number]

export interface InputShape {
  readonly format: InputFormat
  /** Paths of members, `a.b.c`; ndjson only. */
  readonly keyField?: string | undefined
  readonly idField?: string | undefined
  readonly timeField?: string | undefined
}

/** skip: a blank line of ndjson. */
export type LineResult =
  | { readonly kind: 'event'; readonly event: EventInput; readonly bytes: number }
  | { readonly kind: 'bad'; readonly why: string }
  | { readonly kind: 'skip' }

/** What tells readers of the JSON API and of CloudEvents that the payload is JSON. */
const jsonHeaders: ReadonlyMap<string, string> = new Map([['content-type', 'application/json']])

class BadLine extends Error {}

/** @param bytes undefined: the line was longer than any event may be. */
export function eventOfLine(bytes: Uint8Array | undefined, shape: InputShape): LineResult {
  if (bytes === undefined) return { kind: 'bad', why: 'longer than an event may be (896 KiB)' }
  try {
    const event = shape.format === 'lines' ? { payload: bytes } : jsonEvent(bytes, shape)
    if (event === undefined) return { kind: 'skip' }
    return { kind: 'event', event, bytes: packedEventSize(limited(event)) }
  } catch (thrown) {
    if (thrown instanceof BadLine) return { kind: 'bad', why: thrown.message }
    if (thrown instanceof TrunklineError) return { kind: 'bad', why: limitText(thrown) }
    throw thrown
  }
}

interface JsonEvent {
  readonly payload: Uint8Array
  readonly headers: ReadonlyMap<string, string>
  readonly key?: Uint8Array
  readonly id?: string
  readonly timestamp?: number
}

function jsonEvent(bytes: Uint8Array, shape: InputShape): JsonEvent | undefined {
  const text = decodeUtf8(bytes, 0, bytes.length)
  if (text === undefined) throw new BadLine('not UTF-8')
  if (text.trim() === '') return undefined
  const value = parsed(text)
  const { keyField, idField, timeField } = shape
  return {
    payload: bytes,
    headers: jsonHeaders,
    ...(keyField === undefined ? {} : { key: Buffer.from(textAt(value, keyField), 'utf8') }),
    ...(idField === undefined ? {} : { id: textAt(value, idField) }),
    ...(timeField === undefined ? {} : { timestamp: timeAt(value, timeField) }),
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // The parser's own text quotes the line.
    throw new BadLine('not JSON')
  }
}

function textAt(value: unknown, path: string): string {
  const found = memberAt(value, path)
  if (typeof found === 'string') return found
  if (typeof found === 'number' || typeof found === 'boolean') return String(found)
  throw new BadLine(found === undefined ? `no field ${path}` : `${path} is neither text nor a number`)
}

function timeAt(value: unknown, path: string): number {
  const found = memberAt(value, path)
  if (found === undefined) throw new BadLine(`no field ${path}`)
  const timeMs = typeof found === 'string' ? timeMsOf(found) : found
  if (typeof timeMs === 'number' && Number.isSafeInteger(timeMs)) return timeMs
  throw new BadLine(`${path} is not a time (RFC 3339, or whole ms since 1970)`)
}

/** The member at `a.b.c`; a member whose own name has dots comes first. Only own members: `__proto__` is a name. */
function memberAt(value: unknown, path: string): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const own = Object.getOwnPropertyDescriptor(value, path)
  if (own !== undefined) return own.value
  const dot = path.indexOf('.')
  if (dot < 0) return undefined
  return memberAt(Object.getOwnPropertyDescriptor(value, path.slice(0, dot))?.value, path.slice(dot + 1))
}

/** The event as its limits are counted; the SDK adds an id of 36 bytes and the type. */
function limited(event: { readonly payload: Uint8Array } & Partial<JsonEvent>): Event {
  const { payload, headers, key, id, timestamp } = event
  return {
    payload,
    id: id ?? '00000000-0000-0000-0000-000000000000',
    type: 'event',
    ...(headers === undefined ? {} : { headers }),
    ...(key === undefined ? {} : { key }),
    ...(timestamp === undefined ? {} : { timestampMs: timestamp }),
  }
}

function limitText(error: TrunklineError): string {
  const { bytes, bytesMax, field, why } = error.details
  if (error.name === 'EVENT_TOO_LARGE') return `an event of ${bytes} bytes, above the limit of ${bytesMax}`
  return field === undefined ? error.name : `${field}: ${why ?? error.name}`
}
