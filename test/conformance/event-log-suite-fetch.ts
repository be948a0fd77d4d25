// Owns: the suite's part on fetching and offsets.
import { describe, expect, it } from 'vitest'
import type { FetchOptions } from '../../src/ports/event-log.ts'
import type { Bench } from './event-log-suite.ts'
import { land, landedAt, record, textOf } from './event-log-suite-helpers.ts'

const catchup: FetchOptions = { lane: 'catchup', waitMs: 0, bytesMax: 1 << 20 }
const tail: FetchOptions = { lane: 'tail', waitMs: 1_000, bytesMax: 1 << 20 }

export function describeFetches(bench: () => Bench): void {
  describe('fetch', () => {
    it('Given any offset up to the end, then the records from there on are answered', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      await land(bench(), writer, at(0), 'a', 'b', 'c')
      for (const lane of ['tail', 'catchup', 'lookup'] as const) {
        for (const offset of [0, 1, 2, 3]) {
          const [fetched] = await harness.run(harness.log.fetch([{ ...at(0), offset }], { ...catchup, lane }))
          expect(fetched?.records.map(textOf)).toEqual(['a', 'b', 'c'].slice(offset))
          expect(fetched).toMatchObject({ logStart: 0, highWatermark: 3, nextOffset: 3 })
          expect(fetched?.error).toBeUndefined()
        }
      }
    })

    it('Given bytesMax, then an answer stops there, and going on from nextOffset misses nothing', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      for (let n = 0; n < 12; n++) landedAt(await harness.run(writer.append(at(0), [record(`${n}`, 1_000)])))
      const seen: string[] = []
      let offset = 0
      for (let turns = 0; offset < 12; turns++) {
        const [fetched] = await harness.run(harness.log.fetch([{ ...at(0), offset }], { ...catchup, bytesMax: 3_500 }))
        expect(fetched?.records.length).toBeGreaterThan(0)
        expect(fetched?.records.length).toBeLessThanOrEqual(3)
        seen.push(...(fetched?.records ?? []).map(textOf))
        offset = fetched?.nextOffset ?? Number.NaN
        expect(turns).toBeLessThan(13)
      }
      expect(seen).toEqual(Array.from({ length: 12 }, (_, n) => `${n}`))
    })

    it('Given a record above bytesMax, then it is answered alone', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      landedAt(await harness.run(writer.append(at(0), [record('large', 50_000), record('next', 50_000)])))
      const [fetched] = await harness.run(harness.log.fetch([{ ...at(0), offset: 0 }], { ...catchup, bytesMax: 10 }))
      expect(fetched?.records.map(textOf)).toEqual(['large'])
      expect(fetched?.nextOffset).toBe(1)
    })

    it('Given several positions, then each with data is answered at least one record, in the order asked', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      for (const partition of [0, 1]) {
        landedAt(await harness.run(writer.append(at(partition), [record(`${partition}a`, 5_000), record('b', 5_000)])))
      }
      const positions = [
        { ...at(1), offset: 0 },
        { ...at(2), offset: 0 },
        { ...at(0), offset: 0 },
        { ...at(0), offset: 1 },
      ]
      const answer = await harness.run(harness.log.fetch(positions, { ...catchup, bytesMax: 100 }))
      expect(answer.map((one) => one.partition)).toEqual([1, 2, 0, 0])
      expect(answer.map((one) => one.records.map(textOf))).toEqual([['1a'], [], ['0a'], ['b']])
    })

    it('Given the end of the log, when an append lands, then a waiting fetch wakes with it', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      const other = await harness.another()
      const waiting = [0, 1, 2].map(() =>
        other.fetch(
          [
            { ...at(0), offset: 0 },
            { ...at(1), offset: 0 },
          ],
          { ...tail, waitMs: 30_000 },
        ),
      )
      await harness.advance(5)
      await land(bench(), writer, at(1), 'news')
      const since = harness.nowMs()
      const answers = await harness.run(Promise.all(waiting))
      expect(harness.nowMs() - since).toBeLessThan(5_000)
      for (const answer of answers) expect(answer.map((one) => one.records.map(textOf))).toEqual([[], ['news']])
    })

    it('Given nothing at all, then a fetch answers empty after waitMs, and at once when waitMs is 0', async () => {
      const { harness, at } = bench()
      const since = harness.nowMs()
      const [now] = await harness.run(harness.log.fetch([{ ...at(0), offset: 0 }], catchup))
      expect(now).toMatchObject({ records: [], nextOffset: 0, highWatermark: 0, logStart: 0 })
      expect(harness.nowMs() - since).toBeLessThan(1_000)
      const [later] = await harness.run(harness.log.fetch([{ ...at(0), offset: 0 }], tail))
      expect(later).toMatchObject({ records: [], nextOffset: 0 })
      expect(harness.nowMs() - since).toBeGreaterThanOrEqual(1_000)
    })

    it('Given an aborted signal, then a waiting fetch answers empty at once', async () => {
      const { harness, at } = bench()
      const stop = new AbortController()
      const since = harness.nowMs()
      const waiting = harness.log.fetch([{ ...at(0), offset: 0 }], { ...tail, waitMs: 30_000, signal: stop.signal })
      await harness.advance(5)
      stop.abort()
      const [fetched] = await harness.run(waiting)
      expect(fetched).toMatchObject({ records: [], nextOffset: 0 })
      expect(harness.nowMs() - since).toBeLessThan(10_000)
    })

    it('Given an offset beyond the end, then it is CURSOR_OUT_OF_RANGE, and the other positions are served', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      await land(bench(), writer, at(0), 'a')
      const answer = await harness.run(
        harness.log.fetch(
          [
            { ...at(0), offset: 2 },
            { ...at(0), offset: 0 },
          ],
          tail,
        ),
      )
      expect(answer[0]).toMatchObject({ error: 'CURSOR_OUT_OF_RANGE', records: [], logStart: 0, highWatermark: 1 })
      expect(answer[1]?.records.map(textOf)).toEqual(['a'])
    })

    it('Given no such topic or partition, then the position says so', async () => {
      const { harness, topic, at } = bench()
      const answer = await harness.run(
        harness.log.fetch(
          [
            { topic: `${topic}x` as typeof topic, partition: 0, offset: 0 },
            { ...at(99), offset: 0 },
          ],
          tail,
        ),
      )
      expect(answer.map((one) => one.error)).toEqual(['UNKNOWN_TOPIC', 'UNKNOWN_PARTITION'])
    })

    it('Given a deleted topic, then a waiting fetch wakes with UNKNOWN_TOPIC', async () => {
      const { harness, topic, at } = bench()
      const waiting = harness.log.fetch([{ ...at(0), offset: 0 }], { ...tail, waitMs: 30_000 })
      await harness.advance(5)
      await harness.run(harness.log.deleteTopic(topic))
      const [fetched] = await harness.run(waiting)
      expect(fetched?.error).toBe('UNKNOWN_TOPIC')
    })
  })

  describe('offsets', () => {
    it('Given records, then earliest is the first kept and latest one past the last', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      await land(bench(), writer, at(1), 'a', 'b')
      expect(await harness.run(harness.log.offsets([at(1), at(0)], 'earliest'))).toEqual([0, 0])
      expect(await harness.run(harness.log.offsets([at(1), at(0)], 'latest'))).toEqual([2, 0])
    })

    it('Given a time, then the first record appended at or after it is answered, else the end', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      const times: number[] = []
      for (let n = 0; n < 6; n++) {
        const outcome = await harness.run(writer.append(at(0), [record(`${n}a`), record(`${n}b`)]))
        times.push(outcome.kind === 'landed' ? outcome.appendTimeMs : Number.NaN)
        await harness.advance(100)
      }
      const find = async (atOrAfterMs: number): Promise<number | undefined> =>
        (await harness.run(harness.log.offsets([at(0)], { atOrAfterMs })))[0]
      for (const [n, timeMs] of times.entries()) {
        expect(await find(timeMs)).toBe(2 * n)
        expect(await find(timeMs + 1)).toBe(2 * n + 2)
      }
      expect(await find(0)).toBe(0)
      expect(await find(harness.nowMs() + 1_000_000)).toBe(12)
    })

    it('Given no such topic or partition, then it rejects with the name', async () => {
      const { harness, topic, at } = bench()
      const nowhere = { topic: `${topic}x` as typeof topic, partition: 0 }
      await expect(harness.run(harness.log.offsets([nowhere], 'latest'))).rejects.toMatchObject({
        name: 'UNKNOWN_TOPIC',
      })
      await expect(harness.run(harness.log.offsets([at(99)], 'latest'))).rejects.toMatchObject({
        name: 'UNKNOWN_PARTITION',
      })
    })
  })
}
