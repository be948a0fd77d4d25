// Owns: the suite's part on topics, retention and closing.
import { describe, expect, it } from 'vitest'
import { parseTopicName } from '../../src/protocol/ids.ts'
import type { Bench } from './event-log-suite.ts'
import { land, landedAt, record, texts } from './event-log-suite-helpers.ts'

export function describeTopics(bench: () => Bench): void {
  describe('topics', () => {
    it('Given a created topic, then every handle lists it with its settings, sorted by name', async () => {
      const { harness, topic } = bench()
      const name = parseTopicName('a-first')
      const made = await harness.run(
        harness.log.createTopic({
          name,
          partitions: 3,
          format: 'sealed',
          retentionMs: 86_400_000,
          retentionBytes: 1 << 30,
        }),
      )
      expect(made).toMatchObject({ name, partitions: 3, format: 'sealed', retentionMs: 86_400_000 })
      expect(made.topicId).toMatch(/^[0-9a-f]{32}$/)
      const other = await harness.another()
      const listed = await harness.run(other.topics())
      expect(listed.map((one) => one.name)).toEqual([name, topic])
      expect(listed[0]).toEqual(made)
      expect(await harness.run(other.topic(name))).toEqual(made)
    })

    it('Given a taken name, an impossible count or an unsupported format, then creating says so and makes nothing', async () => {
      const { harness, topic } = bench()
      const create = (name: string, partitions: number, format: 'sealed' | 'plain'): Promise<unknown> =>
        harness.run(harness.log.createTopic({ name: parseTopicName(name), partitions, format }))
      await expect(create(topic, 1, 'sealed')).rejects.toMatchObject({ name: 'TOPIC_EXISTS' })
      for (const count of [0, -1, 1.5, 1_000_000]) {
        await expect(create('odd', count, 'sealed')).rejects.toMatchObject({ name: 'BAD_REQUEST' })
      }
      if (harness.hasPlainTopics !== true) {
        await expect(create('plain', 1, 'plain')).rejects.toMatchObject({ name: 'UNSUPPORTED' })
      }
      expect(await harness.run(harness.log.topics())).toHaveLength(1)
    })

    it('Given a deleted topic, then it is gone, and one of its name is empty and another', async () => {
      const { harness, topic, at, identity } = bench()
      const before = await harness.run(harness.log.topic(topic))
      const writer = await harness.run(harness.log.open(identity()))
      await land(bench(), writer, at(0), 'old', 'older')
      await harness.run(harness.log.deleteTopic(topic))
      expect(await harness.run(harness.log.topic(topic))).toBeUndefined()
      await expect(harness.run(harness.log.deleteTopic(topic))).rejects.toMatchObject({ name: 'UNKNOWN_TOPIC' })
      const after = await harness.run(harness.log.createTopic({ name: topic, partitions: 2, format: 'sealed' }))
      expect(after.topicId).not.toBe(before?.topicId)
      const fresh = await harness.run(harness.log.open(identity()))
      expect(await land(bench(), fresh, at(0), 'new')).toBe(0)
      expect(await texts(bench(), at(0))).toEqual(['new'])
    })

    it('Given two handles, then the cluster id is the same', async () => {
      const { harness } = bench()
      const other = await harness.another()
      const id = await harness.run(harness.log.clusterId())
      expect(id.length).toBeGreaterThan(0)
      expect(await harness.run(other.clusterId())).toBe(id)
    })
  })

  describe('close', () => {
    it('Given a waiting fetch, when its handle closes, then it ends as UNAVAILABLE or empty', async () => {
      const { harness, at } = bench()
      const waiting = harness.log
        .fetch([{ ...at(0), offset: 0 }], { lane: 'tail', waitMs: 30_000, bytesMax: 1_000 })
        .then(
          (answer) => answer.flatMap((one) => one.records).length,
          (error: unknown) => error,
        )
      await harness.advance(5)
      await harness.run(harness.log.close())
      const ended = await harness.run(waiting)
      if (ended !== 0) expect(ended).toMatchObject({ name: 'UNAVAILABLE' })
    })
  })
}

export function describeRetention(bench: () => Bench, sweepMs: number): void {
  describe('retention', () => {
    it('Given records older than retentionMs, then they go, offsets stay, and reading below the start says so', async () => {
      const { harness, identity } = bench()
      const at = { topic: parseTopicName('aged'), partition: 0 }
      const retentionMs = 10 * sweepMs
      await harness.run(harness.log.createTopic({ name: at.topic, partitions: 1, format: 'sealed', retentionMs }))
      const writer = await harness.run(harness.log.open(identity()))
      await land(bench(), writer, at, 'old', 'old')
      await harness.advance(5 * sweepMs)
      await land(bench(), writer, at, 'young')
      await harness.advance(7 * sweepMs)
      expect(await harness.run(harness.log.offsets([at], 'earliest'))).toEqual([2])
      expect(await texts(bench(), at)).toEqual(['young'])
      const [below] = await harness.run(
        harness.log.fetch([{ ...at, offset: 1 }], { lane: 'catchup', waitMs: 0, bytesMax: 1_000 }),
      )
      expect(below).toMatchObject({ error: 'CURSOR_OUT_OF_RANGE', logStart: 2, highWatermark: 3 })
      await harness.advance(6 * sweepMs)
      expect(await harness.run(harness.log.offsets([at], 'earliest'))).toEqual([3])
      expect(await land(bench(), writer, at, 'next')).toBe(3)
    })

    it('Given more bytes than retentionBytes, then the oldest go until it fits', async () => {
      const { harness, identity } = bench()
      const at = { topic: parseTopicName('bounded'), partition: 0 }
      await harness.run(
        harness.log.createTopic({ name: at.topic, partitions: 1, format: 'sealed', retentionBytes: 10_500 }),
      )
      const writer = await harness.run(harness.log.open(identity()))
      for (let n = 0; n < 20; n++) landedAt(await harness.run(writer.append(at, [record(`${n}`, 1_000)])))
      await harness.advance(2 * sweepMs)
      const [start] = await harness.run(harness.log.offsets([at], 'earliest'))
      expect(start).toBeGreaterThanOrEqual(10)
      expect(start).toBeLessThanOrEqual(11)
      expect((await texts(bench(), at))[0]).toBe(`${start}`)
      expect(await land(bench(), writer, at, 'next')).toBe(20)
    })

    it('Given no retention, then everything stays', async () => {
      const { harness, at, identity } = bench()
      const writer = await harness.run(harness.log.open(identity()))
      await land(bench(), writer, at(0), 'a')
      await harness.advance(50 * sweepMs)
      expect(await texts(bench(), at(0))).toEqual(['a'])
    })
  })
}
