// Owns: scans below barriers, shared by all sessions and producers of a dead incarnation (design.md §3 rule 4).
// 1. Below a barrier nothing changes any more: what a scan found stays true, and is kept (bounded).
// 2. One scan of a partition runs at a time; who asks meanwhile for an earlier start widens the next one.
// 3. When a range holds too many records to keep, each producer scans for itself.
import type { Incarnation, ProducerId, TopicId } from '../../protocol/ids.ts'
import { type FoundPart, type LookUpDeps, type PartitionScan, type ScanRange, scanPartition } from './look-up.ts'

interface Scan {
  readonly until: number
  /** Lowest start asked for and done; `until` before the first. */
  from: number
  low: number
  found: ReadonlyMap<ProducerId, readonly FoundPart[]>
  entries: number
  /** Lowest start that somebody waits for. */
  wantedFrom: number
  running: Promise<void> | undefined
  tooLarge: boolean
}

export interface ScanAsk {
  readonly incarnation: Incarnation
  readonly topicId: TopicId
  readonly range: ScanRange
  readonly producerId: ProducerId
  readonly deadlineAtMs: number
}

const entriesPerScanMax = 100_000
const entriesMax = 500_000
const scansMax = 4_096

export class SharedScans {
  readonly #deps: LookUpDeps
  readonly #scans = new Map<string, Scan>()
  #entries = 0

  constructor(deps: LookUpDeps) {
    this.#deps = deps
  }

  /** Errors: those of scanPartition. */
  async scan(ask: ScanAsk): Promise<PartitionScan> {
    const { range } = ask
    const key = `${ask.incarnation} ${ask.topicId} ${range.partition} ${range.until}`
    const scan = this.#scans.get(key) ?? this.#add(key, range.until)
    while (!scan.tooLarge && scan.from > range.from) {
      scan.wantedFrom = Math.min(scan.wantedFrom, range.from)
      scan.running ??= this.#run(key, scan, ask).finally(() => {
        scan.running = undefined
      })
      await scan.running
    }
    if (!scan.tooLarge) return { low: scan.low, until: scan.until, found: scan.found }
    const own = await scanPartition(this.#deps, range, {
      producers: new Set([ask.producerId]),
      deadlineAtMs: ask.deadlineAtMs,
    })
    if (own === undefined) throw new Error('a scan without a bound is never too large')
    return own
  }

  async #run(key: string, scan: Scan, ask: ScanAsk): Promise<void> {
    const range = { ...ask.range, from: scan.wantedFrom, until: scan.from }
    const result = await scanPartition(this.#deps, range, {
      entriesMax: entriesPerScanMax - scan.entries,
      deadlineAtMs: ask.deadlineAtMs,
    })
    if (result === undefined) {
      scan.tooLarge = true
      scan.found = new Map()
      this.#entries -= scan.entries
      scan.entries = 0
      return
    }
    // Nothing of the new range is left: what had been read before stays the start.
    if (result.low < range.until) scan.low = result.low
    scan.from = range.from
    const added = join(result.found, scan)
    scan.entries += added
    // Dropped meanwhile by the bound: nothing to count.
    if (this.#scans.get(key) === scan) this.#entries += added
    this.#shrink(key)
  }

  #add(key: string, until: number): Scan {
    const scan: Scan = {
      until,
      from: until,
      low: until,
      found: new Map(),
      entries: 0,
      wantedFrom: until,
      running: undefined,
      tooLarge: false,
    }
    this.#scans.set(key, scan)
    return scan
  }

  #shrink(keepKey: string): void {
    for (const [key, { entries, running }] of this.#scans) {
      if (this.#scans.size <= scansMax && this.#entries <= entriesMax) return
      if (key === keepKey || running !== undefined) continue
      this.#scans.delete(key)
      this.#entries -= entries
    }
  }
}

/** Puts what was found before in front of what is known; returns how many. */
function join(earlier: ReadonlyMap<ProducerId, readonly FoundPart[]>, scan: Scan): number {
  let added = 0
  const found = new Map(scan.found)
  for (const [producerId, parts] of earlier) {
    found.set(producerId, [...parts, ...(found.get(producerId) ?? [])])
    added += parts.length
  }
  scan.found = found
  return added
}
