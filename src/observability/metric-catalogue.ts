// Owns: every metric of the gateway: name, help, labels, alarm. docs/metrics.md is made from it (metrics-page.ts);
// dashboards depend on these names.
// 1. Labels have few values, known before: methods, outcomes, error names, states, shards. Never topics, clients,
//    sessions.
// 2. Units are Prometheus' (seconds, bytes), last in the name; counters end in _total.
// Leaves out: how they are counted (metrics.ts) and who counts (tier-metrics.ts, adapter-metrics.ts).
import { apiMetrics } from './catalogue/api-metrics.ts'
import { brokerMetrics } from './catalogue/broker-metrics.ts'
import type { MetricDefinition } from './catalogue/definition.ts'
import { nodeMetrics } from './catalogue/node-metrics.ts'
import { processMetrics } from './catalogue/process-metrics.ts'

export type { MetricDefinition } from './catalogue/definition.ts'

export const metricCatalogue = {
  ...processMetrics,
  ...apiMetrics,
  ...nodeMetrics,
  ...brokerMetrics,
} as const satisfies Readonly<Record<string, MetricDefinition>>

export type MetricCatalogue = typeof metricCatalogue

/** In the order of the page. */
export const metricSections = [
  { title: 'Every process', metrics: processMetrics },
  { title: 'API tier', metrics: apiMetrics },
  { title: 'Stream node', metrics: nodeMetrics },
  { title: 'Kafka and RabbitMQ', metrics: brokerMetrics },
] as const
