// Owns: which incarnations this node has fenced, and where their barriers are (design.md §3 rule 3).
// 1. One fence per (node, dead incarnation), shared by all its sessions and producers: one call to the log at a time;
//    askers with further partitions join the next.
// 2. A node never fences its own incarnation.
// 3. Once begun, a fence counts as begun, even when the log could not finish it: a release answer no longer matters.
// Barriers are kept for the life of the node, bounded; a dropped one is asked for again, which the log answers alike.
// Leaves out: epochs, re-sending and other nodes' barriers (the log adapter), when to fence (take-over.ts).
import type { EventLog, FenceTarget, TopicPartition } from '../../ports/event-log.ts'
import type { Incarnation, TopicId } from '../../protocol/ids.ts'

/** A topic made anew under the same name has no barrier yet: places go by the topic's own id. */
export interface FencePlace extends TopicPartition {
  readonly topicId: TopicId
}

interface Fence {
  readonly target: FenceTarget
  /** By place: the barrier's offset. */
  readonly barriers: Map<string, number>
  readonly wanted: Map<string, FencePlace>
  /** Settles when the call that is out has ended; tells for which topic, and what went wrong. */
  running: Promise<Ended> | undefined
}

interface Ended {
  readonly topicId: TopicId | undefined
  readonly failure: { readonly error: unknown } | undefined
}

const incarnationsMax = 1_024

export class Fences {
  readonly #log: Pick<EventLog, 'fence'>
  readonly #self: Incarnation
  readonly #fences = new Map<Incarnation, Fence>()

  constructor(log: Pick<EventLog, 'fence'>, self: Incarnation) {
    this.#log = log
    this.#self = self
  }

  hasBegun(incarnation: Incarnation): boolean {
    return this.#fences.has(incarnation)
  }

  /** Barrier offsets in the order asked. Errors: UNAVAILABLE, UNKNOWN_TOPIC, UNKNOWN_PARTITION. */
  async fence(target: FenceTarget, at: readonly FencePlace[]): Promise<readonly number[]> {
    if (target.identity === this.#self) throw new Error('a node never fences its own incarnation')
    const fence = this.#begin(target)
    for (;;) {
      const missing = at.filter((one) => !fence.barriers.has(placeKey(one)))
      if (missing.length === 0) return at.map((one) => fence.barriers.get(placeKey(one)) ?? 0)
      for (const one of missing) fence.wanted.set(placeKey(one), one)
      fence.running ??= this.#run(fence).finally(() => {
        fence.running = undefined
      })
      const { topicId, failure } = await fence.running
      // A deleted topic must not fail another's fence: only who asked for that topic hears of it.
      if (failure !== undefined && missing.some((one) => one.topicId === topicId)) throw failure.error
    }
  }

  /** One call to the log for everything that is wanted of one topic. */
  async #run(fence: Fence): Promise<Ended> {
    const topicId = fence.wanted.values().next().value?.topicId
    try {
      await this.#runFor(fence, topicId)
      return { topicId, failure: undefined }
    } catch (error) {
      return { topicId, failure: { error } }
    }
  }

  async #runFor(fence: Fence, topicId: TopicId | undefined): Promise<void> {
    const batch = [...fence.wanted.values()].filter((one) => one.topicId === topicId)
    for (const one of batch) fence.wanted.delete(placeKey(one))
    const answer = await this.#log.fence(
      fence.target,
      batch.map(({ topic, partition }) => ({ topic, partition })),
    )
    for (const [index, one] of batch.entries()) {
      const barrier = answer[index]
      if (barrier === undefined) throw new Error('a fence answers every partition')
      fence.barriers.set(placeKey(one), barrier.barrierOffset)
    }
  }

  #begin(target: FenceTarget): Fence {
    const known = this.#fences.get(target.identity)
    if (known !== undefined) return known
    if (this.#fences.size >= incarnationsMax) {
      for (const [identity, { running }] of this.#fences) {
        if (running !== undefined) continue
        this.#fences.delete(identity)
        break
      }
    }
    const fence: Fence = { target, barriers: new Map(), wanted: new Map(), running: undefined }
    this.#fences.set(target.identity, fence)
    return fence
  }
}

function placeKey(at: FencePlace): string {
  return `${at.partition}:${at.topicId}`
}
