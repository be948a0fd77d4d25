// Owns: every metric of the gateway: name, help, labels. docs and dashboards depend on these names.
// 1. Labels have few values, known before: methods, outcomes, error names, states. Never topics, clients, sessions.
// 2. Units are Prometheus' (seconds, bytes), last in the name; counters end in _total.
// Leaves out: how they are counted (metrics.ts) and who counts (tier-metrics.ts).

export interface MetricDefinition {
  readonly kind: 'counter' | 'gauge' | 'histogram'
  readonly name: `trunkline_${string}`
  readonly help: string
  readonly labels: readonly string[]
  readonly buckets?: readonly number[]
}

const fastSeconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const
const sizeBytes = [256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304] as const

export const metricCatalogue = {
  buildInfo: {
    kind: 'gauge',
    name: 'trunkline_build_info',
    help: 'Always 1; the version is a label.',
    labels: ['version', 'node_version'],
  },
  nodeState: {
    kind: 'gauge',
    name: 'trunkline_node_state',
    help: '1 for the state the stream node is in, 0 for the others.',
    labels: ['state'],
  },

  requests: {
    kind: 'counter',
    name: 'trunkline_requests_total',
    help: 'Requests by method and outcome (ok or the name of the error).',
    labels: ['method', 'outcome'],
  },
  requestSeconds: {
    kind: 'histogram',
    name: 'trunkline_request_duration_seconds',
    help: 'Time from a decoded request to its answer; a read that waits includes its wait.',
    labels: ['method'],
    buckets: fastSeconds,
  },
  errors: {
    kind: 'counter',
    name: 'trunkline_errors_total',
    help: 'Errors answered, by name of idl/errors.json.',
    labels: ['name'],
  },
  decodeFailures: {
    kind: 'counter',
    name: 'trunkline_decode_failures_total',
    help: 'Frames or bodies that did not decode, by front.',
    labels: ['front'],
  },
  tcpConnections: {
    kind: 'gauge',
    name: 'trunkline_tcp_connections',
    help: 'Open connections of the Thrift listener.',
    labels: [],
  },
  httpConnections: {
    kind: 'gauge',
    name: 'trunkline_http_connections',
    help: 'Open connections of the HTTP listener.',
    labels: [],
  },

  nodeCalls: {
    kind: 'counter',
    name: 'trunkline_node_calls_total',
    help: 'Calls that the stream node answered, by method and outcome (ok or the name of the error).',
    labels: ['method', 'outcome'],
  },
  nodeCallSeconds: {
    kind: 'histogram',
    name: 'trunkline_node_call_duration_seconds',
    help: 'Time of the stream node to answer a call; a read that waits includes its wait.',
    labels: ['method'],
    buckets: fastSeconds,
  },
  allocations: {
    kind: 'counter',
    name: 'trunkline_allocations_total',
    help: 'Allocations that the stream node answered, by outcome (ok or the name of the error).',
    labels: ['outcome'],
  },
  sessions: {
    kind: 'gauge',
    name: 'trunkline_sessions',
    help: 'Open sessions on this node, by mode.',
    labels: ['mode'],
  },
  sessionsOpened: {
    kind: 'counter',
    name: 'trunkline_sessions_opened_total',
    help: 'Sessions opened, by mode.',
    labels: ['mode'],
  },
  sessionsClosed: {
    kind: 'counter',
    name: 'trunkline_sessions_closed_total',
    help: 'Sessions closed, by mode and reason.',
    labels: ['mode', 'reason'],
  },

  eventsPublished: {
    kind: 'counter',
    name: 'trunkline_events_published_total',
    help: 'Events of writes that landed.',
    labels: [],
  },
  bytesPublished: {
    kind: 'counter',
    name: 'trunkline_published_bytes_total',
    help: 'Sealed bytes of writes that landed.',
    labels: [],
  },
  eventsDelivered: {
    kind: 'counter',
    name: 'trunkline_events_delivered_total',
    help: 'Events in batches answered to readers, repeats included.',
    labels: [],
  },
  bytesDelivered: {
    kind: 'counter',
    name: 'trunkline_delivered_bytes_total',
    help: 'Bytes in batches answered to readers, repeats included.',
    labels: [],
  },

  appendBatches: {
    kind: 'counter',
    name: 'trunkline_append_batches_total',
    help: 'Batches given to the log, by outcome.',
    labels: ['outcome'],
  },
  appendSeconds: {
    kind: 'histogram',
    name: 'trunkline_append_duration_seconds',
    help: 'Time of the log to answer one batch.',
    labels: [],
    buckets: fastSeconds,
  },
  appendEntries: {
    kind: 'histogram',
    name: 'trunkline_append_batch_entries',
    help: 'Records joined into one batch.',
    labels: [],
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256],
  },
  appendBytes: {
    kind: 'histogram',
    name: 'trunkline_append_batch_bytes',
    help: 'Bytes of one batch.',
    labels: [],
    buckets: sizeBytes,
  },
  appendBufferBytes: {
    kind: 'gauge',
    name: 'trunkline_append_buffer_bytes',
    help: 'Bytes that wait for the log or are in flight to it.',
    labels: [],
  },

  blocksOpened: {
    kind: 'counter',
    name: 'trunkline_blocks_opened_total',
    help: 'Records of the log that were opened: block, skip (a barrier or not ours) or damaged.',
    labels: ['outcome'],
  },
  openCacheRequests: {
    kind: 'counter',
    name: 'trunkline_open_cache_requests_total',
    help: 'Requests to the cache of opened blocks: hit or miss.',
    labels: ['result'],
  },
  fetches: {
    kind: 'counter',
    name: 'trunkline_fetches_total',
    help: 'Fetches from the log, by lane (tail or catchup).',
    labels: ['lane'],
  },
  recordsFetched: {
    kind: 'counter',
    name: 'trunkline_fetched_records_total',
    help: 'Records that they brought, by lane.',
    labels: ['lane'],
  },
  tailWaiters: {
    kind: 'gauge',
    name: 'trunkline_tail_waiters',
    help: 'Reads that wait at the end of a topic.',
    labels: [],
  },

  takeOvers: {
    kind: 'counter',
    name: 'trunkline_take_overs_total',
    help: 'Producers taken over, by outcome (released, fenced, unneeded or failed).',
    labels: ['outcome'],
  },
  retirements: {
    kind: 'counter',
    name: 'trunkline_retirements_total',
    help: 'Incarnations of this node that ended, by reason.',
    labels: ['reason'],
  },
  unknownMachineEvents: {
    kind: 'counter',
    name: 'trunkline_unknown_machine_events_total',
    help: 'Events that a machine did not expect: each is a defect.',
    labels: ['machine'],
  },
} as const satisfies Readonly<Record<string, MetricDefinition>>

export type MetricCatalogue = typeof metricCatalogue
