import { beforeEach, describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../../src/adapters/clock/simulated-clock.ts'
import type { PartitionPosition } from '../../../../src/protocol/position.ts'
import { CatchUpLanes } from '../../../../src/stream-tier/read/catch-up-lanes.ts'
import { OpenedBlocks } from '../../../../src/stream-tier/read/opened-blocks.ts'
import { type ReadBatch, type ReadOptions, TopicReader } from '../../../../src/stream-tier/read/topic-reader.ts'
import { FakeOpener } from './fake-opener.ts'
import { barrierRecord, blockValue, dataRecord, TinyLog, topicInfo } from './tiny-log.ts'

const kib = 1024
const places = (...offsets: readonly number[]): PartitionPosition[] => offsets.map((offset) => ({ offset, index: 0 }))
const block = (count = 1, size = 8) => dataRecord(undefined, 1, 0, blockValue(count, size))
const bad = (first: number) => dataRecord(undefined, 1, 0, Uint8Array.of(first))

describe('reading a topic', () => {
  let clock: SimulatedClock
  let log: TinyLog
  let opener: FakeOpener
  let lanes: CatchUpLanes
  let blocks: OpenedBlocks

  beforeEach(() => {
    clock = new SimulatedClock()
    opener = new FakeOpener()
    lanes = new CatchUpLanes()
    blocks = new OpenedBlocks({ opener })
  })

  function readerOf(partitions: number): TopicReader {
    log = new TinyLog(clock, partitions)
    return new TopicReader({ log, blocks, lanes, clock, topic: topicInfo(partitions) })
  }

  const options = (changes: Partial<ReadOptions> = {}): ReadOptions => ({
    eventsMax: 1_000,
    bytesMax: 256 * kib,
    waitMs: 0,
    ...changes,
  })

  async function read(
    reader: TopicReader,
    positions: readonly PartitionPosition[],
    changes: Partial<ReadOptions> = {},
  ) {
    const found = await reader.read(positions, options(changes))
    if (found.kind !== 'batch') throw new Error(`blocked: ${found.error}`)
    return found
  }

  const shape = (found: ReadBatch): string =>
    found.kind === 'batch'
      ? found.blocks
          .map(
            ({ partition, offset, first, take }) =>
              `${partition}:${offset}${first === undefined ? '' : `[${first}+${take}]`}`,
          )
          .join(' ')
      : `${found.error} at ${found.partition}:${found.offset}`

  describe('behind the end', () => {
    it('gives the events of every partition in turn, and says when it is at the end', async () => {
      const reader = readerOf(2)
      log.put(0, block(), block(), block())
      log.put(1, block())
      const batch = await read(reader, places(0, 0))
      expect(shape(batch)).toBe('0:0 1:0 0:1 0:2')
      expect(batch).toMatchObject({ count: 4, next: places(3, 1), atEnd: true })
      expect(await read(reader, batch.next)).toMatchObject({ blocks: [], count: 0, next: places(3, 1), atEnd: true })
    })

    it('shares the blocks of the cache with every reader', async () => {
      const reader = readerOf(1)
      log.put(0, block(), block())
      const first = await read(reader, places(0))
      const second = await read(reader, places(0))
      expect(second.blocks[0]).toBe(first.blocks[0])
      expect(opener.opened).toBe(2)
    })

    it('goes on with the partition that comes next, so that none waits for another', async () => {
      const reader = readerOf(3)
      for (const partition of [0, 1, 2]) log.put(partition, block(), block(), block())
      let at: readonly PartitionPosition[] = places(0, 0, 0)
      const seen: string[] = []
      for (let step = 0; step < 5; step += 1) {
        const batch = await read(reader, at, { eventsMax: 2 })
        seen.push(shape(batch))
        at = batch.next
      }
      expect(seen).toEqual(['0:0 1:0', '2:0 0:1', '1:1 2:1', '0:2 1:2', '2:2'])
    })

    it('splits a block by events and goes on inside it', async () => {
      const reader = readerOf(1)
      log.put(0, block(5), block(2))
      const first = await read(reader, places(0), { eventsMax: 3 })
      expect(shape(first)).toBe('0:0[0+3]')
      expect(first.next).toEqual([{ offset: 0, index: 3 }])
      expect(first.atEnd).toBe(false)
      const second = await read(reader, first.next)
      expect(shape(second)).toBe('0:0[3+2] 0:1')
      expect(second).toMatchObject({ count: 4, next: places(2) })
    })

    it('keeps to the bytes asked for, but gives one larger block alone', async () => {
      const reader = readerOf(1)
      log.put(0, block(1, 600), block(1, 600), block(1, 5_000), block(1, 10))
      const first = await read(reader, places(0), { bytesMax: 1_000 })
      expect(shape(first)).toBe('0:0')
      const second = await read(reader, first.next, { bytesMax: 1_200 })
      expect(shape(second)).toBe('0:1')
      const third = await read(reader, second.next, { bytesMax: 1_200 })
      expect(shape(third)).toBe('0:2')
      expect(shape(await read(reader, third.next, { bytesMax: 1_200 }))).toBe('0:3')
    })

    it('counts events, not blocks, for a caller that unpacks them', async () => {
      const reader = readerOf(1)
      log.put(0, block(10, 5_000), block(1, 100))
      const first = await read(reader, places(0), { bytesMax: 1_000, unpacked: true })
      expect(shape(first)).toBe('0:0[0+2]')
      const rest = await read(reader, first.next, { bytesMax: 100_000, unpacked: true })
      expect(shape(rest)).toBe('0:0[2+8] 0:1')
      const tiny = await read(reader, places(0), { bytesMax: 1, unpacked: true })
      expect(shape(tiny)).toBe('0:0[0+1]')
    })

    it('never gives more than the hard bound, whatever is asked', async () => {
      const reader = readerOf(1)
      log.put(0, block(1, 600 * kib), block(1, 600 * kib))
      expect(shape(await read(reader, places(0), { bytesMax: 100_000 * kib }))).toBe('0:0')
    })

    it('steps over barriers, also when nothing else is there', async () => {
      const reader = readerOf(1)
      log.put(0, barrierRecord, block(), barrierRecord, barrierRecord)
      expect(shape(await read(reader, places(0)))).toBe('0:1')
      expect(await read(reader, places(2))).toMatchObject({ count: 0, next: places(4), atEnd: true })
    })

    it('starts behind a block that was read to its end', async () => {
      const reader = readerOf(1)
      log.put(0, block(2), block(2))
      expect(shape(await read(reader, [{ offset: 0, index: 2 }]))).toBe('0:1')
    })

    it('works when nothing fits the cache', async () => {
      blocks = new OpenedBlocks({ opener, bytesMax: 1 })
      const reader = readerOf(2)
      for (let i = 0; i < 5; i += 1) {
        log.put(0, block())
        log.put(1, block())
      }
      expect((await read(reader, places(0, 0))).count).toBe(10)
    })

    it('reads ahead once while the client works', async () => {
      const reader = readerOf(1)
      for (let i = 0; i < 30; i += 1) log.put(0, block(1, 100 * kib))
      const first = await read(reader, places(0), { bytesMax: 1_024 * kib })
      expect(first.count).toBe(10)
      await clock.settle()
      expect(log.calls.catchup).toBe(2)
      const second = await read(reader, first.next, { bytesMax: 500 * kib })
      await clock.settle()
      expect(second.count).toBe(5)
      expect(log.calls.catchup).toBe(2)
      expect(opener.opened).toBe(20)
    })

    it('fetches what several readers want once, and no more than its lanes at once', async () => {
      lanes = new CatchUpLanes(2)
      const reader = readerOf(1)
      for (let i = 0; i < 8; i += 1) log.put(0, block())
      let open: () => void = () => {}
      log.gate = new Promise((resolve) => {
        open = resolve
      })
      const reads = [0, 0, 0, 1, 2, 3, 4].map((offset) => read(reader, places(offset)))
      await clock.settle()
      expect(log.runningMax).toBe(2)
      open()
      const found = await Promise.all(reads)
      expect(found.map(({ count }) => count)).toEqual([8, 8, 8, 7, 6, 5, 4])
      expect(log.runningMax).toBe(2)
      expect(log.calls.catchup).toBe(5)
      expect(opener.opened).toBe(8)
    })
  })

  describe('what cannot be read', () => {
    it.each([
      ['BLOCK_DAMAGED', 0xff],
      ['KEY_UNAVAILABLE', 0xfe],
      ['KEY_SHREDDED', 0xfd],
    ])('is %s with a way past it', async (error, first) => {
      const reader = readerOf(1)
      log.put(0, bad(first), block())
      const found = await reader.read(places(0), options())
      expect(found).toEqual({ kind: 'blocked', error, partition: 0, offset: 0, next: places(1) })
      expect(shape(await read(reader, found.next))).toBe('0:1')
    })

    it('stops its partition, gives what lies before it, and is met first by the next read', async () => {
      const reader = readerOf(2)
      log.put(0, block(), bad(0xff), block())
      log.put(1, block(), block(), block())
      const first = await read(reader, places(0, 0))
      expect(shape(first)).toBe('0:0 1:0 1:1 1:2')
      log.put(1, block())
      const second = await reader.read(first.next, options())
      expect(second).toMatchObject({ kind: 'blocked', partition: 0, offset: 1, next: places(2, 3) })
      expect(shape(await read(reader, second.next))).toBe('1:3 0:2')
    })

    it('is CURSOR_OUT_OF_RANGE at the start of the log when retention passed the position', async () => {
      const reader = readerOf(2)
      log.put(0, block(), block(), block())
      log.truncateTo(0, 2)
      const found = await reader.read(places(0, 0), options())
      expect(found).toEqual({
        kind: 'blocked',
        error: 'CURSOR_OUT_OF_RANGE',
        partition: 0,
        offset: 0,
        next: places(2, 0),
      })
    })

    it('is CURSOR_OUT_OF_RANGE for a position beyond the log, too', async () => {
      const reader = readerOf(1)
      log.put(0, block())
      expect(await reader.read(places(9), options())).toMatchObject({
        kind: 'blocked',
        error: 'CURSOR_OUT_OF_RANGE',
        next: places(0),
      })
    })

    it('is UNKNOWN_TOPIC or TOPIC_CHANGED when the topic is gone or another one', async () => {
      const reader = readerOf(1)
      log.put(0, bad(0xff))
      log.topicNow = topicInfo(1, '2')
      await expect(reader.read(places(0), options())).rejects.toMatchObject({ name: 'TOPIC_CHANGED' })
      log.topicNow = undefined
      await expect(reader.read(places(0), options())).rejects.toMatchObject({ name: 'UNKNOWN_TOPIC' })
    })

    it("is the partition's own fault when nothing else is there, and no fault of the others", async () => {
      const reader = readerOf(2)
      log.put(0, block())
      log.put(1, block())
      log.breakPartition(0, 'UNAVAILABLE')
      expect(shape(await read(reader, places(0, 0)))).toBe('1:0')
      await expect(reader.read(places(0, 1), options())).rejects.toMatchObject({ name: 'UNAVAILABLE' })
      log.breakPartition(0, undefined)
      expect(shape(await read(reader, places(0, 1)))).toBe('0:0')
    })

    it('is UNSUPPORTED in a plain topic', async () => {
      log = new TinyLog(clock, 1)
      const reader = new TopicReader({ log, blocks, lanes, clock, topic: { ...topicInfo(1), format: 'plain' } })
      await expect(reader.read(places(0), options())).rejects.toMatchObject({ name: 'UNSUPPORTED' })
    })
  })

  describe('at the end', () => {
    it('waits until something comes', async () => {
      const reader = readerOf(2)
      const waiting = read(reader, places(0, 0), { waitMs: 30_000 })
      await clock.advance(20_000)
      expect(reader.waiters).toBe(1)
      log.put(1, block())
      const batch = await waiting
      expect(shape(batch)).toBe('1:0')
      expect(batch.atEnd).toBe(true)
      expect(reader.waiters).toBe(0)
    })

    it('answers an empty batch when the time is over', async () => {
      const reader = readerOf(1)
      const waiting = read(reader, places(0), { waitMs: 7_000 })
      await clock.advance(7_000)
      expect(await waiting).toMatchObject({ count: 0, next: places(0), atEnd: true })
    })

    it('waits for the bytes asked for, and gives what is there when the time is over', async () => {
      const reader = readerOf(1)
      log.put(0, block(1, 400))
      const enough = read(reader, places(0), { waitMs: 10_000, bytesMin: 1_000 })
      const tooFew = read(reader, places(0), { waitMs: 10_000, bytesMin: 100_000 })
      await clock.advance(1_000)
      log.put(0, block(1, 400))
      await clock.advance(1_000)
      log.put(0, block(1, 400))
      expect((await enough).count).toBe(3)
      await clock.advance(8_000)
      expect((await tooFew).count).toBe(3)
    })

    it('costs one poll for a thousand waiters, and opens what comes once', async () => {
      const reader = readerOf(4)
      const waiting = Array.from({ length: 1_000 }, () => read(reader, places(0, 0, 0, 0), { waitMs: 60_000 }))
      await clock.advance(50_000)
      expect(reader.waiters).toBe(1_000)
      const rounds = log.calls.tail
      expect(rounds).toBeLessThanOrEqual(11)
      expect(log.calls.offsets).toBeLessThanOrEqual(3)
      log.put(2, block())
      const batches = await Promise.all(waiting)
      expect(batches.every((batch) => shape(batch) === '2:0')).toBe(true)
      expect(opener.opened).toBe(1)
      expect(log.calls.tail - rounds).toBeLessThanOrEqual(2)
      expect(log.calls.catchup).toBe(0)
    })

    it('asks for the ends once for all whose short wait is over', async () => {
      const reader = readerOf(1)
      const waiting = Array.from({ length: 500 }, () => read(reader, places(0), { waitMs: 100 }))
      await clock.advance(100)
      expect((await Promise.all(waiting)).every(({ atEnd }) => atEnd)).toBe(true)
      expect(log.calls.offsets).toBeLessThanOrEqual(4)
    })

    it('stops polling soon after the last waiter left, and starts again for the next', async () => {
      const reader = readerOf(1)
      const first = read(reader, places(0), { waitMs: 1_000 })
      await clock.advance(1_000)
      await first
      await clock.advance(20_000)
      expect(log.running).toBe(0)
      log.put(0, block(), block())
      const second = read(reader, places(2), { waitMs: 10_000 })
      await clock.settle()
      log.put(0, block())
      expect(shape(await second)).toBe('0:2')
    })

    it('goes on polling for a reader that comes back at once', async () => {
      const reader = readerOf(1)
      let at: readonly PartitionPosition[] = places(0)
      for (let i = 0; i < 20; i += 1) {
        const waiting = read(reader, at, { waitMs: 1_000 })
        await clock.advance(10)
        log.put(0, block())
        at = (await waiting).next
      }
      expect(at).toEqual(places(20))
      expect(log.calls.offsets).toBe(2)
      expect(log.calls.catchup).toBe(0)
    })

    it('ends with the signal, without an error', async () => {
      const reader = readerOf(1)
      const abort = new AbortController()
      const waiting = read(reader, places(0), { waitMs: 30_000, signal: abort.signal })
      await clock.advance(10)
      abort.abort()
      expect(await waiting).toMatchObject({ count: 0, next: places(0) })
      expect(reader.waiters).toBe(0)
    })

    it('sees what was appended before the call even when the poll is behind', async () => {
      const reader = readerOf(1)
      const other = read(reader, places(0), { waitMs: 5_000 })
      await clock.advance(10)
      log.put(0, block())
      const batch = await read(reader, places(0))
      expect(batch.count).toBe(1)
      await other
    })

    it('tells waiters that the topic was deleted, or made anew', async () => {
      const reader = readerOf(1)
      const deleted = read(reader, places(0), { waitMs: 30_000 })
      const told = expect(deleted).rejects.toMatchObject({ name: 'UNKNOWN_TOPIC' })
      await clock.advance(10)
      log.topicNow = undefined
      log.wake()
      await told
      log.topicNow = topicInfo(1)
      const changed = read(reader, places(0), { waitMs: 30_000 })
      const toldToo = expect(changed).rejects.toMatchObject({ name: 'TOPIC_CHANGED' })
      await clock.advance(10)
      log.topicNow = topicInfo(1, '2')
      await clock.advance(10_000)
      await toldToo
    })

    it('tells waiters when the log stays away', async () => {
      const reader = readerOf(1)
      const waiting = read(reader, places(0), { waitMs: 30_000 })
      const told = expect(waiting).rejects.toMatchObject({ name: 'UNAVAILABLE' })
      await clock.advance(10)
      log.breakPartition(0, 'UNAVAILABLE')
      await clock.advance(20_000)
      await told
    })

    it('ends waiting reads when it is closed', async () => {
      const reader = readerOf(1)
      const waiting = read(reader, places(0), { waitMs: 30_000 })
      const told = expect(waiting).rejects.toMatchObject({ name: 'DRAINING' })
      await clock.advance(10)
      reader.close()
      await told
      await clock.settle()
      expect(log.running).toBe(0)
      await expect(reader.read(places(0), options())).rejects.toMatchObject({ name: 'DRAINING' })
    })

    it('is not woken for a block that cannot be opened, but told', async () => {
      const reader = readerOf(1)
      const waiting = reader.read(places(0), options({ waitMs: 30_000 }))
      await clock.advance(10)
      log.put(0, bad(0xff))
      expect(await waiting).toMatchObject({ kind: 'blocked', error: 'BLOCK_DAMAGED', next: places(1) })
    })
  })
})
