// Owns: the parts of a write to a `plain` topic: every event one record, all records of a part one batch.
// 1. A part is unpacked and mapped while it is staged: what can be refused is refused there (design.md §3 rule 1).
// 2. A part fits into one batch, and a write into twice the window: unpacked bytes are bounded before they are kept.
// 3. Records differ from what was staged in our header only, which names the event's place in its part.
// Leaves out: the mapping of one event (src/protocol/plain-record.ts).
import type { AppendRecord } from '../../ports/event-log.ts'
import { readBlock } from '../../protocol/block.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import type { ProducerId } from '../../protocol/ids.ts'
import { sealedBlockBytesMax } from '../../protocol/limits.ts'
import type { Block } from '../../protocol/messages.ts'
import { type PlainRecord, plainRecordOf, plainRecordSize } from '../../protocol/plain-record.ts'
import { encodeRecordHeader, recordHeaderAt } from '../../protocol/record-header.ts'

export interface PlainPart {
  readonly records: readonly PlainRecord[]
  /** In a batch, at most. */
  readonly bytes: number
}

/** Brokers take batches of 1 MiB by default: as much as one sealed block. */
const partBytesMax = sealedBlockBytesMax

/** The block has been checked (checkBlock). Errors: BAD_BLOCK, BAD_EVENT, BLOCK_TOO_LARGE. */
export function plainPartOf(block: Block): PlainPart {
  if (block.rawSize > partBytesMax) throw tooLarge(block.rawSize)
  const records = readBlock(block).map(plainRecordOf)
  let bytes = 0
  for (const record of records) bytes += plainRecordSize(record)
  if (bytes > partBytesMax) throw tooLarge(bytes)
  return { records, bytes }
}

/** Part `part` of `parts` of write n as the log takes it. */
export function plainAppend(
  { records }: PlainPart,
  at: {
    readonly producerId: ProducerId
    readonly n: number
    readonly part: number
    readonly parts: number
    readonly writeHash: Uint8Array
  },
): readonly AppendRecord[] {
  const header = encodeRecordHeader({ kind: 'data', ...at, index: 0 })
  return records.map((record, index) => ({ ...record, header: recordHeaderAt(header, index) }))
}

function tooLarge(bytes: number): TrunklineError {
  return new TrunklineError('BLOCK_TOO_LARGE', { details: { bytes: String(bytes), bytesMax: String(partBytesMax) } })
}
