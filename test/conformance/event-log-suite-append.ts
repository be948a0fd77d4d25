// Owns: the suite's part on appends and identities.
import { describe, expect, it } from 'vitest'
import type { Bench } from './event-log-suite.ts'
import { land, landedAt, readAll, record, texts } from './event-log-suite-helpers.ts'

export function describeAppends(bench: () => Bench): void {
  describe('append', () => {
    it('Given a landed append, when any handle fetches, then key, header and value are there as given', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      const given = [
        { key: null, value: new Uint8Array([1, 2, 3]), header: new Uint8Array(38).fill(7) },
        { key: new Uint8Array([9]), value: new Uint8Array(0), header: null },
        { key: new Uint8Array(0), value: new Uint8Array(1000).fill(4), header: new Uint8Array(0) },
      ]
      const base = landedAt(await harness.run(writer.append(at(1), given)))
      const other = await harness.another()
      const [fetched] = await harness.run(
        other.fetch([{ ...at(1), offset: base }], { lane: 'catchup', waitMs: 0, bytesMax: 1 << 20 }),
      )
      const got = fetched?.records.map(({ key, value, header }) => ({
        key: key && [...key],
        value: [...value],
        header: header && [...header],
      }))
      expect(got).toEqual(
        given.map(({ key, value, header }) => ({
          key: key && [...key],
          value: [...value],
          header: header && [...header],
        })),
      )
      expect(fetched?.records.map((one) => one.offset)).toEqual([base, base + 1, base + 2])
    })

    it('Given appends one after another, then offsets grow by one per record and append times never decrease', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      let expected = 0
      for (const count of [1, 3, 2, 5]) {
        const batch = Array.from({ length: count }, (_, index) => `${expected + index}`)
        expect(await land(bench(), writer, at(0), ...batch)).toBe(expected)
        expected += count
        await harness.advance(3)
      }
      const all = await readAll(bench(), at(0))
      expect(all.map((one) => one.offset)).toEqual(Array.from({ length: expected }, (_, index) => index))
      const times = all.map((one) => one.appendTimeMs)
      expect(times).toEqual([...times].sort((a, b) => a - b))
    })

    it('Given appends to all partitions at once, then each lands in its own, in order', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      const work = [0, 1, 2, 3].map(async (partition) => {
        for (let n = 0; n < 20; n++) landedAt(await writer.append(at(partition), [record(`${partition}:${n}`)]))
      })
      await harness.run(Promise.all(work))
      for (const partition of [0, 1, 2, 3]) {
        expect(await texts(bench(), at(partition))).toEqual(Array.from({ length: 20 }, (_, n) => `${partition}:${n}`))
      }
    })

    it('Given a batch that is too large, then it is refused, none of it is there, and the writer goes on', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      await land(bench(), writer, at(0), 'before')
      const outcome = await harness.run(writer.append(at(0), [record('small'), record('large', 2 * 1024 * 1024)]))
      expect(outcome).toEqual({ kind: 'refused', error: 'BLOCK_TOO_LARGE' })
      await land(bench(), writer, at(0), 'after')
      expect(await texts(bench(), at(0))).toEqual(['before', 'after'])
    })

    it('Given a batch in flight, when the same partition is appended to, then that is an Error', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      const first = writer.append(at(0), [record('a')])
      expect(() => writer.append(at(0), [record('b')])).toThrow('in flight')
      landedAt(await harness.run(first))
      await land(bench(), writer, at(0), 'c')
      expect(await texts(bench(), at(0))).toEqual(['a', 'c'])
    })

    it('Given no such topic or partition, then the append is refused with its name and the writer goes on', async () => {
      const { harness, topic, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      const nowhere = { topic: `${topic}x` as typeof topic, partition: 0 }
      expect(await harness.run(writer.append(nowhere, [record('a')]))).toEqual({
        kind: 'refused',
        error: 'UNKNOWN_TOPIC',
      })
      expect(await harness.run(writer.append(at(99), [record('a')]))).toEqual({
        kind: 'refused',
        error: 'UNKNOWN_PARTITION',
      })
      await land(bench(), writer, at(0), 'b')
    })

    it('Given a topic made anew under its name, when an append names the old id, then it is refused as TOPIC_CHANGED', async () => {
      const { harness, topic, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      const old = (await harness.run(harness.log.topic(topic)))?.topicId
      landedAt(await harness.run(writer.append({ ...at(0), topicId: old }, [record('old')])))
      const other = await harness.another()
      await harness.run(other.deleteTopic(topic))
      const young = await harness.run(other.createTopic({ name: topic, partitions: 1, format: 'sealed' }))
      if (harness.topicChangeMs !== undefined) await harness.advance(harness.topicChangeMs)
      expect(await harness.run(writer.append({ ...at(0), topicId: old }, [record('late')]))).toEqual({
        kind: 'refused',
        error: 'TOPIC_CHANGED',
      })
      const second = await harness.run(harness.log.open(identity()))
      landedAt(await harness.run(second.append({ ...at(0), topicId: young.topicId }, [record('new')])))
      expect(await texts(bench(), at(0))).toEqual(['new'])
    })

    it('Given what a caller does to its bytes after the answer, then what is stored stays', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      const value = new Uint8Array(2000).fill(1)
      landedAt(await harness.run(writer.append(at(0), [{ key: null, value, header: null }])))
      value.fill(2)
      for (const one of await readAll(bench(), at(0))) one.value.fill(3)
      const again = await readAll(bench(), at(0))
      expect(new Set(again[0]?.value)).toEqual(new Set([1]))
    })

    it('Given records of all sizes up to the limit, then each comes back whole', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      const sizes = [0, 1, 100, 1_999, 4_096, 40_000, 333_333, 1_000_000]
      for (const size of sizes) {
        landedAt(
          await harness.run(
            writer.append(at(2), [{ key: null, value: new Uint8Array(size).fill(size % 251), header: null }]),
          ),
        )
      }
      const all = await readAll(bench(), at(2))
      expect(all.map((one) => one.value.length)).toEqual(sizes)
      expect(all.every((one) => one.value.every((byte) => byte === one.value.length % 251))).toBe(true)
    })
  })

  describe('identity', () => {
    it('Given a used identity, when any handle opens it again, then that is an Error', async () => {
      const { harness, identity } = bench()
      const mine = identity()
      await harness.run(harness.log.open(mine))
      await expect(harness.run(harness.log.open(mine))).rejects.toThrow('used before')
      const other = await harness.another()
      await expect(harness.run(other.open(mine))).rejects.toThrow('used before')
    })

    it('Given two identities, then their numbers differ and both append', async () => {
      const { harness, at, identity } = bench()
      const one = await harness.run(harness.log.open(identity()))
      const two = await harness.run(harness.log.open(identity()))
      expect(one.pid).not.toBe(two.pid)
      await land(bench(), one, at(0), 'one')
      await land(bench(), two, at(0), 'two')
      await land(bench(), one, at(0), 'three')
      expect(await texts(bench(), at(0))).toEqual(['one', 'two', 'three'])
    })

    it('Given a closed writer, then it has retired as closed and appends nothing more', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      await land(bench(), writer, at(0), 'a')
      await harness.run(writer.close())
      expect(await writer.retired).toBe('closed')
      expect(await harness.run(writer.append(at(0), [record('b')]))).toEqual({ kind: 'retired', reason: 'closed' })
      expect(await texts(bench(), at(0))).toEqual(['a'])
    })

    it('Given a closed log, then its writers have retired, and opening one is UNAVAILABLE', async () => {
      const { harness, at, identity } = bench()
      const other = await harness.another()
      const writer = await harness.run(other.open(identity()))
      await harness.run(other.close())
      await harness.run(other.close())
      expect(await writer.retired).toBe('closed')
      expect(await harness.run(writer.append(at(0), [record('b')]))).toEqual({ kind: 'retired', reason: 'closed' })
      await expect(harness.run(other.open(identity()))).rejects.toMatchObject({ name: 'UNAVAILABLE' })
      await expect(harness.run(other.fence(writer, [at(0)]))).rejects.toMatchObject({ name: 'UNAVAILABLE' })
    })
  })
}
