// Reading a plain topic that others write to as well: places stay those of the log, and offsets that hold nothing cost
// nobody a question.
import { beforeEach, describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../../src/adapters/clock/simulated-clock.ts'
import { SeededRandom } from '../../../../src/adapters/random/seeded-random.ts'
import type { AppendRecord } from '../../../../src/ports/event-log.ts'
import { readBlock } from '../../../../src/protocol/block.ts'
import { parseTopicName } from '../../../../src/protocol/ids.ts'
import { CatchUpLanes } from '../../../../src/stream-tier/read/catch-up-lanes.ts'
import { OpenedBlocks } from '../../../../src/stream-tier/read/opened-blocks.ts'
import { type ReadBatch, TopicReader } from '../../../../src/stream-tier/read/topic-reader.ts'
import { SimCluster } from '../../../support/sim-log/sim-cluster.ts'
import { FakeOpener } from './fake-opener.ts'

const name = parseTopicName('shared')
const at = { topic: name, partition: 0 }
const record = (value = 'x'): AppendRecord => ({ key: null, value: Buffer.from(value), header: null })

describe('reading a plain topic with holes', () => {
  let clock: SimulatedClock
  let cluster: SimCluster
  let reader: TopicReader
  let catchUps: number

  beforeEach(() => {
    clock = new SimulatedClock()
    cluster = new SimCluster({ clock, random: new SeededRandom('holes'), plainTopics: true })
    const topic = cluster.createTopic({ name, partitions: 1, format: 'plain' })
    catchUps = 0
    const metrics = {
      opened: () => {},
      lookedUp: () => {},
      tailWaiters: () => {},
      fetched: (lane: 'tail' | 'catchup') => {
        if (lane === 'catchup') catchUps += 1
      },
    }
    const blocks = new OpenedBlocks({ opener: new FakeOpener() })
    const log = cluster.broker('reader')
    reader = new TopicReader({ log, blocks, lanes: new CatchUpLanes(), clock, topic, metrics })
  })

  async function read(
    offset: number,
    options: { eventsMax?: number; bytesMax?: number; waitMs?: number } = {},
  ): Promise<Extract<ReadBatch, { kind: 'batch' }>> {
    const bounds = { eventsMax: 100_000, bytesMax: 1_048_576, waitMs: 0, ...options }
    const answer = reader.read([{ offset, index: 0 }], bounds)
    await clock.advance(bounds.waitMs + 200)
    const batch = await answer
    if (batch.kind !== 'batch') throw new Error(`blocked by ${batch.error}`)
    return batch
  }

  it('Given holes before, between and behind records, then each event has its own offset, and the end is reached', async () => {
    cluster.stranger(at, [], 2)
    cluster.stranger(at, [record('a'), record('b')], 3)
    cluster.stranger(at, [record('c')], 1)
    await clock.advance(100)
    const batch = await read(0)
    expect(batch.blocks.map(({ offset, count }) => [offset, count])).toEqual([
      [2, 1],
      [3, 1],
      [7, 1],
    ])
    expect([batch.next, batch.atEnd]).toEqual([[{ offset: 9, index: 0 }], true])
  })

  it('Given a topic of a tenant, when a stranger’s record names no source, then readers see the topic by their own name', async () => {
    const owned = parseTopicName('tl-acme.shared')
    const topic = cluster.createTopic({ name: owned, partitions: 1, format: 'plain' })
    cluster.stranger({ topic: owned, partition: 0 }, [record('a')], 0)
    await clock.advance(100)
    const blocks = new OpenedBlocks({ opener: new FakeOpener() })
    reader = new TopicReader({ log: cluster.broker('other'), blocks, lanes: new CatchUpLanes(), clock, topic })
    const [block] = (await read(0)).blocks
    if (block === undefined) throw new Error('there is a record')
    expect(readBlock(block).map(({ source }) => source)).toEqual(['/topics/shared'])
  })

  it('Given readers at the end, when records with holes come, then the poll is all that asks the log', async () => {
    let offset = 0
    await read(0)
    const before = catchUps
    for (let round = 0; round < 5; round += 1) {
      clock.after(100, () => cluster.stranger(at, [record()], 2))
      const batch = await read(offset, { waitMs: 2_000 })
      expect(batch.count).toBe(1)
      offset = batch.next[0]?.offset ?? 0
    }
    expect(offset).toBeGreaterThanOrEqual(13)
    expect(catchUps).toBe(before)
  })

  it('Given very many small events, then a reply still fits into a frame', async () => {
    cluster.stranger(
      at,
      Array.from({ length: 30_000 }, () => record('')),
    )
    await clock.advance(100)
    const { blocks, next } = await read(0)
    expect(blocks.length).toBeGreaterThan(5_000)
    const bytes = blocks.reduce((sum, { data }) => sum + data.length + 80, 0)
    expect(bytes).toBeLessThan(1.25 * 1024 * 1024)
    expect(next).toEqual([{ offset: blocks.length, index: 0 }])
  })
})
