// Owns: what clients of a gateway did and saw, as plain data: publishes with their outcome, readers with what was
// delivered to them and what they acked. Any test may write one: simulated clients and real ones alike.
// 1. One event is one value, unique in the history: its name, its producer, its number in the producer.
// 2. An outcome is ok (acked, with its place), fail (certainly nothing landed), info (nobody knows) or open (never
//    answered: the client is gone).
// 3. `tick` orders everything that was recorded; it is no time.
// Leaves out: judging (check-history.ts).

export interface Place {
  readonly partition: number
  readonly offset: number
  readonly index: number
}

export interface SentEvent {
  /** Unique in the history. */
  readonly value: string
  /** Grows by one per event of the producer. */
  readonly seq: number
  /** Where the event must go; undefined: any partition. */
  readonly partition: number | undefined
  readonly payloadHash: string
}

export type Outcome = 'open' | 'ok' | 'fail' | 'info'

export interface Attempt extends SentEvent {
  readonly topic: string
  readonly producer: string
  readonly invokedTick: number
  outcome: Outcome
  /** The error's name of fail and info. */
  error: string | undefined
  place: Place | undefined
  endedTick: number | undefined
}

export interface Delivered {
  readonly place: Place
  /** As the payload says. */
  readonly value: string
  readonly payloadHash: string
}

export type ReaderStep =
  | { readonly kind: 'batch'; readonly tick: number; readonly events: readonly Delivered[] }
  /**
   * `events` are acked. `before` was handed out earlier and not acked: an ack is cumulative, but what a lost session had
   * handed out may come again.
   */
  | {
      readonly kind: 'ack'
      readonly tick: number
      readonly events: readonly Delivered[]
      readonly before: readonly Delivered[]
    }
  /** A batch is given back: it comes again from its first event. */
  | { readonly kind: 'nack'; readonly tick: number; readonly events: readonly Delivered[] }

/** Where a reader begins: a position word, or behind what another reader had acked (or was handed) at some moment. */
export type ReaderStart = { readonly at: 'earliest' | 'latest' } | CursorMark

export interface CursorMark {
  readonly at: 'cursor'
  /** Where the reader that the cursor came from had begun. */
  readonly from: ReaderStart
  /** By partition: the last place that the cursor is certainly behind, and the last one that it may be behind. */
  readonly after: ReadonlyMap<number, Place>
  readonly atMost: ReadonlyMap<number, Place>
}

export interface ReaderRecord {
  readonly name: string
  readonly topic: string
  readonly start: ReaderStart
  /** It read everything that there was at the end of the run. */
  readonly drains: boolean
  readonly openedTick: number
  /** The first answer of the gateway; undefined: none. */
  firstAnswerTick: number | undefined
  readonly steps: ReaderStep[]
}

export interface BatchRecord {
  readonly events: readonly Delivered[]
  /** For a reader that starts behind this whole batch. */
  cursor(): CursorMark
  /**
   * The first `count` events (default all), and everything handed out before. `isInCursor` false: the reader itself
   * never shows them again, but its cursor may still be before them.
   */
  ack(count?: number, isInCursor?: boolean): void
  /** The batch comes again. */
  giveBack(): void
}

export class History {
  readonly attempts: Attempt[] = []
  readonly readers: ReaderRecord[] = []
  #tick = 0

  /** A publish of some events, to be answered together. */
  send(producer: string, topic: string, events: readonly SentEvent[]): SendRecord {
    const invokedTick = ++this.#tick
    const attempts = events.map(
      (event): Attempt => ({
        ...event,
        topic,
        producer,
        invokedTick,
        outcome: 'open',
        error: undefined,
        place: undefined,
        endedTick: undefined,
      }),
    )
    this.attempts.push(...attempts)
    return new SendRecord(attempts, () => ++this.#tick)
  }

  reader(name: string, topic: string, start: ReaderStart, options: { readonly drains?: boolean } = {}): ReaderHistory {
    const record: ReaderRecord = {
      name,
      topic,
      start,
      drains: options.drains ?? false,
      openedTick: ++this.#tick,
      firstAnswerTick: undefined,
      steps: [],
    }
    this.readers.push(record)
    return new ReaderHistory(record, () => ++this.#tick)
  }
}

export class SendRecord {
  readonly #attempts: readonly Attempt[]
  readonly #tick: () => number

  constructor(attempts: readonly Attempt[], tick: () => number) {
    this.#attempts = attempts
    this.#tick = tick
  }

  /** One place per event, in order. */
  ok(places: readonly Place[]): void {
    this.#end('ok', undefined, places)
  }

  /** Certainly nothing of it is in the log, nor will be. */
  fail(error: string): void {
    this.#end('fail', error, [])
  }

  /** It may have landed, wholly or in part, or may land. */
  info(error: string): void {
    this.#end('info', error, [])
  }

  #end(outcome: Outcome, error: string | undefined, places: readonly Place[]): void {
    const tick = this.#tick()
    for (const [index, attempt] of this.#attempts.entries()) {
      if (attempt.outcome !== 'open') throw new Error('a publish is answered once')
      attempt.outcome = outcome
      attempt.error = error
      attempt.place = places[index]
      attempt.endedTick = tick
    }
  }
}

export class ReaderHistory {
  readonly record: ReaderRecord
  readonly #tick: () => number
  /** Handed out and not acked, oldest first. */
  #handed: readonly Delivered[] = []
  #acked: ReadonlyMap<number, Place> = new Map()
  #atMost: ReadonlyMap<number, Place> = new Map()

  constructor(record: ReaderRecord, tick: () => number) {
    this.record = record
    this.#tick = tick
  }

  /** An answer without events. */
  nothing(): void {
    this.record.firstAnswerTick ??= this.#tick()
  }

  batch(events: readonly Delivered[]): BatchRecord {
    const tick = this.#tick()
    this.record.firstAnswerTick ??= tick
    this.record.steps.push({ kind: 'batch', tick, events })
    const before = this.#handed
    this.#handed = [...before, ...events]
    return {
      events,
      cursor: () => this.#mark(behind(this.#acked, events), behind(this.#atMost, [...before, ...events])),
      ack: (count = events.length, isInCursor = true) => {
        const acked = events.slice(0, count)
        this.record.steps.push({ kind: 'ack', tick: this.#tick(), events: acked, before })
        if (isInCursor) this.#acked = behind(this.#acked, acked)
        this.#atMost = behind(this.#atMost, [...before, ...acked])
        this.#handed = []
      },
      giveBack: () => {
        this.record.steps.push({ kind: 'nack', tick: this.#tick(), events })
        this.#handed = before
      },
    }
  }

  /** For a reader that starts behind everything acked. */
  cursor(): CursorMark {
    return this.#mark(this.#acked, this.#atMost)
  }

  #mark(after: ReadonlyMap<number, Place>, atMost: ReadonlyMap<number, Place>): CursorMark {
    return { at: 'cursor', from: this.record.start, after, atMost }
  }
}

/** Only for places of one partition. */
export function comparePlaces(a: Place, b: Place): number {
  return a.offset - b.offset || a.index - b.index
}

/** The furthest place of each partition. */
function behind(known: ReadonlyMap<number, Place>, events: readonly Delivered[]): Map<number, Place> {
  const last = new Map(known)
  for (const { place } of events) {
    const other = last.get(place.partition)
    if (other === undefined || comparePlaces(other, place) < 0) last.set(place.partition, place)
  }
  return last
}
