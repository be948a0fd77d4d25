// Owns: which logs run through the event log suite here: the embedded log and the simulated cluster.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SimulatedClock } from '../../src/adapters/clock/simulated-clock.ts'
import { openLmdbBroker } from '../../src/adapters/embedded/open.ts'
import { FencedLog } from '../../src/adapters/log-core/fenced-log.ts'
import type { LogBroker } from '../../src/adapters/log-core/log-broker.ts'
import { SeededRandom } from '../../src/adapters/random/seeded-random.ts'
import { drive } from '../support/sim-log/drive.ts'
import { FaultyBroker } from '../support/sim-log/faulty-broker.ts'
import { SimCluster } from '../support/sim-log/sim-cluster.ts'
import { describeEventLog, type EventLogHarness } from './event-log-suite.ts'

const seed = process.env['TRUNKLINE_SEED'] ?? '1'
const retentionSweepMs = 1_000

interface Parts {
  readonly clock: SimulatedClock
  readonly random: SeededRandom
  /** The n-th node's connection. */
  readonly broker: (node: number) => LogBroker
  /** Whether all nodes use one broker, which cleanup closes. */
  readonly shared: boolean
  /** Settles when no real I/O is under way. */
  readonly quiet: () => Promise<void>
  readonly cleanup: () => Promise<void>
}

function harnessOf({ clock, random, broker, shared, quiet, cleanup }: Parts): EventLogHarness {
  let nodes = 0
  const faulty = new FaultyBroker({ inner: broker(nodes++), clock, random: random.fork('faults') })
  const log = new FencedLog({ broker: faulty, clock, random: random.fork('node 0'), closesBroker: !shared })
  const others: FencedLog[] = []
  const run = <T>(work: Promise<T>): Promise<T> => drive(clock, work, quiet)
  return {
    log,
    another: async () => {
      const node = nodes++
      const other = new FencedLog({
        broker: broker(node),
        clock,
        random: random.fork(`node ${node}`),
        closesBroker: !shared,
      })
      others.push(other)
      return other
    },
    nowMs: () => clock.nowMs(),
    advance: async (ms) => {
      for (let left = ms; left > 0; left -= 500) {
        await clock.advance(Math.min(left, 500))
        await quiet()
      }
    },
    run,
    faults: {
      script: (...faults) => faulty.script.push(...faults),
      chance: (probability) => {
        faulty.chance = probability
      },
      meanwhile: (work) => {
        faulty.meanwhile = work
      },
    },
    cleanup: async () => {
      await run(Promise.all([log, ...others].map((one) => one.close())))
      await cleanup()
    },
  }
}

describeEventLog(
  `embedded (seed ${seed})`,
  async () => {
    const dir = mkdtempSync(join(tmpdir(), 'trunkline-log-'))
    const clock = new SimulatedClock()
    const random = new SeededRandom(seed)
    const broker = await openLmdbBroker({ dir, clock, random, retentionSweepMs })
    return harnessOf({
      clock,
      random,
      broker: () => broker,
      shared: true,
      quiet: () => broker.idle(),
      cleanup: async () => {
        await broker.close()
        rmSync(dir, { recursive: true, force: true })
      },
    })
  },
  retentionSweepMs,
)

describeEventLog(
  `simulated cluster (seed ${seed})`,
  async () => {
    const clock = new SimulatedClock()
    const random = new SeededRandom(seed)
    const cluster = new SimCluster({ clock, random: random.fork('cluster'), retentionSweepMs })
    return harnessOf({
      clock,
      random,
      broker: (node) => cluster.broker(`node-${node}`),
      shared: false,
      quiet: () => Promise.resolve(),
      cleanup: async () => cluster.stop(),
    })
  },
  retentionSweepMs,
)
