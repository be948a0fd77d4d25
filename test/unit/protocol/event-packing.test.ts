import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { packEvents, packedEventSize, unpackEvents } from '../../../src/protocol/event-packing.ts'
import { eventBytesMax, headerBytesMax, headersMax } from '../../../src/protocol/limits.ts'
import type { Event } from '../../../src/protocol/messages.ts'
import { schemas } from '../../../src/protocol/thrift/schemas.ts'
import { scale } from '../../support/scale.ts'
import { eventArbitrary } from './support/arbitraries.ts'
import { bytesToHex, fromJson, hexToBytes, type Json, readVectors } from './support/json-values.ts'
import { forAll, runSeed, seededNumbers } from './support/seed.ts'
import { errorOf } from './support/thrown.ts'

interface Vectors {
  readonly cases: readonly { name: string; count: number; events: readonly Json[]; raw: string }[]
  readonly refused: readonly { name: string; count: number; raw: string }[]
}

const vectors = readVectors<Vectors>('packed-events')

describe('packing 1', () => {
  for (const { name, events: json, raw } of vectors.cases) {
    it(`Given the vector "${name}", When packed and unpacked, Then bytes and events are as drawn`, () => {
      const events = json.map((each) => fromJson(schemas.Event, each))
      expect(bytesToHex(packEvents(events))).toBe(raw)
      expect(unpackEvents(hexToBytes(raw), events.length)).toEqual(events)
    })
  }

  for (const { name, count, raw } of vectors.refused) {
    it(`Given the damaged vector "${name}", When unpacked, Then BAD_BLOCK`, () => {
      expect(errorOf(() => unpackEvents(hexToBytes(raw), count)).name).toBe('BAD_BLOCK')
    })
  }

  it('Given any events, When packed and unpacked, Then they are the same, and so is any slice of them', () => {
    const slices = fc.tuple(fc.array(eventArbitrary, { maxLength: 8 }), fc.nat(8), fc.nat(8))
    forAll(scale(300, 10_000), slices, ([events, first, take]) => {
      const raw = packEvents(events)
      expect(raw).toHaveLength(events.reduce((sum, event) => sum + packedEventSize(event), 0))
      expect(unpackEvents(raw, events.length)).toEqual(events)
      expect(unpackEvents(raw, events.length, first, take)).toEqual(events.slice(first, first + take))
      expect(packEvents(unpackEvents(raw, events.length))).toEqual(raw)
    })
  })

  it('Given any packed events with mutated bytes, When unpacked, Then BAD_BLOCK or other events that pack to those bytes', () => {
    const below = seededNumbers(runSeed())
    const events: Event[] = [
      { key: new Uint8Array(3), payload: new Uint8Array(9), headers: new Map([['a', 'bc']]), timestampMs: 5 },
      { id: 'id-1', type: 'event', source: 'é', payload: new Uint8Array(2) },
    ]
    const good = packEvents(events)
    let unpacked = 0
    for (let run = 0; run < scale(20_000, 400_000); run += 1) {
      const raw = good.slice(0, below(8) === 0 ? below(good.length + 1) : good.length)
      for (let edits = 1 + below(3); edits > 0; edits -= 1) raw[below(raw.length)] = below(256)
      const result = attempt(() => unpackEvents(raw, 2))
      if (result === undefined) continue
      unpacked += 1
      expect(packEvents(result)).toEqual(raw)
    }
    expect(unpacked).toBeGreaterThan(50)
  })

  it('Given read-only fields and empty headers, When packed, Then they leave no trace', () => {
    const plain: Event = { payload: Uint8Array.of(1) }
    const read: Event = { ...plain, partition: 3, offset: 4, index: 5, appendTimeMs: 6, headers: new Map() }
    expect(packEvents([read])).toEqual(packEvents([plain]))
  })

  it('Given unpacked events, When their block is overwritten, Then keys and payloads change: they are views', () => {
    const raw = packEvents([{ key: Uint8Array.of(1), payload: Uint8Array.of(2) }])
    const [event] = unpackEvents(raw, 1)
    raw.fill(9)
    expect([event?.key?.[0], event?.payload?.[0]]).toEqual([9, 9])
  })
})

describe('limits of an event', () => {
  const refusal = (event: Event) => errorOf(() => packEvents([{}, event]))

  it('Given an event of exactly the limit, When packed, Then it packs, and with one byte more EVENT_TOO_LARGE', () => {
    const payload = new Uint8Array(eventBytesMax - 24)
    expect(packEvents([{ payload }])).toHaveLength(eventBytesMax)
    const error = refusal({ payload, key: Uint8Array.of(1) })
    expect(error.name).toBe('EVENT_TOO_LARGE')
    expect(error.details).toEqual({ event: '1', bytes: String(eventBytesMax + 1), bytesMax: String(eventBytesMax) })
  })

  it('Given headers of exactly the limits, When packed, Then they pack, and above them HEADERS_TOO_LARGE', () => {
    const many = (count: number) => new Map(Array.from({ length: count }, (_, at) => [`h${at}`, ''] as const))
    const long = (bytes: number) => new Map([['name', 'x'.repeat(bytes - 4)]])
    expect(unpackEvents(packEvents([{ headers: many(headersMax) }]), 1)[0]?.headers?.size).toBe(headersMax)
    expect(unpackEvents(packEvents([{ headers: long(headerBytesMax) }]), 1)[0]?.headers?.size).toBe(1)
    expect(refusal({ headers: many(headersMax + 1) }).name).toBe('HEADERS_TOO_LARGE')
    expect(refusal({ headers: long(headerBytesMax + 1) }).name).toBe('HEADERS_TOO_LARGE')
  })

  it('Given a block whose events are above the limits, When unpacked, Then BAD_BLOCK', () => {
    const why = (raw: Uint8Array) => errorOf(() => unpackEvents(raw, 1)).details['why']
    const names = (count: number) =>
      Array.from({ length: count }, (_, at) => [String.fromCharCode(48 + at), ''] as const)
    expect(unpackEvents(rawEvent(names(headersMax)), 1)[0]?.headers?.size).toBe(headersMax)
    expect(why(rawEvent(names(headersMax + 1)))).toBe('headers above the limit')
    expect(why(rawEvent([['n', 'x'.repeat(headerBytesMax)]]))).toBe('headers above the limit')
    expect(unpackEvents(rawEvent([], eventBytesMax - 24), 1)).toHaveLength(1)
    expect(why(rawEvent([], eventBytesMax - 23))).toBe('event above the limit')
  })

  it('Given fields that no block can hold, When packed, Then BAD_EVENT names the event and the field', () => {
    const bad: readonly (readonly [string, unknown])[] = [
      ['timestampMs', { timestampMs: 1.5 }],
      ['timestampMs', { timestampMs: 2 ** 53 }],
      ['timestampMs', { timestampMs: Number.NaN }],
      ['id', { id: '\udc00' }],
      ['id', { id: 7 }],
      ['type', { type: 'x'.repeat(65_536) }],
      ['source', { source: 'é'.repeat(32_768) }],
      ['key', { key: 'text' }],
      ['payload', { payload: [1, 2] }],
      ['headers', { headers: { a: 'b' } }],
      ['headers', { headers: new Map([['', 'b']]) }],
      ['headers', { headers: new Map([['a', 1]]) }],
      ['headers', { headers: new Map([['a', '\ud800']]) }],
    ]
    for (const [field, event] of bad) {
      const error = refusal(event as Event)
      expect({ name: error.name, event: error.details['event'], field: error.details['field'] }).toEqual({
        name: 'BAD_EVENT',
        event: '1',
        field,
      })
    }
  })
})

function attempt<T>(run: () => T): T | undefined {
  try {
    return run()
  } catch (error) {
    if (error instanceof TrunklineError && error.name === 'BAD_BLOCK') return undefined
    throw error
  }
}

/** One event by hand, above the limits that packing keeps. */
function rawEvent(headers: readonly (readonly [string, string])[], payloadSize = 0): Uint8Array {
  const body = headers.flatMap(([name, value]) => {
    const sizes = Buffer.alloc(4)
    sizes.writeUInt16BE(name.length, 0)
    sizes.writeUInt16BE(value.length, 2)
    return [sizes, Buffer.from(name + value)]
  })
  const event = Buffer.concat([Buffer.alloc(24), ...body, Buffer.alloc(payloadSize)])
  event.writeUInt32BE(event.length - 4, 0)
  event[4] = 2
  event[5] = headers.length
  return new Uint8Array(event)
}
