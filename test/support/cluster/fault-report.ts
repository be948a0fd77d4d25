// Owns: what is said and asked of every fault: who was hit and how fast they were well again, that nobody else noticed.
import { availableParallelism, loadavg } from 'node:os'
import { expect } from 'vitest'
import { type ClientWatch, describeTimes, nodeIdOf } from './client-watch.ts'
import type { ClusterLoad } from './cluster-load.ts'

/**
 * Generous: what is wanted (reads 1 s, publishes 2 s) is printed, and not asserted on a machine that is shared. That a process
 * stands still is known after three heartbeats, 15 s.
 */
const recoveryMsMax = 30_000
/** The slowest is shown in detail above it. */
const goalMs = 2_000
/** Of the design: so much must succeed while a fault lasts, where service should go on. */
const operationsMin = 100

/** On a machine that others use as well, times say little: as often longer as there are more than four to a core. */
function crowding(): number {
  return Math.max(1, (loadavg()[0] ?? 0) / availableParallelism() / 4)
}

export interface FaultOutcome {
  readonly what: string
  readonly hit: readonly ClientWatch[]
  /** Until every partition had another leader; publishes are wanted at most a second later. */
  readonly electionMs?: number
}

/** Waits until all who had a session at that node are well again, and looks at the others. */
export async function nodeFault(load: ClusterLoad, what: string, nodeId: string): Promise<FaultOutcome> {
  const isHit = ({ holderBefore }: ClientWatch): boolean => nodeIdOf(holderBefore) === nodeId
  const hit = load.watches.filter((watch) => isHit(watch) && !watch.resting)
  await load.until(
    `${what}: those with a session there are well again`,
    () => hit.every(({ recoveredMs }) => recoveredMs !== undefined),
    4 * recoveryMsMax * crowding(),
  )
  expectUndisturbed(load, what, (watch) => !isHit(watch))
  return { what, hit }
}

/** None of them had to take another session. */
export function expectUndisturbed(load: ClusterLoad, what: string, among: (watch: ClientWatch) => boolean): void {
  const disturbed = load.watches.filter((watch) => among(watch) && !watch.restless && watch.moves > 0)
  expect(
    disturbed.map(({ name, errors }) => `${name} ${JSON.stringify([...errors])}`),
    `${what}: sessions that had to move although nothing happened to them`,
  ).toEqual([])
}

/** Prints the outcome. Asserts that service went on meanwhile. */
export function reportFault(load: ClusterLoad, { what, hit, electionMs }: FaultOutcome): void {
  const { acked, batches } = load.sinceFault
  const timesOf = (kind: ClientWatch['kind']): number[] =>
    hit.flatMap((watch) => (watch.kind === kind && watch.recoveredMs !== undefined ? [watch.recoveredMs] : []))
  const election = electionMs === undefined ? '' : `election ${Math.round(electionMs)} ms, `
  const slowest = hit.toSorted((a, b) => (b.recoveredMs ?? 0) - (a.recoveredMs ?? 0))[0]
  const statuses = load.callers.map(({ statuses }) => JSON.stringify(Object.fromEntries(statuses))).join(' ')
  process.stdout.write(
    `${what}: ${acked} events acked, ${batches} batches read meanwhile; first good answer after p50/max: ` +
      `reads ${describeTimes(timesOf('read'))}, publishes ${describeTimes(timesOf('write'))}; ` +
      `${election}longest publish ${Math.round(load.longestWaitMs)} ms; JSON ${statuses}; load ${loadavg()[0]?.toFixed(1)}\n`,
  )
  if (slowest?.recoveredMs !== undefined && slowest.recoveredMs > goalMs)
    process.stdout.write(`  ${slowest.name}: ${slowest.timeline.slice(0, 20).join(', ')}\n`)
  expect(acked + batches, `${what}: operations that succeeded meanwhile`).toBeGreaterThanOrEqual(operationsMin)
  for (const { name, recoveredMs, timeline } of hit)
    expect(recoveredMs, `${what}: ${name}: ${timeline.join(', ')}`).toBeLessThan(recoveryMsMax * crowding())
}

/** Answered at all: 2xx, or a typed 503 that says when to come again. */
export function expectTypedAnswers(load: ClusterLoad, allowed: readonly string[]): void {
  const others = load.callers.flatMap(({ statuses }) => [...statuses.keys()].filter((one) => !allowed.includes(one)))
  expect(others, 'answers to callers of the JSON API').toEqual([])
}
