// Proves, on real Kafka and RabbitMQ: whatever happens to a broker behind the gateway while applications publish and
// read, every acked event is in the log once and in order, readers skip nothing, and no session ends for it.
import { afterAll, afterEach, beforeAll, it } from 'vitest'
import { ChaosCluster, expectKept } from '../../support/cluster/chaos-cluster.ts'
import { untilElected, untilInSync } from '../../support/cluster/elections.ts'
import { expectTypedAnswers, expectUndisturbed, reportFault } from '../../support/cluster/fault-report.ts'
import { chooseSeed } from '../../support/crash/run-seed.ts'
import { stackRequirement, stackStartMs } from '../../support/stack.ts'

const pauseMs = 10_000

stackRequirement.describe('brokers of a cluster that fail', () => {
  let world: ChaosCluster
  beforeAll(async () => {
    world = await ChaosCluster.start({ seed: chooseSeed('cluster brokers') })
  }, stackStartMs)
  afterEach(() => world?.recover(), 180_000)
  afterAll(() => world?.stop(), 60_000)

  it('given load, when each RabbitMQ shard is killed in turn and comes back, then no session ends and nothing is lost, doubled or out of order', async () => {
    const load = await world.startLoad('kill-shard')
    for (const { name } of world.stack.rabbit) {
      const what = `kill -9 of ${name}`
      load.faultBegins()
      await world.stack.kill(name)
      await load.untilProgress(150, 15)
      expectUndisturbed(load, what, () => true)
      reportFault(load, { what, hit: [] })
      await world.stack.start(name)
      await world.untilShardsUp()
    }
    process.stdout.write(`${await expectKept(load)}\n`)
  })

  it('given load, when each Kafka broker is killed in turn and comes back, then publishing goes on once others lead', async () => {
    const load = await world.startLoad('kill-kafka')
    for (const { name } of world.stack.kafka) {
      const what = `kill -9 of ${name}`
      load.faultBegins()
      await world.stack.kill(name)
      const electionMs = await untilElected(world.stack, load.topics, name)
      await load.untilProgress(150, 15)
      await load.untilAnswered()
      expectUndisturbed(load, what, () => true)
      reportFault(load, { what, hit: [], electionMs })
      await world.stack.start(name)
      await untilInSync(world.stack, load.topics)
    }
    process.stdout.write(`${await expectKept(load)}\n`)
  })

  it('given load, when each Kafka broker stops for ten seconds in turn, then publishing goes on once others lead, and what it wakes up with changes nothing', async () => {
    const load = await world.startLoad('stop-kafka')
    for (const { name } of world.stack.kafka) {
      const what = `SIGSTOP of ${name} for ${pauseMs / 1_000} s`
      load.faultBegins()
      const stoppedMs = performance.now()
      await world.stack.pause(name)
      const electionMs = await untilElected(world.stack, load.topics, name)
      await load.untilProgress(150, 15)
      await load.untilAnswered()
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, stoppedMs + pauseMs - performance.now())))
      await world.stack.resume(name)
      expectUndisturbed(load, what, () => true)
      reportFault(load, { what, hit: [], electionMs })
      await untilInSync(world.stack, load.topics)
    }
    expectTypedAnswers(load, ['200', '503'])
    process.stdout.write(`${await expectKept(load)}\n`)
  })
})
