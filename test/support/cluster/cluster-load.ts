// Owns: the applications of a cluster under test: producers and readers (the crash tests' own) on several topics, and
// callers of the JSON API; what a fault did to each; and the verdict on everything they did.
// 1. `quiesce` leaves nothing unanswered: then the log, as a plain consumer sees it, is compared with what they know.
// 2. Whatever was written stays in the ledgers: each verdict covers everything since the beginning.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { GatewayKeys } from '../../../src/crypto/gateway-keys.ts'
import type { ApiProcess, Cluster } from '../cluster-process.ts'
import { Ledger } from '../crash/ledger.ts'
import { type CallCounts, type ClientAccess, newCounts } from '../crash/observed-client.ts'
import { AppReader, type ReaderHabits, type SavedCursor } from '../crash/reader.ts'
import { judgeReader, TopicIndex, type Violation } from '../crash/verdict.ts'
import { Writer } from '../crash/writer.ts'
import { accessToken } from '../gateway-process.ts'
import { ClientWatch, nodeIdOf } from './client-watch.ts'
import { JsonCaller } from './json-caller.ts'
import { judgeByConsumer } from './topic-verdict.ts'

export interface LoadOptions {
  readonly cluster: Cluster
  readonly apis: readonly ApiProcess[]
  readonly kafkaAddresses: readonly string[]
  readonly topics: readonly string[]
  readonly random: SeededRandom
  /** Of each topic. Default 4. */
  readonly writers?: number
  /** Default: four of different habits. */
  readonly readers?: readonly ReaderHabits[]
  /** Of each topic. Default 1. */
  readonly jsonCallers?: number
  /** Longest pause of a producer between two calls. Default 60. */
  readonly pauseMsMax?: number
}

export interface LoadVerdict {
  readonly violations: readonly Violation[]
  /** Publishes refused to an application, machine events out of place. */
  readonly surprises: readonly string[]
  readonly barriers: number
  readonly records: number
}

const always: ReaderHabits = { prefixes: 0, nacks: 0, ignores: 0, reopens: 0, from: 'own' }
const readersDefault: readonly ReaderHabits[] = [
  always,
  { ...always, prefixes: 0.4 },
  { ...always, nacks: 0.1, ignores: 0.3 },
  { ...always, prefixes: 0.1, reopens: 0.02, from: 'any' },
]
const quietMs = 90_000
/** The SDK's own way to try again, but without an end. */
const retry = { attemptsMax: 100_000 }

interface TopicLoad {
  readonly topic: string
  readonly ledger: Ledger
  readonly pool: SavedCursor[]
  readonly writers: readonly Writer[]
  readonly readers: readonly AppReader[]
  readonly callers: readonly JsonCaller[]
}

export class ClusterLoad {
  readonly watches: ClientWatch[] = []
  readonly callers: readonly JsonCaller[]
  readonly counts: CallCounts = newCounts()
  readonly #options: LoadOptions
  readonly #access: ClientAccess
  readonly #topics: readonly TopicLoad[]
  readonly #broken: string[] = []
  #mark = { acked: 0, batches: 0 }

  constructor(options: LoadOptions) {
    const { cluster, apis } = options
    this.#options = options
    const keys = GatewayKeys.parse(readFileSync(join(cluster.dir, 'keys', 'gateway-keys.json'), 'utf8'))
    this.#access = {
      httpUrl: apis.map(({ urls }) => urls.http),
      thriftUrl: apis.map(({ urls }) => urls.thrift),
      ...cluster.credentials,
    }
    this.#topics = options.topics.map((topic) => this.#startTopic(topic, keys))
    this.callers = this.#topics.flatMap(({ callers }) => callers)
  }

  get topics(): readonly string[] {
    return this.#options.topics
  }

  get acked(): number {
    return this.#topics.reduce((sum, { ledger }) => sum + ledger.acked, 0)
  }

  get batches(): number {
    return this.#topics.reduce((sum, { readers }) => sum + readers.reduce((part, one) => part + one.batches, 0), 0)
  }

  /** Of an acked publish since the fault began. */
  get longestWaitMs(): number {
    return Math.max(...this.#topics.map(({ ledger }) => ledger.longestWaitMs))
  }

  /** Events acked and batches read since the fault began. */
  get sinceFault(): { readonly acked: number; readonly batches: number } {
    return { acked: this.acked - this.#mark.acked, batches: this.batches - this.#mark.batches }
  }

  faultBegins(): void {
    for (const watch of this.watches) watch.faultBegins()
    for (const { ledger, callers } of this.#topics) {
      ledger.longestWaitMs = 0
      for (const caller of callers) {
        caller.longestWaitMs = 0
        caller.statuses.clear()
      }
    }
    this.#mark = { acked: this.acked, batches: this.batches }
  }

  /** Resolves once `holds`, looked at again and again. Rejects when it takes longer, or when a reader has ended. */
  async until(what: string, holds: () => boolean | Promise<boolean>, withinMs: number): Promise<void> {
    const endMs = performance.now() + withinMs
    while (!(await holds())) {
      if (this.#broken.length > 0) throw new Error(this.#broken.join('\n'))
      if (performance.now() > endMs) throw new Error(`not within ${withinMs} ms: ${what}\n${this.describe()}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** So many events are acked and batches read from now on. */
  async untilProgress(acked: number, batches: number, withinMs = 60_000): Promise<void> {
    const from = { acked: this.acked, batches: this.batches }
    const holds = (): boolean => this.acked >= from.acked + acked && this.batches >= from.batches + batches
    await this.until(`${acked} events acked and ${batches} batches read`, holds, withinMs)
  }

  /** What was published before is answered. */
  async untilAnswered(withinMs = quietMs): Promise<void> {
    const open = this.#topics.flatMap(({ ledger }) =>
      [...ledger.attempts.values()].filter(({ outcome }) => outcome === 'pending'),
    )
    const holds = (): boolean => open.every(({ outcome }) => outcome !== 'pending')
    await this.until('what was published is answered', holds, withinMs)
  }

  /** Every client has a session and has used it. */
  async untilAllAtWork(): Promise<void> {
    await this.until(
      'every client has a session',
      () => this.watches.every(({ holder }) => holder !== undefined),
      60_000,
    )
    await this.untilProgress(100, 10)
  }

  /** Nobody publishes any more until it is resumed; all that was published is answered. */
  async quiesce(): Promise<void> {
    for (const { writers } of this.#topics) for (const writer of writers) writer.rest(true)
    await Promise.all(this.callers.map((caller) => caller.stop()))
    for (const { topic, ledger } of this.#topics)
      await this.until(`every publish to ${topic} is answered`, () => ledger.pending === 0, quietMs)
  }

  /** One producer of each topic with a session at that node publishes nothing until `wake`. Returns them. */
  rest(nodeId: string): readonly ClientWatch[] {
    const resting: ClientWatch[] = []
    for (const { topic, writers } of this.#topics) {
      for (const [i, writer] of writers.entries()) {
        const watch = this.watches.find(({ name }) => name === `${topic}/w${i}`)
        if (watch === undefined || nodeIdOf(watch.holder) !== nodeId) continue
        writer.rest(true)
        watch.resting = true
        resting.push(watch)
        break
      }
    }
    return resting
  }

  wake(): void {
    for (const { writers } of this.#topics) for (const writer of writers) writer.rest(false)
    for (const watch of this.watches) watch.resting = false
  }

  /** Ends the applications and judges: the log by a plain consumer, the readers by their traces. */
  async finish(): Promise<LoadVerdict> {
    await this.quiesce()
    await Promise.all(this.#topics.flatMap(({ writers }) => writers.map((writer) => writer.close())))
    await Promise.all(this.#topics.flatMap(({ readers }) => readers.map((reader) => reader.finish())))
    const violations: Violation[] = []
    let barriers = 0
    let records = 0
    for (const { topic, ledger, readers } of this.#topics) {
      const verdict = await judgeByConsumer(
        {
          kafka: { brokers: [...this.#options.kafkaAddresses] },
          topic,
          keyringFile: join(this.#options.cluster.dir, 'keys', 'keyring.json'),
        },
        ledger,
      )
      barriers += verdict.records.filter(({ isBarrier }) => isBarrier).length
      records += verdict.records.length
      const index = new TopicIndex(verdict.stored)
      violations.push(...verdict.violations, ...readers.flatMap(({ trace }) => judgeReader(trace, index)))
    }
    const refusals = this.#topics.flatMap(({ writers }) => writers.flatMap((writer) => writer.refusals))
    return { violations, surprises: [...this.counts.defects, ...this.#broken, ...refusals], barriers, records }
  }

  /** Gives everything up at once. Idempotent. */
  async abandon(): Promise<void> {
    await Promise.all(this.#topics.flatMap(({ callers }) => callers.map((caller) => caller.stop())))
    await Promise.all(
      this.#topics.flatMap(({ writers, readers }) => [...writers, ...readers].map((app) => app.abandon())),
    )
  }

  /** For a failed test's message. */
  describe(): string {
    const clients = this.watches.map(
      ({ name, holder, moves, errors }) => `${name} at ${holder} moves ${moves} ${JSON.stringify([...errors])}`,
    )
    return [JSON.stringify({ ...this.sinceFault, counts: this.counts }), ...clients].join('\n')
  }

  #watch(name: string, kind: 'read' | 'write', restless: boolean, keys: GatewayKeys): ClientWatch {
    const watch = new ClientWatch(name, kind, restless, keys)
    this.watches.push(watch)
    return watch
  }

  #startTopic(topic: string, keys: GatewayKeys): TopicLoad {
    const { random, apis, cluster, pauseMsMax = 60 } = this.#options
    const ledger = new Ledger()
    const pool: SavedCursor[] = []
    const shared = { topic, access: this.#access, ledger, counts: this.counts, retry }
    const writers = Array.from({ length: this.#options.writers ?? 4 }, (_, i) => {
      const name = `w${i}`
      const watch = this.#watch(`${topic}/${name}`, 'write', false, keys)
      return new Writer({ ...shared, name, watch, pauseMsMax, random: random.fork(`${topic} writer ${i}`) })
    })
    const readers = (this.#options.readers ?? readersDefault).map((habits, i) => {
      const name = `${topic}/r${i}`
      const watch = this.#watch(name, 'read', habits.reopens > 0, keys)
      return new AppReader({ ...shared, name, watch, pool, habits, waitMs: 1_000, random: random.fork(`${name}`) })
    })
    const callers = Array.from(
      { length: this.#options.jsonCallers ?? 1 },
      (_, i) =>
        new JsonCaller({
          name: `j${i}`,
          topic,
          ledger,
          random: random.fork(`${topic} caller ${i}`),
          httpUrls: apis.map(({ urls }) => urls.http),
          bearer: bearerOf(apis, cluster),
          pauseMsMax: 150,
        }),
    )
    for (const reader of readers) reader.start((why) => this.#broken.push(why.message))
    for (const app of [...writers, ...callers]) app.start()
    return { topic, ledger, pool, writers, readers, callers }
  }
}

/** One token for the whole run; any API process takes it. */
function bearerOf(apis: readonly ApiProcess[], { credentials }: Cluster): () => Promise<string> {
  let token: Promise<string> | undefined
  return () => {
    const [api] = apis
    if (api === undefined) throw new Error('there is no API process')
    token ??= accessToken({ urls: api.urls, credentials })
    return token
  }
}
