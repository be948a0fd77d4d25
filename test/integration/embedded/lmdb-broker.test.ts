// Owns: what only the embedded broker shows: append times under a clock that jumps, limits, group commit, retention of a
// busy partition, a damaged record.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { open as openLmdb } from 'lmdb'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { recordKey } from '../../../src/adapters/embedded/layout.ts'
import type { LmdbBroker } from '../../../src/adapters/embedded/lmdb-broker.ts'
import { openLmdbBroker } from '../../../src/adapters/embedded/open.ts'
import type { ProduceAnswer } from '../../../src/adapters/log-core/log-broker.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { parseTopicName } from '../../../src/protocol/ids.ts'
import { at, openReal, readTexts, tempDir, topic } from './temp-dir.ts'

describe('the embedded broker', () => {
  const sweepMs = 1_000
  let clock: SimulatedClock
  let broker: LmdbBroker
  let dir: string
  let remove: () => void
  let problems: unknown[]

  beforeEach(async () => {
    const temp = tempDir()
    dir = temp.dir
    remove = temp.remove
    clock = new SimulatedClock()
    problems = []
    broker = await openBroker()
  })
  afterEach(async () => {
    await broker.close()
    remove()
  })

  function openBroker(): Promise<LmdbBroker> {
    const onProblem = (problem: unknown): void => {
      problems.push(problem)
    }
    const random = new SeededRandom('broker')
    return openLmdbBroker({ dir, clock, random, retentionSweepMs: sweepMs, topicsMax: 3, onProblem })
  }

  function produce(firstSequence: number, size = 100, partition = 0): Promise<ProduceAnswer> {
    return broker.produce({
      purpose: 'data',
      acks: 'all',
      pid: 1,
      epoch: 0,
      firstSequence,
      at: { topic, partition },
      records: [{ key: null, value: new Uint8Array(size), header: null }],
    })
  }

  async function sweep(): Promise<void> {
    await clock.advance(sweepMs)
    await broker.idle()
  }

  it('Given a wall clock that jumps back, then append times stay, and offsets by time still find their way', async () => {
    await broker.createTopic({ name: topic, partitions: 1, format: 'sealed' })
    const times: number[] = []
    for (let n = 0; n < 6; n++) {
      const answer = await produce(n)
      if (answer.kind === 'landed') times.push(answer.appendTimeMs)
      clock.jumpWall(n === 2 ? -3_600_000 : 1_000)
    }
    expect(times).toHaveLength(6)
    expect(times).toEqual([...times].sort((a, b) => a - b))
    expect(await broker.offsets([at], { atOrAfterMs: (times[2] ?? 0) + 1 })).toEqual([6])
    expect(await broker.offsets([at], { atOrAfterMs: times[1] ?? 0 })).toEqual([1])
  })

  it('Given as many topics as are allowed, then one more is TOO_MANY_TOPICS, also when all come at once', async () => {
    const made = await Promise.allSettled(
      ['a', 'b', 'c', 'd', 'e'].map((name) =>
        broker.createTopic({ name: parseTopicName(name), partitions: 1, format: 'sealed' }),
      ),
    )
    expect(made.filter((one) => one.status === 'fulfilled')).toHaveLength(3)
    for (const one of made) if (one.status === 'rejected') expect(one.reason).toMatchObject({ name: 'TOO_MANY_TOPICS' })
    expect(await broker.topics()).toHaveLength(3)
  })

  it('Given more than may wait, then what is above it is not taken, and may come again', async () => {
    await broker.createTopic({ name: topic, partitions: 300, format: 'sealed' })
    const answers = await Promise.all(Array.from({ length: 300 }, (_, partition) => produce(0, 1_000_000, partition)))
    const refused = answers.filter((answer) => answer.kind === 'failed')
    expect(refused.length).toBeGreaterThan(0)
    for (const answer of refused) {
      expect(answer).toEqual({ kind: 'failed', code: 'THROTTLING_QUOTA_EXCEEDED', appended: false })
    }
    expect(answers.length - refused.length).toBeGreaterThan(200)
    expect(await produce(0, 1_000_000, 299)).toMatchObject({ kind: 'landed', baseOffset: 0 })
  }, 300_000)

  it('Given appends while a sweep removes thousands, then all land and the rest is whole', async () => {
    await broker.createTopic({ name: topic, partitions: 1, format: 'sealed', retentionBytes: 50_000 })
    for (let n = 0; n < 2_500; n++) await produce(n, 72)
    const sweeping = sweep()
    for (let n = 2_500; n < 2_520; n++) expect(await produce(n, 72)).toMatchObject({ kind: 'landed', baseOffset: n })
    await sweeping
    await sweep()
    const [start] = await broker.offsets([at], 'earliest')
    expect(start).toBe(2_520 - 500)
    const [fetched] = await broker.fetch([{ ...at, offset: 2_020 }], { lane: 'catchup', waitMs: 0, bytesMax: 1 << 20 })
    expect(fetched?.records).toHaveLength(500)
    expect(problems).toEqual([])
  })

  it('Given a record that is gone from its table, then reading it is UNAVAILABLE, and the sweep tells and goes on', async () => {
    await broker.createTopic({ name: topic, partitions: 2, format: 'sealed', retentionMs: 5_000 })
    for (let n = 0; n < 3; n++) await produce(n)
    await produce(0, 100, 1)
    await broker.close()
    const binary = { encoding: 'binary', keyEncoding: 'binary' } as const
    const root = openLmdb<Buffer, Buffer>({ path: dir, noSubdir: false, ...binary, maxDbs: 16, overlappingSync: false })
    await root.openDB<Buffer, Buffer>('records', binary).remove(recordKey(1, 0, 1))
    await root.close()
    broker = await openBroker()
    const read = broker.fetch([{ ...at, offset: 0 }], { lane: 'catchup', waitMs: 0, bytesMax: 1 << 20 })
    await expect(read).rejects.toMatchObject({ name: 'UNAVAILABLE' })
    await clock.advance(10_000)
    await broker.idle()
    expect(problems.length).toBeGreaterThan(0)
    expect(await broker.offsets([{ topic, partition: 1 }], 'earliest')).toEqual([1])
  })

  it('Given a copy of the folder, then it opens elsewhere with all that was answered', async () => {
    await broker.createTopic({ name: topic, partitions: 1, format: 'sealed' })
    for (let n = 0; n < 3; n++) await produce(n)
    const other = tempDir()
    writeFileSync(join(other.dir, 'data.mdb'), readFileSync(join(dir, 'data.mdb')))
    const log = await openReal(other.dir)
    expect(await readTexts(log)).toHaveLength(3)
    expect(await log.clusterId()).toBe(await broker.clusterId())
    await log.close()
    other.remove()
  })
})
