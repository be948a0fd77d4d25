// Owns: one outstanding call or allocation of the in-process switchboard, and its single settlement.
// 1. It settles once; its deadline timer and abort listener end with it.
// Leaves out: who serves it.
import type { Clock } from '../../ports/clock.ts'
import type { AllocateOutcome, CallOptions } from '../../ports/switchboard.ts'

export class PendingCall {
  readonly body: Uint8Array
  /** Monotonic time at which the caller gives up. */
  readonly deadlineAtMs: number
  readonly outcome: Promise<AllocateOutcome>
  readonly #whenSettled: (() => void)[] = []
  readonly #resolve: (outcome: AllocateOutcome) => void
  readonly #disarm: () => void
  #settled = false

  constructor(clock: Clock, body: Uint8Array, options: CallOptions) {
    const { deadlineMs, signal } = options
    this.body = body
    this.deadlineAtMs = clock.monotonicMs() + deadlineMs
    let resolve: (outcome: AllocateOutcome) => void = () => undefined
    this.outcome = new Promise((settle) => {
      resolve = settle
    })
    this.#resolve = resolve
    // An abort is a deadline that the caller moves to now: what runs is not stopped.
    const giveUp = (): void => this.settle({ kind: 'timeout' })
    const timer = clock.after(Math.max(0, deadlineMs), giveUp)
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
    for (const listener of this.#whenSettled.splice(0)) listener()
  }

  /** Runs `listener` once, in the turn in which the call settles; at once if it has. */
  onSettled(listener: () => void): void {
    if (this.#settled) listener()
    else this.#whenSettled.push(listener)
  }
}
