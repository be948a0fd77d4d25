// Owns: what Kafka does not keep of a topic: its format and when it was made. One compacted topic, `trunkline.topics`,
// key = the topic's UUID, value = JSON.
// 1. Read whole before the first answer; an id that is not known is looked for at the registry's end again, at most once
//    per `lookAgainMs`. A topic without an entry is sealed, made at 0.
// 2. Entries that are not ours, or damaged, are counted as problems and passed over.
import { type Clock, sleep } from '../../ports/clock.ts'
import type { TopicFormat } from '../../ports/event-log.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { apiKeys } from './api.ts'
import { fetchRequest } from './api-fetch.ts'
import { produceByIdVersion, produceRequest } from './api-produce.ts'
import { recordsOf } from './fetched-records.ts'
import { kafkaCode } from './kafka-codes.ts'
import type { Lane } from './lane.ts'
import { type Led, leadershipOf } from './leaders.ts'
import type { Metadata } from './metadata.ts'
import { encodeBatch } from './record-batch.ts'
import type { KafkaSettings } from './settings.ts'
import { TransportError } from './transport-error.ts'

export const registryTopic = 'trunkline.topics'

export interface RegistryEntry {
  readonly name: string
  readonly format: TopicFormat
  readonly createdAtMs: number
}

export interface TopicRegistryParts {
  readonly metadata: Metadata
  readonly lane: Lane
  readonly clock: Clock
  readonly settings: KafkaSettings
  /** Makes the registry's own topic; fine when it is there. */
  readonly makeTopic: () => Promise<void>
  readonly onProblem: (problem: unknown) => void
}

const lookAgainMs = 1_000
const entriesMax = 100_000
const fetchBytesMax = 1024 * 1024

export class TopicRegistry {
  readonly #parts: TopicRegistryParts
  readonly #entries = new Map<string, RegistryEntry>()
  readonly #lookedMs = new Map<string, number>()
  #offset = 0
  #topicId: string | undefined
  #reading: Promise<void> | undefined

  constructor(parts: TopicRegistryParts) {
    this.#parts = parts
  }

  /** Errors: TransportError, UNAVAILABLE. */
  async entry(topicId: string): Promise<RegistryEntry | undefined> {
    const known = this.#entries.get(topicId)
    if (known !== undefined) return known
    const nowMs = this.#parts.clock.monotonicMs()
    const lookedMs = this.#lookedMs.get(topicId)
    if (lookedMs !== undefined && nowMs - lookedMs < lookAgainMs) return undefined
    await this.read()
    if (this.#lookedMs.size >= entriesMax) this.#lookedMs.clear()
    this.#lookedMs.set(topicId, nowMs)
    return this.#entries.get(topicId)
  }

  /** What is known; never asks twice in a row, so that reads need not wait for it. Errors: as entry(). */
  async formatOf(topicId: string): Promise<TopicFormat> {
    return (await this.entry(topicId))?.format ?? 'sealed'
  }

  /** To its end. Errors: TransportError, UNAVAILABLE. */
  read(): Promise<void> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  /** Errors: UNAVAILABLE. */
  async put(topicId: string, entry: RegistryEntry): Promise<void> {
    await this.#append(topicId, Buffer.from(JSON.stringify(entry)))
    this.#entries.set(topicId, entry)
  }

  /** Errors: UNAVAILABLE. */
  async remove(topicId: string): Promise<void> {
    if (!this.#entries.delete(topicId)) return
    await this.#append(topicId, null)
  }

  async #read(): Promise<void> {
    const { metadata, lane, settings } = this.#parts
    if ((await metadata.topic(registryTopic, settings.metadataMaxAgeMs)) === undefined) return
    for (;;) {
      const led = await this.#led()
      if (led.topic.topicId !== this.#topicId) {
        // Made anew by somebody's hand: what the old one said counts no more.
        this.#topicId = led.topic.topicId
        this.#offset = 0
        this.#entries.clear()
      }
      const request = fetchRequest({
        waitMs: 0,
        bytesMax: fetchBytesMax,
        committedOnly: false,
        partitions: [
          {
            topicId: led.topic.topicId,
            partition: 0,
            leaderEpoch: led.leaderEpoch,
            offset: this.#offset,
            bytesMax: fetchBytesMax,
          },
        ],
      })
      const [one] = (await lane.request(led.leader, request, settings.requestTimeoutMs)).partitions
      if (one === undefined || one.error !== kafkaCode.none) {
        metadata.doubt(registryTopic)
        if (one?.error === kafkaCode.offsetOutOfRange) this.#offset = 0
        throw new TrunklineError('UNAVAILABLE')
      }
      const { records, nextOffset } = recordsOf(one, this.#offset)
      for (const { key, value } of records) this.#take(key, value)
      const isEnd = nextOffset === this.#offset || nextOffset >= one.highWatermark
      this.#offset = nextOffset
      if (isEnd) return
    }
  }

  #take(key: Uint8Array | null, value: Uint8Array): void {
    const topicId = Buffer.from(key ?? []).toString('latin1')
    if (value.length === 0) {
      this.#entries.delete(topicId)
      return
    }
    const entry = entryOf(value)
    if (entry === undefined || !/^[0-9a-f]{32}$/.test(topicId) || this.#entries.size >= entriesMax) {
      this.#parts.onProblem(new Error('an entry of the topic registry was passed over'))
      return
    }
    this.#entries.set(topicId, entry)
  }

  /** Plain and repeated: the newest entry of a topic counts, and twice the same does no harm. */
  async #append(topicId: string, value: Buffer | null): Promise<void> {
    const { clock, lane, metadata, settings } = this.#parts
    const deadlineAtMs = clock.monotonicMs() + settings.questionDeadlineMs
    if ((await this.#topicNow()) === undefined) await this.#parts.makeTopic()
    const record = {
      key: Buffer.from(topicId),
      value: value ?? Buffer.alloc(0),
      nullValue: value === null,
      header: null,
    }
    const batch = encodeBatch([record], { pid: -1, epoch: -1, firstSequence: -1, timestampMs: clock.nowMs() })
    for (;;) {
      try {
        const led = await this.#led()
        const connection = await lane.connection(led.leader)
        const byId = (connection.versions.get(apiKeys.Produce) ?? 0) >= produceByIdVersion
        const partitions = [{ topic: registryTopic, topicId: led.topic.topicId, partition: 0, batch }]
        const answer = await connection.send(
          produceRequest({ acks: 'all', waitMs: settings.produceWaitMs, byId, partitions }),
          settings.produceWaitMs + settings.graceMs,
        )
        if (answer.answers[0]?.error === kafkaCode.none) return
      } catch (error) {
        if (!(error instanceof TransportError) && !(error instanceof TrunklineError)) throw error
      }
      metadata.doubt(registryTopic)
      if (clock.monotonicMs() >= deadlineAtMs) throw new TrunklineError('UNAVAILABLE')
      await sleep(clock, settings.metadataPauseMs)
    }
  }

  async #topicNow(): Promise<unknown> {
    try {
      return await this.#parts.metadata.topic(registryTopic)
    } catch (error) {
      throw error instanceof TransportError ? new TrunklineError('UNAVAILABLE', { cause: error }) : error
    }
  }

  /** Errors: TransportError, UNAVAILABLE (no leader now). */
  async #led(): Promise<Led> {
    const { metadata } = this.#parts
    const led = leadershipOf(metadata, await metadata.topic(registryTopic), 0)
    if (led.kind === 'led') return led
    metadata.doubt(registryTopic)
    throw new TrunklineError('UNAVAILABLE')
  }
}

function entryOf(value: Uint8Array): RegistryEntry | undefined {
  let parsed: unknown
  try {
    parsed = JSON.parse(Buffer.from(value).toString('utf8'))
  } catch {
    // The caller says that it passed over it.
    return undefined
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined
  const { name, format, createdAtMs } = parsed as Partial<Record<string, unknown>>
  if (typeof name !== 'string' || (format !== 'sealed' && format !== 'plain')) return undefined
  if (typeof createdAtMs !== 'number' || !Number.isSafeInteger(createdAtMs)) return undefined
  return { name, format, createdAtMs }
}
