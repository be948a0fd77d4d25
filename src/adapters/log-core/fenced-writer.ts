// Owns: one incarnation's appends over a broker that may not answer: numbers, re-sending, retirement.
// 1. One batch in flight per partition. A partition that does not know the producer takes any first number, so a
//    younger batch must not be able to arrive first.
// 2. A batch is sent again under the very same numbers, with the very same records, until its outcome is known.
// 3. `refused` only when every sending of the batch was answered by a definite failure; after one uncertain answer only
//    an offset counts.
// 4. Nothing is sent by a writer that stood still too long, that is too old, or that has retired. It never comes back.
// 5. Producer epoch 0 for life: whatever this identity has above epoch 0 is somebody's barrier.
// Leaves out: joining blocks into batches; finding out what became of a retired writer's batches (a successor does).
import { setMaxListeners } from 'node:events'
import { type Clock, sleep } from '../../ports/clock.ts'
import type {
  AppendOutcome,
  AppendRecord,
  AppendTarget,
  LogWriter,
  RetireReason,
  TopicPartition,
} from '../../ports/event-log.ts'
import type { Random } from '../../ports/random.ts'
import type { Incarnation } from '../../protocol/ids.ts'
import { type LogBroker, sequenceAfter } from './log-broker.ts'
import { type Meaning, meaningOf } from './produce-answers.ts'
import { type LogCoreSettings, pauseBefore } from './settings.ts'
import { StandStillWatch } from './stand-still.ts'

/** The producer epoch of every record that is not a barrier (invariant 5). */
export const writerEpoch = 0

export interface FencedWriterParts {
  readonly broker: LogBroker
  readonly clock: Clock
  readonly random: Random
  readonly settings: LogCoreSettings
  readonly identity: Incarnation
  readonly pid: number
}

interface Lane {
  nextSequence: number
  busy: boolean
}

type Settled = Exclude<Meaning, { kind: 'no-topic' }> | { readonly kind: 'retired' }

interface Batch {
  readonly at: AppendTarget
  readonly records: readonly AppendRecord[]
  readonly firstSequence: number
}

export class FencedWriter implements LogWriter {
  readonly identity: Incarnation
  readonly pid: number
  readonly retired: Promise<RetireReason>
  readonly #parts: FencedWriterParts
  readonly #lanes = new Map<string, Lane>()
  readonly #working = new Set<Promise<unknown>>()
  readonly #end = new AbortController()
  readonly #watch: StandStillWatch
  readonly #bornMs: number
  #reason: RetireReason | undefined
  #settleRetired: (reason: RetireReason) => void = () => {}

  constructor(parts: FencedWriterParts) {
    this.identity = parts.identity
    this.pid = parts.pid
    this.#parts = parts
    this.#bornMs = parts.clock.nowMs()
    // One listener per partition at work.
    setMaxListeners(0, this.#end.signal)
    this.retired = new Promise((resolve) => {
      this.#settleRetired = resolve
    })
    this.#watch = new StandStillWatch(parts.clock, parts.settings.standStillMs, () => this.#retire('stand-still'))
  }

  append(at: AppendTarget, records: readonly AppendRecord[]): Promise<AppendOutcome> {
    if (records.length === 0) throw new Error('an append without records')
    if (this.#reason !== undefined) return Promise.resolve({ kind: 'retired', reason: this.#reason })
    const lane = this.#laneOf(at)
    if (lane.busy) throw new Error('a batch is in flight in this partition') // invariant 1
    lane.busy = true
    const firstSequence = lane.nextSequence
    lane.nextSequence = sequenceAfter(firstSequence, records.length)
    const work = this.#settle({ at, records, firstSequence })
      .then((outcome) => {
        // The numbers of what certainly never landed are used again; without a gap.
        if (outcome.kind === 'refused') lane.nextSequence = firstSequence
        return outcome
      })
      .finally(() => {
        lane.busy = false
        this.#working.delete(work)
      })
    this.#working.add(work)
    return work
  }

  /** Ends the incarnation (`closed`) and waits until nothing of it is being sent by this process. Idempotent. */
  async close(): Promise<void> {
    this.#retire('closed')
    await Promise.allSettled(this.#working)
  }

  async #settle(batch: Batch): Promise<AppendOutcome> {
    const { clock, random, settings } = this.#parts
    const deadlineMs = clock.monotonicMs() + settings.appendDeadlineMs
    let uncertain = false
    for (let attempt = 1; ; attempt++) {
      if (!this.#maySend()) return this.#retiredOutcome()
      const meaning = await this.#sendOnce(batch, deadlineMs)
      switch (meaning.kind) {
        case 'landed':
          return meaning
        case 'fenced':
          return this.#retire('fenced')
        case 'forgotten':
          return this.#retire('sequence-forgotten')
        case 'retired':
          return this.#retiredOutcome()
        case 'refused':
          // invariant 3: after an uncertain answer this is no answer either
          if (!uncertain) return meaning
          break
        case 'uncertain':
          uncertain = true
          break
        case 'not-now':
          break
      }
      // No sending that could not be waited for: cut off by our own deadline it would leave a doubt.
      const pauseMs = pauseBefore(attempt, settings, random.fraction())
      if (clock.monotonicMs() + pauseMs >= deadlineMs) {
        return uncertain ? this.#retire('deadline') : { kind: 'refused', error: 'UNAVAILABLE' }
      }
      await sleep(clock, pauseMs, this.#end.signal)
    }
  }

  /** One sending and what it means; `uncertain` when the deadline passes first, `retired` when the writer ends first. */
  #sendOnce(batch: Batch, deadlineMs: number): Promise<Settled> {
    const { broker, clock } = this.#parts
    return new Promise((resolve, reject) => {
      const settle = (settled: Settled | Promise<Settled>): void => {
        timer.cancel()
        this.#end.signal.removeEventListener('abort', ended)
        resolve(settled)
      }
      const ended = (): void => settle({ kind: 'retired' })
      const leftMs = Math.max(0, deadlineMs - clock.monotonicMs())
      const timer = clock.after(leftMs, () => settle({ kind: 'uncertain' }))
      this.#end.signal.addEventListener('abort', ended)
      broker
        .produce({
          purpose: 'data',
          acks: 'all',
          pid: this.pid,
          epoch: writerEpoch,
          firstSequence: batch.firstSequence,
          at: batch.at,
          records: batch.records,
        })
        .then((answer) => {
          const meaning = meaningOf(answer)
          settle(meaning.kind === 'no-topic' ? this.#meaningOfNoTopic(batch.at) : meaning)
        }, reject)
    })
  }

  /** A fresh topic is not known everywhere at once: only a topic that the log does not list, or lists as another, is refused. */
  async #meaningOfNoTopic(at: AppendTarget): Promise<Settled> {
    try {
      const info = await this.#parts.broker.topic(at.topic)
      if (info === undefined) return { kind: 'refused', error: 'UNKNOWN_TOPIC' }
      if (at.topicId !== undefined && at.topicId !== info.topicId) return { kind: 'refused', error: 'TOPIC_CHANGED' }
      if (at.partition >= info.partitions) return { kind: 'refused', error: 'UNKNOWN_PARTITION' }
      return { kind: 'not-now' }
    } catch {
      // The log cannot be asked now; this sending was definite all the same.
      return { kind: 'not-now' }
    }
  }

  #maySend(): boolean {
    if (this.#reason !== undefined) return false
    if (this.#parts.clock.nowMs() - this.#bornMs > this.#parts.settings.lifeMs) {
      this.#retire('deadline')
      return false
    }
    return this.#watch.check()
  }

  #retire(reason: RetireReason): AppendOutcome {
    if (this.#reason === undefined) {
      this.#reason = reason
      this.#watch.stop()
      this.#settleRetired(reason)
      this.#end.abort()
    }
    return this.#retiredOutcome()
  }

  #retiredOutcome(): AppendOutcome {
    if (this.#reason === undefined) throw new Error('the writer has not retired')
    return { kind: 'retired', reason: this.#reason }
  }

  #laneOf(at: TopicPartition): Lane {
    const key = `${at.partition}/${at.topic}`
    let lane = this.#lanes.get(key)
    if (lane === undefined) {
      lane = { nextSequence: 0, busy: false }
      this.#lanes.set(key, lane)
    }
    return lane
  }
}
