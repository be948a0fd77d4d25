import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type CursorContent, decodeCursorContent, encodeCursorContent } from '../../../src/protocol/cursor-content.ts'
import { parseTopicId } from '../../../src/protocol/ids.ts'
import { scale } from '../../support/scale.ts'
import { bytesToHex, hexToBytes, readVectors } from './support/json-values.ts'
import { forAll, runSeed, seededNumbers } from './support/seed.ts'
import { errorOf } from './support/thrown.ts'

interface Vectors {
  readonly cases: readonly { content: CursorContent; bytes: string }[]
  readonly refused: readonly { error: string; bytes: string }[]
}

const vectors = readVectors<Vectors>('cursor-content')
const topicId = parseTopicId('00112233445566778899aabbccddeeff')
const u48 = fc.oneof(
  fc.nat(),
  fc.maxSafeInteger().map((value) => Math.abs(value) % 2 ** 48),
)

describe('cursor content', () => {
  it('Given the vectors, When encoded and decoded, Then they are as drawn', () => {
    for (const { content, bytes } of vectors.cases) {
      expect(bytesToHex(encodeCursorContent(content))).toBe(bytes)
      expect(decodeCursorContent(hexToBytes(bytes))).toEqual(content)
    }
  })

  it('Given other versions and bytes that do not fit, When decoded, Then CURSOR_VERSION or BAD_CURSOR', () => {
    for (const { error, bytes } of vectors.refused) {
      expect({ bytes, name: errorOf(() => decodeCursorContent(hexToBytes(bytes))).name }).toEqual({
        bytes,
        name: error,
      })
    }
  })

  it('Given any content, When encoded and decoded, Then it is the same, in 8 or 6 bytes a partition', () => {
    const read = fc.record(
      {
        kind: fc.constant('read' as const),
        topicId: fc.constant(topicId),
        issuedAtMs: u48,
        positions: fc.array(fc.record({ offset: u48, index: fc.nat(65_535) }, { noNullPrototype: true }), {
          minLength: 1,
          maxLength: 40,
        }),
      },
      { noNullPrototype: true },
    )
    const write = fc.record(
      {
        kind: fc.constant('write' as const),
        topicId: fc.constant(topicId),
        issuedAtMs: u48,
        offsets: fc.array(u48, { minLength: 1, maxLength: 40 }),
      },
      { noNullPrototype: true },
    )
    forAll(scale(300, 10_000), fc.oneof(read, write), (content) => {
      const bytes = encodeCursorContent(content)
      const perPartition = content.kind === 'read' ? content.positions.length * 8 : content.offsets.length * 6
      expect(bytes).toHaveLength(26 + perPartition)
      expect(decodeCursorContent(bytes)).toEqual(content)
    })
  })

  it('Given random bytes, When decoded, Then nothing but the two errors is thrown', () => {
    const below = seededNumbers(runSeed())
    for (let run = 0; run < scale(5_000, 100_000); run += 1) {
      const bytes = Uint8Array.from({ length: below(60) }, () => below(256))
      if (bytes.length > 1 && below(2) === 0) bytes.set([1, 1 + below(2)])
      try {
        expect(encodeCursorContent(decodeCursorContent(bytes))).toEqual(bytes)
      } catch (error) {
        expect(['BAD_CURSOR', 'CURSOR_VERSION']).toContain((error as Error).name)
      }
    }
  })

  it('Given numbers that no cursor can hold, When encoded, Then it throws: a bug of the caller', () => {
    const read = (offset: number, index: number) => () =>
      encodeCursorContent({ kind: 'read', topicId, issuedAtMs: 0, positions: [{ offset, index }] })
    for (const bad of [
      read(-1, 0),
      read(2 ** 48, 0),
      read(0.5, 0),
      read(0, -1),
      read(0, 65_536),
      read(Number.NaN, 0),
    ]) {
      expect(bad).toThrow('no cursor can hold')
    }
    expect(() => encodeCursorContent({ kind: 'write', topicId, issuedAtMs: 0, offsets: [] })).toThrow('partitions')
    const offsets = Array.from({ length: 1_025 }, () => 0)
    expect(() => encodeCursorContent({ kind: 'write', topicId, issuedAtMs: 0, offsets })).toThrow('partitions')
  })
})
