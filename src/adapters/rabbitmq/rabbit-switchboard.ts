// Owns: the Switchboard over independent RabbitMQ brokers: on which shards a call is tried, in which order, and what its
// caller hears. Topology and wire: wire.ts, link.ts.
// 1. A call goes to the shards where its node was last seen first, and among equals in the order that its cookie gives,
//    which is the same at every party; shards that are not up are left out.
// 2. Only what certainly did not run is tried again: given back unrouted, refused by the queue of allocations, or never
//    written. What was written and not answered is `lost`; repeating it is the caller's business.
// 3. `unroutable` is said when no shard that is up knows the key, after a moment's patience for a node that was there just
//    before, or that may be on a shard that is not connected for the first time yet; with no shard up nothing is known,
//    and that is `lost`.
// 4. An allocation tries another shard when the first has no place, unless all nodes there were asked already.
// 5. A key is served by one party; that is not checked across parties, since incarnations are unique by their epochs.
import { type Clock, sleep } from '../../ports/clock.ts'
import type { Random } from '../../ports/random.ts'
import type {
  AllocateOutcome,
  CallOptions,
  CallOutcome,
  NodePresence,
  ServeHandlers,
  Serving,
  Switchboard,
} from '../../ports/switchboard.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import type { Incarnation } from '../../protocol/ids.ts'
import type { RabbitAccess, RabbitShard } from './connect.ts'
import type { RabbitMetrics, ShardState } from './metrics.ts'
import { Outgoing } from './outgoing.ts'
import { PresenceTable } from './presence.ts'
import { SenderClocks } from './sender-clocks.ts'
import { ServedNode } from './served-node.ts'
import type { RabbitSettings } from './settings.ts'
import { Shard } from './shard.ts'
import { orderByCookie } from './shard-order.ts'

export interface RabbitSwitchboard extends Switchboard {
  shardStates(): readonly { readonly name: string; readonly state: ShardState }[]
}

export interface SwitchboardParts {
  readonly shards: readonly RabbitShard[]
  /** Asked before each attempt to connect. */
  readonly access: () => RabbitAccess
  readonly name: string
  readonly clock: Clock
  readonly random: Random
  readonly settings: RabbitSettings
  readonly metrics: RabbitMetrics
  readonly onProblem: (problem: unknown) => void
}

export class ShardedSwitchboard implements RabbitSwitchboard {
  readonly #parts: SwitchboardParts
  readonly #shards: readonly Shard[]
  readonly #presence: PresenceTable
  readonly #senderClocks: SenderClocks
  readonly #served = new Set<ServedNode>()
  readonly #out = new Set<Outgoing>()
  readonly #changes = new Set<() => void>()
  readonly #closing = new AbortController()
  #calls = 0

  constructor(parts: SwitchboardParts) {
    const { clock, random, settings, shards } = parts
    this.#parts = parts
    this.#presence = new PresenceTable(clock, settings.presenceTtlMs)
    this.#senderClocks = new SenderClocks(clock)
    const sender = Buffer.from(random.bytes(12)).toString('base64url')
    this.#shards = shards.map(
      (shard) =>
        new Shard({
          ...parts,
          shard,
          sender,
          presence: this.#presence,
          served: this.#served,
          onChange: () => this.#changed(),
        }),
    )
  }

  /** Errors: BROKER_REFUSED when every shard refuses us, UNAVAILABLE when none is up in time. */
  async firstUp(): Promise<void> {
    const { clock, settings } = this.#parts
    const endMs = clock.monotonicMs() + settings.connectTimeoutMs
    for (;;) {
      if (this.#shards.some((shard) => shard.isUp)) return
      const refusals = this.#shards.map(({ name, refusal }) => ({ name, refusal }))
      const leftMs = endMs - clock.monotonicMs()
      const refused = refusals.every(({ refusal }) => refusal !== undefined)
      if (refused || leftMs <= 0) {
        const why = refusals.map(({ name, refusal }) => `${name}: ${refusal ?? 'no answer'}`).join(', ')
        throw new TrunklineError(refused ? 'BROKER_REFUSED' : 'UNAVAILABLE', { details: { broker: 'RabbitMQ', why } })
      }
      await this.#change(leftMs)
    }
  }

  async allocate(body: Uint8Array, options: CallOptions): Promise<AllocateOutcome> {
    return this.#timed('allocate', body, options, (out) => this.#routeAllocation(out, options.cookie))
  }

  async call(key: Incarnation, body: Uint8Array, options: CallOptions): Promise<CallOutcome> {
    const outcome = await this.#timed('call', body, options, (out) => this.#routeCall(out, key, options.cookie))
    if (outcome.kind === 'no-capacity') throw new Error('a call was queued as an allocation')
    return outcome
  }

  /** Errors: UNAVAILABLE when no shard lets us serve within connectTimeoutMs. */
  async serve(key: Incarnation, handlers: ServeHandlers): Promise<Serving> {
    const { clock, settings, metrics, onProblem } = this.#parts
    if (this.#closing.signal.aborted) throw new Error('serving on a closed switchboard')
    for (const other of this.#served) if (other.key === key) throw new Error(`${key} is already served`)
    const senderClocks = this.#senderClocks
    const node = new ServedNode({ key, handlers, clock, senderClocks, settings, metrics, onDefect: onProblem })
    this.#served.add(node)
    const attaching = Promise.all(this.#shards.map((shard) => shard.attach(node)))
    // A shard that is frozen or blocked is not waited for: it follows by itself.
    await Promise.race([attaching, sleep(clock, settings.attemptTimeoutMs, this.#closing.signal)])
    const endMs = clock.monotonicMs() + settings.connectTimeoutMs
    // A shard that comes up attaches it by itself.
    while (!node.isAttached) {
      const leftMs = endMs - clock.monotonicMs()
      if (leftMs <= 0 || this.#closing.signal.aborted) {
        this.#served.delete(node)
        node.end()
        throw new TrunklineError('UNAVAILABLE', { details: { why: 'no shard to serve on' } })
      }
      await Promise.race([node.attached, sleep(clock, leftMs, this.#closing.signal)])
    }
    let closing: Promise<void> | undefined
    return {
      setCapacity: (allocations) => node.setCapacity(allocations),
      drain: () => node.drain(),
      close: async () => {
        closing ??= node.close().finally(() => this.#served.delete(node))
        await closing
      },
    }
  }

  presence(): readonly NodePresence[] {
    return this.#presence.list()
  }

  shardStates(): readonly { readonly name: string; readonly state: ShardState }[] {
    return this.#shards.map(({ name, state }) => ({ name, state }))
  }

  async close(): Promise<void> {
    this.#closing.abort()
    for (const node of this.#served) node.end()
    this.#served.clear()
    for (const out of this.#out) out.settle({ kind: 'lost' })
    await Promise.all(this.#shards.map((shard) => shard.close()))
  }

  async #timed(
    method: 'call' | 'allocate',
    body: Uint8Array,
    options: CallOptions,
    route: (out: Outgoing) => Promise<AllocateOutcome>,
  ): Promise<AllocateOutcome> {
    const { clock, metrics } = this.#parts
    const beganMs = clock.monotonicMs()
    this.#calls += 1
    const out = new Outgoing(clock, this.#calls.toString(36), body, options)
    if (this.#closing.signal.aborted) out.settle({ kind: 'lost' })
    if (!out.settled) {
      this.#out.add(out)
      void route(out).then(
        (outcome) => out.settle(outcome),
        (defect: unknown) => {
          out.settle({ kind: 'lost' })
          this.#parts.onProblem(defect)
        },
      )
    }
    const outcome = await out.outcome
    this.#out.delete(out)
    metrics.call(method, outcome.kind, clock.monotonicMs() - beganMs)
    return outcome
  }

  async #routeCall(out: Outgoing, key: Incarnation, cookie: string | undefined): Promise<CallOutcome> {
    const { clock, settings } = this.#parts
    for (let round = 0; ; round += 1) {
      const shards = this.#upShards(cookie, (shard) => this.#presence.isOn(shard.name, key))
      let isKnown = false
      for (const shard of shards) {
        const queue = this.#presence.queueOf(shard.name, key)
        const end = await shard.send(out, { method: 'call', key, queue })
        switch (end.kind) {
          case 'answered':
          case 'lost':
            return end
          case 'given-up':
            return { kind: 'timeout' }
          case 'returned':
            isKnown = true
            break
          case 'unsent':
            break
          case 'no-capacity':
            throw new Error('a call was queued as an allocation')
        }
      }
      const pauseMs = settings.unroutableRetryMs[round]
      const mayCome = this.#presence.wasHereLately(key) || this.#shards.some(({ state }) => state === 'connecting')
      if (pauseMs === undefined || !mayCome) return { kind: isKnown ? 'unroutable' : 'lost' }
      await sleep(clock, pauseMs)
      if (out.settled) return { kind: 'timeout' }
    }
  }

  async #routeAllocation(out: Outgoing, cookie: string | undefined): Promise<AllocateOutcome> {
    const asked: Shard[] = []
    for (const shard of this.#upShards(cookie, (shard) => this.#presence.hasNodesOn(shard.name))) {
      if (asked.length > 0 && !this.#hasOthers(shard, asked)) continue
      const end = await shard.send(out, { method: 'allocate' })
      switch (end.kind) {
        case 'answered':
        case 'lost':
          return end
        case 'given-up':
          return { kind: 'timeout' }
        case 'no-capacity':
        case 'returned':
          asked.push(shard)
          break
        case 'unsent':
          break
      }
    }
    return { kind: asked.length > 0 ? 'no-capacity' : 'lost' }
  }

  #upShards(cookie: string | undefined, isLikely: (shard: Shard) => boolean): readonly Shard[] {
    const up = this.#shards.filter((shard) => shard.isUp)
    if (up.length < 2) return up
    const ordered = orderByCookie(up, cookie ?? String(this.#parts.random.fraction()))
    return [...ordered.filter(isLikely), ...ordered.filter((shard) => !isLikely(shard))]
  }

  /** Nodes on that shard that were not asked on another one; or nobody knows yet. */
  #hasOthers(shard: Shard, asked: readonly Shard[]): boolean {
    if (shard.isYoung) return true
    const names = asked.map(({ name }) => name)
    return this.#presence
      .list()
      .some(({ shards }) => shards.includes(shard.name) && !shards.some((name) => names.includes(name)))
  }

  #changed(): void {
    for (const listener of [...this.#changes]) listener()
  }

  /** Resolves with the next change of a shard, or after `ms`. */
  async #change(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#changes.delete(done)
        timer.cancel()
        resolve()
      }
      const timer = this.#parts.clock.after(ms, done)
      this.#changes.add(done)
    })
  }
}
