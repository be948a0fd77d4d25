// Owns: judging a topic of the cluster with the plain consumer's eyes (plain-consumer.ts).
import { type Ledger, payloadOf } from '../crash/ledger.ts'
import { placeOf } from '../crash/reader.ts'
import { judgeTopic, type Stored, type Violation } from '../crash/verdict.ts'
import { consumeTopic, type PlainConsumerOptions, type SeenRecord } from './plain-consumer.ts'

export interface TopicVerdict {
  readonly violations: readonly Violation[]
  /** In the order of each partition. */
  readonly stored: readonly Stored[]
  readonly records: readonly SeenRecord[]
}

/** Everything is answered and nothing is written meanwhile. */
export async function judgeByConsumer(options: PlainConsumerOptions, ledger: Ledger): Promise<TopicVerdict> {
  const { events, records } = await consumeTopic(options)
  const violations = judgeAuthors(records)
  const stored = events.map(({ id = '', key, payload, partition, offset, index }): Stored => {
    const attempt = ledger.attempts.get(id)
    if (attempt !== undefined && !(payloadOf(id).equals(payload) && attempt.key === key))
      violations.push({ kind: 'event', what: `another payload or key than was sent: ${id}` })
    return {
      id,
      partition,
      place: placeOf({ offset: Number(offset), index }),
      position: `${partition}:${offset}:${index}`,
    }
  })
  violations.push(...judgeTopic(ledger.attempts, stored))
  return { violations, stored, records }
}

/**
 * fence: behind a barrier something of the epoch that it ended. epoch: an incarnation stays at epoch 0 for life, and
 * above it there is nothing but barriers.
 */
export function judgeAuthors(records: readonly SeenRecord[]): Violation[] {
  const violations: Violation[] = []
  const epochs = new Map<string, number>()
  for (const { partition, offset, pid, epoch, isBarrier } of records) {
    const lane = `${pid} ${partition}`
    const highest = epochs.get(lane) ?? 0
    const what = `${partition}:${offset} of producer id ${pid}, epoch ${epoch}`
    if (epoch < highest) violations.push({ kind: 'fence', what: `${what} behind epoch ${highest}` })
    if (epoch > 0 !== isBarrier) violations.push({ kind: 'epoch', what })
    epochs.set(lane, Math.max(highest, epoch))
  }
  return violations
}
