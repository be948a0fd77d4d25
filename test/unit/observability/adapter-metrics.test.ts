// Owns: that what the cluster adapters count shows in the text, under the names that operators know.
import { describe, expect, it } from 'vitest'
import type { KafkaMetrics } from '../../../src/adapters/kafka/metrics.ts'
import type { RabbitMetrics } from '../../../src/adapters/rabbitmq/metrics.ts'
import { kafkaMetrics, rabbitMetrics } from '../../../src/observability/adapter-metrics.ts'
import { createMetrics, type MetricsRegistry } from '../../../src/observability/metrics.ts'

async function samples(registry: MetricsRegistry, ...names: string[]): Promise<Record<string, number>> {
  const lines = (await registry.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  const all = lines.map(
    (line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))] as const,
  )
  return Object.fromEntries(
    all.filter(([series]) => names.some((name) => series === name || series.startsWith(`${name}{`))),
  )
}

describe('what the RabbitMQ switchboard counts', () => {
  it('Given a shard that goes from one state to the next, then it is in exactly one', async () => {
    const registry = createMetrics({ processDefaults: false })
    const rabbit: RabbitMetrics = rabbitMetrics(registry.metrics)
    for (const state of ['connecting', 'up', 'blocked', 'up'] as const) rabbit.shardState('a', state)
    rabbit.shardState('b', 'down')
    expect(await samples(registry, 'trunkline_shard_state')).toEqual({
      'trunkline_shard_state{shard="a",state="up"}': 1,
      'trunkline_shard_state{shard="a",state="connecting"}': 0,
      'trunkline_shard_state{shard="a",state="blocked"}': 0,
      'trunkline_shard_state{shard="a",state="down"}': 0,
      'trunkline_shard_state{shard="b",state="up"}': 0,
      'trunkline_shard_state{shard="b",state="connecting"}': 0,
      'trunkline_shard_state{shard="b",state="blocked"}': 0,
      'trunkline_shard_state{shard="b",state="down"}': 1,
    })
  })

  it('Given everything it can count, then each shows in its own metric', async () => {
    const registry = createMetrics({ processDefaults: false })
    const rabbit: RabbitMetrics = rabbitMetrics(registry.metrics)
    rabbit.reconnected('a')
    rabbit.call('call', 'lost', 1_500)
    rabbit.returned('a')
    rabbit.expired('a')
    rabbit.ignored('a', 'foreign')
    rabbit.queueDeleted('a')
    rabbit.outstandingReplyBytes('a', 9)
    rabbit.outstandingReplyBytes('a', 4)
    const expected = {
      'trunkline_shard_reconnects_total{shard="a"}': 1,
      'trunkline_shard_calls_total{method="call",outcome="lost"}': 1,
      'trunkline_shard_call_duration_seconds_sum{method="call"}': 1.5,
      'trunkline_shard_returned_total{shard="a"}': 1,
      'trunkline_shard_expired_total{shard="a"}': 1,
      'trunkline_shard_ignored_total{shard="a",reason="foreign"}': 1,
      'trunkline_shard_queues_deleted_total{shard="a"}': 1,
      'trunkline_shard_outstanding_reply_bytes{shard="a"}': 4,
    }
    expect(await samples(registry, ...Object.keys(expected))).toEqual(expected)
  })
})

describe('what the Kafka log counts', () => {
  it('Given everything it can count, then each shows in its own metric', async () => {
    const registry = createMetrics({ processDefaults: false })
    const kafka: KafkaMetrics = kafkaMetrics(registry.metrics)
    kafka.request('Produce', 'timeout', 20)
    kafka.fetched('tail', 3, 900)
    kafka.tailSubscriptions(8)
    for (const event of ['failed', 'opened', 'opened', 'opened', 'replaced', 'closed'] as const) kafka.connection(event)
    kafka.throttled('Fetch', 500)
    kafka.inFlight('Fetch', 1)
    kafka.damagedBatch()
    const expected = {
      'trunkline_kafka_requests_total{api="Produce",outcome="timeout"}': 1,
      'trunkline_kafka_request_duration_seconds_sum{api="Produce"}': 0.02,
      'trunkline_kafka_fetches_total{lane="tail"}': 1,
      trunkline_kafka_tail_subscriptions: 8,
      'trunkline_kafka_fetched_records_total{lane="tail"}': 3,
      'trunkline_kafka_fetched_bytes_total{lane="tail"}': 900,
      trunkline_kafka_connections: 2,
      'trunkline_kafka_connection_events_total{event="replaced"}': 1,
      'trunkline_kafka_connection_events_total{event="opened"}': 3,
      'trunkline_kafka_connection_events_total{event="closed"}': 1,
      'trunkline_kafka_throttled_seconds_total{api="Fetch"}': 0.5,
      'trunkline_kafka_requests_in_flight{api="Fetch"}': 1,
      trunkline_kafka_damaged_batches_total: 1,
    }
    expect(await samples(registry, ...Object.keys(expected))).toEqual(expected)
  })
})
