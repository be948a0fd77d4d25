import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { packEvents, packedEventSize } from '../../../src/protocol/event-packing.ts'
import { eventBytesMax, headersMax, plainJoinedBytesMax, sealedBlockBytesMax } from '../../../src/protocol/limits.ts'
import { type Event, encoding } from '../../../src/protocol/messages.ts'
import { packWrite } from '../../../src/protocol/partitioning.ts'
import {
  eventOfPlain,
  eventOfStranger,
  type PlainPlace,
  type PlainRecord,
  plainRecordOf,
  plainRecordSize,
} from '../../../src/protocol/plain-record.ts'
import { scale } from '../../support/scale.ts'
import { eventArbitrary } from './support/arbitraries.ts'
import { bytesToHex, hexToBytes, readVectors } from './support/json-values.ts'
import { forAll } from './support/seed.ts'
import { errorOf } from './support/thrown.ts'

interface EventJson {
  readonly key?: string
  readonly payload?: string
  readonly headers?: readonly (readonly [string, string])[]
  readonly timestampMs?: number
  readonly id?: string
  readonly type?: string
  readonly source?: string
}

interface RecordJson {
  readonly key: string | null
  readonly value: string | null
  readonly headers: readonly (readonly [string, string | null])[]
}

interface Vectors {
  readonly ours: readonly { readonly about: string; readonly event: EventJson; readonly record: RecordJson }[]
  readonly place: PlainPlace
  readonly strangers: readonly { readonly about: string; readonly event: EventJson; readonly record: RecordJson }[]
  readonly refused: readonly { readonly about: string; readonly event: EventJson }[]
}

const vectors = readVectors<Vectors>('plain-record')
const mayBeRefused = 'BAD_EVENT'

describe('a plain record', () => {
  it.each(vectors.ours)(
    'Given an event ($about), when written and read, then both are as drawn',
    ({ event, record }) => {
      expect(jsonOf(plainRecordOf(eventOf(event)))).toEqual(record)
      expect(eventOfPlain(recordOf(record))).toEqual(eventOf(event))
    },
  )

  it.each(vectors.strangers)('Given a record of a stranger ($about), when read, then it is that event', (one) => {
    const event = eventOfStranger(recordOf(one.record), vectors.place)
    expect(event).toEqual(eventOf(one.event))
    expect(new Map(event.headers)).toEqual(new Map(one.event.headers))
  })

  it.each(vectors.refused)('Given an event that a record cannot hold ($about), then it is BAD_EVENT', ({ event }) => {
    expect(errorOf(() => plainRecordOf(eventOf(event), 7))).toMatchObject({
      name: 'BAD_EVENT',
      details: { event: '7' },
    })
  })

  it('Given any event, when written and read back, then it is the same, in the same order of headers', () => {
    forAll(scale(300, 3_000), eventArbitrary, (event) => {
      let record: PlainRecord
      try {
        record = plainRecordOf(event)
      } catch (error) {
        expect(errorOf(() => plainRecordOf(event)).name, String(error)).toBe(mayBeRefused)
        return
      }
      const back = eventOfPlain(record)
      expect(back).toEqual(event)
      expect(packEvents([back])).toEqual(packEvents([event]))
    })
  })

  it('Given any bytes in the headers of a stranger, when read, then nothing is lost', () => {
    const name = fc.constantFrom('a', 'b', 'a;1', 'a;base64', 'ce_id', 'ce_specversion', 'tl')
    const field = fc.tuple(name, fc.option(fc.uint8Array({ maxLength: 3 })))
    forAll(scale(300, 3_000), fc.array(field, { maxLength: 12 }), (headers) => {
      const event = eventOfStranger({ key: null, value: new Uint8Array(), headers }, vectors.place)
      const asFields = headers.some(([one]) => one === 'ce_specversion') ? 2 : 0
      expect(event.headers?.size ?? 0).toBeGreaterThanOrEqual(headers.length - asFields)
    })
  })

  it('Given more headers than anybody of ours writes, when read, then it is HEADERS_TOO_LARGE', () => {
    const headers = Array.from({ length: 10_000 }, () => ['a', new Uint8Array()] as const)
    const read = (): Event => eventOfStranger({ key: null, value: new Uint8Array(), headers }, vectors.place)
    expect(errorOf(read).name).toBe('HEADERS_TOO_LARGE')
    const full: Event = { headers: new Map(Array.from({ length: headersMax }, (_, at) => [`h${at}`, ''])) }
    expect(
      eventOfPlain(plainRecordOf({ ...full, id: 'i', type: 't', source: 's', timestampMs: 1 })).headers?.size,
    ).toBe(headersMax)
  })

  it('Given blocks as a plain topic announces them, then the worst of them fits into one batch', () => {
    const worst: readonly Event[] = [
      {},
      { timestampMs: 1 },
      { id: '1', type: '1', source: '1', timestampMs: 1 },
      { id: '', type: '', source: '', timestampMs: 1, headers: new Map([['a', '']]) },
      {
        id: '1',
        type: '1',
        source: '1',
        timestampMs: 1,
        headers: new Map(Array.from({ length: 64 }, (_, at) => [`${at}`, ''])),
      },
    ]
    for (const event of worst) {
      const count = Math.ceil((2 * plainJoinedBytesMax) / packedEventSize(event))
      const [block] = packWrite(
        Array.from({ length: count }, () => event),
        {
          partitions: 1,
          keylessPartition: 0,
          encoding: encoding.gzip,
          joinedBytesMax: plainJoinedBytesMax,
        },
      )
      expect(block?.rawSize).toBeLessThanOrEqual(plainJoinedBytesMax)
      expect(plainRecordSize(plainRecordOf(event)) * (block?.count ?? 0)).toBeLessThanOrEqual(sealedBlockBytesMax)
    }
    const large = { payload: new Uint8Array(3 * plainJoinedBytesMax) }
    const options = { partitions: 1, keylessPartition: 0, encoding: encoding.none, joinedBytesMax: plainJoinedBytesMax }
    expect(packWrite([{}, large, {}, {}], options).map(({ count }) => count)).toEqual([1, 1, 2])
    const largest: Event = { id: 'i', type: 't', source: 's', timestampMs: 1, headers: worst[4]?.headers ?? new Map() }
    const payload = new Uint8Array(eventBytesMax - packedEventSize(largest))
    expect(plainRecordSize(plainRecordOf({ ...largest, payload }))).toBeLessThanOrEqual(sealedBlockBytesMax)
  })
})

function eventOf({ key, payload, headers, ...rest }: EventJson): Event {
  return {
    ...rest,
    ...(key === undefined ? {} : { key: hexToBytes(key) }),
    ...(payload === undefined ? {} : { payload: hexToBytes(payload) }),
    ...(headers === undefined ? {} : { headers: new Map(headers) }),
  }
}

function recordOf({ key, value, headers }: RecordJson): PlainRecord {
  return {
    key: key === null ? null : hexToBytes(key),
    value: hexToBytes(value ?? ''),
    ...(value === null ? { nullValue: true } : {}),
    headers: headers.map(([name, bytes]) => [name, bytes === null ? null : hexToBytes(bytes)]),
  }
}

function jsonOf({ key, value, nullValue, headers = [] }: PlainRecord): RecordJson {
  return {
    key: key === null ? null : bytesToHex(key),
    value: nullValue === true ? null : bytesToHex(value),
    headers: headers.map(([name, bytes]) => [name, bytes === null ? null : bytesToHex(bytes)]),
  }
}
