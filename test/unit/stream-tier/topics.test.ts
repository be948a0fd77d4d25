// T1: a topic that was deleted, or made anew under its name, ends its readers with TOPIC_CHANGED and tells who writes to it.
import { describe, expect, it } from 'vitest'
import type { TopicInfo } from '../../../src/ports/event-log.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { parseTopicId, parseTopicName, type TopicId } from '../../../src/protocol/ids.ts'
import type { TopicReader } from '../../../src/stream-tier/read/topic-reader.ts'
import { Topics, type TopicsOptions } from '../../../src/stream-tier/topics.ts'

const name = parseTopicName('t')

function world(autoCreate = true): {
  topics: Topics
  made: TopicInfo[]
  closed: string[]
  gone: TopicId[]
  remake: () => void
} {
  const stored = new Map<string, TopicInfo>()
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
    topic: async (which: string) => stored.get(which),
    createTopic: async (spec: Parameters<typeof create>[0]) => create(spec),
    deleteTopic: async (which: string) => {
      if (!stored.delete(which)) throw new TrunklineError('UNKNOWN_TOPIC')
    },
    topics: async () => [...stored.values()],
  } as unknown as TopicsOptions['log']
  const readerOf = ({ topicId }: TopicInfo): TopicReader =>
    ({ close: (because = 'DRAINING') => closed.push(`${topicId.slice(-1)} ${because}`) }) as unknown as TopicReader
  const topics = new Topics({
    log,
    readerOf,
    defaults: { autoCreate, partitions: 3 },
    onGone: (topicId) => gone.push(topicId),
  })
  const remake = (): void => {
    const info = stored.get(name)
    stored.delete(name)
    if (info !== undefined) create(info)
  }
  return { topics, made, closed, gone, remake }
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

  it('given a writer of a new name, then it is made only where that is allowed', async () => {
    const { topics, made } = world(false)
    await expect(topics.openForWriting(name)).rejects.toMatchObject({ name: 'UNKNOWN_TOPIC' })
    expect(made).toEqual([])
  })

  it('given settings out of bounds or a format that is not built, then it is typed with the field', async () => {
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
    const plain = async (): Promise<unknown> => topics.create({ ...spec, format: 'plain' })
    await expect(plain()).rejects.toMatchObject({ name: 'UNSUPPORTED' })
    expect(made).toEqual([])
  })
})
