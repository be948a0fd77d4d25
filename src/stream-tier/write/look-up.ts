// Owns: finding out what of some writes has landed (design.md §3 rule 4).
// 1. Partitions are read from the write cursor up to a bound behind which nothing of the producer can be: an (n, part)
//    that is there has landed, one that is not never will.
// 2. Where the log's start has passed the scan's start, a part that is not found is unknown, unless a later one of the
//    producer is found in that partition: what landed of a producer in a partition is a prefix (rule 1).
// 3. Only headers are read; nothing is opened.
// 4. Where every event is a record of its own (the header has an index), any record of a part proves all of it: a part
//    lands as one batch. Records of others and holes between offsets mean nothing.
// Leaves out: why the bound holds (take-over.ts), sharing of scans (shared-scan.ts).
import { type Clock, sleep } from '../../ports/clock.ts'
import type { EventLog, LogRecord } from '../../ports/event-log.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import type { ProducerId, TopicName } from '../../protocol/ids.ts'
import { type PartResult, partState, type UnansweredWrite, type WriteOutcome } from '../../protocol/messages.ts'
import { decodeRecordHeader } from '../../protocol/record-header.ts'

export interface ScanRange {
  readonly topic: TopicName
  readonly partition: number
  readonly from: number
  /** One past the last offset to read. Everything below it becomes visible, if it is not yet (the high watermark may lag). */
  readonly until: number
}

export interface FoundPart {
  readonly n: number
  readonly part: number
  /** Of its first record. */
  readonly offset: number
  readonly writeHash: Uint8Array
  /** Every event is a record of its own. */
  readonly perEvent: boolean
}

export interface PartitionScan {
  /** The first offset that was really there to be read: above `from` when the log's start has passed it. */
  readonly low: number
  readonly until: number
  readonly found: ReadonlyMap<ProducerId, readonly FoundPart[]>
}

export interface ScanOptions {
  /** Whose records are kept; undefined keeps all. */
  readonly producers?: ReadonlySet<ProducerId> | undefined
  /** Found parts kept in memory; above it the scan answers undefined. Default: no bound, for a few producers. */
  readonly entriesMax?: number
  /** Monotonic. Errors then: PENDING. */
  readonly deadlineAtMs: number
}

export interface LookUpDeps {
  readonly log: Pick<EventLog, 'fetch'>
  readonly clock: Clock
}

const fetchBytesMax = 1024 * 1024
/** While the high watermark lags behind the bound. */
const lagPauseMs = 20

/** Errors: PENDING (deadline), UNAVAILABLE, UNKNOWN_TOPIC, UNKNOWN_PARTITION. */
export async function scanPartition(
  deps: LookUpDeps,
  range: ScanRange,
  options: ScanOptions,
): Promise<PartitionScan | undefined> {
  const { log, clock } = deps
  const { topic, partition, from, until } = range
  const found = new Map<ProducerId, FoundPart[]>()
  let low = from
  let offset = from
  let entries = 0
  while (offset < until) {
    const [answer] = await log.fetch([{ topic, partition, offset }], {
      lane: 'lookup',
      waitMs: 0,
      bytesMax: fetchBytesMax,
    })
    if (answer === undefined) throw new Error('a fetch answers every position')
    if (answer.error === 'CURSOR_OUT_OF_RANGE' && answer.logStart > offset) {
      // Invariant 2: what was between is gone, and with it what it could have told.
      low = offset = answer.logStart
      continue
    }
    if (answer.error !== undefined && answer.error !== 'CURSOR_OUT_OF_RANGE') throw new TrunklineError(answer.error)
    for (const record of answer.records) {
      if (record.offset >= until) break
      entries += note(found, record, options.producers)
    }
    if (options.entriesMax !== undefined && entries > options.entriesMax) return undefined
    if (answer.nextOffset > offset) {
      offset = answer.nextOffset
      continue
    }
    if (clock.monotonicMs() >= options.deadlineAtMs) throw new TrunklineError('PENDING')
    await sleep(clock, lagPauseMs)
  }
  return { low, until, found }
}

export interface Asked {
  readonly producerId: ProducerId
  readonly writes: readonly UnansweredWrite[]
  /** By partition: the write cursor. */
  readonly from: readonly number[]
}

/** What the scans say of one producer's writes. `scans` has every partition of the writes. */
export function judgeWrites(
  asked: Asked,
  scans: ReadonlyMap<number, PartitionScan>,
): { outcomes: WriteOutcome[]; hashes: Map<number, Uint8Array> } {
  const hashes = new Map<number, Uint8Array>()
  const outcomes = asked.writes.map(({ n, partitions }): WriteOutcome => {
    const parts = partitions.map((partition, part): PartResult => {
      const scan = scans.get(partition)
      if (scan === undefined) throw new Error('a partition was not scanned')
      const found = scan.found.get(asked.producerId) ?? []
      const landed = found.find((other) => other.n === n && other.part === part)
      if (landed !== undefined) {
        hashes.set(n, landed.writeHash)
        const { offset, perEvent } = landed
        return { part, partition, state: partState.landed, offset, ...(perEvent ? { perEvent } : {}) }
      }
      return { part, partition, state: stateOfAbsent(n, part, found, (asked.from[partition] ?? 0) >= scan.low) }
    })
    return { n, parts: withoutLostPlaces(parts) }
  })
  return { outcomes, hashes }
}

/**
 * A part that landed and is gone has no offset any more. That is fine when the whole write landed; a write that must be
 * sent again needs to know every part that is there, so the application decides about it.
 */
function withoutLostPlaces(parts: PartResult[]): PartResult[] {
  if (parts.every(({ state }) => state === partState.landed)) return parts
  return parts.map((part) =>
    part.state === partState.landed && part.offset === undefined ? { ...part, state: partState.unknown } : part,
  )
}

function stateOfAbsent(n: number, part: number, found: readonly FoundPart[], complete: boolean): PartResult['state'] {
  const laterLanded = found.some((other) => other.n > n || (other.n === n && other.part > part))
  if (complete) {
    // Rule 4: what is not there never will be. A later one without this one breaks the prefix: then nobody knows.
    return laterLanded ? partState.unknown : partState.missing
  }
  return laterLanded ? partState.landed : partState.unknown // rule 4: unknown unless a later one of the producer is there
}

function note(
  found: Map<ProducerId, FoundPart[]>,
  record: LogRecord,
  producers: ReadonlySet<ProducerId> | undefined,
): number {
  const header = record.header === null ? undefined : decodeRecordHeader(record.header)
  if (header?.kind !== 'data' || producers?.has(header.producerId) === false) return 0
  const { producerId, n, part, writeHash, index } = header
  const known = found.get(producerId)
  const last = known?.at(-1)
  if (index !== undefined && last?.n === n && last.part === part) return 0
  // Invariant 4: its first record may be gone, or lie before the scan's start.
  const entry = { n, part, offset: record.offset - (index ?? 0), writeHash, perEvent: index !== undefined }
  if (known === undefined) found.set(producerId, [entry])
  else known.push(entry)
  return 1
}
