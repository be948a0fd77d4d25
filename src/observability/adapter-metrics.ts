// Owns: what the cluster adapters' own narrow counting interfaces look like on the catalogue. Structural, like
// tier-metrics.ts: this leaf imports no adapter, src/main gives each adapter what it asks for.
// 1. Durations come in milliseconds and leave in seconds.
// 2. A shard is in one state: the others show 0.
import type { TracingMetrics } from './counted-spans.ts'
import type { Metrics } from './metrics.ts'

const msPerSecond = 1_000

export interface KafkaMetrics {
  request(api: string, outcome: string, durationMs: number): void
  inFlight(api: string, change: 1 | -1): void
  fetched(lane: string, records: number, bytes: number): void
  connection(event: 'opened' | 'closed' | 'replaced' | 'failed'): void
  throttled(api: string, throttleMs: number): void
  tailSubscriptions(count: number): void
  damagedBatch(): void
}

/** Fits src/adapters/kafka/metrics.ts. */
export function kafkaMetrics(metrics: Metrics): KafkaMetrics {
  return {
    request: (api, outcome, durationMs) => {
      metrics.kafkaRequests.add({ api, outcome })
      metrics.kafkaRequestSeconds.observe({ api }, durationMs / msPerSecond)
    },
    inFlight: (api, change) => metrics.kafkaInFlight.add({ api }, change),
    fetched: (lane, records, bytes) => {
      metrics.kafkaFetches.add({ lane })
      metrics.kafkaFetchedRecords.add({ lane }, records)
      metrics.kafkaFetchedBytes.add({ lane }, bytes)
    },
    connection: (event) => {
      metrics.kafkaConnectionEvents.add({ event })
      if (event === 'opened') metrics.kafkaConnections.add({}, 1)
      if (event === 'closed') metrics.kafkaConnections.add({}, -1)
    },
    throttled: (api, throttleMs) => metrics.kafkaThrottled.add({ api }, throttleMs / msPerSecond),
    tailSubscriptions: (count) => metrics.kafkaTailSubscriptions.set({}, count),
    damagedBatch: () => metrics.kafkaDamagedBatches.add({}),
  }
}

export const shardStates = ['up', 'connecting', 'blocked', 'down'] as const
type ShardState = (typeof shardStates)[number]

export interface RabbitMetrics {
  shardState(shard: string, state: ShardState): void
  reconnected(shard: string): void
  call(method: string, outcome: string, durationMs: number): void
  returned(shard: string): void
  expired(shard: string): void
  ignored(shard: string, why: string): void
  queueDeleted(shard: string): void
  outstandingReplyBytes(shard: string, bytes: number): void
}

/** Fits src/adapters/rabbitmq/metrics.ts. */
export function rabbitMetrics(metrics: Metrics): RabbitMetrics {
  return {
    shardState: (shard, now) => {
      for (const state of shardStates) metrics.shardState.set({ shard, state }, state === now ? 1 : 0)
    },
    reconnected: (shard) => metrics.shardReconnects.add({ shard }),
    call: (method, outcome, durationMs) => {
      metrics.shardCalls.add({ method, outcome })
      metrics.shardCallSeconds.observe({ method }, durationMs / msPerSecond)
    },
    returned: (shard) => metrics.shardReturns.add({ shard }),
    expired: (shard) => metrics.shardExpired.add({ shard }),
    ignored: (shard, reason) => metrics.shardIgnored.add({ shard, reason }),
    queueDeleted: (shard) => metrics.shardQueuesDeleted.add({ shard }),
    outstandingReplyBytes: (shard, bytes) => metrics.shardReplyBytes.set({ shard }, bytes),
  }
}

/** For createTracing. */
export function tracingMetrics(metrics: Metrics): TracingMetrics {
  return {
    spans: (outcome, count) => metrics.spans.add({ outcome }, count),
    spansPending: (count) => metrics.spansPending.set({}, count),
  }
}
