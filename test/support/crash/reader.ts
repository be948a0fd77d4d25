// Owns: an application that reads: it acks whole batches, prefixes or nothing for a while, gives batches back, saves
// cursors and starts again from them. What it saw and acked is kept as a trace, to be judged when the run is over.

import type { Batch, Reader } from '../../../sdk/typescript/src/reader.ts'
import type { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import type { RetryPolicy } from '../../../src/fsm/client/client-session.types.ts'
import { faultOf, type Ledger } from './ledger.ts'
import {
  type CallCounts,
  type CallWatch,
  type ClientAccess,
  connectObserved,
  type ObservedClient,
  patientRetry,
} from './observed-client.ts'

/** By partition: the last place, as one number that grows with offset and index. */
export type Places = ReadonlyMap<number, number>

/**
 * What is acked. `surely` by an ack of its very batch; `perhaps` because a later batch was acked, which counts for all
 * that was handed out before it, unless a lost session had taken that back.
 */
export interface Acked {
  readonly surely: Places
  readonly perhaps: Places
}

export interface SavedCursor {
  readonly cursor: string
  readonly acked: Acked
}

export type TraceStep =
  | { readonly kind: 'opened'; readonly at: Acked }
  | { readonly kind: 'delivered'; readonly places: readonly (readonly [partition: number, place: number])[] }
  | { readonly kind: 'acked'; readonly acked: Acked }

export interface ReaderTrace {
  readonly name: string
  readonly steps: TraceStep[]
  /** What was wrong with events by themselves. */
  readonly faults: string[]
  /** It read to the end of the topic: the last place of every partition must be there. */
  complete: boolean
}

export interface ReaderHabits {
  readonly prefixes: number
  readonly nacks: number
  /** Batches left un-acked until a later one is. */
  readonly ignores: number
  /** Starting again from a cursor, after a clean end or a death. */
  readonly reopens: number
  /** Whose cursors it starts from. */
  readonly from: 'own' | 'any'
}

export interface AppReaderOptions {
  readonly name: string
  readonly topic: string
  readonly access: ClientAccess
  readonly counts: CallCounts
  readonly ledger: Ledger
  readonly random: SeededRandom
  readonly habits: ReaderHabits
  /** Cursors that all readers of the run saved. */
  readonly pool: SavedCursor[]
  /** How long a pull waits at the end. Default 100 ms. */
  readonly waitMs?: number
  /** Default: never gives up. */
  readonly retry?: Partial<RetryPolicy>
  readonly watch?: CallWatch
}

export const noPlaces: Acked = { surely: new Map(), perhaps: new Map() }
const indexBits = 2 ** 20
/** A reader that starts again from an old cursor reads everything behind it again: not from too far. */
const poolRecent = 24
const emptyPullsAtEnd = 2

export function placeOf(position: { readonly offset: number; readonly index: number }): number {
  return position.offset * indexBits + position.index
}

export class AppReader {
  readonly trace: ReaderTrace
  batches = 0
  readonly #options: AppReaderOptions
  #connection: ObservedClient
  #reader: Reader
  #last: SavedCursor | undefined
  #delivered = new Map<number, number>()
  #acked: Acked = noPlaces
  /** An acked prefix that the gateway may not have heard of: the cursor is behind what we know. */
  #cursorLags = false
  #finishing = false
  #running: Promise<void> | undefined

  constructor(options: AppReaderOptions) {
    this.#options = options
    this.trace = { name: options.name, steps: [], faults: [], complete: false }
    this.#connection = connectObserved(options.access, options.counts, options.watch)
    this.#reader = this.#open(undefined)
  }

  /** `onEnded` hears why it ended before it was told to. */
  start(onEnded: (why: Error) => void): void {
    this.#running ??= this.#run().catch((thrown: unknown) => {
      const fault = `its reading ended: ${String(thrown)}`
      this.trace.faults.push(fault)
      onEnded(new Error(`${this.trace.name}: ${fault}`))
    })
  }

  /** Reads to the end, acks everything and ends its session. */
  async finish(): Promise<void> {
    this.#finishing = true
    await this.#running
    await this.#connection.client.close()
  }

  /** Gives up at once, whatever the gateway does. */
  async abandon(): Promise<void> {
    this.#finishing = true
    await this.#connection.cut()
    await this.#running
  }

  async #run(): Promise<void> {
    const { random, habits } = this.#options
    let empty = 0
    while (!this.#finishing || empty < emptyPullsAtEnd) {
      const batch = await this.#reader.pull()
      empty = batch === undefined ? empty + 1 : 0
      if (batch !== undefined) await this.#handle(batch)
      if (!this.#finishing && random.chance(habits.reopens)) await this.#reopen()
    }
    this.trace.complete = true
  }

  async #handle(batch: Batch): Promise<void> {
    const { random, habits, ledger } = this.#options
    const before = new Map(this.#delivered)
    this.#note(batch)
    this.batches += 1
    ledger.touch()
    if (this.#finishing) return this.#ackWhole(batch)
    const choice = random.fraction()
    const allBeforeAcked = [...before].every(
      ([partition, place]) => (this.#acked.perhaps.get(partition) ?? -1) >= place,
    )
    if (choice < habits.prefixes) await this.#ackPrefix(batch, before, 1 + random.below(batch.events.length))
    else if (choice < habits.prefixes + habits.nacks && allBeforeAcked) await this.#giveBack(batch)
    else if (choice < habits.prefixes + habits.nacks + habits.ignores) return
    else await this.#ackWhole(batch)
  }

  #note(batch: Batch): void {
    const { ledger } = this.#options
    const places = batch.events.map((event) => {
      const { partition } = event.position
      const fault = faultOf(event, ledger.attempts.get(event.id ?? ''))
      if (fault !== undefined) this.trace.faults.push(fault)
      const place = placeOf(event.position)
      this.#delivered.set(partition, place)
      return [partition, place] as const
    })
    this.trace.steps.push({ kind: 'delivered', places })
  }

  async #ackWhole(batch: Batch): Promise<void> {
    await batch.ack()
    this.#ackedNow(batch, batch.events.length, new Map(this.#delivered))
    this.#save()
  }

  async #ackPrefix(batch: Batch, before: Places, count: number): Promise<void> {
    const cursorBefore = this.#reader.cursor
    await batch.ack(count)
    const perhaps = new Map(before)
    for (const event of batch.events.slice(0, count)) perhaps.set(event.position.partition, placeOf(event.position))
    this.#ackedNow(batch, count, perhaps)
    if (this.#reader.cursor === cursorBefore) this.#cursorLags = true
    this.#save()
  }

  #ackedNow(batch: Batch, count: number, perhaps: Places): void {
    const surely = new Map(this.#acked.surely)
    for (const { position } of batch.events.slice(0, count)) {
      surely.set(position.partition, Math.max(surely.get(position.partition) ?? -1, placeOf(position)))
    }
    this.#acked = { surely, perhaps }
    this.trace.steps.push({ kind: 'acked', acked: this.#acked })
  }

  async #giveBack(batch: Batch): Promise<void> {
    const delayMs = this.#options.random.below(30)
    try {
      await batch.nack({ delayMs })
    } catch (thrown) {
      // Its session was lost meanwhile: it comes again by itself.
      if (!(thrown instanceof Error && thrown.name === 'NOTHING_TO_ACK')) throw thrown
    }
  }

  #save(): void {
    const { cursor } = this.#reader
    if (cursor === undefined || this.#cursorLags) return
    this.#last = { cursor, acked: this.#acked }
    if (this.#options.random.chance(0.2)) this.#options.pool.push(this.#last)
  }

  async #reopen(): Promise<void> {
    const { random, habits, pool, access, counts, watch } = this.#options
    const recent = pool.slice(-poolRecent)
    const saved = habits.from === 'any' && recent.length > 0 ? random.pick(recent) : this.#last
    if (saved === undefined) return
    if (random.chance(0.5)) await this.#reader.close()
    else {
      await this.#connection.cut()
      this.#connection = connectObserved(access, counts, watch)
    }
    this.#reader = this.#open(saved)
  }

  #open(saved: SavedCursor | undefined): Reader {
    this.#acked = saved?.acked ?? noPlaces
    this.#delivered = new Map(this.#acked.perhaps)
    this.#cursorLags = false
    this.trace.steps.push({ kind: 'opened', at: this.#acked })
    const { topic, waitMs = 100, retry = patientRetry } = this.#options
    return this.#connection.client.reader(topic, {
      from: saved === undefined ? 'earliest' : { cursor: saved.cursor },
      batch: { maxEvents: 64 },
      waitMs,
      retry,
    })
  }
}
