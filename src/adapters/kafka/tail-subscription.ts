// Owns: one partition's tail: where its fetching is, and the last records that came, for whoever asks from there.
// 1. What it holds goes without a hole from `start` to `position`.
// 2. Bounded in bytes: the oldest records go first; who needs them reads them from the log.
import type { TopicFormat } from '../../ports/event-log.ts'
import type { TopicName } from '../../protocol/ids.ts'
import type { BrokerRecord } from '../log-core/log-broker.ts'
import { sizeOf } from './fetched-records.ts'

export interface TailPlace {
  readonly topic: TopicName
  readonly topicId: string
  readonly partition: number
  readonly format: TopicFormat
}

export interface TailRead {
  readonly records: readonly BrokerRecord[]
  readonly nextOffset: number
  readonly logStart: number
  readonly highWatermark: number
}

export class TailSubscription {
  readonly place: TailPlace
  readonly waiters = new Set<() => void>()
  usedMs: number
  logStart: number
  highWatermark: number
  /** Nobody could be asked since the last answer. */
  isFailing = false
  position: number
  #start: number
  #records: BrokerRecord[] = []
  #bytes = 0

  constructor(place: TailPlace, at: { offset: number; logStart: number; highWatermark: number }, nowMs: number) {
    this.place = place
    this.position = at.offset
    this.#start = at.offset
    this.logStart = at.logStart
    this.highWatermark = at.highWatermark
    this.usedMs = nowMs
  }

  /** Undefined when it cannot be told from here. */
  read(offset: number): TailRead | undefined {
    if (offset < this.#start || offset > this.position) return undefined
    const first = this.#records.findIndex((record) => record.offset >= offset)
    const { logStart, highWatermark, position } = this
    return { records: first < 0 ? [] : this.#records.slice(first), nextOffset: position, logStart, highWatermark }
  }

  /** Goes on elsewhere: somebody has read further than this. */
  move(at: { offset: number; logStart: number; highWatermark: number }): void {
    this.position = at.offset
    this.#start = at.offset
    this.logStart = at.logStart
    this.highWatermark = at.highWatermark
    this.#records = []
    this.#bytes = 0
  }

  take(records: readonly BrokerRecord[], nextOffset: number, bytesMax: number): void {
    for (const record of records) {
      this.#records.push(record)
      this.#bytes += sizeOf(record)
    }
    this.position = nextOffset
    let gone = 0
    while (this.#bytes > bytesMax && gone < this.#records.length - 1) {
      const oldest = this.#records[gone]
      if (oldest === undefined) break
      this.#bytes -= sizeOf(oldest)
      gone += 1
      this.#start = oldest.offset + 1
    }
    if (gone > 0) this.#records.splice(0, gone)
  }

  wake(): void {
    for (const waiter of [...this.waiters]) waiter()
  }
}
