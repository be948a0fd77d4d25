// Owns: looking at every row of a folder and saying what cannot have been written by this code.
// 1. Nothing is changed. A live process may use the folder meanwhile: one read transaction sees one state, also when the
//    walk lets others run (`pause`).
// 2. What is wrong is told by name and number (topic, partition, offset), never with content.
// Leaves out: LMDB's own pages, which have no checksums: reading a damaged one may end the process (check.ts).
import { existsSync } from 'node:fs'
import type { TopicId, TopicName } from '../../protocol/ids.ts'
import { decodeRecordHeader } from '../../protocol/record-header.ts'
import type { BrokerRecord } from '../log-core/log-broker.ts'
import { type DataFileState, dataFileName, dataFileState } from './data-file.ts'
import {
  decodeIdentity,
  decodePartition,
  decodeProducer,
  decodeRecord,
  decodeRecordHead,
  emptyPartition,
  formatVersion,
  metaKeys,
  type PartitionRow,
  partitionKey,
  recordKey,
  splitKey,
  type TopicRow,
  topicKey,
} from './layout.ts'
import { parseTopicRow } from './partitions.ts'
import { type ReadTransaction, Store, type Tables } from './store.ts'

export interface Finding {
  /** For example `quakes/3@1207`, or the table. */
  readonly where: string
  readonly what: string
}

export interface FolderReport {
  readonly topics: number
  readonly records: number
  readonly bytes: number
  /** The first `findingsMax`. */
  readonly findings: readonly Finding[]
  readonly findingCount: number
}

export interface RecordPlace {
  readonly topic: TopicName
  readonly topicId: TopicId
  readonly partition: number
}

/** Looks into a record (a sealed block's frame) and says what is wrong with it, or undefined. */
export type VerifyRecord = (place: RecordPlace, record: BrokerRecord) => string | undefined

export interface WalkOptions {
  readonly verifyRecord?: VerifyRecord
  /** Called before each table and partition is read: where a crash happened. */
  readonly onProgress?: (where: string) => void
  /** Awaited behind every `pauseEvery` records. False ends the walk there; what it throws is a finding. */
  readonly pause?: () => Promise<boolean>
}

export const findingsMax = 100
export const pauseEvery = 2_000

const unsound: Readonly<Record<Exclude<DataFileState, 'sound'>, string>> = {
  missing: `it holds no log (${dataFileName} is missing or empty)`,
  'no-permission': 'its files may not be read and locked by this user',
  'not-a-log': `${dataFileName} is no log, or its first pages are damaged`,
}

/** Reads a folder's log from end to end. */
export async function walkDataDir(dir: string, options: WalkOptions = {}): Promise<FolderReport> {
  const walk = new Walk(options)
  const state = existsSync(dir) ? dataFileState(dir, 'read') : 'missing'
  if (state !== 'sound') {
    walk.found('folder', unsound[state])
    return walk.report()
  }
  let store: Store | undefined
  try {
    walk.enter('folder')
    store = new Store(dir, { readOnly: true })
    await walk.store(store)
  } catch (error) {
    walk.found(walk.where, `cannot be read: ${reasonOf(error)}`)
  }
  await store?.close()
  return walk.report()
}

/** The tables as one transaction sees them. */
interface State {
  readonly tables: Tables
  readonly transaction: ReadTransaction
}

class Walk {
  readonly #options: WalkOptions
  readonly #findings: Finding[] = []
  #findingCount = 0
  #topics = 0
  #records = 0
  #bytes = 0
  #isOver = false
  where = 'folder'

  constructor(options: WalkOptions) {
    this.#options = options
  }

  report(): FolderReport {
    return {
      topics: this.#topics,
      records: this.#records,
      bytes: this.#bytes,
      findings: this.#findings,
      findingCount: this.#findingCount,
    }
  }

  found(where: string, what: string): void {
    this.#findingCount += 1
    if (this.#findings.length < findingsMax) this.#findings.push({ where, what })
  }

  enter(where: string): void {
    this.where = where
    this.#options.onProgress?.(where)
  }

  async store({ tables }: Store): Promise<void> {
    const transaction = tables.meta.useReadTransaction()
    try {
      await this.#tables({ tables, transaction })
    } finally {
      transaction.done()
    }
  }

  async #tables(state: State): Promise<void> {
    const { tables } = state
    this.enter('meta')
    const format = tables.meta.get(metaKeys.format, state)?.toString()
    if (format !== String(formatVersion)) {
      const newer = Number(format) > formatVersion ? 'a newer' : 'no known'
      this.found('meta', `it is of ${newer} format (${format ?? 'none'}; this version knows ${formatVersion})`)
      return
    }
    if (tables.meta.get(metaKeys.clusterId, state) === undefined) this.found('meta', 'the cluster id is missing')
    const known = this.#topicRows(state, this.#counter(state, metaKeys.nextTopic))
    for (const topic of known.values()) await this.#topic(state, topic)
    if (this.#isOver) return
    this.#strays(state, known)
    this.#identities(state, this.#counter(state, metaKeys.nextPid))
    this.#producers(state, known)
  }

  #counter(state: State, key: Buffer): number {
    const bytes = state.tables.meta.get(key, state)
    const next = bytes === undefined ? 1 : Number(bytes.toString())
    if (!Number.isSafeInteger(next) || next < 1) {
      this.found('meta', `${key.toString()} is no number`)
      return Number.POSITIVE_INFINITY
    }
    return next
  }

  #topicRows({ tables, transaction }: State, nextTopic: number): ReadonlyMap<number, TopicRow> {
    this.enter('topics')
    const rows = new Map<number, TopicRow>()
    for (const { key, value } of tables.topics.getRange({ transaction })) {
      const name = key.toString()
      try {
        const row = parseTopicRow(value)
        const sound =
          row.name === name &&
          Number.isInteger(row.number) &&
          row.number >= 1 &&
          row.number < nextTopic &&
          Number.isInteger(row.partitions) &&
          row.partitions >= 1 &&
          /^[0-9a-f]{32}$/.test(row.topicId)
        if (!sound) this.found(name, 'its settings are damaged')
        else if (rows.has(row.number)) this.found(name, 'it has the number of another topic')
        else rows.set(row.number, row)
      } catch {
        this.found('topics', 'a row is damaged')
      }
    }
    this.#topics = rows.size
    return rows
  }

  async #topic(state: State, topic: TopicRow): Promise<void> {
    for (let partition = 0; partition < topic.partitions && !this.#isOver; partition++) {
      const where = `${topic.name}/${partition}`
      this.enter(where)
      try {
        const bytes = state.tables.partitions.get(partitionKey(topic.number, partition), state)
        await this.#partition(state, topic, partition, bytes === undefined ? emptyPartition : decodePartition(bytes))
      } catch (error) {
        this.found(where, `cannot be read: ${reasonOf(error)}`)
      }
    }
  }

  /** Exactly the offsets from start to end, times and sizes growing. */
  async #partition(
    { tables, transaction }: State,
    topic: TopicRow,
    partition: number,
    row: PartitionRow,
  ): Promise<void> {
    const place: RecordPlace = { topic: topic.name, topicId: topic.topicId, partition }
    const where = `${topic.name}/${partition}`
    if (row.start > row.end) this.found(where, 'its start lies behind its end')
    let expected = row.start
    let bytesBefore: number | undefined
    let lastTimeMs = 0
    const range = { start: recordKey(topic.number, partition, 0), end: partitionKey(topic.number, partition + 1) }
    for (const { key, value } of tables.records.getRange({ ...range, transaction })) {
      if (this.#isPauseDue() && !(await this.#goesOn())) return
      const offset = splitKey(key)?.number
      if (offset === undefined) {
        this.found(where, 'a key is damaged')
        continue
      }
      const at = `${where}@${offset}`
      if (offset < row.start || offset >= row.end) {
        this.found(at, 'it lies outside of what the partition keeps')
        continue
      }
      if (offset !== expected) this.found(`${where}@${expected}`, `${offset - expected} records are missing`)
      expected = offset + 1
      this.#records += 1
      this.#bytes += value.length
      try {
        const head = decodeRecordHead(value)
        if (head.appendTimeMs < lastTimeMs) this.found(at, 'its time lies before its predecessor')
        if (bytesBefore !== undefined && head.bytesBefore !== bytesBefore) this.found(at, 'its size count is wrong')
        lastTimeMs = head.appendTimeMs
        bytesBefore = head.bytesBefore + value.length
        this.#record(place, at, decodeRecord(offset, value))
      } catch {
        this.found(at, 'the record is damaged')
        bytesBefore = undefined
      }
    }
    if (expected < row.end) this.found(`${where}@${expected}`, `${row.end - expected} records are missing`)
    else if (bytesBefore !== undefined && bytesBefore !== row.bytesEnd) this.found(where, 'its size count is wrong')
  }

  #isPauseDue(): boolean {
    return this.#options.pause !== undefined && this.#records > 0 && this.#records % pauseEvery === 0
  }

  async #goesOn(): Promise<boolean> {
    this.#isOver = (await this.#options.pause?.()) === false
    return !this.#isOver
  }

  #record(place: RecordPlace, at: string, record: BrokerRecord): void {
    const header = record.header === null ? undefined : decodeRecordHeader(record.header)
    if (record.header !== null && header === undefined) this.found(at, 'its header is damaged')
    if (header?.kind === 'barrier') {
      if (record.value.length > 0) this.found(at, 'it is a barrier with content')
      return
    }
    const wrong = this.#options.verifyRecord?.(place, record)
    if (wrong !== undefined) this.found(at, wrong)
  }

  /** Records of topics and partitions that do not exist; those of a deleted topic are on their way out. */
  #strays({ tables, transaction }: State, known: ReadonlyMap<number, TopicRow>): void {
    this.enter('records')
    let from = topicKey(0)
    for (;;) {
      const [key] = [...tables.records.getKeys({ start: from, limit: 1, transaction })]
      if (key === undefined) return
      const split = splitKey(key)
      if (split === undefined) {
        this.found('records', 'a key is damaged')
        return
      }
      const gone = tables.gone.get(topicKey(split.topic), { transaction }) !== undefined
      const partitions = known.get(split.topic)?.partitions ?? 0
      if (split.partition >= partitions && !gone) {
        this.found(
          `topic number ${split.topic}`,
          `it has records in partition ${split.partition}, which does not exist`,
        )
      }
      from = partitionKey(split.topic, split.partition + 1)
    }
  }

  #identities({ tables, transaction }: State, nextPid: number): void {
    this.enter('identities')
    for (const { key, value } of tables.identities.getRange({ transaction })) {
      try {
        if (decodeIdentity(value).pid >= nextPid)
          this.found('identities', `${key.toString()} has a number not yet given`)
      } catch {
        this.found('identities', `${key.toString()} is damaged`)
      }
    }
  }

  #producers({ tables, transaction }: State, known: ReadonlyMap<number, TopicRow>): void {
    this.enter('producers')
    for (const { key, value } of tables.producers.getRange({ transaction })) {
      const split = splitKey(key)
      const topic = split === undefined ? undefined : known.get(split.topic)
      if (split === undefined || topic === undefined) continue
      const where = `${topic.name}/${split.partition}`
      try {
        const last = decodeProducer(value).batches.at(-1)
        const bytes = tables.partitions.get(partitionKey(split.topic, split.partition), { transaction })
        const end = bytes === undefined ? 0 : decodePartition(bytes).end
        if (last !== undefined && last.baseOffset + last.count > end) {
          this.found(where, `producer ${split.number} has numbers behind the end`)
        }
      } catch {
        this.found(where, `the numbers of producer ${split.number} are damaged`)
      }
    }
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown reason'
}
