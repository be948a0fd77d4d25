// Proves, on real Kafka and RabbitMQ: whatever happens to a process of the gateway while applications publish and read,
// every acked event is in the log once and in order, readers skip nothing, and who was not hit does not notice.
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { ChaosCluster, expectKept } from '../../support/cluster/chaos-cluster.ts'
import { expectTypedAnswers, expectUndisturbed, nodeFault, reportFault } from '../../support/cluster/fault-report.ts'
import { freezeWithAppends, thaw } from '../../support/cluster/frozen-node.ts'
import { chooseSeed } from '../../support/crash/run-seed.ts'
import { scale } from '../../support/scale.ts'
import { stackRequirement, stackStartMs } from '../../support/stack.ts'

const rounds = scale(1, 2)
const frozenMs = scale(20_000, 60_000)

stackRequirement.describe('processes of a cluster that are killed', () => {
  let world: ChaosCluster
  beforeAll(async () => {
    world = await ChaosCluster.start({ seed: chooseSeed('cluster processes') })
  }, stackStartMs)
  afterEach(() => world?.recover(), 180_000)
  afterAll(() => world?.stop(), 60_000)

  it('given load, when each stream process is killed in turn, then nothing is lost, doubled or out of order and the others go on', async () => {
    const load = await world.startLoad('kill-stream')
    for (let round = 0; round < rounds; round++) {
      for (const [index, stream] of world.streams.entries()) {
        const what = `kill -9 of stream process ${index + 1}`
        load.faultBegins()
        await stream.kill()
        const outcome = await nodeFault(load, what, `n${index + 1}`)
        await load.untilProgress(100, 10)
        reportFault(load, outcome)
        await stream.restart()
        await load.untilProgress(50, 5)
      }
    }
    expect(load.counts.resumes).toBeGreaterThan(0)
    process.stdout.write(`${await expectKept(load)}\n`)
  })

  it('given load, when each API process is killed in turn, then no session moves, and a client of the other one sees nothing', async () => {
    const load = await world.startLoad('kill-api')
    for (const [index, api] of world.apis.entries()) {
      const what = `kill -9 of API process ${index + 1}`
      load.faultBegins()
      await api.kill()
      await load.untilProgress(150, 15)
      // A session lives at a stream node: which API process is asked makes no difference to it.
      expectUndisturbed(load, what, () => true)
      reportFault(load, { what, hit: [] })
      await api.restart()
      await load.untilProgress(50, 5)
    }
    process.stdout.write(`${await expectKept(load)}\n`)
  })

  it('given appends in flight and queued, when a stream process stops and others take its producers over, then nothing of it lands once it goes on, and it serves again', async () => {
    const load = await world.startLoad('zombie', { pauseMsMax: 10, writers: 8 })
    const [stream] = world.streams
    if (stream === undefined) throw new Error('there is a stream process')
    const what = `SIGSTOP of a stream process for ${frozenMs / 1_000} s`
    const resting = load.rest('n1')
    const incarnations = (): number => stream.lines().filter(({ message }) => message === 'stream node serves').length
    const before = incarnations()
    const found = { landed: load.counts.foundLanded, missing: load.counts.foundMissing }
    const frozenAtMs = await freezeWithAppends(world, load, stream)
    const outcome = await nodeFault(load, what, 'n1')
    reportFault(load, outcome)
    // Its producers were in the middle of something: both kinds of it.
    expect(load.counts.foundLanded).toBeGreaterThan(found.landed)
    expect(load.counts.foundMissing).toBeGreaterThan(found.missing)
    await load.untilProgress(200, 20)
    await thaw(stream, frozenAtMs, frozenMs)
    await load.until('a new incarnation serves', () => incarnations() > before, 30_000)
    await stream.untilHealth(({ status }) => status === 200)
    load.wake()
    await load.until(
      'who rested publishes',
      () => resting.every(({ recoveredMs }) => recoveredMs !== undefined),
      30_000,
    )
    await load.untilProgress(200, 20)
    process.stdout.write(`${await expectKept(load)}\n`)
  })

  it('given load, when every process is told to stop in turn, then no error reaches an application and no request stays unanswered', async () => {
    const load = await world.startLoad('drain')
    for (const one of [...world.streams, ...world.apis]) {
      const what = `SIGTERM to ${one.role === 'api' ? 'an API' : 'a stream'} process`
      load.faultBegins()
      expect(await one.kill('SIGTERM'), what).toEqual({ code: 0, signal: null })
      await load.untilProgress(150, 15)
      reportFault(load, { what, hit: [] })
      // Nobody listens there for a moment: that request was not taken.
      expectTypedAnswers(load, ['200', '503', 'ECONNREFUSED'])
      await one.restart()
    }
    process.stdout.write(`${await expectKept(load)}\n`)
  })
})
