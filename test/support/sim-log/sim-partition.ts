// Owns: one partition of the simulated cluster: the leader's log, how far it is replicated, and Kafka's rules for
// numbers and epochs (notes of the real broker: table "Seen on real Kafka").
// 1. Only what is replicated is visible; a failover keeps any part of the rest, in whole batches.
// 2. What the leader knows of a producer is what its log holds: a failover that drops batches forgets their numbers.
// 3. A PID that the log does not know may begin with any number.
// Pure: no clock, no chance; the cluster decides when things happen.
import type { BrokerCode, BrokerRecord, ProduceRequest } from '../../../src/adapters/log-core/log-broker.ts'
import { sequenceAfter } from '../../../src/adapters/log-core/log-broker.ts'
import type { AppendRecord } from '../../../src/ports/event-log.ts'

export interface SimBatch {
  readonly pid: number
  readonly epoch: number
  readonly firstSequence: number
  readonly baseOffset: number
  readonly appendTimeMs: number
  readonly records: readonly BrokerRecord[]
  /** Offsets it takes: more than its records when some are holes. */
  readonly span: number
}

export type LocalAppend =
  | { readonly kind: 'appended'; readonly batch: SimBatch }
  | { readonly kind: 'repeated'; readonly batch: SimBatch }
  | { readonly kind: 'refused'; readonly code: BrokerCode }

const batchesKnown = 5

export class SimPartition {
  #batches: SimBatch[] = []
  /** The leader also remembers the numbers of batches that retention removed; a new leader does not. */
  #known = new Map<number, SimBatch[]>()
  #logStart = 0
  #highWatermark = 0
  /** Where the open transaction of a stranger began. */
  #openFrom = Number.POSITIVE_INFINITY
  #lastAppendTimeMs = 0
  /** Grows with each failover: what was asked of an earlier leader is not answered by a later one. */
  leaderEpoch = 0

  get logStart(): number {
    return this.#logStart
  }

  get highWatermark(): number {
    return this.#highWatermark
  }

  /** One past what readers get who want nothing of open transactions. */
  get stableEnd(): number {
    return Math.min(this.#highWatermark, this.#openFrom)
  }

  /** A stranger begins a transaction: what is appended from now on waits for its end, whoever appends it. */
  begin(): void {
    this.#openFrom = Math.min(this.#openFrom, this.logEnd)
  }

  /** It is over. */
  end(): void {
    this.#openFrom = Number.POSITIVE_INFINITY
  }

  /** One past the leader's last record. */
  get logEnd(): number {
    const last = this.#batches.at(-1)
    return last === undefined ? this.#logStart : endOf(last)
  }

  append(request: ProduceRequest, nowMs: number): LocalAppend {
    const { pid, epoch, firstSequence, records } = request
    const known = this.#known.get(pid) ?? []
    const epochKnown = known.at(-1)?.epoch
    if (epochKnown !== undefined) {
      if (epoch < epochKnown) return { kind: 'refused', code: 'INVALID_PRODUCER_EPOCH' }
      if (epoch > epochKnown && firstSequence !== 0) return { kind: 'refused', code: 'OUT_OF_ORDER_SEQUENCE_NUMBER' }
      if (epoch === epochKnown) {
        const same = known.find(
          (batch) =>
            batch.epoch === epoch && batch.firstSequence === firstSequence && batch.records.length === records.length,
        )
        if (same !== undefined) return { kind: 'repeated', batch: same }
        const last = known.at(-1)
        if (last !== undefined && sequenceAfter(last.firstSequence, last.records.length) !== firstSequence) {
          return { kind: 'refused', code: 'OUT_OF_ORDER_SEQUENCE_NUMBER' }
        }
      }
    }
    const baseOffset = this.logEnd
    const appendTimeMs = Math.max(this.#lastAppendTimeMs, nowMs)
    this.#lastAppendTimeMs = appendTimeMs
    const batch: SimBatch = {
      pid,
      epoch,
      firstSequence,
      baseOffset,
      appendTimeMs,
      records: records.map((record, index) => ({
        ...copyOf(record),
        offset: baseOffset + index,
        appendTimeMs,
        pid,
        epoch,
      })),
      span: records.length,
    }
    this.#batches.push(batch)
    this.#remember(batch)
    return { kind: 'appended', batch }
  }

  /** Records of somebody who is no idempotent producer, with `holes` offsets behind them (a marker, an aborted batch). */
  appendForeign(records: readonly AppendRecord[], holes: number, nowMs: number): SimBatch {
    const baseOffset = this.logEnd
    const appendTimeMs = Math.max(this.#lastAppendTimeMs, nowMs)
    this.#lastAppendTimeMs = appendTimeMs
    const nobody = { pid: -1, epoch: -1 }
    const batch: SimBatch = {
      ...nobody,
      firstSequence: -1,
      baseOffset,
      appendTimeMs,
      records: records.map((record, index) => ({
        ...copyOf(record),
        ...nobody,
        offset: baseOffset + index,
        appendTimeMs,
      })),
      span: records.length + holes,
    }
    this.#batches.push(batch)
    return batch
  }

  /** Where a reader goes on behind `records`, which were read from `offset` on: behind the holes that follow them. */
  nextBehind(offset: number, records: readonly BrokerRecord[], until = this.#highWatermark): number {
    const last = records.at(-1)
    const behind = last === undefined ? offset : last.offset + 1
    return this.read(behind, 1, until).length > 0 ? behind : Math.max(behind, until)
  }

  /** All replicas have what lies below `offset`. */
  replicated(offset: number): void {
    this.#highWatermark = Math.max(this.#highWatermark, Math.min(offset, this.logEnd))
  }

  /** Batches that a failover may drop. */
  get unreplicatedBatches(): number {
    return this.#batches.length - this.#firstBehind(this.#highWatermark)
  }

  /** Another replica leads: it has the first `keep` unreplicated batches, and the rest never was. */
  failover(keep: number): void {
    const safe = this.#batches.length - this.unreplicatedBatches
    this.#batches.length = Math.min(this.#batches.length, safe + keep)
    this.leaderEpoch += 1
    this.#known = new Map()
    for (const batch of this.#batches) if (batch.pid >= 0) this.#remember(batch)
  }

  /** Visible records from `offset`, at least one if there is one, then up to `bytesMax`; none at or behind `until`. */
  read(offset: number, bytesMax: number, until = this.#highWatermark): readonly BrokerRecord[] {
    const answer: BrokerRecord[] = []
    let bytes = 0
    for (let index = this.#firstBehind(offset); index < this.#batches.length; index++) {
      const batch = this.#batches[index]
      if (batch === undefined) break
      for (const record of batch.records) {
        if (record.offset < Math.max(offset, this.#logStart)) continue
        if (record.offset >= until) return answer
        bytes += sizeOf(record)
        if (answer.length > 0 && bytes > bytesMax) return answer
        answer.push(record)
        if (bytes >= bytesMax) return answer
      }
    }
    return answer
  }

  /** Index of the first batch that ends behind `offset`. */
  #firstBehind(offset: number): number {
    let low = 0
    let high = this.#batches.length
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      const batch = this.#batches[middle]
      if (batch !== undefined && endOf(batch) <= offset) low = middle + 1
      else high = middle
    }
    return low
  }

  #remember(batch: SimBatch): void {
    const known = this.#known.get(batch.pid)
    if (known === undefined) this.#known.set(batch.pid, [batch])
    else {
      known.push(batch)
      if (known.length > batchesKnown) known.shift()
    }
  }

  /** Everything visible. */
  visible(): readonly BrokerRecord[] {
    return this.read(this.#logStart, Number.POSITIVE_INFINITY)
  }

  offsetAtOrAfter(timeMs: number): number {
    return this.visible().find((record) => record.appendTimeMs >= timeMs)?.offset ?? this.#highWatermark
  }

  /** Removes visible records by age and size, in whole batches. */
  retain(keepFromMs: number | undefined, bytesMax: number | undefined): void {
    let bytes = this.visible().reduce((sum, record) => sum + sizeOf(record), 0)
    for (;;) {
      const first = this.#batches[0]
      if (first === undefined || endOf(first) > this.#highWatermark) return
      const tooOld = keepFromMs !== undefined && first.appendTimeMs < keepFromMs
      const tooMuch = bytesMax !== undefined && bytes > bytesMax
      if (!tooOld && !tooMuch) return
      bytes -= first.records.reduce((sum, record) => sum + sizeOf(record), 0)
      this.#batches.shift()
      this.#logStart = endOf(first)
    }
  }
}

export function endOf(batch: SimBatch): number {
  return batch.baseOffset + batch.span
}

function sizeOf(record: BrokerRecord): number {
  return record.value.length + (record.key?.length ?? 0) + (record.header?.length ?? 0)
}

function copyOf({ key, value, header, headers, nullValue }: AppendRecord): AppendRecord {
  return {
    key: key?.slice() ?? null,
    value: value.slice(),
    header: header?.slice() ?? null,
    ...(headers === undefined
      ? {}
      : { headers: headers.map(([name, bytes]) => [name, bytes?.slice() ?? null] as const) }),
    ...(nullValue === undefined ? {} : { nullValue }),
  }
}
