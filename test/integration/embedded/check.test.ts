// Owns: looking at folders: sound ones, flipped bits, rows that do not fit, damaged pages that crash the reader.
import { copyFileSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { open as openLmdb, type RootDatabase } from 'lmdb'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { checkDataDir } from '../../../src/adapters/embedded/check.ts'
import { partitionKey, recordKey } from '../../../src/adapters/embedded/layout.ts'
import { pauseEvery, walkDataDir } from '../../../src/adapters/embedded/walk.ts'
import { parseTopicName } from '../../../src/protocol/ids.ts'
import { encodeRecordHeader } from '../../../src/protocol/record-header.ts'
import { at, openReal, openWriter, put, readRecords, tempDir, topic } from './temp-dir.ts'

const binary = { encoding: 'binary', keyEncoding: 'binary' } as const

describe('a look at a data folder', () => {
  let dir: string
  let remove: () => void

  beforeEach(async () => {
    const temp = tempDir()
    dir = temp.dir
    remove = temp.remove
    const log = await openReal(dir)
    await log.createTopic({ name: topic, partitions: 2, format: 'sealed', retentionMs: 3_600_000 })
    const writer = await openWriter(log)
    for (let n = 0; n < 20; n++) await put(writer, `event ${n}`, 3_000)
    await log.fence(writer, [at])
    await log.close()
  })
  afterEach(() => remove())

  /** Changes rows behind the log's back. */
  async function tamper(change: (root: RootDatabase<Buffer, Buffer>) => Promise<unknown>): Promise<void> {
    const root = openLmdb<Buffer, Buffer>({ path: dir, noSubdir: false, ...binary, maxDbs: 16, overlappingSync: false })
    await change(root)
    await root.close()
  }

  it('Given a sound folder, then nothing is found, and it is counted', async () => {
    const report = await walkDataDir(dir)
    expect(report).toMatchObject({ topics: 1, records: 21, findings: [], findingCount: 0 })
    expect(report.bytes).toBeGreaterThan(20 * 3_000)
  })

  it('Given a live log on the folder, then it can be looked at all the same', async () => {
    const log = await openReal(dir)
    expect(await checkDataDir(dir, { clock: systemClock })).toMatchObject({ records: 21, findingCount: 0 })
    expect(await readRecords(log)).toHaveLength(21)
    await log.close()
  })

  it('Given a missing record, then its place is named', async () => {
    await tamper((root) => root.openDB<Buffer, Buffer>('records', binary).remove(recordKey(1, 0, 7)))
    const report = await walkDataDir(dir)
    expect(report.findings).toContainEqual({ where: 't/0@7', what: '1 records are missing' })
  })

  it('Given a lost tail, a stray record, damaged rows, then each is named', async () => {
    await tamper(async (root) => {
      const records = root.openDB<Buffer, Buffer>('records', binary)
      await records.remove(recordKey(1, 0, 20))
      const some = records.getBinary(recordKey(1, 0, 3))
      if (some === undefined) throw new Error('no record')
      await records.put(recordKey(1, 9, 0), some)
      await records.put(recordKey(9, 0, 0), some)
      await records.put(recordKey(1, 0, 5), some.subarray(0, 10))
      await root.openDB<Buffer, Buffer>('partitions', binary).put(partitionKey(1, 1), Buffer.from('short'))
      await root.openDB<Buffer, Buffer>('identities', binary).put(Buffer.from('x.y'), Buffer.from('abc'))
      await root.openDB<Buffer, Buffer>('topics', binary).put(Buffer.from('u'), Buffer.from('{"name":"u"}'))
      await root.openDB<Buffer, Buffer>('topics', binary).put(Buffer.from('v'), Buffer.from('{{'))
    })
    const { findings } = await walkDataDir(dir)
    expect(findings.map((finding) => finding.where)).toEqual(
      expect.arrayContaining([
        't/0@20',
        't/0@5',
        'topic number 1',
        'topic number 9',
        't/1',
        'identities',
        'u',
        'topics',
      ]),
    )
  })

  it('Given a verifier, then it is asked about every record but the barriers, in the child too', async () => {
    const asked: string[] = []
    const report = await walkDataDir(dir, {
      verifyRecord: (place, record) => {
        asked.push(`${place.topic}/${place.partition}@${record.offset}`)
        return record.offset === 4 ? 'its seal is broken' : undefined
      },
    })
    expect(asked).toHaveLength(20)
    expect(report.findings).toEqual([{ where: 't/0@4', what: 'its seal is broken' }])

    const verifier = join(dir, 'verifier.mjs')
    writeFileSync(verifier, 'export const verifyRecord = (place, record) => record.offset === 2 ? "wrong" : undefined')
    const inChild = await checkDataDir(dir, { clock: systemClock, verifierModule: new URL(`file://${verifier}`) })
    expect(inChild.findings).toEqual([{ where: 't/0@2', what: 'wrong' }])
  })

  describe('that lets others run', () => {
    /** So many that it pauses twice at least. */
    const many = 2 * pauseEvery + 1

    beforeEach(async () => {
      const log = await openReal(dir)
      const writer = await openWriter(log)
      const records = Array.from({ length: many }, () => ({ key: null, value: new Uint8Array(1), header: null }))
      await writer.append(at, records)
      await log.close()
    })

    it('Given records and topics come meanwhile, then it sees the folder as it was', async () => {
      const before = await walkDataDir(dir)
      const log = await openReal(dir)
      const writer = await openWriter(log)
      let pauses = 0
      const report = await walkDataDir(dir, {
        pause: async () => {
          pauses += 1
          await put(writer, `meanwhile ${pauses}`, 3_000)
          const other = parseTopicName(`other-${pauses}`)
          await log.createTopic({ name: other, partitions: 1, format: 'sealed', retentionMs: 3_600_000 })
          await put(writer, 'its first', 10, { topic: other, partition: 0 })
          return true
        },
      })
      await log.close()
      expect(pauses).toBeGreaterThanOrEqual(2)
      expect(report).toEqual(before)
      expect((await walkDataDir(dir)).records).toBe(before.records + 2 * pauses)
    })

    it('Given it is asked to end, then it ends there, and what it did not see is no finding', async () => {
      let pauses = 0
      const report = await walkDataDir(dir, { pause: async () => ++pauses < 2 })
      expect([pauses, report.records, report.findings]).toEqual([2, 2 * pauseEvery, []])
    })
  })

  it('Given a header that is none, then it is named', async () => {
    const log = await openReal(dir)
    const writer = await openWriter(log)
    const header = new Uint8Array(38)
    await writer.append(at, [{ key: null, value: new Uint8Array(1), header }])
    await writer.append(at, [{ key: null, value: new Uint8Array(1), header: encodeRecordHeader({ kind: 'barrier' }) }])
    await log.close()
    const { findings } = await walkDataDir(dir)
    expect(findings).toEqual([
      { where: 't/0@21', what: 'its header is damaged' },
      { where: 't/0@22', what: 'it is a barrier with content' },
    ])
  })

  it('Given an empty folder, none at all, or a file that is no log, then it says so', async () => {
    const other = join(dir, 'other')
    expect((await walkDataDir(other)).findings[0]?.what).toMatch('holds no log')
    mkdirSync(other)
    expect((await checkDataDir(other, { clock: systemClock })).findings[0]?.what).toMatch('holds no log')
    writeFileSync(join(other, 'data.mdb'), Buffer.alloc(9_000, 1))
    expect((await walkDataDir(other)).findings[0]?.what).toMatch('is no log')
  })

  it('Given bytes changed all over the file, then the check always answers, and finds what matters', async () => {
    const sound = readFileSync(join(dir, 'data.mdb'))
    const other = join(dir, 'copy')
    mkdirSync(other)
    let found = 0
    const tries = 8
    for (let n = 0; n < tries; n++) {
      const bytes = Buffer.from(sound)
      // Whole pages of noise behind the two first: B-tree pages among them.
      for (let page = 2 + n; page < bytes.length / 4096; page += tries)
        bytes.fill(0xa5 ^ n, page * 4096, page * 4096 + 4096)
      copyFileSync(join(dir, 'data.mdb'), join(other, 'data.mdb'))
      writeFileSync(join(other, 'data.mdb'), bytes)
      const report = await checkDataDir(other, { clock: systemClock, stuckMs: 20_000 })
      if (report.findingCount > 0) found += 1
    }
    expect(found).toBe(tries)
  }, 300_000)

  it('Given a file cut off in the middle, then the crash of the reader is a finding', async () => {
    truncateSync(join(dir, 'data.mdb'), 3 * 4096)
    const report = await checkDataDir(dir, { clock: systemClock, stuckMs: 20_000 })
    expect(report.findingCount).toBeGreaterThan(0)
  })
})
