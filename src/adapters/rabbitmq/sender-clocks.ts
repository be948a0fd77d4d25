// Owns: what is left of a caller's deadline when its request arrives here, without trusting that two clocks agree.
// 1. A request says when it was sent (the sender's monotonic clock) and how much time was left. The least difference to
//    our clock that was seen of that sender in the last one to two minutes is taken for the difference of the clocks;
//    what a request took longer than its fastest fellow, it spent waiting (a frozen process, a full queue).
// 2. Of a sender that is not yet known the first request counts as fast: it may be served although it waited, never
//    dropped although it did not.
// 3. At most `sendersMax` senders are remembered; the oldest is forgotten, which is as if it were new.
import type { Clock } from '../../ports/clock.ts'

const windowMs = 60_000
const sendersMax = 4_096

interface Seen {
  /** Least (our time − its time) in this window and in the one before. */
  leastMs: number
  beforeMs: number
  windowEndsAtMs: number
}

export class SenderClocks {
  readonly #clock: Clock
  readonly #senders = new Map<string, Seen>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** What is left of the deadline now; ≤ 0 when it has passed. */
  leftMs(sender: string, sentAtMs: number, leftMs: number): number {
    const nowMs = this.#clock.monotonicMs()
    const differenceMs = nowMs - sentAtMs
    const seen = this.#seen(sender, differenceMs, nowMs)
    seen.leastMs = Math.min(seen.leastMs, differenceMs)
    return leftMs - (differenceMs - Math.min(seen.leastMs, seen.beforeMs))
  }

  #seen(sender: string, differenceMs: number, nowMs: number): Seen {
    const known = this.#senders.get(sender)
    if (known === undefined) return this.#add(sender, differenceMs, nowMs)
    if (nowMs >= known.windowEndsAtMs) {
      known.beforeMs = known.leastMs
      known.leastMs = differenceMs
      known.windowEndsAtMs = nowMs + windowMs
    }
    return known
  }

  #add(sender: string, differenceMs: number, nowMs: number): Seen {
    const oldest = this.#senders.size < sendersMax ? undefined : this.#senders.keys().next().value
    if (oldest !== undefined) this.#senders.delete(oldest)
    const seen = { leastMs: differenceMs, beforeMs: differenceMs, windowEndsAtMs: nowMs + windowMs }
    this.#senders.set(sender, seen)
    return seen
  }
}
