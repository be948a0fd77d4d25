// Owns: an application that publishes without end: small calls, several unanswered at once, keys of its own choice. Now
// and then it dies with publishes unanswered, and another takes its place as a new producer.

import type { Producer } from '../../../sdk/typescript/src/producer.ts'
import type { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import type { RetryPolicy } from '../../../src/fsm/client/client-session.types.ts'
import { type Attempt, type Ledger, payloadOf } from './ledger.ts'
import {
  type CallCounts,
  type CallWatch,
  type ClientAccess,
  connectObserved,
  newCounts,
  type ObservedClient,
  patientRetry,
} from './observed-client.ts'

export interface WriterOptions {
  readonly name: string
  readonly topic: string
  readonly access: ClientAccess
  readonly counts: CallCounts
  readonly ledger: Ledger
  readonly random: SeededRandom
  /** Longest pause between two calls. Default 12 ms. */
  readonly pauseMsMax?: number
  /** Default: never gives up. */
  readonly retry?: Partial<RetryPolicy>
  readonly watch?: CallWatch
}

const callsUnansweredMax = 8
const eventsPerCallMax = 4
const keysMax = 12

export class Writer {
  readonly #options: WriterOptions
  #instance = 0
  #seq = 0
  #connection: ObservedClient | undefined
  #producer: Producer | undefined
  #unanswered = 0
  #wake: () => void = () => {}
  #stopping = false
  #resting = false
  #running: Promise<void> | undefined
  /** What a publish was answered with though nobody cut its client off. */
  readonly refusals: string[] = []

  constructor(options: WriterOptions) {
    this.#options = options
    this.#renew()
  }

  start(): void {
    this.#running ??= this.#run()
  }

  /** Publishes nothing for a while; what is unanswered goes on. */
  rest(resting: boolean): void {
    this.#resting = resting
  }

  /** Publishes no more; what is unanswered stays so until it is answered. */
  async stop(): Promise<void> {
    this.#stopping = true
    await this.#running
  }

  async close(): Promise<void> {
    await this.stop()
    await this.#connection?.client.close()
  }

  /** Gives up at once, whatever the gateway does. */
  async abandon(): Promise<void> {
    this.#stopping = true
    await this.#connection?.cut()
    await this.#running
  }

  /** The application dies and starts anew; what it waited for it never hears of. */
  async die(): Promise<void> {
    const dead = this.#connection
    this.#renew()
    await dead?.cut()
  }

  #renew(): void {
    const { name, access, counts, topic, watch, retry = patientRetry } = this.#options
    this.#instance += 1
    this.#seq = 0
    this.#connection = connectObserved(access, counts, watch)
    this.#producer = this.#connection.client.producer(topic, { retry, source: `/${name}` })
  }

  async #run(): Promise<void> {
    const { random, pauseMsMax = 12 } = this.#options
    while (!this.#stopping) {
      if (this.#unanswered < callsUnansweredMax && !this.#resting) this.#publish()
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
          // So that stop() is heard while nothing is answered.
          setTimeout(resolve, 100)
        })
      }
      await new Promise((resolve) => setTimeout(resolve, random.below(pauseMsMax + 1)))
    }
  }

  #publish(): void {
    const { name, ledger, random } = this.#options
    const producer = this.#producer
    const connection = this.#connection
    if (producer === undefined) throw new Error('a writer has a producer')
    const attempts: Attempt[] = Array.from({ length: 1 + random.below(eventsPerCallMax) }, () => {
      const key = random.chance(0.15) ? undefined : `k${random.below(keysMax)}`
      this.#seq += 1
      return ledger.attempt(`${name}.${this.#instance}`, this.#seq, key)
    })
    this.#unanswered += 1
    producer
      .publish(attempts.map(({ id, key }) => ({ id, key, payload: payloadOf(id) })))
      .then(
        (positions) => {
          for (const [i, attempt] of attempts.entries()) ledger.settle(attempt, 'acked', String(positions[i]))
        },
        (thrown: unknown) => {
          // What a client that was cut off hears is no answer.
          if (connection === this.#connection) this.refusals.push(`${attempts[0]?.id}: ${String(thrown)}`)
          for (const attempt of attempts) ledger.settle(attempt, 'unknown')
        },
      )
      .finally(() => {
        this.#unanswered -= 1
        this.#wake()
      })
  }
}

/** One event, so that the topic is there. */
export async function publishFirst(access: ClientAccess, topic: string, ledger: Ledger): Promise<void> {
  const { client } = connectObserved(access, newCounts())
  try {
    const attempt = ledger.attempt('first', 1, undefined)
    const [position] = await client.producer(topic).publish({ id: attempt.id, payload: payloadOf(attempt.id) })
    ledger.settle(attempt, 'acked', String(position))
  } finally {
    await client.close()
  }
}
