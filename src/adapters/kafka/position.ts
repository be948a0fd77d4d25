// Owns: one asked position while it is being answered, and what its answer looks like in each case.
import type { FetchPosition } from '../../ports/event-log.ts'
import type { ErrorName } from '../../protocol/errors.ts'
import type { BrokerFetch, BrokerRecord } from '../log-core/log-broker.ts'

export function failedAt(at: FetchPosition, error: ErrorName, logStart = 0, highWatermark = 0): BrokerFetch {
  return {
    topic: at.topic,
    partition: at.partition,
    error,
    logStart,
    highWatermark,
    nextOffset: at.offset,
    records: [],
  }
}

export function fetchedAt(
  at: FetchPosition,
  found: {
    readonly logStart: number
    readonly highWatermark: number
    readonly nextOffset: number
    readonly records: readonly BrokerRecord[]
  },
): BrokerFetch {
  return { topic: at.topic, partition: at.partition, ...found }
}
