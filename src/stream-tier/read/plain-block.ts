// Owns: a record that is one event as a block of one event, for readers who know blocks only.
// 1. Positions stay those of the log: partition:offset:0. Records are not joined: who reads on from a place inside a join
//    would have to find the very same join again.
// 2. What does not keep the protocol's limits is damage of that one place, which readers can go on behind.
// Leaves out: the mapping itself (src/protocol/plain-record.ts), which records are plain (opened-blocks.ts).
import type { LogRecord } from '../../ports/event-log.ts'
import { isErrorNamed } from '../../protocol/errors.ts'
import { packEvents } from '../../protocol/event-packing.ts'
import { encoding, packing } from '../../protocol/messages.ts'
import { eventOfPlain, eventOfStranger } from '../../protocol/plain-record.ts'
import { recordHeaderName } from '../../protocol/record-header.ts'
import type { Opened } from './opened.ts'

/** @param strangerTopic set when somebody else wrote the record: what does not name itself is named after this topic. */
export function plainBlock(partition: number, record: LogRecord, strangerTopic?: string): Opened {
  const { offset, appendTimeMs } = record
  try {
    const event =
      strangerTopic === undefined
        ? eventOfPlain(record)
        : eventOfStranger(withEveryHeader(record), { topic: strangerTopic, partition, offset })
    // Packed anew: nothing of the fetch's own buffer is kept.
    const data = packEvents([event])
    const what = { packing: packing.v1, count: 1, encoding: encoding.none, rawSize: data.length, data }
    return { kind: 'block', block: { partition, ...what, offset, appendTimeMs } }
  } catch (error) {
    if (isErrorNamed(error, 'EVENT_TOO_LARGE', 'HEADERS_TOO_LARGE', 'BAD_EVENT'))
      return { kind: 'damaged', error: 'BLOCK_DAMAGED', why: error.name }
    throw error
  }
}

/** A stranger's header that only has the name of ours is one like all others. */
function withEveryHeader(record: LogRecord): LogRecord {
  if (record.header === null) return record
  return { ...record, headers: [...(record.headers ?? []), [recordHeaderName, record.header]] }
}
