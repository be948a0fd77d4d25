// Owns: what the read path counts. Leaves out: names and registries (src/observability, wired by the host).

export interface ReadMetrics {
  /** A record was opened, or was none of ours to deliver. */
  opened(outcome: 'block' | 'skip' | 'damaged'): void
  /** A block was asked for by offset. */
  lookedUp(hit: boolean): void
  fetched(lane: 'tail' | 'catchup', records: number): void
  /** Sessions that came to or left the end of a topic. */
  tailWaiters(change: 1 | -1): void
}
