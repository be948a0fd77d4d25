// Owns: fetching and opening records that lie behind the end of one topic.
// 1. One fetch per (partition, offset) is in flight, whoever asks.
// 2. A fetch takes ≤ 1 MiB of sealed bytes (and at least one record of each partition asked), less when it asks for several
//    partitions: what is opened ahead in each of them has to stay in the cache until its turn comes.
// Leaves out: the end of the topic (shared-tail.ts), what a session gets (topic-reader.ts).
import type { EventLog, PartitionFetch, TopicInfo } from '../../ports/event-log.ts'
import type { ErrorName } from '../../protocol/errors.ts'
import { readBytesSoft } from '../../protocol/limits.ts'
import type { CatchUpLanes } from './catch-up-lanes.ts'
import type { Opened, OpenedTopic } from './opened.ts'
import type { OpenedBlocks } from './opened-blocks.ts'
import type { ReadMetrics } from './read-metrics.ts'

/** The records of one partition in [from, next), opened; offsets that are missing are gone for good. */
export interface Chunk {
  readonly from: number
  readonly next: number
  readonly logStart: number
  readonly error: ErrorName | undefined
  /** By offset, ascending. */
  readonly items: readonly OpenedRecord[]
}

export interface OpenedRecord {
  readonly offset: number
  readonly opened: Opened
}

export interface CatchUpDeps {
  readonly log: Pick<EventLog, 'fetch'>
  readonly blocks: OpenedBlocks
  readonly lanes: CatchUpLanes
  readonly topic: TopicInfo
  readonly metrics?: ReadMetrics | undefined
}

export interface Wanted {
  readonly partition: number
  readonly offset: number
}

export const fetchBytesMax = 1024 * 1024
/** One read's worth. */
const fetchBytesMin = readBytesSoft

export class CatchUp {
  readonly #deps: CatchUpDeps
  readonly #inFlight = new Map<string, Promise<Chunk>>()

  constructor(deps: CatchUpDeps) {
    this.#deps = deps
  }

  /** One chunk per wanted place, in order. Errors: UNAVAILABLE. */
  fetch(wanted: readonly Wanted[]): Promise<Chunk[]> {
    const fresh = wanted.filter((place) => !this.#inFlight.has(keyOf(place)))
    if (fresh.length > 0) this.#start(fresh)
    return Promise.all(
      wanted.map((place) => this.#inFlight.get(keyOf(place)) ?? Promise.reject(new Error('a fetch was not started'))),
    )
  }

  #start(places: readonly Wanted[]): void {
    const chunks = this.#fetchNow(places)
    places.forEach((place, index) => {
      const key = keyOf(place)
      const one = chunks
        .then((all) => {
          const chunk = all[index]
          if (chunk === undefined) throw new Error('a fetch answers every position')
          return chunk
        })
        .finally(() => this.#inFlight.delete(key))
      this.#inFlight.set(key, one)
    })
  }

  async #fetchNow(places: readonly Wanted[]): Promise<Chunk[]> {
    const { log, lanes, topic, metrics } = this.#deps
    const at = places.map(({ partition, offset }) => ({ topic: topic.name, partition, offset }))
    return lanes.run(async () => {
      const bytesMax = Math.max(fetchBytesMin, Math.floor(fetchBytesMax / at.length))
      const answers = await log.fetch(at, { lane: 'catchup', waitMs: 0, bytesMax })
      metrics?.fetched('catchup', countRecords(answers))
      return Promise.all(answers.map((answer, index) => this.#open(places[index]?.offset ?? 0, answer)))
    })
  }

  async #open(from: number, answer: PartitionFetch): Promise<Chunk> {
    const { blocks, topic } = this.#deps
    const { nextOffset, logStart, error } = answer
    const items = await openAll(blocks, topic, answer, from)
    return { from, next: nextOffset, logStart, error, items }
  }
}

/**
 * Opens what a fetch of one partition answered from offset `from` on; waits only for records whose key is not at hand.
 * Holes between offsets are remembered like records.
 */
export async function openAll(
  blocks: OpenedBlocks,
  topic: OpenedTopic,
  { partition, records, nextOffset }: Pick<PartitionFetch, 'partition' | 'records' | 'nextOffset'>,
  from: number,
): Promise<OpenedRecord[]> {
  let due = from
  const results = records.map((record) => {
    if (record.offset > due) blocks.gap(topic.topicId, partition, due, record.offset)
    due = record.offset + 1
    return blocks.open(topic, partition, record)
  })
  if (nextOffset > due) blocks.gap(topic.topicId, partition, due, nextOffset)
  const items: OpenedRecord[] = []
  for (const [index, result] of results.entries()) {
    const offset = records[index]?.offset ?? 0
    items.push({ offset, opened: result instanceof Promise ? await result : result })
  }
  return items
}

export function countRecords(answers: readonly PartitionFetch[]): number {
  return answers.reduce((count, { records }) => count + records.length, 0)
}

function keyOf({ partition, offset }: Wanted): string {
  return `${partition}:${offset}`
}
