// Owns: what a broker answered beyond what was asked: batches come whole, readers ask for parts of them.
// 1. Taken by the first who asks for exactly that position, and then forgotten: two readers never share bytes.
// 2. Bounded in bytes (the oldest goes) and in age.
import type { Clock } from '../../ports/clock.ts'
import type { BrokerRecord } from '../log-core/log-broker.ts'
import { sizeOf } from './fetched-records.ts'

export interface Rest {
  readonly records: readonly BrokerRecord[]
  readonly nextOffset: number
  readonly logStart: number
  readonly highWatermark: number
}

interface Kept extends Rest {
  readonly bytes: number
  readonly atMs: number
}

const bytesMax = 32 * 1024 * 1024
const ageMsMax = 5_000

export class ReadAhead {
  readonly #kept = new Map<string, Kept>()
  readonly #clock: Clock
  #bytes = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  keep(topicId: string, partition: number, offset: number, rest: Rest): void {
    const key = keyOf(topicId, partition, offset)
    this.#drop(key)
    const bytes = rest.records.reduce((sum, record) => sum + sizeOf(record), 0)
    const nowMs = this.#clock.monotonicMs()
    this.#kept.set(key, { ...rest, bytes, atMs: nowMs })
    this.#bytes += bytes
    // Oldest first: a Map keeps the order of insertion.
    for (const [oldest, kept] of this.#kept) {
      if (this.#bytes <= bytesMax && nowMs - kept.atMs <= ageMsMax) break
      this.#drop(oldest)
    }
  }

  take(topicId: string, partition: number, offset: number): Rest | undefined {
    const key = keyOf(topicId, partition, offset)
    const kept = this.#kept.get(key)
    this.#drop(key)
    return kept === undefined || this.#clock.monotonicMs() - kept.atMs > ageMsMax ? undefined : kept
  }

  #drop(key: string): void {
    this.#bytes -= this.#kept.get(key)?.bytes ?? 0
    this.#kept.delete(key)
  }
}

function keyOf(topicId: string, partition: number, offset: number): string {
  return `${topicId}/${partition}/${offset}`
}
