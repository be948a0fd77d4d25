// Owns: an application that publishes through the SDK: single events and batches, keyed, unkeyed and placed, several at
// once, all in the history.

import type { EventInput } from '../../../sdk/typescript/src/events.ts'
import type { Producer } from '../../../sdk/typescript/src/producer.ts'
import { sleep } from '../../../src/ports/clock.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { partitionForKey } from '../../../src/protocol/partitioning.ts'
import type { SendRecord, SentEvent } from '../history/history.ts'
import { type ClientProcess, type ClientWorld, retryOf, type SimTopicFacts, startClient } from './client-world.ts'
import { textOfThrown } from './draw.ts'
import { hashOf, payloadOf } from './payload.ts'

export interface ProducerPlan {
  readonly thinkMs: number
  readonly pipeline: number
  readonly eventsPerPublish: { readonly min: number; readonly max: number }
}

const keysPerTopic = 6

export class SimProducer {
  readonly process: ClientProcess
  readonly #world: ClientWorld
  readonly #plan: ProducerPlan
  readonly #topic: SimTopicFacts
  readonly #producer: Producer
  #seq = 0
  #out = 0
  #wake: (() => void) | undefined
  /** Settles when the storm is over and everything is answered. */
  done: Promise<void> = Promise.resolve()

  constructor(world: ClientWorld, name: string, topic: SimTopicFacts, plan: ProducerPlan) {
    this.#world = world
    this.#plan = plan
    this.#topic = topic
    this.process = startClient(world, name)
    const windowWrites = this.process.random.chance(0.3) ? { windowWrites: 1 + this.process.random.below(4) } : {}
    const encoding = this.process.random.chance(0.3) ? 'gzip' : 'none'
    this.#producer = this.process.client.producer(topic.name, { retry: retryOf(world), encoding, ...windowWrites })
  }

  /** Publishes that are not answered. */
  get outCount(): number {
    return this.#out
  }

  /** Publishes until the storm is over and everything is answered; never ends for a client that is killed. */
  start(): void {
    this.done = this.#run()
  }

  close(): Promise<void> {
    return this.process.client.close()
  }

  async #run(): Promise<void> {
    const { random, clock } = this.process
    while (!this.#world.isOver()) {
      while (this.#out >= this.#plan.pipeline) await new Promise<void>((resolve) => (this.#wake = resolve))
      if (this.#world.isOver()) break
      this.#publish()
      // Often several in a row, so that the window fills.
      if (!random.chance(0.4)) await sleep(clock, 2 * this.#plan.thinkMs * random.fraction())
    }
    while (this.#out > 0) await new Promise<void>((resolve) => (this.#wake = resolve))
  }

  #publish(): void {
    const { random, name } = this.process
    const { min, max } = this.#plan.eventsPerPublish
    const count = min + random.below(max - min + 1)
    const inputs: EventInput[] = []
    const sent: SentEvent[] = []
    for (let i = 0; i < count; i += 1) {
      const value = `${name}/${++this.#seq}`
      const payload = payloadOf(value, random, this.#world.payloadBytesMax)
      const place = this.#place()
      inputs.push({ ...place.input, payload })
      sent.push({ value, seq: this.#seq, partition: place.partition, payloadHash: hashOf(payload) })
    }
    const record = this.#world.history.send(name, this.#topic.name, sent)
    this.#out += 1
    this.#world.trace.note(
      `${name} publishes ${sent.map(({ value, partition }) => `${value}→${partition ?? '?'}`).join(' ')}`,
    )
    void this.#follow(inputs, record)
  }

  async #follow(inputs: readonly EventInput[], record: SendRecord): Promise<void> {
    try {
      const positions = await this.#producer.publish(inputs)
      record.ok(positions.map(({ partition, offset, index }) => ({ partition, offset, index })))
      this.#world.trace.note(`${this.process.name} acked ${positions.join(' ')}`)
      this.#world.trace.count('acked events', positions.length)
    } catch (thrown) {
      const error = TrunklineError.from(thrown)
      this.#world.trace.note(`${this.process.name} told ${error.name}`)
      this.#world.trace.count(`publishes ${error.name}`)
      if (error.name === 'INTERNAL') this.#world.onDefect(`${this.process.name}: ${textOfThrown(error.cause ?? error)}`)
      // A publish that several writes carried may be there in part.
      const partly = error.name === 'OUTCOME_UNKNOWN' || error.details['published'] !== undefined
      if (partly) record.info(error.name)
      else record.fail(error.name)
    }
    this.#out -= 1
    this.#wake?.()
  }

  #place(): { readonly input: EventInput; readonly partition: number | undefined } {
    const { random } = this.process
    const { partitions } = this.#topic
    const draw = random.fraction()
    if (draw < 0.15) return { input: {}, partition: undefined }
    if (draw < 0.3) {
      const partition = random.below(partitions)
      return { input: { partition }, partition }
    }
    const key = `key-${random.below(keysPerTopic)}`
    return { input: { key }, partition: partitionForKey(new TextEncoder().encode(key), partitions) }
  }
}
