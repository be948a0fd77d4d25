// Owns: the topics a node has open: settings, one TopicReader each; and topic administration on behalf of the API tier.
// T1 A topic that was deleted and made again has another id: its old reader ends, positions in it answer TOPIC_CHANGED,
//    and nothing that was sealed for the old one is appended any more (`onGone`): nobody could open it in the new one.
// T2 Another node may have done it: topics in use are looked at every `watchMs`; what nobody uses any more is let go.
// T3 Partitions that were added: readers end with SESSION_GONE, and go on from their cursors over all partitions.
// Leaves out: reading itself (read/), names and limits (protocol).
import type { Clock, Timer } from '../ports/clock.ts'
import { type EventLog, type TopicInfo, type TopicSpec, topicFormat } from '../ports/event-log.ts'
import { isErrorNamed, TrunklineError } from '../protocol/errors.ts'
import type { TopicId, TopicName } from '../protocol/ids.ts'
import { topicPartitionsMax } from '../protocol/limits.ts'
import type { TopicReader } from './read/topic-reader.ts'

export interface OpenTopic {
  readonly info: TopicInfo
  readonly reader: TopicReader
}

export interface TopicDefaults {
  /** Makes a topic that a writer names for the first time. */
  readonly autoCreate: boolean
  /** Of a topic made without a number. */
  readonly partitions: number
}

export interface TopicsOptions {
  readonly log: EventLog
  readonly readerOf: (topic: TopicInfo) => TopicReader
  readonly defaults: TopicDefaults
  /** This topic is not there any more: whoever writes to it must stop before a new one of its name can be written to. */
  readonly onGone: (topicId: TopicId) => void
  readonly clock: Clock
  /** Topics of open sessions. */
  readonly inUse: () => ReadonlySet<TopicId>
  /** A look that failed otherwise than by a log that is away. */
  readonly onDefect: (thrown: unknown) => void
}

interface Entry extends OpenTopic {
  /** Monotonic: the last time that somebody asked for it. */
  readonly askedAtMs: number
}

export const watchMs = 5_000
/** An entry without sessions is let go after it: longer than an allocation takes. */
const keepUnusedMs = 60_000
/** So many are looked at one by one; more by one question for all. */
const singlyMax = 32

export class Topics {
  readonly #options: TopicsOptions
  readonly #open = new Map<TopicName, Entry>()
  #watch: Timer | undefined
  #closed = false

  constructor(options: TopicsOptions) {
    this.#options = options
  }

  get defaultPartitions(): number {
    return this.#options.defaults.partitions
  }

  /** The topic as the log has it now. Errors: UNKNOWN_TOPIC, UNAVAILABLE. */
  async open(name: TopicName): Promise<OpenTopic> {
    const { log, readerOf, clock } = this.#options
    const info = await log.topic(name)
    // Nothing would close a reader that is made now.
    if (this.#closed) throw new TrunklineError('DRAINING')
    this.#compare(name, info)
    if (info === undefined) throw new TrunklineError('UNKNOWN_TOPIC', { details: { topic: name } })
    const open = { info, reader: this.#open.get(name)?.reader ?? readerOf(info), askedAtMs: clock.monotonicMs() }
    this.#open.set(name, open)
    this.#watch ??= clock.after(watchMs, () => void this.#look())
    return open
  }

  /** As open; a writer's new topic is made where that is allowed. */
  async openForWriting(name: TopicName): Promise<OpenTopic> {
    try {
      return await this.open(name)
    } catch (thrown) {
      if (!this.#options.defaults.autoCreate || !isErrorNamed(thrown, 'UNKNOWN_TOPIC')) throw thrown
    }
    try {
      await this.create({ name, partitions: this.defaultPartitions, format: topicFormat.sealed })
    } catch (thrown) {
      if (!isErrorNamed(thrown, 'TOPIC_EXISTS')) throw thrown // Another writer was first.
    }
    return this.open(name)
  }

  /** Errors: TOPIC_EXISTS, BAD_TOPIC_SETTING (with the field), UNSUPPORTED. */
  create(spec: TopicSpec): Promise<TopicInfo> {
    const bounds: readonly (readonly [string, number | undefined, number, number])[] = [
      ['partitions', spec.partitions, 1, topicPartitionsMax],
      ['retentionMs', spec.retentionMs, 1, Number.MAX_SAFE_INTEGER],
      ['retentionBytes', spec.retentionBytes, 1, Number.MAX_SAFE_INTEGER],
    ]
    for (const [field, value, min, max] of bounds) {
      if (value !== undefined && !(Number.isSafeInteger(value) && value >= min && value <= max)) {
        throw new TrunklineError('BAD_TOPIC_SETTING', { details: { field, min: String(min), max: String(max) } })
      }
    }
    return this.#options.log.createTopic(spec)
  }

  async delete(name: TopicName): Promise<void> {
    await this.#options.log.deleteTopic(name)
    const known = this.#open.get(name)
    if (known !== undefined) this.#gone(known)
  }

  list(): Promise<readonly TopicInfo[]> {
    return this.#options.log.topics()
  }

  close(): void {
    this.#closed = true
    this.#watch?.cancel()
    for (const { reader } of this.#open.values()) reader.close()
    this.#open.clear()
  }

  /** T2. */
  async #look(): Promise<void> {
    const { clock, inUse, onDefect } = this.#options
    try {
      const now = await this.#infosOf([...this.#open.keys()])
      const used = inUse()
      for (const [name, { info, reader, askedAtMs }] of [...this.#open]) {
        if (now.has(name)) this.#compare(name, now.get(name))
        if (used.has(info.topicId) || clock.monotonicMs() - askedAtMs < keepUnusedMs) continue
        if (this.#open.get(name)?.reader === reader) this.#open.delete(name)
        reader.close()
      }
    } catch (thrown) {
      // The log is away: nobody can have changed anything that matters now.
      if (!isErrorNamed(thrown, 'UNAVAILABLE')) onDefect(thrown)
    } finally {
      const goesOn = !this.#closed && this.#open.size > 0
      this.#watch = goesOn ? clock.after(watchMs, () => void this.#look()) : undefined
    }
  }

  async #infosOf(names: readonly TopicName[]): Promise<ReadonlyMap<TopicName, TopicInfo | undefined>> {
    const { log } = this.#options
    if (names.length <= singlyMax)
      return new Map(await Promise.all(names.map(async (name) => [name, await log.topic(name)] as const)))
    const all = new Map((await log.topics()).map((info) => [info.name, info] as const))
    return new Map(names.map((name) => [name, all.get(name)] as const))
  }

  /** What the log says now against what is open. */
  #compare(name: TopicName, info: TopicInfo | undefined): void {
    const known = this.#open.get(name)
    if (known === undefined) return
    if (known.info.topicId !== info?.topicId) this.#gone(known)
    else if (known.info.partitions !== info.partitions) {
      known.reader.close('SESSION_GONE') // T3
      this.#open.delete(name)
    }
  }

  /** T1. */
  #gone({ info, reader }: OpenTopic): void {
    reader.close('TOPIC_CHANGED')
    this.#open.delete(info.name)
    this.#options.onGone(info.topicId)
  }
}
