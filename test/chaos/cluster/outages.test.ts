// Proves, on real Kafka and RabbitMQ: all brokers of a kind may be away for a minute. Meanwhile every call is answered in
// bounded time and memory stays bounded; afterwards everything lands once and in order.
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { ChaosCluster, expectKept } from '../../support/cluster/chaos-cluster.ts'
import type { ClusterLoad } from '../../support/cluster/cluster-load.ts'
import { expectTypedAnswers, expectUndisturbed, reportFault } from '../../support/cluster/fault-report.ts'
import { chooseSeed } from '../../support/crash/run-seed.ts'
import { scale } from '../../support/scale.ts'
import { stackRequirement, stackStartMs } from '../../support/stack.ts'

/** Longer than the deadline of an append: what is in flight is given up meanwhile, and its incarnation retires. */
const kafkaAwayMs = scale(40_000, 60_000)
const shardAwayMs = scale(20_000, 60_000)
const shardsAwayMs = 20_000
/** The buffers of a process that may fill up, and room for the heap of what waits: far below what flows in a minute. */
const growthMiBMax = 192

stackRequirement.describe('brokers of a cluster that are away for long', () => {
  let world: ChaosCluster
  beforeAll(async () => {
    world = await ChaosCluster.start({ seed: chooseSeed('cluster outages') })
  }, stackStartMs)
  afterEach(() => world?.recover(), 180_000)
  afterAll(() => world?.stop(), 60_000)

  const resident = (): number[] => [...world.apis, ...world.streams].map((process) => world.residentMiB(process))

  /** Nothing listens or answers there for that long; every process is still alive and no larger than it may be. */
  async function stayAway(load: ClusterLoad, what: string, awayMs: number): Promise<void> {
    const before = resident()
    await new Promise((resolve) => setTimeout(resolve, awayMs))
    const after = resident()
    process.stdout.write(
      `${what}: MiB resident before ${before.join(' ')}, after ${awayMs / 1_000} s ${after.join(' ')}\n`,
    )
    for (const [index, mib] of after.entries()) expect(mib - (before[index] ?? 0), what).toBeLessThan(growthMiBMax)
    // What is not answered within 40 s would stand here by another name.
    expectTypedAnswers(load, ['200', '503'])
  }

  it('given load, when all of Kafka is killed for a minute, then callers are told to come again, memory is bounded, and all lands once afterwards', async () => {
    const load = await world.startLoad('kafka-away')
    const what = `kill -9 of all Kafka brokers for ${kafkaAwayMs / 1_000} s`
    load.faultBegins()
    const names = world.stack.kafka.map(({ name }) => name)
    await Promise.all(names.map((name) => world.stack.kill(name)))
    await stayAway(load, what, kafkaAwayMs)
    const refused = load.callers.reduce((sum, { statuses }) => sum + (statuses.get('503') ?? 0), 0)
    expect(refused, 'calls that were told to come again').toBeGreaterThan(0)
    await Promise.all(names.map((name) => world.stack.start(name)))
    await world.untilWell()
    await load.untilAnswered()
    await load.untilProgress(150, 15)
    reportFault(load, { what, hit: [] })
    process.stdout.write(`${await expectKept(load)}\n`)
  })

  it('given load, when each RabbitMQ shard stops for a minute in turn, then the other one carries all of it, and no session ends', async () => {
    const load = await world.startLoad('shard-away')
    for (const { name } of world.stack.rabbit) {
      const what = `SIGSTOP of ${name} for ${shardAwayMs / 1_000} s`
      load.faultBegins()
      await world.stack.pause(name)
      await load.untilProgress(150, 15)
      await stayAway(load, what, shardAwayMs)
      await load.untilProgress(150, 15)
      expectUndisturbed(load, what, () => true)
      reportFault(load, { what, hit: [] })
      await world.stack.resume(name)
      await world.untilShardsUp()
    }
    process.stdout.write(`${await expectKept(load)}\n`)
  })

  it('given load, when every RabbitMQ shard is killed and stays away, then callers are told to come again, and all lands once afterwards', async () => {
    const load = await world.startLoad('shards-away')
    const what = `kill -9 of all RabbitMQ shards for ${shardsAwayMs / 1_000} s`
    load.faultBegins()
    const names = world.stack.rabbit.map(({ name }) => name)
    await Promise.all(names.map((name) => world.stack.kill(name)))
    await stayAway(load, what, shardsAwayMs)
    await Promise.all(names.map((name) => world.stack.start(name)))
    await world.untilShardsUp()
    await load.untilAnswered()
    await load.untilProgress(150, 15)
    reportFault(load, { what, hit: [] })
    process.stdout.write(`${await expectKept(load)}\n`)
  })
})
