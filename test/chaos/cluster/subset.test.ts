// Proves, on real Kafka and RabbitMQ: stream processes may each join a part of the shards. A shard that dies takes its own
// nodes out of reach; their producers are taken over through the others, and nothing is lost, doubled or out of order.
import { afterAll, afterEach, beforeAll, it } from 'vitest'
import { ChaosCluster, expectKept } from '../../support/cluster/chaos-cluster.ts'
import { nodeFault, reportFault } from '../../support/cluster/fault-report.ts'
import { chooseSeed } from '../../support/crash/run-seed.ts'
import { stackRequirement, stackStartMs } from '../../support/stack.ts'

stackRequirement.describe('stream processes with a shard of their own', () => {
  let world: ChaosCluster
  beforeAll(async () => {
    world = await ChaosCluster.start({
      seed: chooseSeed('cluster subset'),
      kafka: 1,
      streams: 2,
      streamEnv: (node, shards) => ({ TRUNKLINE_RABBIT_SHARDS: shards[node - 1] ?? '' }),
    })
  }, stackStartMs)
  afterEach(() => world?.recover(), 180_000)
  afterAll(() => world?.stop(), 60_000)

  it('given load on both, when a shard is killed, then sessions of its node go on at the other, and it serves again once the shard is back', async () => {
    const load = await world.startLoad('subset')
    const [first, second] = world.stack.rabbit
    if (first === undefined || second === undefined) throw new Error('there are two shards')
    for (const [index, { name }] of [first, second].entries()) {
      const what = `kill -9 of ${name}, the only shard of stream process ${index + 1}`
      load.faultBegins()
      await world.stack.kill(name)
      const outcome = await nodeFault(load, what, `n${index + 1}`)
      await load.untilProgress(100, 10)
      reportFault(load, outcome)
      await world.stack.start(name)
      await world.untilWell()
    }
    process.stdout.write(`${await expectKept(load)}\n`)
  })
})
