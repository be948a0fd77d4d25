import { beforeEach, describe, expect, it } from 'vitest'
import type { AppendRecord, LogRecord } from '../../../../src/ports/event-log.ts'
import { readBlock } from '../../../../src/protocol/block.ts'
import type { ErrorName } from '../../../../src/protocol/errors.ts'
import type { Event } from '../../../../src/protocol/messages.ts'
import { encodeRecordHeader } from '../../../../src/protocol/record-header.ts'
import type { Opened } from '../../../../src/stream-tier/read/opened.ts'
import { OpenedBlocks } from '../../../../src/stream-tier/read/opened-blocks.ts'
import { FakeOpener } from './fake-opener.ts'
import { barrierRecord, blockValue, dataRecord, hashOne, producerA, topicInfo } from './tiny-log.ts'

const topic = topicInfo(1)
const { topicId } = topic
const at = (offset: number, record: AppendRecord): LogRecord => ({ ...record, offset, appendTimeMs: 100 + offset })
const block = (offset: number, size = 8): LogRecord => at(offset, dataRecord(undefined, 1, 0, blockValue(3, size)))

describe('the cache of opened blocks', () => {
  let opener: FakeOpener

  beforeEach(() => {
    opener = new FakeOpener()
  })

  it('opens a block once, and gives everybody the same one with its place', () => {
    const blocks = new OpenedBlocks({ opener })
    const first = blocks.open(topic, 0, block(7))
    expect(first).toMatchObject({ kind: 'block', block: { partition: 0, count: 3, offset: 7, appendTimeMs: 107 } })
    expect(blocks.open(topic, 0, block(7))).toBe(first)
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
    const both = Promise.all([blocks.open(topic, 0, block(1)), blocks.open(topic, 0, block(1))])
    release()
    const [first, second] = await both
    expect(first).toBe(second)
    expect(opener.opened).toBe(1)
  })

  it('drops what was used longest ago when its bytes are full', () => {
    const blocks = new OpenedBlocks({ opener, bytesMax: 5_000 })
    for (const offset of [0, 1, 2]) void blocks.open(topic, 0, block(offset, 1_000))
    blocks.get(topicId, 0, 0)
    void blocks.open(topic, 0, block(3, 1_000))
    expect([0, 1, 2, 3].map((offset) => blocks.has(topicId, 0, offset))).toEqual([true, false, true, true])
    expect(blocks.bytes).toBeLessThanOrEqual(5_000)
  })

  it('lets a block above the whole bound pass through', () => {
    const blocks = new OpenedBlocks({ opener, bytesMax: 2_000 })
    void blocks.open(topic, 0, block(0, 100))
    expect(blocks.open(topic, 0, block(1, 3_000))).toMatchObject({ kind: 'block' })
    expect(blocks.has(topicId, 0, 1)).toBe(false)
    expect(blocks.has(topicId, 0, 0)).toBe(true)
  })

  it.each<[string, AppendRecord, object]>([
    ['a barrier', barrierRecord, { kind: 'skip' }],
    [
      'a seal without our header',
      { key: null, value: Buffer.from('TLB and more'), header: null },
      { kind: 'damaged', error: 'BLOCK_DAMAGED' },
    ],
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
    expect(blocks.open(topic, 0, at(0, record))).toEqual(expected)
    expect(blocks.get(topicId, 0, 0)).toEqual(expected)
  })

  it('asks again for a key that was away', () => {
    const blocks = new OpenedBlocks({ opener })
    const away = at(0, dataRecord(undefined, 1, 0, Uint8Array.of(0xfe)))
    expect(blocks.open(topic, 0, away)).toEqual({ kind: 'damaged', error: 'KEY_UNAVAILABLE' })
    void blocks.open(topic, 0, away)
    expect(opener.opened).toBe(2)
  })

  it('forgets everything when keys were withdrawn, also what is being opened just then', async () => {
    const blocks = new OpenedBlocks({ opener })
    void blocks.open(topic, 0, block(0))
    let release: () => void = () => {}
    opener.gate = new Promise((resolve) => {
      release = resolve
    })
    const before = blocks.open(topic, 0, block(1))
    blocks.forget()
    expect([blocks.has(topicId, 0, 0), blocks.bytes]).toEqual([false, 0])
    const after = blocks.open(topic, 0, block(1))
    expect(opener.opened).toBe(3)
    release()
    const [first, second] = await Promise.all([before, after])
    expect(second).not.toBe(first)
    expect(blocks.get(topicId, 0, 1)).toBe(second)
  })

  it('does not take a bug for damage', async () => {
    const blocks = new OpenedBlocks({ opener: { open: () => Promise.reject(new Error('bug')) } })
    await expect(blocks.open(topic, 0, block(0))).rejects.toThrow('bug')
    await expect(blocks.open(topic, 0, block(0))).rejects.toThrow('bug')
  })
})

describe('records that are one event', () => {
  const plain = { ...topic, format: 'plain' } as const
  const value = Buffer.from('hi')
  const ours = (index?: number): Uint8Array =>
    encodeRecordHeader({
      kind: 'data',
      producerId: producerA,
      n: 1,
      part: 0,
      parts: 1,
      writeHash: hashOne,
      ...(index === undefined ? {} : { index }),
    })
  const eventIn = (opened: Opened | Promise<Opened>): Event | undefined => {
    if (opened instanceof Promise || opened.kind !== 'block') throw new Error('no block')
    return readBlock(opened.block)[0]
  }
  let blocks: OpenedBlocks

  beforeEach(() => {
    blocks = new OpenedBlocks({ opener: new FakeOpener() })
  })

  it('Given a plain record of ours, when opened, then it is its event at its own offset, index 0', () => {
    const record = at(9, { key: Buffer.from('k'), value, header: ours(3), headers: [['ce_id', Buffer.from('i')]] })
    const event = eventIn(blocks.open(plain, 2, record))
    expect(event).toMatchObject({ partition: 2, offset: 9, index: 0, id: 'i', appendTimeMs: 109, timestampMs: 109 })
    expect([text(event?.key), text(event?.payload), event?.type]).toEqual(['k', 'hi', undefined])
  })

  it.each(['plain', 'sealed'] as const)(
    'Given a record of a stranger in a %s topic, when opened, then it is an event named after its place',
    (format) => {
      const event = eventIn(blocks.open({ ...topic, format }, 2, at(9, { key: null, value, header: null })))
      expect(event).toMatchObject({ id: '2:9', type: 'event', source: `/topics/${topic.name}`, offset: 9, index: 0 })
      expect(text(event?.payload)).toBe('hi')
    },
  )

  it('Given a header that only has the name of ours, then it is damage in a sealed topic and a header in a plain one', () => {
    const record = at(1, { key: null, value, header: Buffer.from('info') })
    expect(blocks.open(topic, 0, record)).toEqual({ kind: 'damaged', error: 'BLOCK_DAMAGED' })
    expect(eventIn(blocks.open(plain, 1, record))?.headers).toEqual(new Map([['tl', 'info']]))
  })

  it('Given a record of the other format, then it is damage', () => {
    expect(blocks.open(topic, 0, at(1, { key: null, value, header: ours(0) }))).toMatchObject({ kind: 'damaged' })
    expect(blocks.open(plain, 1, at(1, { key: null, value, header: ours() }))).toMatchObject({ kind: 'damaged' })
  })

  it('Given a barrier in a plain topic, then it is skipped', () => {
    expect(blocks.open(plain, 0, at(1, barrierRecord))).toEqual({ kind: 'skip' })
  })

  it.each<[ErrorName, Partial<AppendRecord>]>([
    ['EVENT_TOO_LARGE', { value: new Uint8Array(917_505) }],
    ['HEADERS_TOO_LARGE', { headers: Array.from({ length: 65 }, (_, of) => [`h${of}`, value]) }],
    ['HEADERS_TOO_LARGE', { headers: Array.from({ length: 5_000 }, (_, of) => [`h${of}`, value]) }],
    ['HEADERS_TOO_LARGE', { headers: [['h', new Uint8Array(16_385)]] }],
    ['BAD_EVENT', { headers: [['', value]] }],
  ])('Given a stranger that keeps no limit (%s), then its place is damaged and says why', (why, record) => {
    const opened = blocks.open(plain, 0, at(1, { key: null, value, header: null, ...record }))
    expect(opened).toEqual({ kind: 'damaged', error: 'BLOCK_DAMAGED', why })
    expect(blocks.get(topicId, 0, 1)).toBe(opened)
  })

  it('Given bytes that the log itself finds damaged, then nothing of them is an event, whatever the topic', () => {
    for (const [partition, one] of [topic, plain].entries()) {
      const opened = blocks.open(one, partition, { ...at(1, { key: null, value, header: null }), damaged: true })
      expect(opened).toEqual({ kind: 'damaged', error: 'BLOCK_DAMAGED' })
    }
  })

  it('Given a tombstone, then its event has no payload, and an empty value is an empty one', () => {
    const empty = new Uint8Array()
    const dead = blocks.open(plain, 0, at(1, { key: value, value: empty, header: null, nullValue: true }))
    expect(eventIn(dead)).not.toHaveProperty('payload')
    expect(eventIn(blocks.open(plain, 0, at(2, { key: value, value: empty, header: null })))?.payload).toEqual(empty)
  })

  it('remembers where nothing is, bounded as all else', () => {
    const few = new OpenedBlocks({ opener: new FakeOpener(), bytesMax: 2_000 })
    for (const from of [10, 20, 30, 30, 40, 50]) few.gap(topicId, 0, from, from + 5)
    expect(few.get(topicId, 0, 50)).toEqual({ kind: 'skip', next: 55 })
    expect(few.has(topicId, 0, 10)).toBe(false)
    expect(few.bytes).toBeLessThanOrEqual(2_000)
  })
})

function text(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes).toString()
}
