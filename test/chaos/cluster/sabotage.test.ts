// The judge is able to fail: with the fence left out, a stream process that stands still and is taken over publishes what
// it held once it goes on, and the plain consumer's verdict says so.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ChaosCluster } from '../../support/cluster/chaos-cluster.ts'
import { freezeWithAppends, thaw } from '../../support/cluster/frozen-node.ts'
import { chooseSeed } from '../../support/crash/run-seed.ts'
import { stackRequirement, stackStartMs } from '../../support/stack.ts'

/** Below the deadline of an append: past it, what is held is given up even without a fence. */
const frozenMs = 12_000

stackRequirement.describe('a cluster without the fence', () => {
  let world: ChaosCluster
  beforeAll(async () => {
    world = await ChaosCluster.start({ seed: chooseSeed('cluster sabotage'), mutant: 'nofence', kafka: 1, streams: 2 })
  }, stackStartMs)
  afterAll(() => world?.stop(), 60_000)

  it('given appends held by a process that stands still, when it goes on after it was taken over, then events are there twice, and the verdict says so', async () => {
    const load = await world.startLoad('nofence', { pauseMsMax: 10, writers: 8 })
    const [stream] = world.streams
    if (stream === undefined) throw new Error('there is a stream process')
    const frozenAtMs = await freezeWithAppends(world, load, stream)
    await load.until('producers were taken over', () => load.counts.foundMissing > 0, 30_000)
    await load.untilProgress(100, 10)
    await thaw(stream, frozenAtMs, frozenMs)
    await load.untilProgress(200, 20)
    const { violations } = await load.finish()
    const kinds = new Set(violations.map(({ kind }) => kind))
    process.stdout.write(`without the fence: ${violations.length} violations, ${[...kinds].join(', ')}\n`)
    expect([...kinds]).toContain('duplicate')
  })
})
