// Owns: what this adapter counts, as a narrow interface that a composition root connects to real metrics.

export type RequestOutcome = 'ok' | 'timeout' | 'lost' | 'malformed'
export type ConnectionEvent = 'opened' | 'failed' | 'closed' | 'replaced'

export interface KafkaMetrics {
  /** One request to one broker; whether Kafka liked it stands in its answer. */
  request(api: string, outcome: RequestOutcome, durationMs: number): void
  inFlight(api: string, change: 1 | -1): void
  fetched(lane: 'tail' | 'catchup' | 'lookup', records: number, bytes: number): void
  /** replaced: closed by us because a request on it got no answer in time. */
  connection(event: ConnectionEvent): void
  throttled(api: string, throttleMs: number): void
  tailSubscriptions(count: number): void
  /** Batches whose checksum or shape is wrong, or whose compression is not known here. */
  damagedBatch(): void
}

export const noMetrics: KafkaMetrics = {
  request: () => {},
  inFlight: () => {},
  fetched: () => {},
  connection: () => {},
  throttled: () => {},
  tailSubscriptions: () => {},
  damagedBatch: () => {},
}
