// Owns: what every EventLog must do, with the adapter as parameter: the specification of the port.
// 1. No test reads a real clock or sleeps: `advance` moves time, `run` moves it until a promise settles. An adapter on
//    real time implements both by waiting.
// 2. Two handles over one log stand for two nodes.
// Leaves out: what only one kind of log can show (unit tests of the adapter), and the tables of answers (log-core).
import { afterEach, beforeEach, describe } from 'vitest'
import type { EventLog, TopicPartition } from '../../src/ports/event-log.ts'
import { type Incarnation, makeIncarnation, parseTopicName, type TopicName } from '../../src/protocol/ids.ts'
import type { AppendFault } from '../support/sim-log/faulty-broker.ts'
import { describeAppends } from './event-log-suite-append.ts'
import { describeFaults } from './event-log-suite-faults.ts'
import { describeFences } from './event-log-suite-fence.ts'
import { describeFetches } from './event-log-suite-fetch.ts'
import { describeRetention, describeTopics } from './event-log-suite-topics.ts'

export interface FaultControl {
  /** The next data appends of the first handle meet these, in order. */
  script(...faults: readonly AppendFault[]): void
  /** From now on each of its appends meets a fault by chance. */
  chance(probability: number): void
  /** What runs in the middle of an append with the fault `meanwhile`. */
  meanwhile(work: () => Promise<unknown>): void
}

export interface EventLogHarness {
  readonly log: EventLog
  /** Another handle over the same log: another node. Closed by cleanup. */
  another(): Promise<EventLog>
  nowMs(): number
  /** Lets that much time pass. */
  advance(ms: number): Promise<void>
  /** Lets time pass until `work` has settled. */
  run<T>(work: Promise<T>): Promise<T>
  /** Undefined when this log cannot be disturbed. */
  readonly faults: FaultControl | undefined
  /**
   * How long an append that names a topic's id may still land after the topic was made anew (a broker that takes topics
   * by name only). Absent: never.
   */
  readonly topicChangeMs?: number
  /** Whether topics of format plain can be made here. Absent: they answer UNSUPPORTED. */
  readonly hasPlainTopics?: boolean
  cleanup(): Promise<void>
}

export interface Bench {
  readonly harness: EventLogHarness
  readonly topic: TopicName
  /** Partition of the test's topic. */
  readonly at: (partition: number) => TopicPartition
  readonly identity: () => Incarnation
}

export const suitePartitions = 4

/** Runs the whole suite against `factory`'s log: one log and one topic for each test. */
/** With the time between two sweeps of retention where that is the adapter's own; Kafka's is tested in integration/kafka. */
export function describeEventLog(
  name: string,
  factory: () => Promise<EventLogHarness>,
  retentionSweepMs?: number,
): void {
  describe(`event log: ${name}`, () => {
    let bench: Bench | undefined
    let topics = 0
    beforeEach(async () => {
      const harness = await factory()
      const topic = parseTopicName(`suite-${++topics}`)
      let identities = 0
      bench = {
        harness,
        topic,
        at: (partition) => ({ topic, partition }),
        identity: () => makeIncarnation('node', `t${topics}i${++identities}`),
      }
      await harness.run(harness.log.createTopic({ name: topic, partitions: suitePartitions, format: 'sealed' }))
    })
    afterEach(async () => {
      await bench?.harness.cleanup()
      bench = undefined
    })
    const current = (): Bench => {
      if (bench === undefined) throw new Error('no test is running')
      return bench
    }
    describeAppends(current)
    describeFences(current)
    describeFetches(current)
    describeTopics(current)
    if (retentionSweepMs !== undefined) describeRetention(current, retentionSweepMs)
    describeFaults(current)
  })
}
