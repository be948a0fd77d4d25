// Owns: allocations that wait for a node with a free place, oldest first.
// 1. Bounded in count and bytes, and in time: what cannot be queued, or waited its time, is answered `no-capacity`.
// 2. What has settled (deadline, abort) leaves the queue in the same turn: it is never served later.
import type { Clock, Timer } from '../../ports/clock.ts'
import type { PendingCall } from './pending-call.ts'

export interface QueueBounds {
  readonly waitMs: number
  readonly itemsMax: number
  readonly bytesMax: number
}

export class AllocationQueue {
  readonly #clock: Clock
  readonly #bounds: QueueBounds
  readonly #waiting = new Map<PendingCall, Timer | undefined>()
  #bytes = 0

  constructor(clock: Clock, bounds: QueueBounds) {
    this.#clock = clock
    this.#bounds = bounds
  }

  get size(): number {
    return this.#waiting.size
  }

  add(call: PendingCall): void {
    const { waitMs, itemsMax, bytesMax } = this.#bounds
    const leftMs = call.deadlineAtMs - this.#clock.monotonicMs()
    if (waitMs === 0 || this.#waiting.size >= itemsMax || this.#bytes + call.body.length > bytesMax) {
      call.settle({ kind: 'no-capacity' })
      return
    }
    // With a shorter deadline the deadline answers.
    const giveUp = (): void => call.settle({ kind: 'no-capacity' })
    const timer = leftMs > waitMs ? this.#clock.after(waitMs, giveUp) : undefined
    this.#waiting.set(call, timer)
    this.#bytes += call.body.length
    call.onSettled(() => this.#remove(call))
  }

  /** Takes the oldest one out, to be served now. */
  take(): PendingCall | undefined {
    for (const call of this.#waiting.keys()) {
      this.#remove(call)
      return call
    }
    return undefined
  }

  #remove(call: PendingCall): void {
    if (!this.#waiting.has(call)) return
    this.#waiting.get(call)?.cancel()
    this.#waiting.delete(call)
    this.#bytes -= call.body.length
  }
}
