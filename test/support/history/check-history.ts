// Owns: the judge of a history against the log, after Jepsen's kafka workload (invariants I1-I7 and I11).
// The log is the truth about what is visible; what clients were told and shown is held against it:
// LOST acked and not in the log · DUPLICATE one value at two places · REORDERED a producer's events of one partition in
// another order than sent, or an event before one that had been acked when it was sent · PHANTOM never sent (or sent to
// another place) · ABORTED certainly failed, and there · PAYLOAD_MISMATCH · MOVED acked with another place than its own ·
// GAP not in the log although a later one of the producer in that partition is · UNKNOWN nobody could tell the client ·
// INCONSISTENT delivered from a place where the log has another · SKIP events left out · NONMONOTONIC backwards inside
// one batch · REDELIVERED again although acked (also: behind what a cursor was at) · STALE_START a reader at `latest` saw
// what was acked before · UNSEEN acked and in the log, and not shown to the reader that drained the topic · FENCE a
// record of an incarnation behind the barrier against it · RAW_DUPLICATE, RAW_REORDERED, the same of (producerId, n, part).
// Leaves out: recording (history.ts), reading the log.
import {
  type Attempt,
  comparePlaces,
  type Delivered,
  type History,
  type Place,
  type ReaderRecord,
  type ReaderStart,
} from './history.ts'

export type DefectKind =
  | 'LOST'
  | 'DUPLICATE'
  | 'REORDERED'
  | 'PHANTOM'
  | 'ABORTED'
  | 'PAYLOAD_MISMATCH'
  | 'MOVED'
  | 'GAP'
  | 'UNKNOWN'
  | 'INCONSISTENT'
  | 'SKIP'
  | 'NONMONOTONIC'
  | 'REDELIVERED'
  | 'STALE_START'
  | 'UNSEEN'
  | 'FENCE'
  | 'RAW_DUPLICATE'
  | 'RAW_REORDERED'

export interface Defect {
  readonly kind: DefectKind
  readonly text: string
}

/** One record of the log, barriers included. */
export interface RawRecord {
  readonly offset: number
  /** Numbers of the log's producer; undefined where the log does not show them. */
  readonly pid?: number
  readonly epoch?: number
  readonly isBarrier: boolean
  readonly producerId?: string
  readonly n?: number
  readonly part?: number
  /** By index in the block. */
  readonly events: readonly { readonly value: string; readonly payloadHash: string }[]
}

/** Everything visible of one partition, in order of offset. */
export interface RawPartition {
  readonly topic: string
  readonly partition: number
  readonly records: readonly RawRecord[]
}

export interface CheckOptions {
  /** `info` of a living client is a defect: the run has nothing that excuses it. Default false. */
  readonly unknownIsDefect?: boolean
  /** Holes before what landed are excused where the client was told that nobody knows. Default false. */
  readonly unknownExcusesGaps?: boolean
}

interface LogEvent {
  readonly place: Place
  readonly value: string
  readonly payloadHash: string
}

/** Indexes in the visible events of a partition, both included. */
interface Span {
  readonly low: number
  readonly high: number
}

/** Per reported kind, so that one cause does not fill the report. */
const reportedMax = 5

export function checkHistory(
  history: History,
  partitions: readonly RawPartition[],
  options: CheckOptions = {},
): Defect[] {
  return new Check(history, partitions, options).run()
}

class Check {
  readonly #history: History
  readonly #partitions: readonly RawPartition[]
  readonly #options: CheckOptions
  readonly #defects: Defect[] = []
  readonly #counts = new Map<DefectKind, number>()
  readonly #attempts = new Map<string, Attempt>()
  /** By topic and partition: what is visible, in order. */
  readonly #logs = new Map<string, readonly LogEvent[]>()
  /** By topic and partition, then by place: the index in the log's list. */
  readonly #indexes = new Map<string, ReadonlyMap<string, number>>()
  /** By value: where it is. */
  readonly #found = new Map<string, { readonly topic: string; readonly places: Place[] }>()

  constructor(history: History, partitions: readonly RawPartition[], options: CheckOptions) {
    this.#history = history
    this.#partitions = partitions
    this.#options = options
    for (const attempt of history.attempts) {
      if (this.#attempts.has(attempt.value)) throw new Error(`${attempt.value} was sent twice by the test itself`)
      this.#attempts.set(attempt.value, attempt)
    }
    for (const { topic, partition, records } of partitions) {
      const events = records.flatMap(({ offset, events: inside }) =>
        inside.map((event, index): LogEvent => ({ ...event, place: { partition, offset, index } })),
      )
      this.#logs.set(logKey(topic, partition), events)
      this.#indexes.set(
        logKey(topic, partition),
        new Map(events.map(({ place }, index) => [`${place.offset}:${place.index}`, index])),
      )
    }
  }

  run(): Defect[] {
    for (const { topic, partition } of this.#partitions) this.#checkVisible(topic, partition)
    for (const partition of this.#partitions) this.#checkRaw(partition)
    this.#checkAttempts()
    this.#checkRealTime()
    for (const reader of this.#history.readers) this.#checkReader(reader)
    this.#checkDrained()
    return this.#defects
  }

  #report(kind: DefectKind, text: string): void {
    const count = (this.#counts.get(kind) ?? 0) + 1
    this.#counts.set(kind, count)
    if (count <= reportedMax) this.#defects.push({ kind, text })
  }

  #checkVisible(topic: string, partition: number): void {
    /** The last event of each producer. */
    const last = new Map<string, Attempt>()
    for (const { place, value, payloadHash } of this.#logs.get(logKey(topic, partition)) ?? []) {
      const where = `${topic} ${textOf(place)}`
      const attempt = this.#attempts.get(value)
      if (attempt === undefined) {
        this.#report('PHANTOM', `${value} at ${where} was never sent`)
        continue
      }
      if (attempt.topic !== topic || (attempt.partition ?? partition) !== partition) {
        this.#report('PHANTOM', `${value} at ${where} was sent to ${attempt.topic} ${attempt.partition}`)
      }
      if (attempt.payloadHash !== payloadHash) this.#report('PAYLOAD_MISMATCH', `${value} at ${where}`)
      if (attempt.outcome === 'fail') this.#report('ABORTED', `${value} at ${where} was refused: ${attempt.error}`)
      const found = this.#found.get(value)
      if (found !== undefined) {
        found.places.push(place)
        this.#report('DUPLICATE', `${value} at ${where} and ${found.places.slice(0, -1).map(textOf).join(', ')}`)
        continue
      }
      this.#found.set(value, { topic, places: [place] })
      // What nobody could tell is given up by its producer, which then goes on: it may land behind what came later.
      if (attempt.outcome === 'info') continue
      const before = last.get(attempt.producer)
      if (before !== undefined && before.seq > attempt.seq) {
        this.#report('REORDERED', `${value} at ${where} stands behind ${before.value}`)
      } else last.set(attempt.producer, attempt)
    }
  }

  #checkRaw({ topic, partition, records }: RawPartition): void {
    const barriers = new Map<number, number>()
    const parts = new Set<string>()
    const lastN = new Map<string, number>()
    for (const { offset, pid, epoch, isBarrier, producerId, n, part } of records) {
      const where = `${topic} ${partition}:${offset}`
      if (pid !== undefined && epoch !== undefined) {
        const barrier = barriers.get(pid)
        if (barrier !== undefined && epoch < barrier) this.#report('FENCE', `pid ${pid} epoch ${epoch} at ${where}`)
        if (isBarrier) barriers.set(pid, Math.max(barrier ?? 0, epoch))
      }
      if (producerId === undefined || n === undefined || part === undefined) continue
      const name = `${producerId} ${n}/${part}`
      if (parts.has(name)) this.#report('RAW_DUPLICATE', `${name} at ${where}`)
      parts.add(name)
      if ((lastN.get(producerId) ?? 0) > n) this.#report('RAW_REORDERED', `${name} at ${where}`)
      lastN.set(producerId, Math.max(n, lastN.get(producerId) ?? 0))
    }
  }

  #checkAttempts(): void {
    for (const attempt of this.#history.attempts) {
      const { value, outcome, place } = attempt
      const found = this.#found.get(value)
      if (outcome === 'ok' && found === undefined) {
        this.#report('LOST', `${value} was acked at ${attempt.topic} ${place === undefined ? '?' : textOf(place)}`)
      }
      if (outcome === 'ok' && found !== undefined && place !== undefined && !found.places.some(samePlace(place))) {
        this.#report('MOVED', `${value} was acked at ${textOf(place)} and is at ${found.places.map(textOf).join(', ')}`)
      }
      if (outcome === 'info' && this.#options.unknownIsDefect === true) {
        this.#report('UNKNOWN', `${value}: ${attempt.error}`)
      }
    }
    this.#checkGaps()
  }

  /** What is in the log of a producer in a partition is a prefix of what it sent there, refusals left out. */
  #checkGaps(): void {
    const missing = new Map<string, Attempt>()
    const bySeq = [...this.#history.attempts].sort((a, b) => a.seq - b.seq)
    for (const attempt of bySeq) {
      const { topic, producer, value, outcome } = attempt
      const partition = attempt.partition ?? this.#found.get(value)?.places[0]?.partition
      if (partition === undefined || outcome === 'fail') continue
      const key = `${producer} ${logKey(topic, partition)}`
      const absent = missing.get(key)
      if (this.#found.has(value)) {
        if (absent !== undefined) this.#report('GAP', `${absent.value} (${absent.outcome}) is missing before ${value}`)
        missing.delete(key)
      } else if (outcome !== 'ok' && absent === undefined) {
        if (outcome !== 'info' || this.#options.unknownExcusesGaps !== true) missing.set(key, attempt)
      }
    }
  }

  /** What was sent after an ack came stands behind the acked one. */
  #checkRealTime(): void {
    const byLog = new Map<string, Attempt[]>()
    for (const attempt of this.#history.attempts) {
      const places = this.#found.get(attempt.value)?.places
      const [place] = places ?? []
      if (attempt.outcome !== 'ok' || place === undefined) continue
      const key = logKey(attempt.topic, place.partition)
      const list = byLog.get(key)
      if (list === undefined) byLog.set(key, [attempt])
      else list.push(attempt)
    }
    for (const attempts of byLog.values()) {
      const ended = [...attempts].sort((a, b) => (a.endedTick ?? 0) - (b.endedTick ?? 0))
      let next = 0
      let highest: { readonly attempt: Attempt; readonly place: Place } | undefined
      for (const attempt of [...attempts].sort((a, b) => a.invokedTick - b.invokedTick)) {
        for (
          let one = ended[next];
          one !== undefined && (one.endedTick ?? 0) < attempt.invokedTick;
          one = ended[++next]
        ) {
          const place = this.#found.get(one.value)?.places[0]
          if (place !== undefined && (highest === undefined || comparePlaces(highest.place, place) < 0)) {
            highest = { attempt: one, place }
          }
        }
        const place = this.#found.get(attempt.value)?.places[0]
        if (place !== undefined && highest !== undefined && comparePlaces(place, highest.place) < 0) {
          this.#report('REORDERED', `${attempt.value} stands before ${highest.attempt.value}, acked before it was sent`)
        }
      }
    }
  }

  #checkReader(reader: ReaderRecord): void {
    /** By partition: the index that comes next; undefined: not known yet. */
    const next = new Map<number, number | undefined>()
    /** By partition: from where what was handed out may come again. */
    const again = new Map<number, Span | undefined>()
    /** By partition: the first one of a batch that was given back. */
    const givenBack = new Map<number, number>()
    for (const step of reader.steps) {
      if (step.kind === 'ack') {
        this.#noteAck(reader, again, step.events, step.before)
        continue
      }
      if (step.kind === 'nack') {
        for (const { place } of [...step.events].reverse()) {
          const index = this.#indexOf(reader.topic, place)
          if (index !== undefined) givenBack.set(place.partition, index)
        }
        continue
      }
      const inBatch = new Set<number>()
      for (const event of step.events) {
        const { partition } = event.place
        const index = this.#checkDelivered(reader, event)
        if (index === undefined) continue
        const start = this.#startSpan(reader.topic, reader.start, partition)
        const span = again.has(partition) ? again.get(partition) : start
        const due = next.get(partition)
        const where = `${reader.name}: ${event.value} at ${reader.topic} ${textOf(event.place)}`
        if (inBatch.has(partition) && due !== undefined) {
          if (index > due) this.#report('SKIP', `${where}, ${index - due} left out inside a batch`)
          else if (index < due) this.#report('NONMONOTONIC', where)
        } else if (span === undefined) {
          this.#checkLatestStart(reader, partition, index)
          again.set(partition, { low: index, high: index })
        } else if (index !== due && index !== givenBack.get(partition)) {
          if (index < span.low) this.#report('REDELIVERED', `${where}, acked before`)
          else if (index > span.high) this.#report('SKIP', `${where}, ${index - span.high} left out`)
        }
        givenBack.delete(partition)
        inBatch.add(partition)
        next.set(partition, index + 1)
      }
    }
  }

  #noteAck(
    reader: ReaderRecord,
    again: Map<number, Span | undefined>,
    events: readonly Delivered[],
    before: readonly Delivered[],
  ): void {
    const raise = (place: Place, certain: boolean): void => {
      const index = this.#indexOf(reader.topic, place)
      if (index === undefined) return
      const { partition } = place
      const span = again.get(partition) ?? this.#startSpan(reader.topic, reader.start, partition) ?? { low: 0, high: 0 }
      const high = Math.max(span.high, index + 1)
      again.set(partition, { low: certain ? Math.max(span.low, index + 1) : span.low, high })
    }
    for (const { place } of before) raise(place, false)
    for (const { place } of events) raise(place, true)
  }

  /** The index in the log, when it is there. */
  #checkDelivered(reader: ReaderRecord, event: Delivered): number | undefined {
    const { place, value, payloadHash } = event
    const index = this.#indexOf(reader.topic, place)
    const logged = index === undefined ? undefined : this.#logs.get(logKey(reader.topic, place.partition))?.[index]
    if (logged === undefined) {
      this.#report('INCONSISTENT', `${reader.name}: ${value} at ${reader.topic} ${textOf(place)}: nothing is there`)
      return undefined
    }
    if (logged.value !== value || logged.payloadHash !== payloadHash) {
      this.#report(
        'INCONSISTENT',
        `${reader.name}: ${value} at ${reader.topic} ${textOf(place)}, where ${logged.value} is`,
      )
    }
    return index
  }

  #checkLatestStart(reader: ReaderRecord, partition: number, first: number): void {
    const log = this.#logs.get(logKey(reader.topic, partition)) ?? []
    const opened = log[first] === undefined ? undefined : this.#attempts.get(log[first].value)
    const isStale = opened?.outcome === 'ok' && (opened.endedTick ?? Number.POSITIVE_INFINITY) < reader.openedTick
    if (reader.start.at === 'latest' && opened !== undefined && isStale) {
      this.#report('STALE_START', `${reader.name}: ${opened.value} was acked before the reader asked for the latest`)
    }
    for (const { value } of log.slice(0, first)) {
      const attempt = this.#attempts.get(value)
      if (attempt !== undefined && attempt.invokedTick > (reader.firstAnswerTick ?? Number.POSITIVE_INFINITY)) {
        this.#report('SKIP', `${reader.name}: ${value} was sent after the reader had begun`)
      }
    }
  }

  /** Where a reader's first event of the partition may be. Undefined: only the log's end at some moment would tell. */
  #startSpan(topic: string, start: ReaderStart, partition: number): Span | undefined {
    if (start.at !== 'cursor') return start.at === 'earliest' ? { low: 0, high: 0 } : undefined
    const from = this.#startSpan(topic, start.from, partition)
    const indexBehind = (place: Place | undefined): number | undefined => {
      const index = place === undefined ? undefined : this.#indexOf(topic, place)
      return index === undefined ? undefined : index + 1
    }
    const low = indexBehind(start.after.get(partition)) ?? from?.low
    const high = indexBehind(start.atMost.get(partition)) ?? from?.high
    return low === undefined || high === undefined ? undefined : { low, high: Math.max(low, high) }
  }

  #indexOf(topic: string, { partition, offset, index }: Place): number | undefined {
    return this.#indexes.get(logKey(topic, partition))?.get(`${offset}:${index}`)
  }

  #checkDrained(): void {
    for (const topic of new Set(this.#partitions.map((one) => one.topic))) {
      const drains = this.#history.readers.filter((reader) => reader.topic === topic && reader.drains)
      if (drains.length === 0) continue
      for (const reader of drains) {
        const seen = new Set(
          reader.steps.flatMap((step) => (step.kind === 'batch' ? step.events.map(({ value }) => value) : [])),
        )
        for (const attempt of this.#history.attempts) {
          if (attempt.topic !== topic || attempt.outcome !== 'ok' || seen.has(attempt.value)) continue
          this.#report('UNSEEN', `${attempt.value} was acked and not shown to ${reader.name}`)
        }
        for (const [value, found] of this.#found) {
          if (found.topic === topic && !seen.has(value) && this.#attempts.get(value)?.outcome !== 'ok') {
            this.#report('UNSEEN', `${value} is in the log and was not shown to ${reader.name}`)
          }
        }
      }
    }
  }
}

function logKey(topic: string, partition: number): string {
  return `${partition}/${topic}`
}

function textOf({ partition, offset, index }: Place): string {
  return `${partition}:${offset}:${index}`
}

function samePlace(place: Place): (other: Place) => boolean {
  return (other) => other.partition === place.partition && comparePlaces(place, other) === 0
}
