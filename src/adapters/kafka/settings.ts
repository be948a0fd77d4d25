// Owns: the numbers of this adapter, with their reasons.

export interface KafkaSettings {
  readonly connectTimeoutMs: number
  /** Of requests that a broker answers at once. */
  readonly requestTimeoutMs: number
  /** How long a broker waits for replication before it answers REQUEST_TIMED_OUT; a shared request waits with it. */
  readonly produceWaitMs: number
  /** On top of what the broker may wait, before the connection is given up. */
  readonly graceMs: number
  /** A produce without an answer for so long makes us look whether the partition has moved. */
  readonly produceDoubtMs: number
  /** Between two looks at the metadata while something is wrong. */
  readonly metadataPauseMs: number
  /** Metadata of topics in use is never older, and the cluster's reachability is known as well. */
  readonly metadataMaxAgeMs: number
  readonly tailWaitMs: number
  /** A tail that nobody has asked for so long is not fetched any more. */
  readonly tailUnusedMs: number
  /** One question about offsets, topics or positions, with its tries. */
  readonly questionDeadlineMs: number
  readonly configMaxAgeMs: number
}

export const defaultKafkaSettings: KafkaSettings = {
  connectTimeoutMs: 3_000,
  requestTimeoutMs: 5_000,
  produceWaitMs: 5_000,
  graceMs: 3_000,
  produceDoubtMs: 1_000,
  metadataPauseMs: 100,
  metadataMaxAgeMs: 3_000,
  tailWaitMs: 300,
  tailUnusedMs: 3_000,
  questionDeadlineMs: 10_000,
  configMaxAgeMs: 15_000,
}
