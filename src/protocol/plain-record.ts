// Owns: one event ⇄ one record of a `plain` topic (docs/formats.md "Plain records"), and records that others wrote.
// 1. What we write reads back as the very same event: absent and empty differ for key, payload, id, type and source.
// 2. What others wrote is an event as well, and nothing of it is dropped unsaid: what the protocol's limits do not take
//    is an error of that one record, never silence.
// 3. Headers keep their names; `name;base64` stands for a value that is no text, `name;null` for one that is null, and of
//    a name that comes again `name;1`, `name;2`, … are the earlier ones: the last one counts, as for Kafka's clients.
// Leaves out: our header `tl` (record-header.ts), blocks (block.ts), which topics are plain.
import { TrunklineError } from './errors.ts'
import { headersMax } from './limits.ts'
import type { Event } from './messages.ts'
import { recordHeaderName } from './record-header.ts'
import { decodeUtf8, utf8Size } from './utf8.ts'

export type PlainField = readonly [name: string, value: Uint8Array | null]

/** What the log's record is made of, without `tl`. */
export interface PlainRecord {
  readonly key: Uint8Array | null
  readonly value: Uint8Array
  /** The value is null (a tombstone): an event without payload. `value` is empty then. */
  readonly nullValue?: boolean | undefined
  readonly headers?: readonly PlainField[] | undefined
}

/** Where a record lies: what an event that names itself not at all is named after. */
export interface PlainPlace {
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

/** CloudEvents' Kafka binding, binary mode. */
const ce = {
  version: 'ce_specversion',
  id: 'ce_id',
  type: 'ce_type',
  source: 'ce_source',
  time: 'ce_time',
} as const
const ourVersion = '1.0'
const versionBytes = utf8(ourVersion)
/** Names that an event's own headers may not have: they would be read as something else. */
const reserved: ReadonlySet<string> = new Set([recordHeaderName, ...Object.values(ce)])
const base64Mark = ';base64'
const nullMark = ';null'
/** Ours on top of an event's: more were never ours, and are more than the protocol takes. */
const fieldsMax = headersMax + reserved.size
const timePattern = /^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d{2}):(\d{2}))$/
/** RFC 3339 knows the years 0 to 9999. */
const timeMsMin = -62_167_219_200_000
const timeMsMax = 253_402_300_799_999
const empty = new Uint8Array()

/** Length, attributes, deltas, lengths of key and value, count of headers: at most. */
const recordOverhead = 32
/** `tl` of a plain record. */
const ownHeaderSize = 48
/** Lengths of a header's name and value: at most. */
const fieldOverhead = 6

/** What a record takes in a batch, at most. */
export function plainRecordSize({ key, value, headers = [] }: PlainRecord): number {
  let size = recordOverhead + ownHeaderSize + (key?.length ?? 0) + value.length
  for (const [name, bytes] of headers) size += fieldOverhead + utf8Size(name) + (bytes?.length ?? 0)
  return size
}

/** Errors: BAD_EVENT: a reserved name among the headers, a time that RFC 3339 cannot say. `index` names the event. */
export function plainRecordOf(event: Event, index = 0): PlainRecord {
  const { key, payload, id, type, source, timestampMs } = event
  const headers: PlainField[] = []
  // Without all three it is no CloudEvent, and does not claim to be one.
  if (id !== undefined && type !== undefined && source !== undefined) headers.push([ce.version, versionBytes])
  if (id !== undefined) headers.push([ce.id, utf8(id)])
  if (type !== undefined) headers.push([ce.type, utf8(type)])
  if (source !== undefined) headers.push([ce.source, utf8(source)])
  if (timestampMs !== undefined) headers.push([ce.time, utf8(timeText(timestampMs, index))])
  for (const [name, value] of event.headers ?? []) {
    const field = fieldOf(name, value)
    if (reserved.has(field[0])) throw badEvent(index, 'headers', 'a name that plain topics reserve')
    headers.push(field)
  }
  return {
    key: key ?? null,
    value: payload ?? empty,
    ...(payload === undefined ? { nullValue: true } : {}),
    headers,
  }
}

/** The event of a record that we wrote. Key and payload are views. Errors: HEADERS_TOO_LARGE. */
export function eventOfPlain(record: PlainRecord): Event {
  return eventOf(record, true)
}

/**
 * The event of a record that somebody else wrote. A CloudEvent in binary mode is understood; what is not named is named
 * after its place. Errors: HEADERS_TOO_LARGE; packing it finds the other limits.
 */
export function eventOfStranger(record: PlainRecord, place: PlainPlace): Event {
  const event = eventOf(
    record,
    (record.headers ?? []).some(([name]) => name === ce.version),
  )
  event.id ??= `${place.partition}:${place.offset}`
  event.type ??= 'event'
  event.source ??= `/topics/${place.topic}`
  return event
}

function eventOf({ key, value, nullValue, headers: fields = [] }: PlainRecord, isCloudEvent: boolean): Event {
  if (fields.length > fieldsMax) {
    throw new TrunklineError('HEADERS_TOO_LARGE', { details: { headersMax: String(headersMax) } })
  }
  const event: Event = {}
  const headers = new Map<string, string>()
  for (const [name, bytes] of fields) {
    const text = bytes === null ? undefined : decodeUtf8(bytes, 0, bytes.length)
    if (isCloudEvent && text !== undefined && takeAttribute(event, name, text)) continue
    if (text !== undefined) put(headers, name, text)
    else if (bytes === null) put(headers, `${name}${nullMark}`, '')
    else put(headers, `${name}${base64Mark}`, base64(bytes))
  }
  if (key !== null) event.key = key
  if (nullValue !== true) event.payload = value
  if (headers.size > 0) event.headers = headers
  return event
}

/** Whether the field is one of the event's own; what cannot be one stays a header. */
function takeAttribute(event: Event, name: string, text: string): boolean {
  switch (name) {
    case ce.version:
      return text === ourVersion
    case ce.id:
      if (event.id !== undefined) return false
      event.id = text
      return true
    case ce.type:
      if (event.type !== undefined) return false
      event.type = text
      return true
    case ce.source:
      if (event.source !== undefined) return false
      event.source = text
      return true
    case ce.time: {
      const timeMs = event.timestampMs === undefined ? timeMsOf(text) : undefined
      if (timeMs === undefined) return false
      event.timestampMs = timeMs
      return true
    }
    default:
      return false
  }
}

/** Invariant 3. */
function put(headers: Map<string, string>, name: string, text: string): void {
  const earlier = headers.get(name)
  if (earlier !== undefined) {
    let times = 1
    while (headers.has(`${name};${times}`)) times += 1
    headers.set(`${name};${times}`, earlier)
  }
  headers.set(name, text)
}

/** The other way round, only where reading it gives the same name and text again. */
function fieldOf(name: string, text: string): PlainField {
  if (name.endsWith(nullMark) && text === '') return [name.slice(0, -nullMark.length), null]
  if (name.endsWith(base64Mark)) {
    const bytes = new Uint8Array(Buffer.from(text, 'base64'))
    const isText = decodeUtf8(bytes, 0, bytes.length) !== undefined
    if (!isText && base64(bytes) === text) return [name.slice(0, -base64Mark.length), bytes]
  }
  return [name, utf8(text)]
}

function timeText(timestampMs: number, index: number): string {
  if (timestampMs < timeMsMin || timestampMs > timeMsMax) {
    throw badEvent(index, 'timestampMs', 'outside the years 0 to 9999, which plain topics can hold')
  }
  return new Date(timestampMs).toISOString()
}

/** RFC 3339, to the millisecond; undefined when it is none. */
function timeMsOf(text: string): number | undefined {
  const [, date, time, fraction = '', sign, hours, minutes] = timePattern.exec(text) ?? []
  if (date === undefined) return undefined
  const timeMs = Date.parse(`${date}T${time}.${fraction.padEnd(3, '0').slice(0, 3)}Z`)
  const offsetMs = sign === undefined ? 0 : (Number(hours) * 60 + Number(minutes)) * 60_000
  const utcMs = sign === '-' ? timeMs + offsetMs : timeMs - offsetMs
  return Number.isSafeInteger(utcMs) ? utcMs : undefined
}

function utf8(text: string): Uint8Array {
  const { buffer, byteOffset, byteLength } = Buffer.from(text, 'utf8')
  return new Uint8Array(buffer, byteOffset, byteLength)
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

function badEvent(index: number, field: string, why: string): TrunklineError {
  return new TrunklineError('BAD_EVENT', { details: { event: String(index), field, why } })
}
