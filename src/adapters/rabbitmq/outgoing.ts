// Owns: one call or allocation of this party as its caller sees it: its deadline, its abort, its single settlement.
// 1. It settles once; its timer and abort listener end with it.
// Leaves out: on which shards it is tried (rabbit-switchboard.ts) and what is out on one of them (attempts.ts).
import type { Clock } from '../../ports/clock.ts'
import type { AllocateOutcome, CallOptions } from '../../ports/switchboard.ts'

export class Outgoing {
  readonly id: string
  readonly body: Uint8Array
  /** Monotonic time at which the caller gives up. */
  readonly deadlineAtMs: number
  readonly outcome: Promise<AllocateOutcome>
  readonly #resolve: (outcome: AllocateOutcome) => void
  readonly #disarm: () => void
  #whenSettled: (() => void) | undefined
  #settled = false

  constructor(clock: Clock, id: string, body: Uint8Array, { deadlineMs, signal }: CallOptions) {
    this.id = id
    this.body = body
    this.deadlineAtMs = clock.monotonicMs() + deadlineMs
    let resolve: (outcome: AllocateOutcome) => void = () => undefined
    this.outcome = new Promise((settle) => {
      resolve = settle
    })
    this.#resolve = resolve
    // An abort is a deadline that the caller moves to now: what runs is not stopped.
    const giveUp = (): void => this.settle({ kind: 'timeout' })
    const timer = clock.after(Math.max(0, deadlineMs) || 0, giveUp)
    signal?.addEventListener('abort', giveUp)
    this.#disarm = () => {
      timer.cancel()
      signal?.removeEventListener('abort', giveUp)
    }
    if (!(deadlineMs > 0) || signal?.aborted === true) giveUp()
  }

  get settled(): boolean {
    return this.#settled
  }

  settle(outcome: AllocateOutcome): void {
    if (this.#settled) return
    this.#settled = true
    this.#disarm()
    this.#resolve(outcome)
    this.#whenSettled?.()
    this.#whenSettled = undefined
  }

  /** The one place where it is out now hears of its settlement; the place before hears nothing any more. */
  onSettled(listener: (() => void) | undefined): void {
    this.#whenSettled = listener
  }
}
