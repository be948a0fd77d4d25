// A node that is told to stop while it still boots: it stops, and whoever waits for its end is told.
import { describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { InProcessHub } from '../../../src/adapters/in-process/in-process-switchboard.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { GatewayKeys } from '../../../src/crypto/gateway-keys.ts'
import { nullLogger } from '../../../src/observability/log.ts'
import { createMetrics } from '../../../src/observability/metrics.ts'
import { streamTierMetrics } from '../../../src/observability/tier-metrics.ts'
import type { EventLog, LogWriter, RetireReason } from '../../../src/ports/event-log.ts'
import type { KeyProvider } from '../../../src/ports/key-provider.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { parseIncarnation } from '../../../src/protocol/ids.ts'
import { defaultLimits } from '../../../src/protocol/limits.ts'
import { StreamNode } from '../../../src/stream-tier/stream-node.ts'

/** A node whose log opens, or does not, when the test says so. */
function bootingNode(): { node: StreamNode; opened: () => void; refused: () => void; closed: () => boolean } {
  const clock = new SimulatedClock()
  const random = new SeededRandom('node')
  const hub = new InProcessHub(clock)
  let answer: (writer: LogWriter) => void = () => {}
  let refuse: (error: unknown) => void = () => {}
  let isClosed = false
  const writer: LogWriter = {
    identity: parseIncarnation('n1.e1'),
    pid: 1,
    retired: new Promise<RetireReason>(() => {}),
    append: async () => ({ kind: 'retired', reason: 'closed' }),
    close: async () => {
      isClosed = true
    },
  }
  const log = {
    open: () =>
      new Promise<LogWriter>((resolve, reject) => {
        answer = resolve
        refuse = reject
      }),
    clusterId: async () => 'c',
  } as unknown as EventLog
  const node = new StreamNode({
    incarnation: writer.identity,
    log,
    switchboard: hub.connect(),
    keys: { onChange: () => () => {} } as unknown as KeyProvider,
    gatewayKeys: GatewayKeys.generate(random, clock),
    clock,
    random,
    limits: defaultLimits,
    bounds: { allocationsMax: 1, sessionsMax: 1, readCacheBytes: 1, appendBufferBytes: 1, drainTimeoutMs: 100 },
    metrics: streamTierMetrics(createMetrics().metrics),
    logger: nullLogger,
    version: '0',
    topics: { autoCreate: true, partitions: 1 },
  })
  return {
    node,
    opened: () => answer(writer),
    refused: () => refuse(new TrunklineError('UNAVAILABLE')),
    closed: () => isClosed,
  }
}

describe('a node that is drained while it boots', () => {
  it('given a boot that succeeds, then it ends as drained at once and its writer is closed', async () => {
    const { node, opened, closed } = bootingNode()
    const booted = node.boot()
    const ended = node.drain()
    opened()
    await booted
    expect(await ended).toBe('drained')
    expect(node.isServing).toBe(false)
    await expect.poll(closed).toBe(true)
  })

  it('given a boot that fails, then it ends as such', async () => {
    const { node, refused } = bootingNode()
    const booted = node.boot()
    const ended = node.drain()
    refused()
    await expect(booted).rejects.toMatchObject({ name: 'UNAVAILABLE' })
    expect(await ended).toBe('boot-failed')
  })
})
