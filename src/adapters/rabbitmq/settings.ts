// Owns: every bound and delay of the RabbitMQ switchboard, with its default and the reason for it.

export interface RabbitSettings {
  /** Begins the name of every exchange and shared queue, so that two installations can use one virtual host. */
  readonly namePrefix: string
  /** AMQP heartbeat; a peer that is silent for about three of them is cut off. 5 s. */
  readonly heartbeatSeconds: number
  /** Opening the switchboard fails when no shard is up by then. 10 s. */
  readonly connectTimeoutMs: number
  /** One attempt to connect and declare. 3 s: a frozen broker accepts connections and never answers. */
  readonly attemptTimeoutMs: number
  /** The pause between attempts doubles from the first to the second, with full jitter. 100 ms, 5 s. */
  readonly reconnectMinMs: number
  readonly reconnectMaxMs: number
  /** How long an allocation waits in the shard's queue for a free place, ≤ 200 ms. 200 ms. */
  readonly allocateWaitMs: number
  /** How often a node says that it is there. 2 s. */
  readonly presenceIntervalMs: number
  /** A node that was not heard for so long is gone. 15 s: three heartbeats, when the broker gives it up too. */
  readonly presenceTtlMs: number
  /** Pauses after which an unroutable call to a node that was there a moment ago is tried again. 50, 100, 200 ms. */
  readonly unroutableRetryMs: readonly number[]
  /** A shard that says nothing for so long is sent a probe. 500 ms. */
  readonly probeIntervalMs: number
  /** A shard that lets a probe wait for so long is not used until it answers. 2 s. */
  readonly suspectAfterMs: number
  /** When a node's queue goes, the broker is asked what became of the calls out there; at most so long. 250 ms. */
  readonly goneGraceMs: number
  /** Calls out per shard; the next one is answered `lost` without being sent. 16,384. */
  readonly callsMax: number
  /** Bytes of their bodies. 64 MiB. */
  readonly requestBytesMax: number
  /** Bytes of large answers on their way to this party, per shard; further ones stay at their nodes. 16 MiB. */
  readonly replyBytesMax: number
  /** Answers up to this size are sent without asking. 16 KiB: even 1,000 at once stay near `replyBytesMax`. */
  readonly eagerReplyBytesMax: number
  /** Calls a served key runs at once; the next one is answered `lost` without running. 16,384. */
  readonly servedMax: number
  /** Bytes of their bodies. 256 MiB. */
  readonly servedBytesMax: number
  /** Bytes of large answers that wait at this party until their callers take them; the next is `lost`. 256 MiB. */
  readonly heldReplyBytesMax: number
  /** Orderly closing of a shard's connections is cut off after so long. 2 s. */
  readonly closeTimeoutMs: number
}

export const defaultRabbitSettings: RabbitSettings = {
  namePrefix: 'trunkline',
  heartbeatSeconds: 5,
  connectTimeoutMs: 10_000,
  attemptTimeoutMs: 3_000,
  reconnectMinMs: 100,
  reconnectMaxMs: 5_000,
  allocateWaitMs: 200,
  presenceIntervalMs: 2_000,
  presenceTtlMs: 15_000,
  unroutableRetryMs: [50, 100, 200],
  probeIntervalMs: 500,
  suspectAfterMs: 2_000,
  goneGraceMs: 250,
  callsMax: 16_384,
  requestBytesMax: 64 * 1024 * 1024,
  replyBytesMax: 16 * 1024 * 1024,
  eagerReplyBytesMax: 16 * 1024,
  servedMax: 16_384,
  servedBytesMax: 256 * 1024 * 1024,
  heldReplyBytesMax: 256 * 1024 * 1024,
  closeTimeoutMs: 2_000,
}

/** The alloc queue's own bounds are part of its declaration: all parties must name the same. */
export const allocQueueTtlMs = 200
export const allocQueueItemsMax = 4_096
export const allocQueueBytesMax = 16 * 1024 * 1024
