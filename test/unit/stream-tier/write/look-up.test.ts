// What a look-up makes of a plain topic: parts of several records, strangers, holes, a start in the middle of a part.
import { beforeEach, describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../../src/adapters/clock/simulated-clock.ts'
import type { AppendRecord, LogRecord, PartitionFetch } from '../../../../src/ports/event-log.ts'
import { parseProducerId, parseTopicName } from '../../../../src/protocol/ids.ts'
import { type PartResult, partState } from '../../../../src/protocol/messages.ts'
import { encodeRecordHeader } from '../../../../src/protocol/record-header.ts'
import { judgeWrites, type PartitionScan, scanPartition } from '../../../../src/stream-tier/write/look-up.ts'

const topic = parseTopicName('shared')
const producerId = parseProducerId('a'.repeat(32))
const value = Buffer.from('x')

describe('a look-up in a plain topic', () => {
  let records: LogRecord[]
  let end: number
  let start: number

  beforeEach(() => {
    records = []
    end = start = 0
  })

  function put(...added: readonly AppendRecord[]): void {
    for (const record of added) records.push({ ...record, offset: end++, appendTimeMs: 0 })
  }

  function part(n: number, number: number, count: number): AppendRecord[] {
    return Array.from({ length: count }, (_, index) => ({
      key: null,
      value,
      header: encodeRecordHeader({
        kind: 'data',
        ...{ producerId, n, part: number, parts: 2, index },
        writeHash: new Uint8Array(8),
      }),
      headers: [],
    }))
  }

  async function scan(from: number): Promise<PartitionScan> {
    const log = {
      fetch: async ([at]: readonly { offset: number }[]): Promise<PartitionFetch[]> => {
        const offset = at?.offset ?? 0
        const base = { topic, partition: 0, logStart: start, highWatermark: end }
        if (offset < start) return [{ ...base, error: 'CURSOR_OUT_OF_RANGE', nextOffset: offset, records: [] }]
        // Two at a time, so that parts and holes lie over the borders of fetches.
        const found = records.filter((record) => record.offset >= offset).slice(0, 2)
        const last = found.at(-1)
        return [{ ...base, nextOffset: last === undefined ? end : last.offset + 1, records: found }]
      },
    }
    const range = { topic, partition: 0, from, until: end }
    const result = await scanPartition({ log, clock: new SimulatedClock() }, range, {
      deadlineAtMs: 1_000,
      entriesMax: 9,
    })
    if (result === undefined) throw new Error('too large')
    return result
  }

  async function judge(from: number, ...ns: readonly number[]): Promise<(readonly PartResult[])[]> {
    const writes = ns.map((n) => ({ n, partitions: [0, 0] }))
    const scans = new Map([[0, await scan(from)]])
    return judgeWrites({ producerId, writes, from: [from] }, scans).outcomes.map(({ parts }) => parts)
  }

  const stranger: AppendRecord = { key: null, value, header: null }
  const landed = (number: number, offset: number): PartResult => ({
    ...{ part: number, partition: 0, state: partState.landed, offset },
    perEvent: true,
  })
  const missing = (number: number): PartResult => ({ part: number, partition: 0, state: partState.missing })

  it('Given parts among strangers and holes, then each is found at its first record, whatever its size', async () => {
    put(stranger, ...part(1, 0, 5))
    end += 3
    put(stranger, ...part(1, 1, 1), ...part(2, 0, 40), stranger)
    end += 2
    expect(await judge(0, 1, 2)).toEqual([
      [landed(0, 1), landed(1, 10)],
      [landed(0, 11), missing(1)],
    ])
  })

  it('Given a start in the middle of a part, then what is left of it proves all of it', async () => {
    put(...part(1, 0, 5), ...part(1, 1, 5))
    expect(await judge(3, 1)).toEqual([[landed(0, 0), landed(1, 5)]])
  })

  it('Given a log whose start has passed the first records of a part, then it has landed', async () => {
    put(...part(1, 0, 5), ...part(1, 1, 5))
    start = 7
    records = records.filter(({ offset }) => offset >= start)
    const [parts] = await judge(0, 1)
    // Part 0 is gone, and a later part proves it; its place is lost, but the whole write landed.
    expect(parts).toEqual([{ part: 0, partition: 0, state: partState.landed }, landed(1, 5)])
  })

  it('Given nothing but strangers, then a write is missing', async () => {
    put(stranger, { ...stranger, header: Buffer.from('theirs') }, stranger)
    end += 4
    expect(await judge(0, 1)).toEqual([[missing(0), missing(1)]])
  })

  it('Given a large part, then it counts once against the bound of a scan', async () => {
    put(...part(1, 0, 500))
    expect((await scan(0)).found.get(producerId)).toHaveLength(1)
  })
})
