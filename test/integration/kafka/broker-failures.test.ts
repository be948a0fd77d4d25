// Owns: what the Kafka log does while brokers die, stop and come back: three real ones.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Stack } from '../../../scripts/stack/stack.ts'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import type { KafkaLog } from '../../../src/adapters/kafka/open.ts'
import { sleep } from '../../../src/ports/clock.ts'
import type { AppendOutcome, TopicPartition } from '../../../src/ports/event-log.ts'
import { parseTopicName, type TopicName } from '../../../src/protocol/ids.ts'
import { newIncarnation, openLog, readAll, recordOf, textOf } from '../../support/kafka/kafka-node.ts'
import { privateStack, stackRequirement, stackStartMs } from '../../support/stack.ts'

const partitions = 6
const testMs = 600_000

interface Load {
  /** Per partition: what was appended, with its outcome, in order. */
  readonly done: readonly { readonly text: string; readonly outcome: AppendOutcome }[][]
  /** Longest time between two landings of one partition. */
  readonly longestGapMs: () => number
  stop(): Promise<void>
}

stackRequirement.describe('Kafka log, while brokers fail', () => {
  let stack: Stack
  let log: KafkaLog
  let topics = 0

  beforeAll(async () => {
    stack = await privateStack({ kafka: 3, rabbit: 0 })
    log = await openLog(stack.kafkaAddresses)
  }, stackStartMs)
  afterAll(async () => {
    await log?.close()
    await stack?.stop()
  })

  const newTopic = async (): Promise<TopicName> => {
    const name = parseTopicName(`failing-${++topics}`)
    await log.createTopic({ name, partitions, format: 'sealed' })
    return name
  }

  /** One append after the other in each partition, until stopped. */
  const startLoad = async (topic: TopicName): Promise<Load> => {
    const writer = await log.open(newIncarnation())
    const done: { text: string; outcome: AppendOutcome }[][] = []
    let stopped = false
    let longestGapMs = 0
    const lanes = Array.from({ length: partitions }, async (_, partition) => {
      const mine: { text: string; outcome: AppendOutcome }[] = []
      done[partition] = mine
      let lastMs = systemClock.monotonicMs()
      for (let n = 0; !stopped; n++) {
        const text = `${partition}:${n}`
        const outcome = await writer.append({ topic, partition }, [recordOf(text), recordOf(`${text}b`)])
        mine.push({ text, outcome })
        const nowMs = systemClock.monotonicMs()
        longestGapMs = Math.max(longestGapMs, nowMs - lastMs)
        lastMs = nowMs
        if (outcome.kind === 'retired') return
        await sleep(systemClock, 2)
      }
    })
    return {
      done,
      longestGapMs: () => longestGapMs,
      stop: async () => {
        stopped = true
        await Promise.all(lanes)
        await writer.close()
      },
    }
  }

  const expectEachOnce = async (topic: TopicName, load: Load): Promise<void> => {
    for (const [partition, mine] of load.done.entries()) {
      expect(mine.map(({ outcome }) => outcome.kind)).toEqual(mine.map(() => 'landed'))
      const all = await readAll(log, { topic, partition })
      expect(all.map(textOf)).toEqual(mine.flatMap(({ text }) => [text, `${text}b`]))
      expect(mine.map(({ outcome }) => (outcome.kind === 'landed' ? outcome.baseOffset : -1))).toEqual(
        mine.map((_, index) => 2 * index),
      )
    }
  }

  /** Goes on from the end, as a shared tail does; answers what it saw. */
  const startTail = (topic: TopicName): { seen: string[][]; stop(): Promise<void> } => {
    const seen: string[][] = Array.from({ length: partitions }, () => [])
    const offsets = Array.from({ length: partitions }, () => 0)
    const end = new AbortController()
    const run = async (): Promise<void> => {
      while (!end.signal.aborted) {
        const at = offsets.map((offset, partition) => ({ topic, partition, offset }))
        try {
          const answers = await log.fetch(at, { lane: 'tail', waitMs: 1_000, bytesMax: 1 << 20, signal: end.signal })
          for (const answer of answers) {
            if (answer.error !== undefined) throw new Error(answer.error)
            offsets[answer.partition] = answer.nextOffset
            seen[answer.partition]?.push(...answer.records.map(textOf))
          }
        } catch (error) {
          // Nobody answers just now: asked again, as its owner would.
          if (!(error instanceof Error) || error.name !== 'UNAVAILABLE') throw error
        }
      }
    }
    const running = run()
    return {
      seen,
      stop: async () => {
        end.abort()
        await running
      },
    }
  }

  describe('the leader of some partitions', () => {
    for (const [how, hit, mend] of [
      ['is killed', (name: string) => stack.kill(name), (name: string) => stack.start(name)],
      ['stops and goes on', (name: string) => stack.pause(name), async (name: string) => stack.resume(name)],
    ] as const) {
      it(
        `Given appends and a tail, when a broker ${how}, then each append lands once, in order, and the tail misses nothing`,
        async () => {
          const topic = await newTopic()
          const load = await startLoad(topic)
          const tail = startTail(topic)
          await sleep(systemClock, 1_500)
          await hit('kafka-2')
          await sleep(systemClock, 12_000)
          const before = load.done.map((mine) => mine.length)
          await sleep(systemClock, 2_000)
          // Long before the broker is back, every partition goes on.
          for (const [partition, mine] of load.done.entries()) {
            expect(mine.length, `partition ${partition}`).toBeGreaterThan((before[partition] ?? 0) + 10)
          }
          await mend('kafka-2')
          await sleep(systemClock, 5_000)
          await load.stop()
          await sleep(systemClock, 1_500)
          await tail.stop()
          console.log(`a broker ${how}: longest gap ${Math.round(load.longestGapMs())} ms`)
          await expectEachOnce(topic, load)
          for (const [partition, mine] of load.done.entries()) {
            expect(tail.seen[partition]).toEqual(mine.flatMap(({ text }) => [text, `${text}b`]))
          }
          expect(load.longestGapMs()).toBeLessThan(30_000)
        },
        testMs,
      )
    }
  })

  it(
    'Given two of three brokers gone, then appends wait without a doubt, and go on when one is back',
    async () => {
      const topic = await newTopic()
      const at: TopicPartition = { topic, partition: 0 }
      const writer = await log.open(newIncarnation())
      expect(await writer.append(at, [recordOf('before')])).toMatchObject({ kind: 'landed', baseOffset: 0 })
      await stack.kill('kafka-1')
      await stack.kill('kafka-3')
      const appending = writer.append(at, [recordOf('meanwhile')])
      await sleep(systemClock, 6_000)
      await Promise.all([stack.start('kafka-1'), stack.start('kafka-3')])
      expect((await appending).kind).toBe('landed')
      expect((await readAll(log, at)).map(textOf)).toEqual(['before', 'meanwhile'])
      await writer.close()
    },
    testMs,
  )

  it(
    'Given a stopped broker, when an incarnation is fenced, then its batches in that broker land nowhere behind the barrier',
    async () => {
      const topic = await newTopic()
      const load = await startLoad(topic)
      await sleep(systemClock, 1_000)
      await stack.pause('kafka-1')
      await sleep(systemClock, 500)
      const other = await openLog(stack.kafkaAddresses.slice(1).concat(stack.kafkaAddresses.slice(0, 1)))
      const writer = await other.open(newIncarnation())
      const identity = newIncarnation()
      const zombie = await log.open(identity)
      const zombies = Array.from({ length: partitions }, (_, partition) =>
        zombie.append({ topic, partition }, [recordOf('zombie')]),
      )
      const all = Array.from({ length: partitions }, (_, partition) => ({ topic, partition }))
      const fence = await other.fence({ identity, pid: zombie.pid }, all)
      await stack.resume('kafka-1')
      await Promise.all(zombies)
      await load.stop()
      await sleep(systemClock, 2_000)
      for (const { at, barrierOffset } of fence) {
        const behind = (await readAll(other, at, barrierOffset)).map(textOf)
        expect(behind).not.toContain('zombie')
      }
      await writer.close()
      await other.close()
    },
    testMs,
  )
})
