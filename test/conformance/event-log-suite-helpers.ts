// Owns: small helpers of the event log suite.
import { expect } from 'vitest'
import type { AppendOutcome, AppendRecord, LogRecord, LogWriter, TopicPartition } from '../../src/ports/event-log.ts'
import { decodeRecordHeader } from '../../src/protocol/record-header.ts'
import type { Bench } from './event-log-suite.ts'

export function record(text: string, size = 0): AppendRecord {
  const value = new Uint8Array(Math.max(size, Buffer.byteLength(text)))
  value.set(Buffer.from(text))
  return { key: null, value, header: null }
}

export function textOf(record: LogRecord): string {
  const text = Buffer.from(record.value).toString()
  const end = text.indexOf('\0')
  return end < 0 ? text : text.slice(0, end)
}

export function isBarrier(record: LogRecord): boolean {
  return record.header !== null && decodeRecordHeader(record.header)?.kind === 'barrier'
}

/** Appends and expects it to land; answers the base offset. */
export async function land(bench: Bench, writer: LogWriter, at: TopicPartition, ...texts: string[]): Promise<number> {
  const outcome = await bench.harness.run(
    writer.append(
      at,
      texts.map((text) => record(text)),
    ),
  )
  return landedAt(outcome)
}

export function landedAt(outcome: AppendOutcome): number {
  expect(outcome.kind).toBe('landed')
  return outcome.kind === 'landed' ? outcome.baseOffset : -1
}

/** Everything kept of a partition. */
export async function readAll(bench: Bench, at: TopicPartition): Promise<readonly LogRecord[]> {
  const { log } = bench.harness
  const [start] = await bench.harness.run(log.offsets([at], 'earliest'))
  const all: LogRecord[] = []
  let offset = start ?? 0
  for (;;) {
    const [fetched] = await bench.harness.run(
      log.fetch([{ ...at, offset }], { lane: 'catchup', waitMs: 0, bytesMax: 1024 * 1024 }),
    )
    expect(fetched?.error).toBeUndefined()
    if (fetched === undefined || fetched.nextOffset === offset) return all
    all.push(...fetched.records)
    offset = fetched.nextOffset
  }
}

export async function texts(bench: Bench, at: TopicPartition): Promise<readonly string[]> {
  return (await readAll(bench, at)).filter((one) => !isBarrier(one)).map(textOf)
}
