// Owns: events as JSON: payload as json, text or base64, keys as text or base64.
// 1. Reading loses nothing: `json` only when the payload says that it is JSON and comes out byte for byte the same,
//    `text` only when it is UTF-8, else base64.
// 2. Names of headers are plain names, `__proto__` too.
// 3. Text with a lone surrogate is BAD_EVENT, never stored as something else.
// 4. JSON deeper than `jsonLevelsMax` is never a value here: it is refused when published as one, and read as text.
import { type Static, Type } from 'typebox'
import { TrunklineError } from '../../protocol/errors.ts'
import type { Event } from '../../protocol/messages.ts'
import { formatPosition } from '../../protocol/position.ts'
import { decodeUtf8, utf8Size } from '../../protocol/utf8.ts'
import { isDeeperThan, jsonLevelsMax } from './json-depth.ts'
import { defined, int64In, int64Out, numberOf, textOf } from './json-values.ts'
import { positionSchema } from './schemas-common.ts'

const base64Text = Type.String({ pattern: '^[A-Za-z0-9+/_-]*={0,2}$', description: 'base64 or base64url' })

const payloadSchema = Type.Union(
  [
    Type.Object(
      { json: Type.Any() },
      {
        additionalProperties: false,
        description: `Stored as compact JSON. At most ${jsonLevelsMax} arrays and objects inside one another.`,
      },
    ),
    Type.Object({ text: Type.String() }, { additionalProperties: false, description: 'Stored as UTF-8.' }),
    Type.Object({ base64: base64Text }, { additionalProperties: false, description: 'Stored as these bytes.' }),
  ],
  { description: 'One of json, text, base64.' },
)

const keySchema = Type.Union([Type.String(), Type.Object({ base64: base64Text }, { additionalProperties: false })], {
  description: 'Events of one key keep their order. Text, or bytes as base64.',
})

const headersSchema = Type.Record(Type.String(), Type.String(), { description: 'At most 64, 16 KiB in all.' })

export const eventInSchema = Type.Object(
  {
    key: Type.Optional(keySchema),
    payload: Type.Optional(payloadSchema),
    headers: Type.Optional(headersSchema),
    timestampMs: Type.Optional(int64In),
    id: Type.Optional(Type.String({ maxLength: 1_024 })),
    type: Type.Optional(Type.String({ maxLength: 1_024 })),
    source: Type.Optional(Type.String({ maxLength: 1_024 })),
    partition: Type.Optional(Type.Integer({ minimum: 0, description: 'Default: by key.' })),
  },
  {
    $id: 'EventIn',
    additionalProperties: false,
    examples: [
      { key: 'us', payload: { json: { mag: 4.6, place: 'Fiji' } }, id: 'us7000abcd', timestampMs: '1700000000000' },
    ],
  },
)
export type EventIn = Static<typeof eventInSchema>

export const eventOutSchema = Type.Object(
  {
    position: positionSchema,
    partition: Type.Integer(),
    offset: int64Out,
    index: Type.Integer(),
    key: Type.Optional(keySchema),
    payload: Type.Optional(payloadSchema),
    headers: Type.Optional(headersSchema),
    timestampMs: Type.Optional(int64Out),
    appendTimeMs: Type.Optional(int64Out),
    id: Type.Optional(Type.String()),
    type: Type.Optional(Type.String()),
    source: Type.Optional(Type.String()),
  },
  {
    $id: 'EventOut',
    additionalProperties: false,
    examples: [
      {
        position: '3:1042:0',
        partition: 3,
        offset: '1042',
        index: 0,
        key: 'us',
        payload: { json: { mag: 4.6, place: 'Fiji' } },
        headers: { 'content-type': 'application/json' },
        timestampMs: '1700000000000',
        appendTimeMs: '1700000000123',
        id: 'us7000abcd',
        type: 'event',
        source: '/clients/app',
      },
    ],
  },
)
export type EventOut = Static<typeof eventOutSchema>

/** The schemas by name, for routes; the application registers them. */
export const eventInRef = Type.Ref('EventIn#')
export const eventOutRef = Type.Ref('EventOut#')

/** CloudEvents' datacontenttype, as its Kafka binding names it. */
export const contentTypeHeader = 'content-type'
const jsonType = 'application/json'
const jsonPattern = /^[^;]*[/+]json\s*(;|$)/i

/** Errors: BAD_REQUEST (numbers), BAD_EVENT (invariants 3, 4); limits of events are checked when they are packed. */
export function eventOfJson(json: EventIn, field: string): Event {
  const headers = new Map(Object.entries(json.headers ?? {}))
  const payload = json.payload === undefined ? undefined : payloadBytes(json.payload, headers, `${field}.payload`)
  return defined({
    key: json.key === undefined ? undefined : keyBytes(json.key, `${field}.key`),
    payload,
    headers: headers.size === 0 ? undefined : headers,
    timestampMs: json.timestampMs === undefined ? undefined : numberOf(json.timestampMs, `${field}.timestampMs`),
    id: json.id,
    type: json.type,
    source: json.source,
    partition: json.partition,
  })
}

export function eventToJson(event: Event): EventOut {
  const { partition = 0, offset = 0, index = 0 } = event
  return defined({
    position: formatPosition({ partition, offset, index }),
    partition,
    offset: String(offset),
    index,
    key: event.key === undefined ? undefined : keyJson(event.key),
    payload:
      event.payload === undefined ? undefined : payloadJson(event.payload, event.headers?.get(contentTypeHeader)),
    headers: event.headers === undefined || event.headers.size === 0 ? undefined : Object.fromEntries(event.headers),
    timestampMs: textOf(event.timestampMs),
    appendTimeMs: textOf(event.appendTimeMs),
    id: event.id,
    type: event.type,
    source: event.source,
  })
}

/** The bytes; that they are JSON is noted in `headers` unless the caller said what they are. */
function payloadBytes(
  payload: NonNullable<EventIn['payload']>,
  headers: Map<string, string>,
  field: string,
): Uint8Array {
  if ('base64' in payload) return Buffer.from(payload.base64, 'base64')
  if ('text' in payload) return utf8(payload.text, `${field}.text`)
  // Invariant 4: before JSON.stringify, which recurses.
  if (isDeeperThan(payload.json, jsonLevelsMax))
    throw badEvent(`${field}.json`, `nested deeper than ${jsonLevelsMax} levels`)
  if (!headers.has(contentTypeHeader)) headers.set(contentTypeHeader, jsonType)
  return Buffer.from(JSON.stringify(payload.json), 'utf8')
}

/** Invariant 1. */
function payloadJson(bytes: Uint8Array, contentType: string | undefined): NonNullable<EventOut['payload']> {
  const text = decodeUtf8(bytes, 0, bytes.length)
  if (text === undefined) return { base64: base64(bytes) }
  if (contentType === undefined || !jsonPattern.test(contentType)) return { text }
  const json = exactJson(text)
  return json === undefined ? { text } : { json: json.value }
}

/** The value when writing it again gives the same text: no digits lost, no member twice. Invariant 4. */
function exactJson(text: string): { readonly value: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (isDeeperThan(value, jsonLevelsMax)) return undefined
    return JSON.stringify(value) === text ? { value } : undefined
  } catch {
    // Not JSON, whatever its content type says: it goes out as text.
    return undefined
  }
}

function keyBytes(key: NonNullable<EventIn['key']>, field: string): Uint8Array {
  return typeof key === 'string' ? utf8(key, field) : Buffer.from(key.base64, 'base64')
}

/** Invariant 3. */
function utf8(text: string, field: string): Uint8Array {
  if (utf8Size(text) < 0) throw badEvent(field, 'text is not well-formed')
  return Buffer.from(text, 'utf8')
}

function keyJson(bytes: Uint8Array): NonNullable<EventOut['key']> {
  return decodeUtf8(bytes, 0, bytes.length) ?? { base64: base64(bytes) }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

function badEvent(field: string, why: string): TrunklineError {
  return new TrunklineError('BAD_EVENT', { details: { field, why } })
}
