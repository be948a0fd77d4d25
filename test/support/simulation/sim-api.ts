// Owns: one place of the API tier: a process that runs there, dies, hangs or drains, and is followed by another.
// 1. What a dead process was still doing is heard by nobody.
import type { GatewayCalls } from '../../../src/api-tier/gateway-calls.ts'
import type { Clock } from '../../../src/ports/clock.ts'
import type { Trace } from './trace.ts'

export type ApiState =
  | 'serving'
  /** Nobody listens. */
  | 'dead'
  /** Its host is gone from the network: nothing comes back, not even a refusal. */
  | 'silent'
  /** Asked to stop: refuses what comes, finishes what runs. */
  | 'draining'

export class SimApi {
  readonly name: string
  readonly #clock: Clock
  readonly #trace: Trace
  readonly #start: () => GatewayCalls
  readonly #onDeath = new Set<() => void>()
  calls: GatewayCalls
  state: ApiState = 'serving'
  /** Counts processes. */
  epoch = 1

  constructor(
    name: string,
    parts: { readonly clock: Clock; readonly trace: Trace; readonly start: () => GatewayCalls },
  ) {
    this.name = name
    this.#clock = parts.clock
    this.#trace = parts.trace
    this.#start = parts.start
    this.calls = parts.start()
  }

  /** Its connections break. */
  onDeath(listener: () => void): () => void {
    this.#onDeath.add(listener)
    return () => this.#onDeath.delete(listener)
  }

  kill(forMs: number): void {
    if (this.state === 'dead') return
    this.#die()
    const { epoch } = this
    this.#clock.after(forMs, () => {
      if (this.epoch === epoch) this.revive()
    })
  }

  hang(forMs: number, deadMs: number): void {
    this.#leave('silent', forMs, deadMs)
  }

  drain(forMs: number, deadMs: number): void {
    this.#leave('draining', forMs, deadMs)
  }

  /** Serves, as a new process when it did not. */
  revive(): void {
    if (this.state === 'serving') return
    if (this.state !== 'dead') this.#die()
    this.calls = this.#start()
    this.state = 'serving'
    this.#trace.note(`${this.name} serves`)
  }

  #leave(state: ApiState, forMs: number, deadMs: number): void {
    if (this.state !== 'serving') return
    this.#trace.note(`${this.name} ${state}`)
    this.state = state
    const { epoch } = this
    this.#clock.after(forMs, () => {
      if (this.epoch === epoch) this.kill(deadMs)
    })
  }

  #die(): void {
    this.#trace.note(`${this.name} dies`)
    this.state = 'dead'
    this.epoch += 1
    for (const tell of [...this.#onDeath]) tell()
  }
}
