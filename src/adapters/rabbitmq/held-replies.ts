// Owns: large answers that wait at their node until their callers ask for them (attempts.ts, 3).
// 1. Bounded in bytes; each is given up when its caller's deadline has passed.
import type { Clock, Timer } from '../../ports/clock.ts'

interface Held {
  readonly body: Uint8Array
  readonly timer: Timer
  readonly finished: () => void
}

export class HeldReplies {
  readonly #clock: Clock
  readonly #bytesMax: number
  readonly #held = new Map<string, Held>()
  #bytes = 0

  constructor(clock: Clock, bytesMax: number) {
    this.#clock = clock
    this.#bytesMax = bytesMax
  }

  /** False when there is no room. `finished` runs once, when it was taken or given up. */
  hold(name: string, body: Uint8Array, leftMs: number, finished: () => void): boolean {
    if (this.#bytes + body.length > this.#bytesMax || this.#held.has(name)) return false
    const timer = this.#clock.after(Math.max(0, leftMs), () => this.drop(name))
    this.#held.set(name, { body, timer, finished })
    this.#bytes += body.length
    return true
  }

  take(name: string): Uint8Array | undefined {
    const body = this.#held.get(name)?.body
    this.drop(name)
    return body
  }

  drop(name: string): void {
    const held = this.#held.get(name)
    if (held === undefined) return
    this.#held.delete(name)
    this.#bytes -= held.body.length
    held.timer.cancel()
    held.finished()
  }

  clear(): void {
    for (const name of [...this.#held.keys()]) this.drop(name)
  }
}
