// Owns: the order and joining of appends of one incarnation: one lane per partition, many producers to a batch.
// 1. One batch is in flight per partition; what comes meanwhile joins the next (design.md §3 rule 1).
// 2. Entries of a session leave a lane in the order they came. After a refusal nothing more of that session is sent, in
//    any lane, until it says resume: what landed of a producer in a partition is always a prefix (rule 1).
// 3. An entry of a released session that was not sent is never sent (rule 2).
// 4. A part is one entry and never spans two batches (rule 1).
// 5. Bytes that wait or fly are bounded; above the bound an entry is refused UNAVAILABLE before it is queued.
// Leaves out: re-sending, numbers and uncertain outcomes (the log adapter), sealing, what a refusal means to a client.
import { noTracing, type Tracing } from '../../observability/tracing.ts'
import type { AppendRecord, AppendTarget, LogWriter, RetireReason, TopicPartition } from '../../ports/event-log.ts'
import type { ErrorName } from '../../protocol/errors.ts'
import type { SessionId } from '../../protocol/ids.ts'
import { plainRecordSize } from '../../protocol/plain-record.ts'
import type { AppendEntry, EntryOutcome } from './append-entry.ts'
import { AppendLane, type LaneEntry } from './append-lane.ts'

export interface AppendMetrics {
  /** One answer of the log to one batch. */
  batch(outcome: 'landed' | 'refused' | 'retired', entries: number, bytes: number, durationMs: number): void
  buffered(bytes: number): void
  /** A batch went to the log (+1) or was answered (-1). */
  appending(change: 1 | -1): void
  /** An entry came (+1) or was settled (-1). */
  pending(change: 1 | -1): void
}

export interface AppendLanesOptions {
  readonly writer: LogWriter
  /** Soft: a single larger entry goes alone. */
  readonly batchBytesMax?: number
  /** Queued and in flight, all lanes together. */
  readonly bufferBytesMax: number
  readonly clock: { monotonicMs(): number }
  readonly metrics?: AppendMetrics | undefined
  /** Default: off. */
  readonly tracing?: Tracing | undefined
}

/** What is known of a session that has, or must not have, entries here. */
interface Sender {
  /** Queued and in flight. */
  pending: number
  inFlight: number
  /** Queued entries of it are held, new ones answered `held` at once. */
  stopped: boolean
  released: boolean
  /** Highest n since the last resume, for the assertion of order. */
  lastN: number
  idle: (() => void)[]
}

const batchBytesDefault = 900_000
const tombstonesMax = 4_096

export class AppendLanes {
  readonly #options: AppendLanesOptions
  readonly #lanes = new Map<string, AppendLane>()
  readonly #senders = new Map<SessionId, Sender>()
  readonly #tombstones: SessionId[] = []
  #bufferedBytes = 0
  #retired: RetireReason | undefined
  #announceRetired: (reason: RetireReason) => void = () => {}
  /** Settles once, when the incarnation is over: the writer retired, or broke its contract (`failed`). */
  readonly retired: Promise<RetireReason>

  constructor(options: AppendLanesOptions) {
    this.#options = options
    this.retired = new Promise((resolve) => {
      this.#announceRetired = resolve
    })
    void options.writer.retired.then((reason) => this.#retire(reason))
  }

  /** The incarnation is over, and what it sent last may land yet: a retired node never answers that a producer is released. */
  get isRetired(): boolean {
    return this.#retired !== undefined
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes
  }

  /** Bytes that a session keeps staged: they will come here, so they count already. Undone by `letGo`. */
  hold(bytes: number): void {
    this.#buffer(bytes)
  }

  letGo(bytes: number): void {
    this.#buffer(-bytes)
  }

  /** Whether `bytes` more would be taken now; ask while staging, before a write is answered as staged. */
  roomFor(bytes: number): boolean {
    return this.#bufferedBytes + bytes <= this.#options.bufferBytesMax
  }

  /**
   * Queues one part of write `n`; sent at once when the partition is idle. The caller appends the writes of a session in
   * the order of n. Never rejects.
   */
  append(at: AppendTarget, entry: AppendEntry): Promise<EntryOutcome> {
    if (this.#retired !== undefined) return Promise.resolve({ kind: 'retired', reason: this.#retired })
    const sender = this.#sender(entry.session)
    if (sender.released || sender.stopped) return Promise.resolve({ kind: 'held' })
    if (entry.n < sender.lastN) throw new Error('the writes of a session are appended in their order')
    let bytes = 0
    for (const record of entry.records) bytes += recordBytes(record)
    if (!this.roomFor(bytes)) {
      // Later writes that would fit must not overtake this one (invariant 2).
      this.#stop(sender, entry.session)
      return Promise.resolve({ kind: 'refused', error: 'UNAVAILABLE' })
    }
    sender.lastN = entry.n
    sender.pending += 1
    this.#options.metrics?.pending(1)
    this.#buffer(bytes)
    return new Promise((settle) => this.#lane(at).push({ ...entry, topicId: at.topicId, bytes, settle }))
  }

  /**
   * A write of the session was refused elsewhere (sealing failed): as after a refusal here, what is not yet sent is held.
   */
  stop(session: SessionId): void {
    this.#stop(this.#sender(session), session)
  }

  /** The client has seen the refusal and starts its window again. No effect on a released session. */
  resume(session: SessionId): void {
    const sender = this.#senders.get(session)
    if (sender === undefined) return
    sender.stopped = false
    sender.lastN = 0
    this.#forgetIfClean(session, sender)
  }

  /** For good: entries of it that are not yet sent are answered `held` and never sent. Ask `idle` for the rest. */
  release(session: SessionId): void {
    const sender = this.#sender(session)
    if (!sender.released) this.#bury(session)
    sender.released = true
    this.#stop(sender, session) // rule 2: after "released" nothing of the producer is ever sent again under that session
  }

  hasInFlight(session: SessionId): boolean {
    return (this.#senders.get(session)?.inFlight ?? 0) > 0
  }

  /** Resolves when no entry of the session is queued or in flight. */
  idle(session: SessionId): Promise<void> {
    const sender = this.#senders.get(session)
    if (sender === undefined || sender.pending === 0) return Promise.resolve()
    return new Promise((resolve) => sender.idle.push(resolve))
  }

  /** By name, whatever the topic's id: the log takes one batch at a time for each partition of a name. */
  #lane({ topic, partition }: TopicPartition): AppendLane {
    const key = `${partition}:${topic}`
    let lane = this.#lanes.get(key)
    if (lane === undefined) {
      const { writer, batchBytesMax = batchBytesDefault, clock, metrics, tracing = noTracing } = this.#options
      lane = new AppendLane(batchBytesMax, {
        send: async (entries) => {
          for (const { session } of entries) this.#sender(session).inFlight += 1
          const startedAtMs = clock.monotonicMs()
          const span = tracing.startLinked('batch', 'log', entries)
          span?.set('topic', topic)
          span?.set('partition', partition)
          span?.set('entries', entries.length)
          metrics?.appending(1)
          const outcome = await writer.append(
            { topic, partition, topicId: entries[0]?.topicId },
            entries.flatMap(({ records }) => records),
          )
          for (const { session } of entries) this.#sender(session).inFlight -= 1
          metrics?.appending(-1)
          span?.set('bytes', sum(entries))
          span?.end(outcome.kind === 'landed' ? 'ok' : outcome.kind === 'refused' ? outcome.error : outcome.reason)
          metrics?.batch(outcome.kind, entries.length, sum(entries), clock.monotonicMs() - startedAtMs)
          return outcome
        },
        maySend: (session) => !this.#sender(session).stopped,
        refuse: (entries, error) => this.#refuse(entries, error),
        settle: (entry, outcome) => this.#settle(entry, outcome),
        retire: (reason) => this.#retire(reason),
        empty: () => this.#lanes.delete(key),
      })
      this.#lanes.set(key, lane)
    }
    return lane
  }

  /** One session's share of a batch that certainly did not land: its first write is refused, the rest is held. */
  #refuse(entries: readonly LaneEntry[], error: ErrorName): void {
    const first = entries[0]
    if (first === undefined) return
    this.#stop(this.#sender(first.session), first.session) // rule 1: a refusal of n stops the session's window
    for (const entry of entries) {
      this.#settle(entry, entry.n === first.n ? { kind: 'refused', error } : { kind: 'held' })
    }
  }

  #stop(sender: Sender, session: SessionId): void {
    sender.stopped = true
    for (const lane of [...this.#lanes.values()]) {
      for (const entry of lane.withdraw(session)) this.#settle(entry, { kind: 'held' })
    }
  }

  #retire(reason: RetireReason): void {
    if (this.#retired !== undefined) return
    this.#retired = reason
    this.#announceRetired(reason)
    for (const lane of [...this.#lanes.values()]) {
      for (const entry of lane.withdrawAll()) this.#settle(entry, { kind: 'retired', reason })
    }
  }

  #settle(entry: LaneEntry, outcome: EntryOutcome): void {
    this.#buffer(-entry.bytes)
    const sender = this.#sender(entry.session)
    sender.pending -= 1
    this.#options.metrics?.pending(-1)
    entry.settle(outcome)
    if (sender.pending > 0) return
    for (const resolve of sender.idle.splice(0)) resolve()
    this.#forgetIfClean(entry.session, sender)
  }

  /** Tombstones are bounded: a session object is told to stop before it is released, this is the second lock. */
  #bury(session: SessionId): void {
    this.#tombstones.push(session)
    if (this.#tombstones.length <= tombstonesMax) return
    const oldest = this.#tombstones.shift()
    if (oldest !== undefined && this.#senders.get(oldest)?.pending === 0) this.#senders.delete(oldest)
  }

  #sender(session: SessionId): Sender {
    let sender = this.#senders.get(session)
    if (sender === undefined) {
      sender = { pending: 0, inFlight: 0, stopped: false, released: false, lastN: 0, idle: [] }
      this.#senders.set(session, sender)
    }
    return sender
  }

  #forgetIfClean(session: SessionId, sender: Sender): void {
    if (sender.pending === 0 && !sender.stopped && !sender.released) this.#senders.delete(session)
  }

  #buffer(bytes: number): void {
    this.#bufferedBytes += bytes
    this.#options.metrics?.buffered(this.#bufferedBytes)
  }
}

function recordBytes(record: AppendRecord): number {
  if (record.headers !== undefined) return plainRecordSize(record)
  return record.value.length + (record.key?.length ?? 0) + (record.header?.length ?? 0)
}

function sum(entries: readonly LaneEntry[]): number {
  return entries.reduce((total, { bytes }) => total + bytes, 0)
}
