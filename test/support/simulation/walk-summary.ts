// Owns: what many walks did together, as numbers and as a few lines for a person.
import type { WalkResult } from './walk.ts'

export interface WalkSummary {
  readonly seeds: number
  readonly simulatedMs: number
  readonly ackedEvents: number
  readonly counts: Readonly<Record<string, number>>
  /** By kind. */
  readonly faults: Readonly<Record<string, number>>
}

const faultPrefix = 'fault '

export function summaryOf(results: readonly WalkResult[]): WalkSummary {
  const counts: Record<string, number> = {}
  for (const result of results) {
    for (const [name, count] of Object.entries(result.counts)) counts[name] = (counts[name] ?? 0) + count
  }
  const faults = Object.entries(counts)
    .filter(([name]) => name.startsWith(faultPrefix))
    .map(([name, count]) => [name.slice(faultPrefix.length), count] as const)
  return {
    seeds: results.length,
    simulatedMs: results.reduce((sum, { simulatedMs }) => sum + simulatedMs, 0),
    ackedEvents: results.reduce((sum, { ackedEvents }) => sum + ackedEvents, 0),
    counts,
    faults: Object.fromEntries(faults),
  }
}

export function formatSummary(summary: WalkSummary, realMs: number): string {
  const { seeds, simulatedMs, ackedEvents, counts, faults } = summary
  const list = (names: readonly string[]): string =>
    [...names]
      .sort()
      .map((name) => `${name} ${counts[name]}`)
      .join(', ')
  const withPrefix = (...prefixes: readonly string[]): string[] =>
    Object.keys(counts).filter((name) => prefixes.some((prefix) => name.startsWith(prefix)))
  return [
    `random walk: ${seeds} seeds, ${(simulatedMs / 3_600_000).toFixed(2)} simulated hours in ${(realMs / 1_000).toFixed(0)} s (${(simulatedMs / realMs).toFixed(0)} simulated s per s), ${ackedEvents} acked events`,
    `  faults: ${Object.entries(faults)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, count]) => `${name} ${count}`)
      .join(', ')}`,
    `  link: ${list(withPrefix('link '))}`,
    `  brokers: ${list(withPrefix('appends ', 'coordinator ', 'batches '))}`,
    `  take-overs: ${list(withPrefix('take-overs '))}; nodes: ${list(withPrefix('node ends'))}`,
    `  clients: ${list(withPrefix('acked ', 'delivered', 'readers', 'sessions', 'publishes', 'stagings'))}`,
  ].join('\n')
}
