// Owns: the Switchboard inside one process: one hub, and a handle on it for every party (an API node, a stream node).
// Serves `trunkline dev` and simulations, where many nodes live in one process.
// 1. Bodies are handed over, not copied: whoever gives a body away (caller or handler) never touches those bytes again,
//    and whoever gets one may keep it.
// 2. Nothing waits without a bound: allocations in a queue bounded in count, bytes and time, calls by their deadlines
//    and by a number per node.
// 3. What is answered when a node or a handle ends is what a broker would answer: `lost` for calls in flight,
//    `unroutable` for later ones.
// Leaves out: shards (there is one, named `in-process`) and the preference by cookie.
import type { Clock } from '../../ports/clock.ts'
import type {
  AllocateOutcome,
  CallOptions,
  CallOutcome,
  NodePresence,
  ServeHandlers,
  Serving,
  Switchboard,
} from '../../ports/switchboard.ts'
import type { Incarnation } from '../../protocol/ids.ts'
import { AllocationQueue } from './allocation-queue.ts'
import { Links } from './links.ts'
import { PendingCall } from './pending-call.ts'
import { ServedNode } from './served-node.ts'

export interface InProcessHubOptions {
  /** How long an allocation waits for a free place, ≤ 200 ms. Default 200; 0 answers `no-capacity` at once. */
  readonly allocateWaitMs?: number
  /** Allocations that may wait; the next is answered `no-capacity`. Default 1,024. */
  readonly waitingAllocationsMax?: number
  /** Bytes of their bodies. Default 4 MiB. */
  readonly waitingBytesMax?: number
  /** Calls and allocations in flight per node; the next is answered `lost` without running. Default 16,384. */
  readonly inFlightPerNodeMax?: number
  /** A handler rejected, which is a bug. Default: thrown, so that the process ends loudly. */
  readonly onDefect?: (error: unknown) => void
}

const shard = 'in-process'

/** What all handles share. */
export class InProcessHub {
  readonly clock: Clock
  /** What can be reached. */
  readonly #nodes = new Map<Incarnation, ServedNode>()
  /** What has not ended: also nodes that still answer what they have while they close. */
  readonly #alive = new Set<ServedNode>()
  readonly #waiting: AllocationQueue
  readonly #inFlightPerNodeMax: number
  readonly #onDefect: (error: unknown) => void
  #lastAllocated: Incarnation | undefined

  constructor(clock: Clock, options: InProcessHubOptions = {}) {
    this.clock = clock
    this.#waiting = new AllocationQueue(clock, {
      waitMs: Math.min(200, options.allocateWaitMs ?? 200),
      itemsMax: options.waitingAllocationsMax ?? 1_024,
      bytesMax: options.waitingBytesMax ?? 4 * 1024 * 1024,
    })
    this.#inFlightPerNodeMax = options.inFlightPerNodeMax ?? 16_384
    this.#onDefect = options.onDefect ?? throwLater
  }

  /** A handle of one party. Its owner closes it. */
  connect(): InProcessSwitchboard {
    return new InProcessSwitchboard(this)
  }

  /**
   * The node dies as with kill -9, for tests: calls in flight settle as lost, later ones are unroutable. Its handlers
   * may go on running (a zombie), unheard. Unknown keys are ignored.
   */
  kill(key: Incarnation): void {
    for (const node of this.#alive) if (node.key === key) this.end(node)
  }

  allocate(call: PendingCall): void {
    if (call.settled) return
    const node = this.#nextWithPlace()
    if (node === undefined) this.#waiting.add(call)
    else this.#allocateAt(node, call)
  }

  call(key: Incarnation, call: PendingCall): void {
    if (call.settled) return
    const node = this.#nodes.get(key)
    if (node === undefined) call.settle({ kind: 'unroutable' })
    else if (node.inFlightCount >= this.#inFlightPerNodeMax) call.settle({ kind: 'lost' })
    else node.call(call)
  }

  bind(key: Incarnation, handlers: ServeHandlers): ServedNode {
    if (this.#nodes.has(key)) throw new Error(`${key} is already served`)
    const node = new ServedNode(key, handlers, {
      placeFree: () => this.#serveWaiting(),
      defect: (error) => this.#onDefect(error),
    })
    this.#nodes.set(key, node)
    this.#alive.add(node)
    this.#serveWaiting()
    return node
  }

  /** From here on nothing new reaches the node. */
  unbind(node: ServedNode): void {
    node.drain()
    if (this.#nodes.get(node.key) === node) this.#nodes.delete(node.key)
  }

  /** The node's end, once: what is in flight is lost. */
  end(node: ServedNode): void {
    if (!this.#alive.delete(node)) return
    this.unbind(node)
    node.end()
  }

  presence(): readonly NodePresence[] {
    return Array.from(this.#nodes.keys(), (key) => ({ key, shards: [shard] }))
  }

  #serveWaiting(): void {
    while (this.#waiting.size > 0) {
      const node = this.#nextWithPlace()
      const call = node === undefined ? undefined : this.#waiting.take()
      if (node === undefined || call === undefined) return
      this.#allocateAt(node, call)
    }
  }

  #allocateAt(node: ServedNode, call: PendingCall): void {
    this.#lastAllocated = node.key
    node.allocate(call)
  }

  /** Round robin over the nodes that have a place, from the one after the last. */
  #nextWithPlace(): ServedNode | undefined {
    const nodes = [...this.#nodes.values()]
    const start = nodes.findIndex((node) => node.key === this.#lastAllocated) + 1
    for (let step = 0; step < nodes.length; step += 1) {
      const node = nodes[(start + step) % nodes.length]
      if (node?.takesAllocation === true && node.inFlightCount < this.#inFlightPerNodeMax) return node
    }
    return undefined
  }
}

/** Made by hub.connect(). */
export class InProcessSwitchboard implements Switchboard {
  readonly #hub: InProcessHub
  readonly #out = new Links<PendingCall>()
  readonly #served = new Set<ServedNode>()
  #closed = false

  constructor(hub: InProcessHub) {
    this.#hub = hub
  }

  async allocate(body: Uint8Array, options: CallOptions): Promise<AllocateOutcome> {
    const call = this.#open(body, options)
    this.#hub.allocate(call)
    return call.outcome
  }

  async call(key: Incarnation, body: Uint8Array, options: CallOptions): Promise<CallOutcome> {
    const call = this.#open(body, options)
    this.#hub.call(key, call)
    const outcome = await call.outcome
    if (outcome.kind === 'no-capacity') throw new Error('a call was queued as an allocation')
    return outcome
  }

  async serve(key: Incarnation, handlers: ServeHandlers): Promise<Serving> {
    if (this.#closed) throw new Error('serving on a closed switchboard')
    const node = this.#hub.bind(key, handlers)
    this.#served.add(node)
    let closing: Promise<void> | undefined
    return {
      setCapacity: (allocations) => node.setCapacity(allocations),
      drain: () => node.drain(),
      close: async () => {
        closing ??= this.#closeServing(node)
        await closing
      },
    }
  }

  presence(): readonly NodePresence[] {
    return this.#hub.presence()
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const node of this.#served) this.#hub.end(node)
    this.#served.clear()
    for (const call of this.#out.items()) call.settle({ kind: 'lost' })
  }

  #open(body: Uint8Array, options: CallOptions): PendingCall {
    const call = new PendingCall(this.#hub.clock, body, options)
    const link = this.#out.add(call)
    call.onSettled(() => this.#out.delete(link))
    // Never `unroutable`: that would be a statement about the node, and this handle knows nothing of it any more.
    if (this.#closed) call.settle({ kind: 'lost' })
    return call
  }

  async #closeServing(node: ServedNode): Promise<void> {
    this.#hub.unbind(node)
    await node.idle()
    this.#served.delete(node)
    this.#hub.end(node)
  }
}

function throwLater(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}
