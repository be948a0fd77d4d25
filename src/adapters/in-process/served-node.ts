// Owns: one served key of the in-process hub: its capacity, its calls in flight, and its end.
// 1. A handler starts in a later turn than the call (never inside the caller's stack), and only for a call that still waits.
// 2. An allocation holds one place of the capacity until its handler settles, whether or not the caller still waits.
// 3. After the end of the node (gone) no answer of it reaches a caller.

import type { ServeHandlers } from '../../ports/switchboard.ts'
import type { Incarnation } from '../../protocol/ids.ts'
import { Links } from './links.ts'
import type { PendingCall } from './pending-call.ts'

export const capacityDefault = 64

export interface NodeEvents {
  /** A place became free, or the capacity grew. */
  placeFree(): void
  /** A handler rejected or threw: a defect of the node. */
  defect(error: unknown): void
}

export class ServedNode {
  readonly key: Incarnation
  readonly #handlers: ServeHandlers
  readonly #events: NodeEvents
  readonly #inFlight = new Links<PendingCall>()
  #emptied: (() => void) | undefined
  #capacity = capacityDefault
  #allocating = 0
  #draining = false
  #gone = false

  constructor(key: Incarnation, handlers: ServeHandlers, events: NodeEvents) {
    this.key = key
    this.#handlers = handlers
    this.#events = events
  }

  get inFlightCount(): number {
    return this.#inFlight.size
  }

  get takesAllocation(): boolean {
    return !this.#draining && !this.#gone && this.#allocating < this.#capacity
  }

  setCapacity(allocations: number): void {
    if (!Number.isInteger(allocations) || allocations < 0) throw new Error(`a capacity of ${allocations}`)
    this.#capacity = allocations
    this.#events.placeFree()
  }

  drain(): void {
    this.#draining = true
  }

  allocate(call: PendingCall): void {
    this.#allocating += 1
    this.#run(call, 'allocate', () => {
      this.#allocating -= 1
      this.#events.placeFree()
    })
  }

  call(call: PendingCall): void {
    this.#run(call, 'call', () => undefined)
  }

  /** Resolves when no caller waits for this node any more; their deadlines bound it. */
  async idle(): Promise<void> {
    if (this.#inFlight.size === 0) return
    await new Promise<void>((resolve) => {
      this.#emptied = resolve
    })
  }

  /** The node is dead: what is in flight is lost. Idempotent. */
  end(): void {
    this.#gone = true
    for (const call of this.#inFlight.items()) call.settle({ kind: 'lost' })
  }

  #run(call: PendingCall, method: 'allocate' | 'call', finished: () => void): void {
    const link = this.#inFlight.add(call)
    call.onSettled(() => {
      this.#inFlight.delete(link)
      if (this.#inFlight.size === 0) this.#emptied?.()
    })
    void this.#serve(call, method).finally(finished)
  }

  async #serve(call: PendingCall, method: 'allocate' | 'call'): Promise<void> {
    await Promise.resolve()
    if (call.settled || this.#gone) return
    try {
      const body = await this.#handlers[method](call.body, { deadlineAtMs: call.deadlineAtMs })
      call.settle({ kind: 'answered', body })
    } catch (error) {
      call.settle({ kind: 'lost' })
      this.#events.defect(error)
    }
  }
}
