// Owns: which nodes are there, on which shards and under which queues, as they say themselves and as the brokers tell.
// 1. A node goes when the last queue goes that it has on a shard we can see. Shards tell in no common order: a word that
//    comes later from another one brings it back until its queue there goes too.
// 2. A queue that was deleted is never taken up again: a late "here" does not revive it.
// 3. Losing sight of a shard says nothing about its nodes: they go when they are not heard for presenceTtlMs.
// 4. A queue that was not heard may still be there, and take calls that are sent on the chance: whose it was is known until
//    the broker tells that it has gone.
import type { Clock } from '../../ports/clock.ts'
import type { NodePresence } from '../../ports/switchboard.ts'
import type { Incarnation } from '../../protocol/ids.ts'

interface SeenNode {
  /** By shard. */
  readonly queues: Map<string, { readonly queue: string; seenAtMs: number }>
  seenAtMs: number
}

const nodesMax = 10_000
const rememberedMax = 10_000

export class PresenceTable {
  readonly #clock: Clock
  readonly #ttlMs: number
  readonly #nodes = new Map<Incarnation, SeenNode>()
  /** By shard and queue. */
  readonly #keys = new Map<string, Incarnation>()
  /** Shard and queue of what has gone. */
  readonly #deadQueues = new Set<string>()
  /** Shard and queue of what was not heard for too long (invariant 4). */
  readonly #silentQueues = new Map<string, Incarnation>()
  /** Nodes that went without a word, and when they were last seen. */
  readonly #lately = new Map<Incarnation, number>()

  constructor(clock: Clock, ttlMs: number) {
    this.#clock = clock
    this.#ttlMs = ttlMs
  }

  here(shard: string, key: Incarnation, queue: string): void {
    if (this.#deadQueues.has(nameOf(shard, queue))) return
    const nowMs = this.#clock.monotonicMs()
    let node = this.#nodes.get(key)
    if (node === undefined) {
      // More than any installation has: somebody else is writing here.
      if (this.#nodes.size >= nodesMax) return
      node = { queues: new Map(), seenAtMs: nowMs }
      this.#nodes.set(key, node)
    }
    const before = node.queues.get(shard)
    if (before !== undefined && before.queue !== queue) this.#keys.delete(nameOf(shard, before.queue))
    node.queues.set(shard, { queue, seenAtMs: nowMs })
    node.seenAtMs = nowMs
    this.#keys.set(nameOf(shard, queue), key)
    this.#silentQueues.delete(nameOf(shard, queue))
    this.#lately.delete(key)
  }

  /** The node closes its queue by itself. Returns whose queue that was. */
  bye(shard: string, queue: string): Incarnation | undefined {
    return this.#queueGone(shard, queue, 'said')
  }

  /** Returns whose queue that was. */
  queueDeleted(shard: string, queue: string): Incarnation | undefined {
    return this.#queueGone(shard, queue, 'silent')
  }

  /** What is on that shard cannot be seen any more. */
  shardLost(shard: string): void {
    for (const node of this.#nodes.values()) {
      const there = node.queues.get(shard)
      if (there === undefined) continue
      node.queues.delete(shard)
      this.#keys.delete(nameOf(shard, there.queue))
    }
  }

  /** Forgets what was not heard on that shard for too long, and returns it. */
  expire(shard: string): readonly { readonly key: Incarnation; readonly queue: string }[] {
    const dueMs = this.#clock.monotonicMs() - this.#ttlMs
    const silent: { key: Incarnation; queue: string }[] = []
    for (const [key, node] of this.#nodes) {
      const there = node.queues.get(shard)
      if (there !== undefined && there.seenAtMs <= dueMs) silent.push({ key, queue: there.queue })
      if (node.queues.size === 0 && node.seenAtMs <= dueMs) this.#gone(key, node, 'silent')
    }
    // Not remembered as dead: a node that was only frozen says "here" again.
    for (const { key, queue } of silent) {
      this.#forget(shard, queue, 'silent')
      makeRoom(this.#silentQueues)
      this.#silentQueues.set(nameOf(shard, queue), key)
    }
    for (const [key, seenAtMs] of this.#lately) if (seenAtMs <= dueMs) this.#lately.delete(key)
    return silent
  }

  list(): readonly NodePresence[] {
    return Array.from(this.#nodes, ([key, node]) => ({ key, shards: [...node.queues.keys()] })).filter(
      ({ shards }) => shards.length > 0,
    )
  }

  queueOf(shard: string, key: Incarnation): string | undefined {
    return this.#nodes.get(key)?.queues.get(shard)?.queue
  }

  isOn(shard: string, key: Incarnation): boolean {
    return this.#nodes.get(key)?.queues.has(shard) === true
  }

  hasNodesOn(shard: string): boolean {
    for (const node of this.#nodes.values()) if (node.queues.has(shard)) return true
    return false
  }

  /** It is there, or was less than presenceTtlMs ago and did not say that it goes. */
  wasHereLately(key: Incarnation): boolean {
    const seenAtMs = this.#nodes.get(key)?.seenAtMs ?? this.#lately.get(key)
    return seenAtMs !== undefined && this.#clock.monotonicMs() - seenAtMs < this.#ttlMs
  }

  #queueGone(shard: string, queue: string, how: 'said' | 'silent'): Incarnation | undefined {
    const name = nameOf(shard, queue)
    makeRoom(this.#deadQueues)
    this.#deadQueues.add(name)
    const key = this.#forget(shard, queue, how) ?? this.#silentQueues.get(name)
    this.#silentQueues.delete(name)
    return key
  }

  #forget(shard: string, queue: string, how: 'said' | 'silent'): Incarnation | undefined {
    const key = this.#keys.get(nameOf(shard, queue))
    const node = key === undefined ? undefined : this.#nodes.get(key)
    if (key === undefined || node === undefined) return undefined
    this.#keys.delete(nameOf(shard, queue))
    node.queues.delete(shard)
    if (node.queues.size === 0) this.#gone(key, node, how)
    return key
  }

  #gone(key: Incarnation, node: SeenNode, how: 'said' | 'silent'): void {
    this.#nodes.delete(key)
    if (how === 'silent' && this.#lately.size < rememberedMax) this.#lately.set(key, node.seenAtMs)
  }
}

function nameOf(shard: string, queue: string): string {
  return `${shard}/${queue}`
}

/** The oldest goes: its broker has had the time to tell. */
function makeRoom(names: Set<string> | Map<string, Incarnation>): void {
  const oldest = names.size < rememberedMax ? undefined : names.keys().next().value
  if (oldest !== undefined) names.delete(oldest)
}
