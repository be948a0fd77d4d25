import { describe, expect, it } from 'vitest'
import { parseProducerId } from '../../../src/protocol/ids.ts'
import { decodeRecordHeader, encodeRecordHeader, type RecordHeader } from '../../../src/protocol/record-header.ts'
import { bytesToHex, hexToBytes, readVectors } from './support/json-values.ts'

interface HeaderJson {
  readonly kind: 'data' | 'barrier'
  readonly producerId?: string
  readonly n?: number
  readonly part?: number
  readonly parts?: number
  readonly writeHash?: string
  readonly index?: number
}

interface Vectors {
  readonly cases: readonly { header: HeaderJson; bytes: string }[]
  readonly refused: readonly string[]
}

const vectors = readVectors<Vectors>('record-header')

describe('record header', () => {
  it('Given the vectors, When encoded and decoded, Then they are as drawn', () => {
    for (const { header: json, bytes } of vectors.cases) {
      const header = headerOf(json)
      expect(bytesToHex(encodeRecordHeader(header))).toBe(bytes)
      expect(decodeRecordHeader(hexToBytes(bytes))).toEqual(header)
    }
  })

  it('Given another version, kind or length, When decoded, Then it is no header of ours', () => {
    for (const bytes of vectors.refused) expect(decodeRecordHeader(hexToBytes(bytes))).toBeUndefined()
  })
})

function headerOf(json: HeaderJson): RecordHeader {
  if (json.kind === 'barrier') return { kind: 'barrier' }
  return {
    kind: 'data',
    producerId: parseProducerId(json.producerId ?? ''),
    n: json.n ?? 0,
    part: json.part ?? 0,
    parts: json.parts ?? 0,
    writeHash: hexToBytes(json.writeHash ?? ''),
    ...(json.index === undefined ? {} : { index: json.index }),
  }
}
