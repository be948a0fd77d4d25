// Owns: what the RabbitMQ switchboard tells about itself. The composition root maps it to real metrics.
// Leaves out: names, labels and histograms of any metrics library.
import type { AllocateOutcome } from '../../ports/switchboard.ts'

export type ShardState = 'up' | 'connecting' | 'blocked' | 'down'

export type IgnoredMessage =
  /** Not one of ours. */
  | 'foreign'
  /** Ours, of another version. */
  | 'version'
  /** Ours, but it makes no sense where it came. */
  | 'malformed'

export interface RabbitMetrics {
  shardState(shard: string, state: ShardState): void
  /** The shard's connections came back after they were lost. */
  reconnected(shard: string): void
  /** A call or allocation of this party settled. */
  call(method: 'call' | 'allocate', outcome: AllocateOutcome['kind'], durationMs: number): void
  /** A request came back because nobody serves the key on that shard. */
  returned(shard: string): void
  /** Work or an answer was dropped because its deadline had passed. */
  expired(shard: string): void
  ignored(shard: string, why: IgnoredMessage): void
  /** A node's queue is gone. */
  queueDeleted(shard: string): void
  /** Bytes of large answers this party has asked for and not yet got. */
  outstandingReplyBytes(shard: string, bytes: number): void
}

export const noRabbitMetrics: RabbitMetrics = {
  shardState: () => undefined,
  reconnected: () => undefined,
  call: () => undefined,
  returned: () => undefined,
  expired: () => undefined,
  ignored: () => undefined,
  queueDeleted: () => undefined,
  outstandingReplyBytes: () => undefined,
}
