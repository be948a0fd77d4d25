// Owns: the event log suite on real Kafka: three brokers of the newest version, one of the oldest that is tested.
// 1. Real time: `advance` waits, but no longer than anything can be under way; retention is tested in
//    event-log.kafka-topics.test.ts, because Kafka deletes whole segments.
import { afterAll, beforeAll, vi } from 'vitest'
import type { KafkaVersion } from '../../scripts/stack/plan.ts'
import type { Stack } from '../../scripts/stack/stack.ts'
import { systemClock } from '../../src/adapters/clock/system-clock.ts'
import type { KafkaBroker } from '../../src/adapters/kafka/kafka-broker.ts'
import { openKafkaBroker } from '../../src/adapters/kafka/open.ts'
import { FencedLog } from '../../src/adapters/log-core/fenced-log.ts'
import { systemRandom } from '../../src/adapters/random/system-random.ts'
import { sleep } from '../../src/ports/clock.ts'
import { NamespacedBroker } from '../support/kafka/namespaced-broker.ts'
import { FaultyBroker } from '../support/sim-log/faulty-broker.ts'
import { privateStack, stackRequirementWith, stackStartMs } from '../support/stack.ts'
import { describeEventLog, type EventLogHarness } from './event-log-suite.ts'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const lateMs = 200
/** What a fault holds back arrives after `lateMs`; then nothing is under way any more. */
const advanceMsMax = 3 * lateMs

const runs: readonly { readonly version: KafkaVersion; readonly brokers: 1 | 3 }[] = [
  { version: '4.1.1', brokers: 3 },
  { version: '3.9.1', brokers: 1 },
]

for (const { version, brokers } of runs) {
  stackRequirementWith(version).describe(`Kafka ${version}, ${brokers} broker(s)`, () => {
    let stack: Stack
    let spaces = 0

    const open = (): Promise<KafkaBroker> =>
      openKafkaBroker({
        brokers: stack.kafkaAddresses,
        clientId: 'suite',
        clock: systemClock,
        random: systemRandom,
        topicDefaults: { replication: brokers, minInsyncReplicas: Math.min(2, brokers) },
        unsafeTopics: brokers === 1 ? ['*'] : [],
      })

    beforeAll(async () => {
      stack = await privateStack({ kafka: brokers, rabbit: 0, kafkaVersion: version })
    }, stackStartMs)
    afterAll(async () => {
      await stack?.stop()
    })

    describeEventLog(`kafka ${version}`, async (): Promise<EventLogHarness> => {
      const space = `s${++spaces}`
      const clock = systemClock
      const random = systemRandom
      const connect = async (): Promise<NamespacedBroker> => new NamespacedBroker(await open(), space)
      const faulty = new FaultyBroker({ inner: await connect(), clock, random, lateMs })
      const log = new FencedLog({ broker: faulty, clock, random })
      const others: FencedLog[] = []
      return {
        log,
        another: async () => {
          const other = new FencedLog({ broker: await connect(), clock, random })
          others.push(other)
          return other
        },
        nowMs: () => clock.nowMs(),
        advance: (ms) => sleep(clock, Math.min(ms, advanceMsMax)),
        run: (work) => work,
        faults: {
          script: (...faults) => faulty.script.push(...faults),
          chance: (probability) => {
            faulty.chance = probability
          },
          meanwhile: (work) => {
            faulty.meanwhile = work
          },
        },
        hasPlainTopics: true,
        // Produce by topic id came with 4.1.
        ...(version === '4.1.1' ? {} : { topicChangeMs: 300 }),
        cleanup: async () => {
          await Promise.all([log, ...others].map((one) => one.close()))
        },
      }
    })
  })
}
