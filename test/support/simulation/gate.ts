// Owns: whether a simulated process runs: everything that reaches it from outside (a timer, an answer, a request) goes
// through its gate. Paused: it waits, in order. Dead: it never comes.
import type { Clock, Timer } from '../../../src/ports/clock.ts'

export class Gate {
  #state: 'running' | 'paused' | 'dead' = 'running'
  #waiting: (() => void)[] = []
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get isRunning(): boolean {
    return this.#state === 'running'
  }

  get isDead(): boolean {
    return this.#state === 'dead'
  }

  run(work: () => void): void {
    if (this.#state === 'running') work()
    else if (this.#state === 'paused') this.#waiting.push(work)
  }

  /** A promise of the outside world, heard through the gate; never settles for a dead process. */
  hear<T>(outside: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      outside.then(
        (value) => this.run(() => resolve(value)),
        (thrown: unknown) => this.run(() => reject(thrown instanceof Error ? thrown : new Error(String(thrown)))),
      )
    })
  }

  /** Stops it, as SIGSTOP does. */
  pause(): void {
    if (this.#state === 'running') this.#state = 'paused'
  }

  /** Goes on with everything that came meanwhile, each in a turn of its own. */
  resume(): void {
    if (this.#state !== 'paused') return
    this.#state = 'running'
    for (const work of this.#waiting.splice(0)) this.#clock.after(0, () => this.run(work))
  }

  /** Ends it, as SIGKILL does. */
  kill(): void {
    this.#state = 'dead'
    this.#waiting = []
  }
}

/** The clock as a process sees it: its timers wait while it is paused and end with it. */
export class GatedClock implements Clock {
  readonly #inner: Clock
  readonly #gate: Gate
  #wallOffsetMs = 0

  constructor(inner: Clock, gate: Gate) {
    this.#inner = inner
    this.#gate = gate
  }

  nowMs(): number {
    return this.#inner.nowMs() + this.#wallOffsetMs
  }

  /** The process's wall clock is set, also back; monotonic time and timers do not notice. */
  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs
  }

  monotonicMs(): number {
    return this.#inner.monotonicMs()
  }

  after(delayMs: number, callback: () => void): Timer {
    let cancelled = false
    const timer = this.#inner.after(delayMs, () =>
      this.#gate.run(() => {
        if (!cancelled) callback()
      }),
    )
    return {
      cancel: () => {
        cancelled = true
        timer.cancel()
      },
    }
  }
}
