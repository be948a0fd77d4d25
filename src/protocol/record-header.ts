// Owns: the one binary header `tl` of every record we append (docs/formats.md "Record header").
// Layout, big-endian: version u8 = 1 │ kind u8 (1 data, 2 barrier) │ producerId 16 │ n u64 │ part u16 │ parts u16 │
// writeHash 8 │ [index u16, plain topics only]. 38 or 40 bytes.
import { idToBytes, type ProducerId, producerIdFromBytes } from './ids.ts'

export type RecordHeader =
  | { readonly kind: 'barrier' }
  | {
      readonly kind: 'data'
      readonly producerId: ProducerId
      readonly n: number
      readonly part: number
      readonly parts: number
      /** 8 bytes over the unsealed blocks, parts and partitions of the whole write. */
      readonly writeHash: Uint8Array
      readonly index?: number
    }

/** Its name among a record's headers. */
export const recordHeaderName = 'tl'
const version = 1
const kindData = 1
const kindBarrier = 2
const sizeWithoutIndex = 38
const indexSize = 2

export function encodeRecordHeader(header: RecordHeader): Uint8Array {
  const withIndex = header.kind === 'data' && header.index !== undefined
  const bytes = new Uint8Array(sizeWithoutIndex + (withIndex ? indexSize : 0))
  bytes[0] = version
  bytes[1] = header.kind === 'data' ? kindData : kindBarrier
  if (header.kind === 'barrier') return bytes
  const view = new DataView(bytes.buffer)
  bytes.set(idToBytes(header.producerId), 2)
  view.setBigUint64(18, BigInt(header.n))
  view.setUint16(26, header.part)
  view.setUint16(28, header.parts)
  bytes.set(header.writeHash, 30)
  if (header.index !== undefined) view.setUint16(38, header.index)
  return bytes
}

/** The same header with another index: `header` has one. Thousands of records of a part differ in nothing else. */
export function recordHeaderAt(header: Uint8Array, index: number): Uint8Array {
  const bytes = header.slice()
  bytes[sizeWithoutIndex] = index >> 8
  bytes[sizeWithoutIndex + 1] = index & 0xff
  return bytes
}

/** Undefined when the bytes are not a header of ours (another version, another length): such a record is damaged or foreign. */
export function decodeRecordHeader(bytes: Uint8Array): RecordHeader | undefined {
  const sane = bytes.length === sizeWithoutIndex || bytes.length === sizeWithoutIndex + indexSize
  if (!sane || bytes[0] !== version) return undefined
  if (bytes[1] === kindBarrier) return { kind: 'barrier' }
  if (bytes[1] !== kindData) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const n = Number(view.getBigUint64(18))
  if (!Number.isSafeInteger(n)) return undefined
  return {
    kind: 'data',
    producerId: producerIdFromBytes(bytes.subarray(2, 18)),
    n,
    part: view.getUint16(26),
    parts: view.getUint16(28),
    writeHash: bytes.slice(30, 38),
    ...(bytes.length > sizeWithoutIndex ? { index: view.getUint16(38) } : {}),
  }
}
