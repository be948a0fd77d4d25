// Owns: temporary folders of these tests and a log over one.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { openEmbeddedLog } from '../../../src/adapters/embedded/open.ts'
import { systemRandom } from '../../../src/adapters/random/system-random.ts'
import type { AppendOutcome, EventLog, LogRecord, LogWriter, TopicPartition } from '../../../src/ports/event-log.ts'
import { makeIncarnation, parseTopicName } from '../../../src/protocol/ids.ts'

export const topic = parseTopicName('t')
export const at: TopicPartition = { topic, partition: 0 }

export function tempDir(): { readonly dir: string; readonly remove: () => void } {
  const dir = mkdtempSync(join(tmpdir(), 'trunkline-embedded-'))
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) }
}

export function openReal(dir: string): Promise<EventLog> {
  return openEmbeddedLog({ dir, clock: systemClock, random: systemRandom })
}

let writers = 0

export function openWriter(log: EventLog): Promise<LogWriter> {
  writers += 1
  return log.open(makeIncarnation(`test-${process.pid}`, `w${writers}t${systemClock.nowMs().toString(36)}`))
}

export function put(writer: LogWriter, text: string, size = 0, where = at): Promise<AppendOutcome> {
  const value = new Uint8Array(Math.max(size, text.length))
  value.set(Buffer.from(text))
  return writer.append(where, [{ key: null, value, header: null }])
}

export async function readTexts(log: EventLog, where = at): Promise<string[]> {
  return (await readRecords(log, where)).map((record) => {
    const text = Buffer.from(record.value).toString()
    return text.includes('\0') ? text.slice(0, text.indexOf('\0')) : text
  })
}

export async function readRecords(log: EventLog, where = at): Promise<LogRecord[]> {
  const all: LogRecord[] = []
  let [offset] = await log.offsets([where], 'earliest')
  for (;;) {
    if (offset === undefined) throw new Error('no offset')
    const [fetched] = await log.fetch([{ ...where, offset }], { lane: 'catchup', waitMs: 0, bytesMax: 1 << 20 })
    if (fetched === undefined || fetched.error !== undefined) throw new Error(`cannot read: ${fetched?.error}`)
    if (fetched.records.length === 0) return all
    all.push(...fetched.records)
    offset = fetched.nextOffset
  }
}
