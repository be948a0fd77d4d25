// Owns: a log in memory for the unit tests of the read and write path: one topic, every fault by hand, every call counted.
import type { Clock } from '../../../../src/ports/clock.ts'
import type {
  AppendRecord,
  EventLog,
  FenceAnswer,
  FenceTarget,
  FetchOptions,
  FetchPosition,
  LogRecord,
  OffsetQuery,
  PartitionFetch,
  TopicInfo,
  TopicPartition,
} from '../../../../src/ports/event-log.ts'
import { type ErrorName, TrunklineError } from '../../../../src/protocol/errors.ts'
import { parseProducerId, parseTopicId, parseTopicName } from '../../../../src/protocol/ids.ts'
import { encodeRecordHeader } from '../../../../src/protocol/record-header.ts'

export const topicName = parseTopicName('quakes')
export const producerA = parseProducerId('a'.repeat(32))
export const producerB = parseProducerId('b'.repeat(32))
export const hashOne = Uint8Array.of(1, 1, 1, 1, 1, 1, 1, 1)

export function topicInfo(partitions: number, id = '1'): TopicInfo {
  return { name: topicName, partitions, format: 'sealed', topicId: parseTopicId(id.repeat(32)), createdAtMs: 0 }
}

/** The value is what a fake opener understands: first byte 0xff damaged, 0xfe no key, else `count` events. */
export function dataRecord(
  producerId = producerA,
  n = 1,
  part = 0,
  value: Uint8Array = Uint8Array.of(1),
  parts = 1,
): AppendRecord {
  return {
    key: null,
    value,
    header: encodeRecordHeader({ kind: 'data', producerId, n, part, parts, writeHash: hashOne }),
  }
}

export const barrierRecord: AppendRecord = {
  key: null,
  value: new Uint8Array(),
  header: encodeRecordHeader({ kind: 'barrier' }),
}

/** A block of `count` events and `size` bytes. */
export function blockValue(count: number, size = 8): Uint8Array {
  const value = new Uint8Array(Math.max(size, 2))
  value[0] = count
  return value
}

interface Partition {
  readonly records: LogRecord[]
  start: number
  /** Records at or above it are there and not yet visible. */
  visibleBelow: number
  error: ErrorName | undefined
}

export class TinyLog implements Pick<EventLog, 'fetch' | 'offsets' | 'topic' | 'fence'> {
  topicNow: TopicInfo | undefined
  readonly calls = { fetch: 0, tail: 0, catchup: 0, lookup: 0, offsets: 0, fence: 0 }
  readonly fences: { target: FenceTarget; partitions: number[] }[] = []
  /** Awaited by every catchup fetch and fence: hold it to see what runs at once. */
  gate: Promise<void> = Promise.resolve()
  running = 0
  runningMax = 0
  failFence: ErrorName | undefined
  /** The whole log: refuses every call as UNAVAILABLE, or does not answer until it is back. */
  #away: 'here' | 'refuses' | 'hangs' = 'here'
  readonly #hanging: (() => void)[] = []
  readonly #clock: Clock
  readonly #partitions: Partition[]
  readonly #waiters = new Set<() => void>()

  constructor(clock: Clock, partitions: number) {
    this.#clock = clock
    this.topicNow = topicInfo(partitions)
    this.#partitions = Array.from({ length: partitions }, () => ({
      records: [],
      start: 0,
      visibleBelow: Number.MAX_SAFE_INTEGER,
      error: undefined,
    }))
  }

  put(partition: number, ...records: readonly AppendRecord[]): number {
    const { records: held } = this.#at(partition)
    const base = held.length
    for (const record of records) held.push({ ...record, offset: held.length, appendTimeMs: this.#clock.nowMs() })
    this.wake()
    return base
  }

  truncateTo(partition: number, start: number): void {
    this.#at(partition).start = start
  }

  /** The high watermark stays here until it is lifted. */
  hideFrom(partition: number, offset: number): void {
    this.#at(partition).visibleBelow = offset
    this.wake()
  }

  breakPartition(partition: number, error: ErrorName | undefined): void {
    this.#at(partition).error = error
    this.wake()
  }

  away(how: 'here' | 'refuses' | 'hangs'): void {
    this.#away = how
    if (how !== 'hangs') for (const goOn of this.#hanging.splice(0)) goOn()
    this.wake()
  }

  recordsOf(partition: number): readonly LogRecord[] {
    return this.#at(partition).records
  }

  wake(): void {
    for (const waiter of [...this.#waiters]) waiter()
  }

  async fetch(at: readonly FetchPosition[], options: FetchOptions): Promise<readonly PartitionFetch[]> {
    this.calls.fetch += 1
    this.calls[options.lane] += 1
    this.running += 1
    this.runningMax = Math.max(this.runningMax, this.running)
    try {
      if (options.lane === 'catchup') await this.gate
      const untilMs = this.#clock.monotonicMs() + options.waitMs
      for (;;) {
        await this.#reached()
        const answers = this.#answers(at, options.bytesMax)
        const isQuiet = answers.every(({ records, error }) => records.length === 0 && error === undefined)
        if (!isQuiet || options.signal?.aborted || this.#clock.monotonicMs() >= untilMs) return answers
        await this.#change(untilMs - this.#clock.monotonicMs(), options.signal)
      }
    } finally {
      this.running -= 1
    }
  }

  async offsets(at: readonly TopicPartition[], query: OffsetQuery): Promise<readonly number[]> {
    this.calls.offsets += 1
    await this.#reached()
    if (this.topicNow === undefined) throw new TrunklineError('UNKNOWN_TOPIC')
    return at.map(({ partition }) =>
      query === 'earliest' ? this.#at(partition).start : this.#highWatermark(partition),
    )
  }

  async topic(): Promise<TopicInfo | undefined> {
    await this.#reached()
    return this.topicNow
  }

  async fence(target: FenceTarget, at: readonly TopicPartition[]): Promise<FenceAnswer> {
    this.calls.fence += 1
    this.fences.push({ target, partitions: at.map(({ partition }) => partition) })
    await this.gate
    if (this.failFence !== undefined) throw new TrunklineError(this.failFence)
    return at.map((one) => ({ at: one, barrierOffset: this.put(one.partition, barrierRecord) }))
  }

  async #reached(): Promise<void> {
    if (this.#away === 'hangs') await new Promise<void>((resolve) => this.#hanging.push(resolve))
    if (this.#away === 'refuses') throw new TrunklineError('UNAVAILABLE')
  }

  #change(waitMs: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel()
        this.#waiters.delete(done)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const timer = this.#clock.after(waitMs, done)
      this.#waiters.add(done)
      signal?.addEventListener('abort', done)
    })
  }

  #answers(at: readonly FetchPosition[], bytesMax: number): PartitionFetch[] {
    let left = bytesMax
    return at.map(({ topic, partition, offset }) => {
      const { start, records, error } = this.#at(partition)
      const highWatermark = this.#highWatermark(partition)
      const base = { topic, partition, logStart: start, highWatermark, nextOffset: offset, records: [] }
      if (this.topicNow === undefined) return { ...base, error: 'UNKNOWN_TOPIC' }
      if (error !== undefined) return { ...base, error }
      if (offset < start || offset > records.length) return { ...base, error: 'CURSOR_OUT_OF_RANGE' }
      const taken: LogRecord[] = []
      for (const record of records.slice(offset, highWatermark)) {
        if (taken.length > 0 && left < record.value.length) break
        left -= record.value.length
        taken.push(record)
      }
      return { ...base, nextOffset: offset + taken.length, records: taken }
    })
  }

  #highWatermark(partition: number): number {
    const { records, visibleBelow } = this.#at(partition)
    return Math.min(records.length, visibleBelow)
  }

  #at(partition: number): Partition {
    const found = this.#partitions[partition]
    if (found === undefined) throw new Error('no such partition')
    return found
  }
}
