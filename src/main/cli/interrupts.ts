// Owns: what Ctrl-C and SIGTERM do to a command: the first asks it to finish what it has, the next one ends it at once, or
// behind the work that must not be cut (`hold`).
// 1. `npm run` and `npx` pass a signal on that the terminal has already sent to the whole group: what follows the first
//    within `echoMs` is the same key press.
import type { Clock } from '../../ports/clock.ts'
import { type ExitCode, exitCode } from './exit-codes.ts'

const echoMs = 500
const caught = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
type Caught = (typeof caught)[number]

export interface InterruptHandlers {
  /** Once, for the first signal. */
  readonly onFirst?: (name: Caught) => void
  /** Before the process ends at once. */
  readonly onSecond?: () => void
  /** True: SIGHUP asked for something else this time, and ends nothing. */
  readonly onHangUp?: () => boolean
}

/** How signals reach a command and how it ends; tests bring their own. */
export interface SignalSource {
  on(name: Caught, listener: (name: Caught) => void): unknown
  off(name: Caught, listener: (name: Caught) => void): unknown
  exit(code: number): void
}

export class Interrupts {
  readonly #abort = new AbortController()
  readonly #clock: Clock
  readonly #handlers: InterruptHandlers
  readonly #source: SignalSource
  #first: { readonly name: Caught; readonly atMs: number } | undefined
  #second: Caught | undefined
  #held = 0

  /** Listens until `stop()`. */
  constructor(clock: Clock, handlers: InterruptHandlers = {}, source: SignalSource = processSignals) {
    this.#clock = clock
    this.#handlers = handlers
    this.#source = source
    for (const name of caught) source.on(name, this.#take)
  }

  /** Aborted by the first signal. */
  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** The code of a command that a signal kept from its end; undefined when none came. */
  get exitCode(): ExitCode | undefined {
    if (this.#first === undefined) return undefined
    return this.#first.name === 'SIGINT' ? exitCode.interrupted : exitCode.terminated
  }

  /** Short work that leaves something behind when it is cut: the process ends behind it, not inside. */
  async hold<T>(work: () => Promise<T>): Promise<T> {
    this.#held += 1
    try {
      return await work()
    } finally {
      this.#held -= 1
      this.#endIfAsked()
    }
  }

  stop(): void {
    for (const name of caught) this.#source.off(name, this.#take)
  }

  readonly #take = (name: Caught): void => {
    if (name === 'SIGHUP' && this.#first === undefined && this.#handlers.onHangUp?.() === true) return
    const nowMs = this.#clock.monotonicMs()
    if (this.#first === undefined) {
      this.#first = { name, atMs: nowMs }
      this.#handlers.onFirst?.(name)
      this.#abort.abort()
      return
    }
    if (nowMs - this.#first.atMs < echoMs) return
    this.#second = name
    this.#endIfAsked()
  }

  #endIfAsked(): void {
    if (this.#second === undefined || this.#held > 0) return
    this.#handlers.onSecond?.()
    this.#source.exit(this.#second === 'SIGINT' ? exitCode.interrupted : exitCode.terminated)
  }
}

const processSignals: SignalSource = {
  on: (name, listener) => process.on(name, listener),
  off: (name, listener) => process.off(name, listener),
  exit: (code) => process.exit(code),
}
