// Owns: what a metric is, and the buckets that several of them share.

export interface MetricDefinition {
  readonly kind: 'counter' | 'gauge' | 'histogram'
  readonly name: `trunkline_${string}`
  readonly help: string
  readonly labels: readonly string[]
  readonly buckets?: readonly number[]
  /** When a person should hear of it; absent: it explains, it does not wake anybody. */
  readonly alarm?: string
}

export type MetricDefinitions = Readonly<Record<string, MetricDefinition>>

export const fastSeconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const
export const cryptoSeconds = [
  0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05,
] as const
export const slowSeconds = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const
export const sizeBytes = [256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304] as const
