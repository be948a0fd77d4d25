// Owns: packing version 1: events ⇄ the raw bytes of a block (docs/formats.md "Packed events").
// Per event, big-endian, a fixed head of 24 bytes so that one unpack call of any language reads it:
//   size u32 (bytes after this field) │ flags u8 │ headerCount u8 │ idSize u16 │ typeSize u16 │ sourceSize u16 │
//   keySize u32 │ timestampMs i64 │ id │ type │ source │ key │ headers: (nameSize u16 │ valueSize u16 │ name │ value)* │
//   payload (the rest)
// 1. One event has one packed form: what a flag says is absent has size 0 and no bytes, unknown flags are refused.
// 2. Unpacking trusts no count and no size: everything is held against the bytes that are there.
// 3. Unpacked keys and payloads are VIEWS into the raw bytes: whoever keeps one longer than the block copies it.
// Leaves out: compression and the block around it (block.ts), where an event goes (partitioning.ts).
import { TrunklineError } from './errors.ts'
import { eventBytesMax, headerBytesMax, headersMax } from './limits.ts'
import type { Event } from './messages.ts'
import { decodeUtf8, encodeUtf8Into, utf8Size } from './utf8.ts'

/** Bytes of an event that holds nothing: the fixed head. */
export const packedEventSizeMin = 24

const flag = { key: 1, payload: 2, timestamp: 4, id: 8, type: 16, source: 32 } as const
const knownFlags = 63
const shortTextMax = 0xffff
const twoTo32 = 2 ** 32

/**
 * The packed size of one event, checked against every limit of an event.
 * Errors: EVENT_TOO_LARGE, HEADERS_TOO_LARGE, BAD_EVENT; `index` names the event in their details.
 */
export function packedEventSize(event: Event, index = 0): number {
  if (event.timestampMs !== undefined && !Number.isSafeInteger(event.timestampMs)) {
    throw badEvent(index, 'timestampMs', 'not an integer')
  }
  const size =
    packedEventSizeMin +
    shortTextSize(event.id, 'id', index) +
    shortTextSize(event.type, 'type', index) +
    shortTextSize(event.source, 'source', index) +
    byteSize(event.key, 'key', index) +
    byteSize(event.payload, 'payload', index) +
    headersSize(event.headers, index)
  if (size > eventBytesMax) {
    throw new TrunklineError('EVENT_TOO_LARGE', {
      details: { event: String(index), bytes: String(size), bytesMax: String(eventBytesMax) },
    })
  }
  return size
}

/** The raw bytes of a block of these events, in order. Read-only fields (offset, index, …) are not packed. Errors: as packedEventSize. */
export function packEvents(events: readonly Event[]): Uint8Array {
  const sizes = events.map(packedEventSize)
  return packSized(events, sizes)
}

/** `packEvents` when the sizes are known: `sizes[i]` is packedEventSize(events[i]). */
export function packSized(events: readonly Event[], sizes: readonly number[]): Uint8Array {
  let total = 0
  for (const size of sizes) total += size
  const raw = new Uint8Array(total)
  const view = new DataView(raw.buffer)
  let at = 0
  for (const [index, event] of events.entries()) {
    const end = packOne(event, raw, view, at)
    if (end - at !== sizes[index]) throw new Error('an event changed while it was packed')
    at = end
  }
  return raw
}

/**
 * The events of raw bytes that hold exactly `count`, from `first` on, at most `take` of them.
 * Keys and payloads are views. Errors: BAD_BLOCK.
 */
export function unpackEvents(raw: Uint8Array, count: number, first = 0, take = count - first): Event[] {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength)
  const events: Event[] = []
  let at = 0
  for (let index = 0; index < count; index += 1) {
    const end = endOfEvent(raw, view, at)
    if (index >= first && index - first < take) events.push(unpackOne(raw, view, at, end))
    at = end
  }
  if (at !== raw.length) throw badBlock('bytes after the last event')
  return events
}

function packOne(event: Event, raw: Uint8Array, view: DataView, start: number): number {
  const { key, payload, headers, timestampMs, id, type, source } = event
  let flags = 0
  let at = start + packedEventSizeMin
  if (id !== undefined) {
    flags |= flag.id
    at = putShortText(id, raw, view, at, start + 6)
  }
  if (type !== undefined) {
    flags |= flag.type
    at = putShortText(type, raw, view, at, start + 8)
  }
  if (source !== undefined) {
    flags |= flag.source
    at = putShortText(source, raw, view, at, start + 10)
  }
  if (key !== undefined) {
    flags |= flag.key
    view.setUint32(start + 12, key.length)
    raw.set(key, at)
    at += key.length
  }
  if (timestampMs !== undefined) {
    flags |= flag.timestamp
    view.setInt32(start + 16, Math.floor(timestampMs / twoTo32))
    view.setUint32(start + 20, timestampMs >>> 0)
  }
  if (headers !== undefined) {
    view.setUint8(start + 5, headers.size)
    for (const [name, value] of headers) {
      const sizesAt = at
      at = putShortText(name, raw, view, at + 4, sizesAt)
      at = putShortText(value, raw, view, at, sizesAt + 2)
    }
  }
  if (payload !== undefined) {
    flags |= flag.payload
    raw.set(payload, at)
    at += payload.length
  }
  view.setUint8(start + 4, flags)
  view.setUint32(start, at - start - 4)
  return at
}

function putShortText(text: string, raw: Uint8Array, view: DataView, at: number, sizeAt: number): number {
  const size = encodeUtf8Into(text, raw, at)
  view.setUint16(sizeAt, size)
  return at + size
}

/** Where the event at `at` ends, without looking into it. */
function endOfEvent(raw: Uint8Array, view: DataView, at: number): number {
  if (raw.length - at < packedEventSizeMin) throw badBlock('fewer events than its count')
  const size = 4 + view.getUint32(at)
  if (size < packedEventSizeMin || size > raw.length - at) throw badBlock('size of an event')
  if (size > eventBytesMax) throw badBlock('event above the limit')
  return at + size
}

function unpackOne(raw: Uint8Array, view: DataView, start: number, end: number): Event {
  const flags = view.getUint8(start + 4)
  if ((flags & ~knownFlags) !== 0) throw badBlock('unknown flags of an event')
  const headerCount = view.getUint8(start + 5)
  const idSize = view.getUint16(start + 6)
  const typeSize = view.getUint16(start + 8)
  const sourceSize = view.getUint16(start + 10)
  const keySize = view.getUint32(start + 12)
  const idAt = start + packedEventSizeMin
  const typeAt = idAt + idSize
  const sourceAt = typeAt + typeSize
  const keyAt = sourceAt + sourceSize
  const headersAt = keyAt + keySize
  if (headersAt > end) throw badBlock('sizes inside an event')
  const event: Event = {}
  if ((flags & flag.key) !== 0) event.key = viewOf(raw, keyAt, headersAt)
  else if (keySize !== 0) throw badBlock('bytes of an absent field')
  const payloadAt = headerCount === 0 ? headersAt : unpackHeaders(raw, view, headersAt, end, headerCount, event)
  if ((flags & flag.payload) !== 0) event.payload = viewOf(raw, payloadAt, end)
  else if (payloadAt !== end) throw badBlock('bytes of an absent field')
  const timestampMs = view.getInt32(start + 16) * twoTo32 + view.getUint32(start + 20)
  if (!Number.isSafeInteger(timestampMs)) throw badBlock('timestamp beyond 2^53')
  if ((flags & flag.timestamp) !== 0) event.timestampMs = timestampMs
  else if (timestampMs !== 0) throw badBlock('bytes of an absent field')
  if ((flags & flag.id) !== 0) event.id = textOf(raw, idAt, typeAt)
  else if (idSize !== 0) throw badBlock('bytes of an absent field')
  if ((flags & flag.type) !== 0) event.type = textOf(raw, typeAt, sourceAt)
  else if (typeSize !== 0) throw badBlock('bytes of an absent field')
  if ((flags & flag.source) !== 0) event.source = textOf(raw, sourceAt, keyAt)
  else if (sourceSize !== 0) throw badBlock('bytes of an absent field')
  return event
}

/** Reads the headers into `event` and answers where the payload starts. */
function unpackHeaders(
  raw: Uint8Array,
  view: DataView,
  start: number,
  end: number,
  count: number,
  event: Event,
): number {
  if (count > headersMax) throw badBlock('headers above the limit')
  const headers = new Map<string, string>()
  let at = start
  let bytes = 0
  for (let index = 0; index < count; index += 1) {
    if (end - at < 4) throw badBlock('sizes inside an event')
    const nameSize = view.getUint16(at)
    const valueSize = view.getUint16(at + 2)
    at += 4
    if (end - at < nameSize + valueSize) throw badBlock('sizes inside an event')
    bytes += nameSize + valueSize
    if (bytes > headerBytesMax) throw badBlock('headers above the limit')
    const name = textOf(raw, at, at + nameSize)
    if (name === '' || headers.has(name)) throw badBlock('a header name is empty or comes twice')
    headers.set(name, textOf(raw, at + nameSize, at + nameSize + valueSize))
    at += nameSize + valueSize
  }
  event.headers = headers
  return at
}

function headersSize(headers: ReadonlyMap<string, string> | undefined, index: number): number {
  if (headers === undefined) return 0
  if (!(headers instanceof Map)) throw badEvent(index, 'headers', 'not a map')
  let bytes = 0
  for (const [name, value] of headers) {
    if (typeof name !== 'string' || typeof value !== 'string') throw badEvent(index, 'headers', 'not text')
    const nameSize = utf8Size(name)
    const valueSize = utf8Size(value)
    if (nameSize < 0 || valueSize < 0) throw badEvent(index, 'headers', 'text is not well-formed')
    if (nameSize === 0) throw badEvent(index, 'headers', 'a name is empty')
    bytes += nameSize + valueSize
  }
  if (headers.size > headersMax || bytes > headerBytesMax) {
    throw new TrunklineError('HEADERS_TOO_LARGE', {
      details: {
        event: String(index),
        headers: String(headers.size),
        headersMax: String(headersMax),
        bytes: String(bytes),
        bytesMax: String(headerBytesMax),
      },
    })
  }
  return bytes + headers.size * 4
}

function shortTextSize(text: string | undefined, field: string, index: number): number {
  if (text === undefined) return 0
  if (typeof text !== 'string') throw badEvent(index, field, 'not text')
  const size = utf8Size(text)
  if (size < 0) throw badEvent(index, field, 'text is not well-formed')
  if (size > shortTextMax) throw badEvent(index, field, `longer than ${shortTextMax} bytes`)
  return size
}

function byteSize(bytes: Uint8Array | undefined, field: string, index: number): number {
  if (bytes === undefined) return 0
  if (!(bytes instanceof Uint8Array)) throw badEvent(index, field, 'not bytes')
  return bytes.length
}

function textOf(raw: Uint8Array, start: number, end: number): string {
  const text = decodeUtf8(raw, start, end)
  if (text === undefined) throw badBlock('text of an event is not UTF-8')
  return text
}

function viewOf(raw: Uint8Array, start: number, end: number): Uint8Array {
  return new Uint8Array(raw.buffer, raw.byteOffset + start, end - start)
}

function badEvent(index: number, field: string, why: string): TrunklineError {
  return new TrunklineError('BAD_EVENT', { details: { event: String(index), field, why } })
}

function badBlock(why: string): TrunklineError {
  return new TrunklineError('BAD_BLOCK', { details: { why } })
}
