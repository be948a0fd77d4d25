// Owns: an application that reads through the SDK: acks whole batches and prefixes, gives back, forgets to ack, starts
// again from cursors it kept; all in the history.

import type { StartPosition } from '../../../sdk/typescript/src/client.ts'
import type { Reader } from '../../../sdk/typescript/src/reader.ts'
import { sleep } from '../../../src/ports/clock.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import type { CursorMark, ReaderHistory, ReaderStart } from '../history/history.ts'
import { type ClientProcess, type ClientWorld, retryOf, type SimTopicFacts, startClient } from './client-world.ts'
import { textOfThrown } from './draw.ts'
import { deliveredOf } from './payload.ts'

interface Kept {
  readonly cursor: string
  readonly mark: CursorMark
}

export class SimReader {
  readonly name: string
  process: ClientProcess
  readonly #world: ClientWorld
  readonly #topic: SimTopicFacts
  readonly #maxEvents: number
  #reader: Reader
  #history: ReaderHistory
  #life = 1
  readonly #kept: Kept[] = []
  /** Events acked in all its lives. */
  ackedCount = 0
  done: Promise<void> = Promise.resolve()

  constructor(world: ClientWorld, name: string, topic: SimTopicFacts) {
    this.#world = world
    this.name = name
    this.#topic = topic
    this.process = startClient(world, name)
    const { random } = this.process
    this.#maxEvents = 1 + random.below(40)
    const at = random.chance(0.7) ? 'earliest' : 'latest'
    ;[this.#reader, this.#history] = this.#open(at, { at })
  }

  /** Reads until the storm is over; never ends for a client that is killed. */
  start(): void {
    this.done = this.#run()
  }

  async #run(): Promise<void> {
    const { random, clock } = this.process
    while (!this.#world.isOver()) {
      try {
        await this.#step()
      } catch (thrown) {
        const error = TrunklineError.from(thrown)
        this.#world.onDefect(
          `${this.name}: a pull ended with ${error.name}: ${textOfThrown(error.cause ?? error.details)}`,
        )
        await sleep(clock, 500)
      }
      if (random.chance(0.3)) await sleep(clock, random.below(300))
    }
  }

  /** Starts anew from a cursor that was kept, as another process would. */
  startAgain(): void {
    const { random } = this.process
    this.process.gate.kill()
    this.#life += 1
    this.process = startClient(this.#world, `${this.name}.${this.#life}`)
    const kept = this.#kept.length === 0 ? undefined : this.#kept[random.below(this.#kept.length)]
    const [reader, history] =
      kept === undefined ? this.#open('earliest', { at: 'earliest' }) : this.#open({ cursor: kept.cursor }, kept.mark)
    this.#reader = reader
    this.#history = history
    this.start()
    this.#world.trace.count(kept === undefined ? 'readers from the start' : 'readers from a cursor')
  }

  close(): Promise<void> {
    return this.process.client.close()
  }

  #open(from: StartPosition, start: ReaderStart): [Reader, ReaderHistory] {
    const reader = this.process.client.reader(this.#topic.name, {
      from,
      batch: { maxEvents: this.#maxEvents },
      waitMs: 2_000,
      retry: retryOf(this.#world),
    })
    return [reader, this.#world.history.reader(this.process.name, this.#topic.name, start)]
  }

  async #step(): Promise<void> {
    const { random } = this.process
    const batch = await this.#reader.pull()
    if (batch === undefined) {
      this.#history.nothing()
      return
    }
    const record = this.#history.batch(batch.events.map(deliveredOf))
    this.#world.trace.note(`${this.process.name} got ${batch.positions.join(' ')}`)
    this.#world.trace.count('delivered events', batch.events.length)
    const draw = random.fraction()
    if (draw < 0.6) {
      await batch.ack()
      record.ack()
      this.ackedCount += batch.events.length
    } else if (draw < 0.75) {
      const count = 1 + random.below(batch.events.length)
      const before = this.#reader.cursor
      await batch.ack(count)
      // A prefix ack that was lost with its session is remembered by the reader, and its cursor moves with a later ack.
      const isInCursor = count === batch.events.length || this.#reader.cursor !== before
      if (!isInCursor) this.#world.trace.count('prefix acks lost with their session')
      record.ack(count, isInCursor)
      this.ackedCount += count
    } else if (draw < 0.85) {
      record.giveBack()
      try {
        await batch.nack({ delayMs: random.below(500) })
      } catch (thrown) {
        // Its session is gone: what was not acked comes again by itself.
        if (TrunklineError.from(thrown).name !== 'NOTHING_TO_ACK') throw thrown
      }
    }
    // Else: neither; the next pull goes on behind it.
    if (random.chance(0.2)) this.#keep({ cursor: batch.cursor, mark: record.cursor() })
    const { cursor } = this.#reader
    if (random.chance(0.2) && cursor !== undefined) this.#keep({ cursor, mark: this.#history.cursor() })
  }

  #keep(kept: Kept): void {
    this.#kept.push(kept)
    if (this.#kept.length > 4) this.#kept.shift()
  }
}
