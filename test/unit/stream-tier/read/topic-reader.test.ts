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
      let turn: number | undefined
      const seen: string[] = []
      for (let step = 0; step < 5; step += 1) {
        const batch = await read(reader, at, { eventsMax: 2, turn })
        seen.push(shape(batch))
        at = batch.next
        turn = batch.turn
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
      const second = await read(reader, first.next, { bytesMax: 501 * kib })
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
  })

  describe('of many partitions', () => {
    const partitions = 128
    const start = places(...Array.from({ length: partitions }, () => 0))

    it('opens and holds no more than it may deliver, when blocks are large', async () => {
      blocks = new OpenedBlocks({ opener, bytesMax: 4 * 1_024 * kib })
      const reader = readerOf(partitions)
      for (let partition = 0; partition < partitions; partition += 1)
        log.put(partition, block(1, 200 * kib), block(1, 200 * kib))
      let batch = await read(reader, start)
      let most = opener.opened
      const seen = new Set([shape(batch)])
      for (let reads = 1; reads < 2 * partitions; reads += 1) {
        await clock.settle()
        const before = opener.opened
        batch = await read(reader, batch.next, { turn: batch.turn })
        most = Math.max(most, opener.opened - before)
        seen.add(shape(batch))
      }
      expect(batch.atEnd).toBe(true)
      expect(seen.size).toBe(2 * partitions)
      expect(most).toBeLessThanOrEqual(16)
      // A block is opened again only when the cache had to let it go.
      expect(opener.opened).toBeLessThanOrEqual(3 * 2 * partitions)
    })

    it('asks the log a few times, not once a partition, when blocks are small', async () => {
      const reader = readerOf(partitions)
      for (let partition = 0; partition < partitions; partition += 1) log.put(partition, block())
      expect((await read(reader, start)).count).toBe(partitions)
      expect(log.calls.catchup).toBeLessThanOrEqual(3)
    })

    it('given one event a read, then every partition has its turn, also where offsets have holes', async () => {
      const reader = readerOf(4)
      for (const partition of [0, 1, 2, 3])
        log.put(partition, block(), barrierRecord, block(), barrierRecord, block(), barrierRecord)
      let batch = await read(reader, places(0, 0, 0, 0), { eventsMax: 1 })
      const seen = [shape(batch)]
      for (let reads = 1; reads < 8; reads += 1) {
        batch = await read(reader, batch.next, { eventsMax: 1, turn: batch.turn })
        seen.push(shape(batch))
      }
      expect(seen).toEqual(['0:0', '1:0', '2:0', '3:0', '0:2', '1:2', '2:2', '3:2'])
    })

    it('given a damaged head, then it is met within one round, however full the others are', async () => {
      const reader = readerOf(partitions)
      for (let partition = 0; partition < partitions; partition += 1) {
        if (partition === 77) log.put(partition, bad(0xff), block())
        else for (let i = 0; i < 4; i += 1) log.put(partition, block())
      }
      let at: readonly PartitionPosition[] = start
      let turn: number | undefined
      let reads = 0
      for (; reads <= partitions; reads += 1) {
        const found = await reader.read(at, options({ eventsMax: 3, turn }))
        if (found.kind === 'blocked') {
          expect(found).toMatchObject({ error: 'BLOCK_DAMAGED', partition: 77, offset: 0 })
          break
        }
        at = found.next
        turn = found.turn
      }
      expect(reads).toBeLessThanOrEqual(Math.ceil(77 / 3))
    })

    it('given no word whose turn it is, then single reads of a cursor come to all partitions, too', async () => {
      const reader = readerOf(4)
      for (const partition of [0, 1, 2, 3]) for (let i = 0; i < 40; i += 1) log.put(partition, block(), barrierRecord)
      let at: readonly PartitionPosition[] = places(0, 0, 0, 0)
      for (let reads = 0; reads < 60; reads += 1) at = (await read(reader, at, { eventsMax: 1 })).next
      for (const { offset } of at) expect(offset).toBeGreaterThan(5)
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

    it('given a partition without a leader, then waiting reads hear of it when their own time is over', async () => {
      const reader = readerOf(2)
      const patient = read(reader, places(0, 0), { waitMs: 30_000 })
      const short = read(reader, places(0, 0), { waitMs: 3_000 })
      const told = Promise.all([
        expect(patient).rejects.toMatchObject({ name: 'UNAVAILABLE' }),
        expect(short).rejects.toMatchObject({ name: 'UNAVAILABLE' }),
      ])
      await clock.advance(10)
      log.breakPartition(0, 'UNAVAILABLE')
      await clock.advance(29_000)
      expect(reader.waiters).toBe(1)
      await clock.advance(5_000)
      await told
      expect(log.calls.fetch).toBeLessThan(60)
    })

    it('given an election that ends inside the wait, then the read goes on as if nothing had been', async () => {
      const reader = readerOf(2)
      const waiting = read(reader, places(0, 0), { waitMs: 30_000 })
      await clock.advance(10)
      log.breakPartition(0, 'UNAVAILABLE')
      await clock.advance(15_000)
      log.breakPartition(0, undefined)
      await clock.advance(2_000)
      log.put(0, block())
      expect(shape(await waiting)).toBe('0:0')
    })

    it('given a partition without a leader, then what comes in another one is delivered at once', async () => {
      const reader = readerOf(2)
      const waiting = read(reader, places(0, 0), { waitMs: 30_000 })
      await clock.advance(10)
      log.breakPartition(0, 'UNAVAILABLE')
      await clock.advance(10_000)
      log.put(1, block())
      await clock.advance(0)
      expect(shape(await waiting)).toBe('1:0')
    })

    it('given more behind a partition without a leader, then the read waits for it, and gets it', async () => {
      const reader = readerOf(1)
      log.put(0, block())
      log.breakPartition(0, 'UNAVAILABLE')
      const waiting = read(reader, places(0), { waitMs: 10_000 })
      const tooShort = expect(read(reader, places(0), { waitMs: 1_000 })).rejects.toMatchObject({ name: 'UNAVAILABLE' })
      await clock.advance(5_000)
      await tooShort
      log.breakPartition(0, undefined)
      await clock.advance(2_000)
      expect(shape(await waiting)).toBe('0:0')
    })

    for (const how of ['refuses', 'hangs'] as const) {
      it(`given a log that ${how} for 60 s, then every read ends in time, little is asked, and all goes on after it`, async () => {
        const reader = readerOf(8)
        const start = places(...Array.from({ length: 8 }, () => 0))
        log.put(0, block(1, 1_000))
        const open = Array.from({ length: 200 }, () => read(reader, places(1, 0, 0, 0, 0, 0, 0, 0), { waitMs: 30_000 }))
        await clock.advance(1_000)
        log.away(how)
        const callsBefore = log.calls.fetch + log.calls.offsets
        const ends: { name: string; afterMs: number }[] = []
        const note = async (answer: Promise<{ count: number }>, startedMs: number): Promise<void> => {
          const name = await answer.then(
            ({ count }) => (count === 0 ? 'empty' : 'events'),
            (thrown: { name: string }) => thrown.name,
          )
          ends.push({ name, afterMs: clock.monotonicMs() - startedMs })
        }
        const noted = open.map((answer) => note(answer, 0))
        for (let second = 0; second < 60; second += 1) {
          const startedMs = clock.monotonicMs()
          for (const waitMs of [0, 10_000]) noted.push(note(read(reader, start, { waitMs }), startedMs))
          await clock.advance(1_000)
        }
        log.away('here')
        await clock.advance(15_000)
        await Promise.all(noted)
        expect(ends).toHaveLength(320)
        for (const { name, afterMs } of ends) {
          expect(['UNAVAILABLE', 'empty', 'events']).toContain(name)
          expect(afterMs).toBeLessThanOrEqual(33_000)
        }
        expect(ends.filter(({ name }) => name === 'UNAVAILABLE').length).toBeGreaterThan(50)
        expect(log.calls.fetch + log.calls.offsets - callsBefore).toBeLessThan(1_500)
        expect(reader.waiters).toBe(0)
        expect(blocks.bytes).toBeLessThan(10_000)
        const after = read(reader, places(1, 0, 0, 0, 0, 0, 0, 0), { waitMs: 10_000 })
        await clock.advance(100)
        log.put(3, block())
        expect(shape(await after)).toBe('3:0')
        await clock.advance(20_000)
        expect(log.running).toBe(0)
        expect(clock.pendingCount).toBe(0)
      })
    }

    it('given a log that does not even answer the first question, then UNAVAILABLE soon after the wait', async () => {
      const reader = readerOf(1)
      log.away('hangs')
      const told = expect(read(reader, places(0), { waitMs: 1_000 })).rejects.toMatchObject({ name: 'UNAVAILABLE' })
      await clock.advance(4_000)
      await told
      log.away('here')
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
