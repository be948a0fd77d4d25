// Owns: what the tiers' own narrow counting interfaces look like on the catalogue. The shapes are structural: this leaf
// imports no tier, and a composition root gives each part what it asks for.
// 1. Durations come in milliseconds and leave in seconds: here and nowhere else.
import type { Metrics } from './metrics.ts'

const msPerSecond = 1_000

export interface ApiTierMetrics {
  call(method: string, outcome: string, durationMs: number): void
  tcpConnections(delta: 1 | -1): void
  decodeFailure(front: string): void
  proof(outcome: string): void
  login(outcome: string): void
  switchWaiting(kind: 'allocate' | 'call', change: 1 | -1): void
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
    proof: (outcome) => metrics.requestProofs.add({ outcome }),
    login: (outcome) => metrics.logins.add({ outcome }),
    switchWaiting: (kind, change) => metrics.switchWaiting.add({ kind }, change),
  }
}

export interface ArrivalMetrics {
  arriving(bytes: number): void
  cut(): void
}

/** Fits src/api-tier/arrival-budget.ts. */
export function arrivalMetrics(metrics: Metrics, listener: 'http' | 'thrift'): ArrivalMetrics {
  return {
    arriving: (bytes) => metrics.arrivingBytes.set({ listener }, bytes),
    cut: () => metrics.arrivalsCut.add({ listener }),
  }
}

export interface AccessTierMetrics {
  decided(action: string, outcome: 'allowed' | 'denied'): void
  auditSuppressed(count: number): void
}

/** Fits src/api-tier/authorize/authorizer.ts. */
export function accessTierMetrics(metrics: Metrics): AccessTierMetrics {
  return {
    decided: (action, outcome) => metrics.accessDecisions.add({ action, outcome }),
    auditSuppressed: (count) => metrics.auditSuppressed.add({}, count),
  }
}

export interface QuotaMetrics {
  refused(limit: string): void
  held(bytes: number): void
}

/** Fits src/api-tier/quotas. */
export function quotaMetrics(metrics: Metrics): QuotaMetrics {
  return {
    refused: (limit) => metrics.quotaRefusals.add({ limit }),
    held: (bytes) => metrics.heldBytes.set({}, bytes),
  }
}

export interface FairQueueMetrics {
  waiting(requests: number): void
  waited(durationMs: number): void
  refused(limit: string): void
}

/** Fits src/api-tier/quotas/fair-queue.ts. */
export function fairQueueMetrics(metrics: Metrics): FairQueueMetrics {
  return {
    waiting: (requests) => metrics.waitingRequests.set({}, requests),
    waited: (durationMs) => metrics.requestWaitSeconds.observe({}, durationMs / msPerSecond),
    refused: (limit) => metrics.quotaRefusals.add({ limit }),
  }
}

/** Fits src/api-tier/quotas/concurrency-limit.ts. */
export function concurrencyMetrics(metrics: Metrics): { places(places: number): void } {
  return { places: (places) => metrics.requestPlaces.set({}, places) }
}

export interface ProviderMetrics {
  fetched(provider: string, outcome: string): void
  /** Asked at every scrape, in milliseconds. */
  keysAge(provider: string, ageMs: () => number): void
}

/** For the keys of providers, src/api-tier/auth/provider-keys.ts. */
export function providerMetrics(metrics: Metrics): ProviderMetrics {
  return {
    fetched: (provider, outcome) => metrics.providerFetches.add({ provider, outcome }),
    keysAge: (provider, ageMs) => metrics.providerKeysAge.readFrom({ provider }, () => ageMs() / msPerSecond),
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
  takenOver(how: string, durationMs: number): void
  fenced(outcome: string, durationMs: number): void
  sealed(outcome: string, durationMs: number): void
  openTook(durationMs: number): void
  appending(change: 1 | -1): void
  pending(change: 1 | -1): void
  allocating(change: 1 | -1): void
  drained(outcome: string, durationMs: number): void
  sessionStates(count: (state: string) => number): void
}

/** Of the session machine, src/fsm/server/session.machine.ts. */
export const sessionStateNames = ['allocating', 'takingOver', 'open', 'closing'] as const

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
    takenOver: (outcome, durationMs) => {
      metrics.takeOvers.add({ outcome })
      metrics.takeOverSeconds.observe({ outcome }, durationMs / msPerSecond)
    },
    fenced: (outcome, durationMs) => {
      metrics.fences.add({ outcome })
      metrics.fenceSeconds.observe({}, durationMs / msPerSecond)
    },
    sealed: (outcome, durationMs) => {
      metrics.blocksSealed.add({ outcome })
      metrics.sealSeconds.observe({}, durationMs / msPerSecond)
    },
    openTook: (durationMs) => metrics.openSeconds.observe({}, durationMs / msPerSecond),
    appending: (change) => metrics.appendBatchesInFlight.add({}, change),
    pending: (change) => metrics.appendPendingEntries.add({}, change),
    allocating: (change) => metrics.allocationsRunning.add({}, change),
    drained: (outcome, durationMs) => {
      metrics.drains.add({ outcome })
      metrics.drainSeconds.observe({}, durationMs / msPerSecond)
    },
    // The newest incarnation is the one that is asked.
    sessionStates: (count) => {
      for (const state of sessionStateNames) metrics.sessionStates.readFrom({ state }, () => count(state))
    },
  }
}
