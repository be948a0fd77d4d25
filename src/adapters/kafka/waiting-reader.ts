// Owns: EventLog.fetch: what is there now, or the next thing that comes.
// 1. Answers at once when any position has records or an error; otherwise when something comes, after `waitMs`, when the
//    signal aborts, or when the log closes.
// 2. A position that somebody read to its end is followed from there (tail.ts): its next fetch asks no broker.
// 3. While some partition cannot be asked, the others are served, and that one is answered as empty; only when none
//    can be asked does it reject as UNAVAILABLE.
import type { Clock } from '../../ports/clock.ts'
import type { FetchOptions, FetchPosition, TopicFormat } from '../../ports/event-log.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import type { BrokerFetch } from '../log-core/log-broker.ts'
import { fitting, sizeOf } from './fetched-records.ts'
import type { Metadata } from './metadata.ts'
import { failedAt, fetchedAt } from './position.ts'
import type { Reader } from './reader.ts'
import type { Tail } from './tail.ts'

export interface WaitingReaderParts {
  readonly metadata: Metadata
  readonly reader: Reader
  readonly tail: Tail
  readonly formatOf: (topicId: string) => Promise<TopicFormat>
  readonly clock: Clock
}

const recordsMaxPerPosition = 10_000
/** A position that cannot be asked holds up a tail's other positions no longer. */
const tailTryMs = 1_000
const lookAgainMs = 100

export class WaitingReader {
  readonly #parts: WaitingReaderParts
  #closed = false

  constructor(parts: WaitingReaderParts) {
    this.#parts = parts
  }

  /** Errors: UNAVAILABLE. */
  async fetch(at: readonly FetchPosition[], options: FetchOptions): Promise<readonly BrokerFetch[]> {
    if (at.length === 0) return []
    if (options.lane !== 'tail' || options.waitMs <= 0) return this.#now(at, options)
    const { clock, tail } = this.#parts
    const untilMs = clock.monotonicMs() + options.waitMs
    for (let looked = false; ; ) {
      if (this.#closed) throw closed()
      const { answers, followed } = await this.#round(at, options)
      const something = answers.some((one) => one.error !== undefined || one.records.length > 0)
      if (something) return answers
      const leftMs = untilMs - clock.monotonicMs()
      if (leftMs <= 0 || options.signal?.aborted === true) {
        const places = this.#placesOf(at)
        if (places.every(({ topicId, partition }) => tail.isFailing(topicId, partition))) throw unavailable()
        return answers
      }
      // What has just begun to be followed may have moved already: looked at once more before anybody waits.
      if (followed && !looked) looked = true
      // Something is not followed from where it is asked (the tail lags behind, or is ahead): looked at again soon.
      else await this.#change(at, followed ? Math.min(leftMs, lookAgainMs) : leftMs, options.signal)
    }
  }

  close(): void {
    this.#closed = true
  }

  async #now(at: readonly FetchPosition[], options: FetchOptions): Promise<readonly BrokerFetch[]> {
    if (this.#closed) throw closed()
    const answers = await this.#parts.reader.read(at, options)
    if (this.#closed) throw closed()
    if (answers.every((one) => one === undefined)) throw unavailable()
    return at.map((one, index) => answers[index] ?? failedAt(one, 'UNAVAILABLE'))
  }

  async #round(
    at: readonly FetchPosition[],
    options: FetchOptions,
  ): Promise<{ readonly answers: readonly BrokerFetch[]; readonly followed: boolean }> {
    const { clock, reader } = this.#parts
    const answers: (BrokerFetch | undefined)[] = []
    let bytesLeft = options.bytesMax
    for (const one of at) {
      const answer = this.#fromTail(one, bytesLeft)
      for (const record of answer?.records ?? []) bytesLeft -= sizeOf(record)
      answers.push(answer)
    }
    const missing = at.filter((_, index) => answers[index] === undefined)
    if (missing.length === 0) return { answers: complete(at, answers), followed: false }
    const read = await reader.read(missing, {
      lane: 'catchup',
      bytesMax: Math.max(1, bytesLeft),
      signal: options.signal,
      deadlineAtMs: clock.monotonicMs() + tailTryMs,
    })
    if (this.#closed) throw closed()
    let followed = false
    for (const [index, one] of at.entries()) {
      if (answers[index] !== undefined) continue
      const answer = read[missing.indexOf(one)]
      answers[index] = answer
      if (answer === undefined || (answer.error === undefined && answer.nextOffset >= answer.highWatermark)) {
        const { logStart, highWatermark, nextOffset } = answer ?? {
          logStart: 0,
          highWatermark: one.offset,
          nextOffset: one.offset,
        }
        if (await this.#follow(one, { offset: nextOffset, logStart, highWatermark })) followed = true
      }
    }
    return { answers: complete(at, answers), followed }
  }

  #fromTail(at: FetchPosition, bytesMax: number): BrokerFetch | undefined {
    const { metadata, tail } = this.#parts
    const topic = metadata.known(at.topic)
    if (topic === undefined) return undefined
    const read = tail.read(topic.topicId, at.partition, at.offset)
    if (read === undefined) return undefined
    const count = fitting(read.records, bytesMax, recordsMaxPerPosition)
    const first = read.records[count]
    if (first === undefined) return fetchedAt(at, read)
    return fetchedAt(at, { ...read, records: read.records.slice(0, count), nextOffset: first.offset })
  }

  async #follow(
    at: FetchPosition,
    where: { offset: number; logStart: number; highWatermark: number },
  ): Promise<boolean> {
    const { metadata, tail, formatOf } = this.#parts
    const topic = metadata.knownOrDoubtful(at.topic)
    if (topic === undefined) return false
    const format = await formatOf(topic.topicId)
    tail.follow({ topic: at.topic, topicId: topic.topicId, partition: at.partition, format }, where)
    return true
  }

  #placesOf(at: readonly FetchPosition[]): readonly { readonly topicId: string; readonly partition: number }[] {
    const { metadata } = this.#parts
    return at.flatMap(({ topic, partition }) => {
      const known = metadata.knownOrDoubtful(topic)
      return known === undefined ? [] : [{ topicId: known.topicId, partition }]
    })
  }

  /** Resolves at the next change of one of the positions, after `leftMs`, or when the signal aborts. */
  #change(at: readonly FetchPosition[], leftMs: number, signal: AbortSignal | undefined): Promise<void> {
    const { clock, tail } = this.#parts
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel()
        takeBack()
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const timer = clock.after(leftMs, done)
      const takeBack = tail.onChange(this.#placesOf(at), done)
      signal?.addEventListener('abort', done)
    })
  }
}

/** Invariant 3. */
function complete(at: readonly FetchPosition[], answers: readonly (BrokerFetch | undefined)[]): readonly BrokerFetch[] {
  return at.map(
    (one, index) =>
      answers[index] ?? fetchedAt(one, { logStart: 0, highWatermark: one.offset, nextOffset: one.offset, records: [] }),
  )
}

function closed(): TrunklineError {
  return new TrunklineError('UNAVAILABLE', { details: { log: 'closed' } })
}

function unavailable(): TrunklineError {
  return new TrunklineError('UNAVAILABLE')
}
