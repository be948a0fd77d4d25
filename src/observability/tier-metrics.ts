// Owns: what the tiers' own narrow counting interfaces look like on the catalogue. The shapes are structural: this leaf
// imports no tier, and a composition root gives each part what it asks for.
// 1. Durations come in milliseconds and leave in seconds: here and nowhere else.
import type { Metrics } from './metrics.ts'

const msPerSecond = 1_000

export interface ApiTierMetrics {
  call(method: string, outcome: string, durationMs: number): void
  tcpConnections(delta: 1 | -1): void
  decodeFailure(front: string): void
}

/** Fits src/api-tier/api-metrics.ts. */
export function apiTierMetrics(metrics: Metrics): ApiTierMetrics {
  return {
    call: (method, outcome, durationMs) => {
      metrics.requests.add({ method, outcome })
      metrics.requestSeconds.observe({ method }, durationMs / msPerSecond)
      if (outcome !== 'ok') metrics.errors.add({ name: outcome })
    },
    tcpConnections: (delta) => metrics.tcpConnections.add({}, delta),
    decodeFailure: (front) => metrics.decodeFailures.add({ front }),
  }
}

type Mode = 'read' | 'write'

export interface StreamTierMetrics {
  call(method: string, outcome: string, durationMs: number): void
  sessionOpened(mode: Mode): void
  sessionClosed(mode: Mode, reason: string): void
  published(events: number, bytes: number): void
  delivered(events: number, bytes: number): void
  unknownEvent(machine: string, event: string): void
  batch(outcome: string, entries: number, bytes: number, durationMs: number): void
  buffered(bytes: number): void
  opened(outcome: string): void
  lookedUp(hit: boolean): void
  fetched(lane: string, records: number): void
  tailWaiters(change: 1 | -1): void
  takenOver(how: string): void
}

/** Fits src/stream-tier/stream-metrics.ts, and so its append, read and take-over parts. */
export function streamTierMetrics(metrics: Metrics): StreamTierMetrics {
  return {
    call: (method, outcome, durationMs) => {
      metrics.nodeCalls.add({ method, outcome })
      metrics.nodeCallSeconds.observe({ method }, durationMs / msPerSecond)
      if (method === 'allocate') metrics.allocations.add({ outcome })
    },
    sessionOpened: (mode) => {
      metrics.sessionsOpened.add({ mode })
      metrics.sessions.add({ mode }, 1)
    },
    sessionClosed: (mode, reason) => {
      metrics.sessionsClosed.add({ mode, reason })
      metrics.sessions.add({ mode }, -1)
    },
    published: (events, bytes) => {
      metrics.eventsPublished.add({}, events)
      metrics.bytesPublished.add({}, bytes)
    },
    delivered: (events, bytes) => {
      metrics.eventsDelivered.add({}, events)
      metrics.bytesDelivered.add({}, bytes)
    },
    // The event's name is in the log: as a label it would not be bounded.
    unknownEvent: (machine) => metrics.unknownMachineEvents.add({ machine }),
    batch: (outcome, entries, bytes, durationMs) => {
      metrics.appendBatches.add({ outcome })
      metrics.appendEntries.observe({}, entries)
      metrics.appendBytes.observe({}, bytes)
      metrics.appendSeconds.observe({}, durationMs / msPerSecond)
    },
    buffered: (bytes) => metrics.appendBufferBytes.set({}, bytes),
    opened: (outcome) => metrics.blocksOpened.add({ outcome }),
    lookedUp: (hit) => metrics.openCacheRequests.add({ result: hit ? 'hit' : 'miss' }),
    fetched: (lane, records) => {
      metrics.fetches.add({ lane })
      metrics.recordsFetched.add({ lane }, records)
    },
    tailWaiters: (change) => metrics.tailWaiters.add({}, change),
    takenOver: (outcome) => metrics.takeOvers.add({ outcome }),
  }
}
