// Owns: from the bytes of one partition's answer to records, and where its reader goes on.
// 1. Control batches are skipped, what transactions of strangers gave up is left out, and the position moves over both.
// 2. Records below the asked offset (a batch is answered whole) are dropped.
import type { BrokerRecord } from '../log-core/log-broker.ts'
import type { AbortedTransaction, FetchedPartition } from './api-fetch.ts'
import { batchesOf } from './record-batch.ts'

export interface FetchedRecords {
  readonly records: readonly BrokerRecord[]
  readonly nextOffset: number
  readonly damagedBatches: number
}

export function recordsOf(fetched: FetchedPartition, fromOffset: number): FetchedRecords {
  const records: BrokerRecord[] = []
  const aborted = new AbortedFilter(fetched.aborted)
  let nextOffset = fromOffset
  let damagedBatches = 0
  for (const batch of batchesOf(fetched.bytes)) {
    aborted.reach(batch.nextOffset - 1)
    if (batch.controlType === 0) aborted.ended(batch.pid)
    nextOffset = Math.max(nextOffset, batch.nextOffset)
    if (batch.damaged) damagedBatches += 1
    if (batch.transactional && aborted.has(batch.pid)) continue
    for (const record of batch.records(fromOffset)) records.push(record)
  }
  return { records, nextOffset, damagedBatches }
}

/** Which producers' transactional batches, from where we are, belong to a transaction that was given up. */
class AbortedFilter {
  readonly #waiting: AbortedTransaction[]
  readonly #open = new Set<number>()

  constructor(aborted: readonly AbortedTransaction[]) {
    // The broker lists them by where they end.
    this.#waiting = [...aborted].sort((a, b) => a.firstOffset - b.firstOffset)
  }

  reach(lastOffset: number): void {
    for (
      let first = this.#waiting[0];
      first !== undefined && first.firstOffset <= lastOffset;
      first = this.#waiting[0]
    ) {
      this.#open.add(first.pid)
      this.#waiting.shift()
    }
  }

  ended(pid: number): void {
    this.#open.delete(pid)
  }

  has(pid: number): boolean {
    return this.#open.has(pid)
  }
}

/** What a record takes of `bytesMax`: about what it takes on the wire. */
export function sizeOf(record: BrokerRecord): number {
  let size = 16 + record.value.length + (record.key?.length ?? 0) + (record.header?.length ?? 0)
  for (const [name, value] of record.headers ?? []) size += 2 + name.length + (value?.length ?? 0)
  return size
}

/** How many of `records` fit: one at least. */
export function fitting(records: readonly BrokerRecord[], bytesMax: number, recordsMax: number): number {
  let bytes = 0
  let count = 0
  for (const record of records) {
    bytes += sizeOf(record)
    if (count > 0 && (bytes > bytesMax || count >= recordsMax)) return count
    count += 1
  }
  return count
}
