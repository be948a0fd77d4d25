// Owns: that the catalogue holds its rules, that counting shows up in the text, and that it stays bounded.
import { describe, expect, test } from 'vitest'
import type { ApiMetrics } from '../../../src/api-tier/api-metrics.ts'
import { sessionMachine } from '../../../src/fsm/server/session.machine.ts'
import { type MetricDefinition, metricCatalogue } from '../../../src/observability/metric-catalogue.ts'
import { createMetrics, nullMetrics } from '../../../src/observability/metrics.ts'
import { apiTierMetrics, sessionStateNames, streamTierMetrics } from '../../../src/observability/tier-metrics.ts'
import type { StreamMetrics } from '../../../src/stream-tier/stream-metrics.ts'

const definitions: readonly (readonly [string, MetricDefinition])[] = Object.entries(metricCatalogue)
const bare = { processDefaults: false }

async function sample(text: Promise<string>, series: string): Promise<number | undefined> {
  const line = (await text).split('\n').find((each) => each.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}

describe('the metric catalogue', () => {
  test.each(definitions)('%s: name, help, labels and buckets keep the rules', (_name, definition) => {
    const { kind, name, help, labels, buckets } = definition
    expect(name).toMatch(/^trunkline_[a-z]+(_[a-z]+)*$/)
    expect(name.endsWith('_total')).toBe(kind === 'counter')
    expect(help).toMatch(/^[A-Z0-9].*\.$/)
    for (const label of labels) expect(label).toMatch(/^[a-z]+(_[a-z]+)*$/)
    for (const forbidden of ['topic', 'client', 'session', 'tenant', 'producer', 'partition']) {
      expect(labels).not.toContain(forbidden)
    }
    expect(buckets === undefined).toBe(kind !== 'histogram')
    expect([...(buckets ?? [])].sort((a, b) => a - b)).toEqual([...(buckets ?? [])])
  })

  test('given all entries, then no name occurs twice', () => {
    expect(new Set(definitions.map(([, { name }]) => name)).size).toBe(definitions.length)
  })
})

describe('counting', () => {
  test('given every metric, then the text lists it with its help', async () => {
    const text = await createMetrics(bare).text()
    for (const [, { name, help, kind }] of definitions) {
      expect(text).toContain(`# HELP ${name} ${help}\n# TYPE ${name} ${kind}`)
    }
  })

  test('given a counter, a gauge and a histogram, then each shows what was counted', async () => {
    const registry = createMetrics(bare)
    const { requests, tcpConnections, appendEntries } = registry.metrics
    requests.add({ method: 'read', outcome: 'ok' })
    requests.add({ outcome: 'ok', method: 'read' }, 2)
    tcpConnections.add({}, 1)
    tcpConnections.add({}, 1)
    tcpConnections.add({}, -1)
    appendEntries.observe({}, 3)
    expect(await sample(registry.text(), 'trunkline_requests_total{method="read",outcome="ok"}')).toBe(3)
    expect(await sample(registry.text(), 'trunkline_tcp_connections')).toBe(1)
    expect(await sample(registry.text(), 'trunkline_append_batch_entries_bucket{le="2"}')).toBe(0)
    expect(await sample(registry.text(), 'trunkline_append_batch_entries_bucket{le="4"}')).toBe(1)
  })

  test('given a gauge that is read, then every scrape reads it anew', async () => {
    const registry = createMetrics(bare)
    let open = 5
    registry.metrics.sessions.readFrom({ mode: 'read' }, () => open)
    registry.metrics.sessions.readFrom({ mode: 'write' }, () => 1)
    const series = 'trunkline_sessions{mode="read"}'
    expect(await sample(registry.text(), series)).toBe(5)
    open = 7
    expect(await sample(registry.text(), series)).toBe(7)
    expect(await sample(registry.text(), 'trunkline_sessions{mode="write"}')).toBe(1)
  })

  test('given more label sets than allowed, then the rest is counted as other and the known ones go on', async () => {
    const registry = createMetrics({ ...bare, seriesMax: 3 })
    for (let index = 0; index < 1_000; index += 1) registry.metrics.errors.add({ name: `E${index}` })
    registry.metrics.errors.add({ name: 'E0' })
    const text = registry.text()
    expect((await text).match(/^trunkline_errors_total\{/gm)?.length).toBe(4)
    expect(await sample(text, 'trunkline_errors_total{name="other"}')).toBe(997)
    expect(await sample(text, 'trunkline_errors_total{name="E0"}')).toBe(2)
  })

  test('given values that are no numbers, then they are dropped and nothing throws', async () => {
    const registry = createMetrics(bare)
    registry.metrics.eventsPublished.add({}, Number.NaN)
    registry.metrics.eventsPublished.add({}, -1)
    registry.metrics.eventsPublished.add({}, 2)
    registry.metrics.appendBufferBytes.set({}, Number.POSITIVE_INFINITY)
    registry.metrics.appendSeconds.observe({}, Number.NaN)
    expect(await sample(registry.text(), 'trunkline_events_published_total')).toBe(2)
    expect(await sample(registry.text(), 'trunkline_append_duration_seconds_count')).toBe(0)
  })

  test('given two registries, then they do not mix', async () => {
    const [one, two] = [createMetrics(bare), createMetrics(bare)]
    one.metrics.eventsPublished.add({}, 4)
    expect(await sample(one.text(), 'trunkline_events_published_total')).toBe(4)
    expect(await sample(two.text(), 'trunkline_events_published_total')).toBe(0)
  })

  test('given the process defaults, then memory and event loop are there', async () => {
    const registry = createMetrics()
    expect(await sample(registry.text(), 'process_resident_memory_bytes')).toBeGreaterThan(0)
    expect(registry.contentType).toContain('text/plain')
  })

  test('given the null metrics, then counting does nothing', () => {
    expect(() => nullMetrics.requests.add({ method: 'read', outcome: 'ok' })).not.toThrow()
    expect(() => nullMetrics.appendSeconds.observe({}, 1)).not.toThrow()
  })
})

describe('what the tiers count', () => {
  test('given a call of the API tier, then request, duration in seconds and error are counted', async () => {
    const registry = createMetrics(bare)
    const api: ApiMetrics = apiTierMetrics(registry.metrics)
    api.call('read', 'ok', 2_000)
    api.call('read', 'SESSION_GONE', 1)
    api.tcpConnections(1)
    api.decodeFailure('json')
    api.switchWaiting('call', 1)
    const text = registry.text()
    expect(await sample(text, 'trunkline_requests_total{method="read",outcome="SESSION_GONE"}')).toBe(1)
    expect(await sample(text, 'trunkline_request_duration_seconds_sum{method="read"}')).toBeCloseTo(2.001)
    expect(await sample(text, 'trunkline_errors_total{name="SESSION_GONE"}')).toBe(1)
    expect(await sample(text, 'trunkline_tcp_connections')).toBe(1)
    expect(await sample(text, 'trunkline_decode_failures_total{front="json"}')).toBe(1)
    expect(await sample(text, 'trunkline_switch_waiting{kind="call"}')).toBe(1)
  })

  test('given the states that are counted, then they are the states of the machine', () => {
    expect([...sessionStateNames, 'closed']).toEqual(Object.keys(sessionMachine.states))
  })

  test('given what the stream tier counts, then each call shows in its own metric', async () => {
    const registry = createMetrics(bare)
    const stream: StreamMetrics = streamTierMetrics(registry.metrics)
    stream.call('allocate', 'NO_CAPACITY', 5)
    stream.sessionOpened('read')
    stream.sessionOpened('write')
    stream.sessionClosed('write', 'lease')
    stream.published(100, 2_000)
    stream.delivered(50, 1_000)
    stream.unknownEvent('session', 'ODD')
    stream.batch('landed', 4, 1_000, 5)
    stream.buffered(77)
    stream.opened('damaged')
    stream.lookedUp(true)
    stream.lookedUp(false)
    stream.fetched('tail', 3)
    stream.tailWaiters(1)
    stream.takenOver('fenced', 1_500)
    stream.fenced('failed', 10_000)
    stream.sealed('KEY_UNAVAILABLE', 20)
    stream.openTook(3)
    stream.appending(1)
    stream.pending(1)
    stream.pending(1)
    stream.pending(-1)
    stream.allocating(1)
    stream.drained('cut', 250)
    stream.sessionStates((state) => (state === 'open' ? 7 : 0))
    const expected: Readonly<Record<string, number>> = {
      'trunkline_node_calls_total{method="allocate",outcome="NO_CAPACITY"}': 1,
      'trunkline_node_call_duration_seconds_sum{method="allocate"}': 0.005,
      'trunkline_allocations_total{outcome="NO_CAPACITY"}': 1,
      'trunkline_sessions{mode="read"}': 1,
      'trunkline_sessions{mode="write"}': 0,
      'trunkline_sessions_opened_total{mode="write"}': 1,
      'trunkline_sessions_closed_total{mode="write",reason="lease"}': 1,
      trunkline_events_published_total: 100,
      trunkline_published_bytes_total: 2_000,
      trunkline_events_delivered_total: 50,
      trunkline_delivered_bytes_total: 1_000,
      'trunkline_unknown_machine_events_total{machine="session"}': 1,
      'trunkline_append_batches_total{outcome="landed"}': 1,
      trunkline_append_batch_bytes_sum: 1_000,
      trunkline_append_batch_entries_sum: 4,
      trunkline_append_duration_seconds_sum: 0.005,
      trunkline_append_buffer_bytes: 77,
      'trunkline_blocks_opened_total{outcome="damaged"}': 1,
      'trunkline_open_cache_requests_total{result="hit"}': 1,
      'trunkline_open_cache_requests_total{result="miss"}': 1,
      'trunkline_fetches_total{lane="tail"}': 1,
      'trunkline_fetched_records_total{lane="tail"}': 3,
      trunkline_tail_waiters: 1,
      'trunkline_take_overs_total{outcome="fenced"}': 1,
      'trunkline_take_over_duration_seconds_sum{outcome="fenced"}': 1.5,
      'trunkline_fences_total{outcome="failed"}': 1,
      trunkline_fence_duration_seconds_sum: 10,
      'trunkline_blocks_sealed_total{outcome="KEY_UNAVAILABLE"}': 1,
      trunkline_seal_duration_seconds_sum: 0.02,
      trunkline_open_duration_seconds_sum: 0.003,
      trunkline_append_batches_in_flight: 1,
      trunkline_append_pending_entries: 1,
      trunkline_allocations_running: 1,
      'trunkline_drains_total{outcome="cut"}': 1,
      trunkline_drain_duration_seconds_sum: 0.25,
      'trunkline_session_states{state="open"}': 7,
      'trunkline_session_states{state="closing"}': 0,
    }
    const text = registry.text()
    const found = await Promise.all(
      Object.keys(expected).map(async (series) => [series, await sample(text, series)] as const),
    )
    expect(Object.fromEntries(found)).toEqual(expected)
  })
})
