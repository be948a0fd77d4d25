// T1: a topic that was deleted, or made anew under its name, ends its readers with TOPIC_CHANGED and tells who writes to it.
import { describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import type { TopicInfo } from '../../../src/ports/event-log.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { parseTopicId, parseTopicName, type TopicId } from '../../../src/protocol/ids.ts'
import type { TopicReader } from '../../../src/stream-tier/read/topic-reader.ts'
import { Topics, type TopicsOptions, watchMs } from '../../../src/stream-tier/topics.ts'

const name = parseTopicName('t')

function world(autoCreate = true): {
  topics: Topics
  made: TopicInfo[]
  closed: string[]
  gone: TopicId[]
  remake: () => void
  grow: (partitions: number) => void
  away: (error: TrunklineError | undefined) => void
  clock: SimulatedClock
  used: Set<TopicId>
  calls: { topic: number; topics: number }
  defects: unknown[]
  drop: () => void
} {
  const stored = new Map<string, TopicInfo>()
  let failing: TrunklineError | undefined
  const made: TopicInfo[] = []
  const closed: string[] = []
  const gone: TopicId[] = []
  const create = (spec: Omit<TopicInfo, 'topicId' | 'createdAtMs'>): TopicInfo => {
    if (stored.has(spec.name)) throw new TrunklineError('TOPIC_EXISTS')
    const info = { ...spec, topicId: parseTopicId(String(made.length + 1).padStart(32, '0')), createdAtMs: 0 }
    made.push(info)
    stored.set(spec.name, info)
    return info
  }
  const log = {
    topic: async (which: string) => {
      calls.topic += 1
      if (failing !== undefined) throw failing
      return stored.get(which)
    },
    createTopic: async (spec: Parameters<typeof create>[0]) => create(spec),
    deleteTopic: async (which: string) => {
      if (!stored.delete(which)) throw new TrunklineError('UNKNOWN_TOPIC')
    },
    topics: async () => {
      calls.topics += 1
      return [...stored.values()]
    },
  } as unknown as TopicsOptions['log']
  const readerOf = ({ topicId }: TopicInfo): TopicReader =>
    ({ close: (because = 'DRAINING') => closed.push(`${topicId.slice(-1)} ${because}`) }) as unknown as TopicReader
  const clock = new SimulatedClock()
  const used = new Set<TopicId>()
  const calls = { topic: 0, topics: 0 }
  const defects: unknown[] = []
  const topics = new Topics({
    log,
    clock,
    inUse: () => used,
    onDefect: (thrown) => defects.push(thrown),
    readerOf,
    defaults: { autoCreate, partitions: 3 },
    onGone: (topicId) => gone.push(topicId),
  })
  const remake = (): void => {
    const info = stored.get(name)
    stored.delete(name)
    if (info !== undefined) create(info)
  }
  const grow = (partitions: number): void => {
    const info = stored.get(name)
    if (info !== undefined) stored.set(name, { ...info, partitions })
  }
  const away = (error: TrunklineError | undefined): void => {
    failing = error
  }
  return {
    topics,
    made,
    closed,
    gone,
    remake,
    grow,
    away,
    clock,
    used,
    calls,
    defects,
    drop: () => stored.delete(name),
  }
}

describe('topics', () => {
  it('given one topic, then it is opened once for all', async () => {
    const { topics } = world()
    const first = await topics.openForWriting(name)
    expect((await topics.open(name)).reader).toBe(first.reader)
    expect(first.info.partitions).toBe(3)
  })

  it('given deletion, then its reader ends with TOPIC_CHANGED, its writers are told, and it is unknown', async () => {
    const { topics, closed, gone, made } = world()
    await topics.openForWriting(name)
    await topics.delete(name)
    expect([closed, gone]).toEqual([['1 TOPIC_CHANGED'], [made[0]?.topicId]])
    await expect(topics.open(name)).rejects.toMatchObject({ name: 'UNKNOWN_TOPIC' })
    await expect(topics.delete(name)).rejects.toMatchObject({ name: 'UNKNOWN_TOPIC' })
  })

  it('given that another node made it anew, then that is noticed at the next open', async () => {
    const { topics, closed, gone, made, remake } = world()
    const old = await topics.openForWriting(name)
    remake()
    const fresh = await topics.open(name)
    expect(fresh.reader).not.toBe(old.reader)
    expect([closed, gone]).toEqual([['1 TOPIC_CHANGED'], [made[0]?.topicId]])
    topics.close()
    expect(closed).toEqual(['1 TOPIC_CHANGED', '2 DRAINING'])
  })

  for (const how of ['remade', 'deleted'] as const) {
    it(`given a topic in use that another node ${how}, then its reader ends and its writers are told within watchMs`, async () => {
      const { topics, closed, gone, made, remake, drop, used, clock } = world()
      const { info } = await topics.openForWriting(name)
      used.add(info.topicId)
      await clock.advance(20 * watchMs)
      expect(closed).toEqual([])
      if (how === 'remade') remake()
      else drop()
      await clock.advance(watchMs)
      expect([closed, gone]).toEqual([['1 TOPIC_CHANGED'], [made[0]?.topicId]])
      await clock.advance(watchMs)
      expect(clock.pendingCount).toBe(0)
    })
  }

  it('given partitions that were added, then readers go on elsewhere over all of them, and writers stay', async () => {
    const { topics, closed, gone, grow, used, clock } = world()
    const { info, reader } = await topics.openForWriting(name)
    used.add(info.topicId)
    grow(6)
    await clock.advance(watchMs)
    expect([closed, gone]).toEqual([['1 SESSION_GONE'], []])
    const fresh = await topics.open(name)
    expect([fresh.info.partitions, fresh.reader === reader]).toEqual([6, false])
    grow(7)
    expect((await topics.open(name)).info.partitions).toBe(7)
    expect(closed).toEqual(['1 SESSION_GONE', '1 SESSION_GONE'])
  })

  it('given settings that changed, then they are told as they are now, by the same reader', async () => {
    const { topics, made, remake } = world()
    remake()
    const first = await topics.openForWriting(name)
    const info = made[0]
    if (info === undefined) throw new Error('it was made')
    Object.assign(info, { unsafe: { 'min.insync.replicas': '2' } })
    const second = await topics.open(name)
    expect([second.info.unsafe, second.reader === first.reader]).toEqual([{ 'min.insync.replicas': '2' }, true])
  })

  it('given a topic that nobody uses, then it is let go after a while, and no timer is left', async () => {
    const { topics, closed, clock } = world()
    const first = await topics.openForWriting(name)
    await clock.advance(50_000)
    expect(closed).toEqual([])
    await clock.advance(30_000)
    expect([closed, clock.pendingCount]).toEqual([['1 DRAINING'], 0])
    expect((await topics.open(name)).reader).not.toBe(first.reader)
  })

  it('given a log that is away, then nothing is concluded from it; given a defect, then it is told', async () => {
    const { topics, closed, away, used, clock, defects } = world()
    used.add((await topics.openForWriting(name)).info.topicId)
    away(new TrunklineError('UNAVAILABLE'))
    await clock.advance(10 * watchMs)
    expect([closed, defects]).toEqual([[], []])
    away(new TrunklineError('INTERNAL'))
    await clock.advance(watchMs)
    expect([closed, defects.length]).toEqual([[], 1])
    away(undefined)
    topics.close()
    expect(clock.pendingCount).toBe(0)
    await expect(topics.open(name)).rejects.toMatchObject({ name: 'DRAINING' })
  })

  it('given many topics, then one question looks at all of them', async () => {
    const { topics, calls, used, clock } = world()
    for (let i = 0; i < 1_000; i += 1) used.add((await topics.openForWriting(parseTopicName(`t${i}`))).info.topicId)
    const before = calls.topic
    await clock.advance(60_000)
    expect([calls.topic - before, calls.topics]).toEqual([0, 12])
  })

  it('given a writer of a new name, then it is made only where that is allowed', async () => {
    const { topics, made } = world(false)
    await expect(topics.openForWriting(name)).rejects.toMatchObject({ name: 'UNKNOWN_TOPIC' })
    expect(made).toEqual([])
  })

  it('given settings out of bounds, then it is typed with the field', async () => {
    const { topics, made } = world()
    const spec = { name, partitions: 1, format: 'sealed' } as const
    for (const [field, value] of [
      ['partitions', 0],
      ['partitions', 1_025],
      ['retentionMs', 0],
      ['retentionBytes', -1],
    ] as const) {
      const call = async (): Promise<unknown> => topics.create({ ...spec, [field]: value })
      await expect(call()).rejects.toMatchObject({ name: 'BAD_TOPIC_SETTING', details: { field } })
    }
    expect(made).toEqual([])
  })
})
