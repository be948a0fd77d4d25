// One incarnation after the other: pauses that grow, ends that are final, a drain at any moment.
import { describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { StreamSupervisor, type SupervisedNode, type SupervisorPatience } from '../../../src/main/stream-supervisor.ts'
import { nullLogger } from '../../../src/observability/log.ts'
import { createMetrics } from '../../../src/observability/metrics.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'

type End = Awaited<SupervisedNode['ended']>

class FakeNode implements SupervisedNode {
  isServing = false
  readonly ended: Promise<End>
  end: (reason: End) => void = () => {}
  readonly #refusal: Error | undefined

  constructor(refusal: Error | undefined) {
    this.#refusal = refusal
    this.ended = new Promise((resolve) => {
      this.end = (reason) => {
        this.isServing = false
        resolve(reason)
      }
    })
  }

  async boot(): Promise<void> {
    if (this.#refusal !== undefined) {
      this.end('boot-failed')
      throw this.#refusal
    }
    this.isServing = true
  }

  async drain(): Promise<End> {
    this.end('drained')
    return this.ended
  }
}

const patient: SupervisorPatience = { failuresMax: Number.POSITIVE_INFINITY, firstMustBoot: false }
const impatient: SupervisorPatience = { failuresMax: 3, firstMustBoot: true }
const away = new TrunklineError('UNAVAILABLE')

function supervised(patience: SupervisorPatience, outcomes: readonly (Error | undefined)[]) {
  const clock = new SimulatedClock()
  const nodes: FakeNode[] = []
  const supervisor = new StreamSupervisor({
    clock,
    logger: nullLogger,
    metrics: createMetrics().metrics,
    patience,
    factory: () => {
      const node = new FakeNode(outcomes[nodes.length])
      nodes.push(node)
      return node
    },
  })
  return { clock, nodes, supervisor }
}

describe('the first incarnation', () => {
  it('given a log that is away, when it must boot, then the start rejects and no other one follows', async () => {
    const { clock, nodes, supervisor } = supervised(impatient, [away])
    await expect(supervisor.start()).rejects.toBe(away)
    await clock.advance(60_000)
    expect(nodes).toHaveLength(1)
  })

  it('given a log that is away for long, when it may fail, then others follow in growing bounded pauses until one serves', async () => {
    const { clock, nodes, supervisor } = supervised(patient, Array<Error>(40).fill(away))
    await supervisor.start()
    expect(supervisor.isServing).toBe(false)
    await clock.advance(199)
    expect(nodes).toHaveLength(1)
    await clock.advance(1)
    expect(nodes).toHaveLength(2)
    await clock.advance(400)
    expect(nodes).toHaveLength(3)
    for (let attempt = 3; nodes.length < 41; attempt++) {
      await clock.advance(5_000)
      expect(nodes.length, 'a pause is at most 5 s').toBeGreaterThan(attempt)
    }
    expect(supervisor.isServing).toBe(true)
  })

  it('given a broker that refuses, when it may fail, then the start rejects all the same', async () => {
    const refused = new TrunklineError('BROKER_REFUSED')
    const { nodes, supervisor } = supervised(patient, [refused])
    await expect(supervisor.start()).rejects.toBe(refused)
    expect(nodes).toHaveLength(1)
  })
})

describe('the incarnations after it', () => {
  it('given one that was fenced, then another one serves at once', async () => {
    const { clock, nodes, supervisor } = supervised(patient, [])
    await supervisor.start()
    nodes[0]?.end('fenced')
    await clock.advance(0)
    expect(nodes).toHaveLength(2)
    expect(supervisor.isServing).toBe(true)
  })

  it('given boots that fail, when the bound is met, then it gives up with the cause', async () => {
    const { clock, nodes, supervisor } = supervised(impatient, [undefined, away, away, away])
    await supervisor.start()
    nodes[0]?.end('fenced')
    await clock.advance(10_000)
    expect(await supervisor.ended).toMatchObject({ cause: away })
    expect(nodes).toHaveLength(4)
  })

  it('given one that serves between failures, then they are not added up', async () => {
    const { clock, nodes, supervisor } = supervised(impatient, [
      undefined,
      away,
      away,
      undefined,
      away,
      away,
      undefined,
    ])
    await supervisor.start()
    nodes[0]?.end('fenced')
    await clock.advance(10_000)
    nodes[3]?.end('fenced')
    await clock.advance(10_000)
    expect(nodes).toHaveLength(7)
    expect(supervisor.isServing).toBe(true)
  })

  it('given a broker that refuses later, then it ends with that', async () => {
    const refused = new TrunklineError('BROKER_REFUSED')
    const { clock, nodes, supervisor } = supervised(patient, [undefined, refused])
    await supervisor.start()
    nodes[0]?.end('fenced')
    await clock.advance(0)
    expect(await supervisor.ended).toBe(refused)
  })
})

describe('a drain', () => {
  it('given a node that serves, then it is drained and none follows', async () => {
    const { clock, nodes, supervisor } = supervised(patient, [])
    await supervisor.start()
    await supervisor.drain()
    expect(await supervisor.ended).toBeUndefined()
    await clock.advance(60_000)
    expect(nodes).toHaveLength(1)
  })

  it('given a pause before the next try, then nothing follows it', async () => {
    const { clock, nodes, supervisor } = supervised(patient, [away])
    await supervisor.start()
    await supervisor.drain()
    expect(await supervisor.ended).toBeUndefined()
    await clock.advance(60_000)
    expect(nodes).toHaveLength(1)
  })
})
