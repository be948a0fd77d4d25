import { beforeEach, describe, expect, it } from 'vitest'
import type { AppendRecord, LogRecord } from '../../../../src/ports/event-log.ts'
import { OpenedBlocks } from '../../../../src/stream-tier/read/opened-blocks.ts'
import { FakeOpener } from './fake-opener.ts'
import { barrierRecord, blockValue, dataRecord, topicInfo } from './tiny-log.ts'

const { topicId } = topicInfo(1)
const at = (offset: number, record: AppendRecord): LogRecord => ({ ...record, offset, appendTimeMs: 100 + offset })
const block = (offset: number, size = 8): LogRecord => at(offset, dataRecord(undefined, 1, 0, blockValue(3, size)))

describe('the cache of opened blocks', () => {
  let opener: FakeOpener

  beforeEach(() => {
    opener = new FakeOpener()
  })

  it('opens a block once, and gives everybody the same one with its place', () => {
    const blocks = new OpenedBlocks({ opener })
    const first = blocks.open(topicId, 0, block(7))
    expect(first).toMatchObject({ kind: 'block', block: { partition: 0, count: 3, offset: 7, appendTimeMs: 107 } })
    expect(blocks.open(topicId, 0, block(7))).toBe(first)
    expect(blocks.get(topicId, 0, 7)).toBe(first)
    expect(opener.opened).toBe(1)
    expect(blocks.get(topicId, 1, 7)).toBeUndefined()
    expect(blocks.get(topicInfo(1, '2').topicId, 0, 7)).toBeUndefined()
  })

  it('has one open in flight per block', async () => {
    let release: () => void = () => {}
    opener.gate = new Promise((resolve) => {
      release = resolve
    })
    const blocks = new OpenedBlocks({ opener })
    const both = Promise.all([blocks.open(topicId, 0, block(1)), blocks.open(topicId, 0, block(1))])
    release()
    const [first, second] = await both
    expect(first).toBe(second)
    expect(opener.opened).toBe(1)
  })

  it('drops what was used longest ago when its bytes are full', () => {
    const blocks = new OpenedBlocks({ opener, bytesMax: 5_000 })
    for (const offset of [0, 1, 2]) void blocks.open(topicId, 0, block(offset, 1_000))
    blocks.get(topicId, 0, 0)
    void blocks.open(topicId, 0, block(3, 1_000))
    expect([0, 1, 2, 3].map((offset) => blocks.has(topicId, 0, offset))).toEqual([true, false, true, true])
    expect(blocks.bytes).toBeLessThanOrEqual(5_000)
  })

  it('lets a block above the whole bound pass through', () => {
    const blocks = new OpenedBlocks({ opener, bytesMax: 2_000 })
    void blocks.open(topicId, 0, block(0, 100))
    expect(blocks.open(topicId, 0, block(1, 3_000))).toMatchObject({ kind: 'block' })
    expect(blocks.has(topicId, 0, 1)).toBe(false)
    expect(blocks.has(topicId, 0, 0)).toBe(true)
  })

  it.each<[string, AppendRecord, object]>([
    ['a barrier', barrierRecord, { kind: 'skip' }],
    ['a record without our header', { ...dataRecord(), header: null }, { kind: 'damaged', error: 'BLOCK_DAMAGED' }],
    [
      'a header that does not decode',
      { ...dataRecord(), header: Uint8Array.of(9, 9) },
      { kind: 'damaged', error: 'BLOCK_DAMAGED' },
    ],
    [
      'a block that was made a barrier',
      { ...barrierRecord, value: Uint8Array.of(1) },
      { kind: 'damaged', error: 'BLOCK_DAMAGED' },
    ],
    [
      'a block that does not open',
      dataRecord(undefined, 1, 0, Uint8Array.of(0xff)),
      { kind: 'damaged', error: 'BLOCK_DAMAGED' },
    ],
    ['a destroyed key', dataRecord(undefined, 1, 0, Uint8Array.of(0xfd)), { kind: 'damaged', error: 'KEY_SHREDDED' }],
  ])('remembers %s', (_, record, expected) => {
    const blocks = new OpenedBlocks({ opener })
    expect(blocks.open(topicId, 0, at(0, record))).toEqual(expected)
    expect(blocks.get(topicId, 0, 0)).toEqual(expected)
  })

  it('asks again for a key that was away', () => {
    const blocks = new OpenedBlocks({ opener })
    const away = at(0, dataRecord(undefined, 1, 0, Uint8Array.of(0xfe)))
    expect(blocks.open(topicId, 0, away)).toEqual({ kind: 'damaged', error: 'KEY_UNAVAILABLE' })
    void blocks.open(topicId, 0, away)
    expect(opener.opened).toBe(2)
  })

  it('does not take a bug for damage', async () => {
    const blocks = new OpenedBlocks({ opener: { open: () => Promise.reject(new Error('bug')) } })
    await expect(blocks.open(topicId, 0, block(0))).rejects.toThrow('bug')
    await expect(blocks.open(topicId, 0, block(0))).rejects.toThrow('bug')
  })
})
