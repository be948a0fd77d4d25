// Owns: how many requests run at once in this process, found by how long its event loop is busy with them.
// 1. What came in one turn of the loop waits for that turn, whoever it is from. So while turns are longer than `turnMs`
//    there are fewer places, by a tenth a turn; while they are shorter and somebody waits there is one more. A process that
//    waits for others (a node, a log) has short turns, and as many places as it can use.
// 2. Never fewer than `placesMin`, so that work still shares flushes and packets, nor more than `placesMax`.
// 3. Below `placesMin` nothing is measured: a process with little to do pays nothing.
// Leaves out: who gets the places (fair-queue.ts).
import type { Clock } from '../../ports/clock.ts'

export const placesMin = 16
/** Longest that a turn shall be. */
export const turnMs = 3
const shrink = 0.9

export interface ConcurrencyLimitOptions {
  /** Below `placesMin`, that many always. */
  readonly placesMax: number
  readonly clock: Pick<Clock, 'monotonicMs'>
  /** Hears how many there are. */
  readonly metrics: { places(places: number): void }
  /** Runs at the end of the present turn of the loop. Default setImmediate. */
  readonly afterTurn?: (run: () => void) => void
}

export class ConcurrencyLimit {
  readonly #options: ConcurrencyLimitOptions
  readonly #min: number
  readonly #afterTurn: (run: () => void) => void
  #places: number
  #isMeasuring = false
  #somebodyWaits = false

  constructor(options: ConcurrencyLimitOptions) {
    this.#options = options
    this.#min = Math.min(placesMin, options.placesMax)
    this.#afterTurn = options.afterTurn ?? setImmediate
    this.#places = Math.min(4 * placesMin, options.placesMax)
    options.metrics.places(this.#places)
  }

  get places(): number {
    return this.#places
  }

  /** So many places are taken, in this turn. */
  used(places: number, somebodyWaits: boolean): void {
    if (places < this.#min) return
    this.#somebodyWaits ||= somebodyWaits
    if (this.#isMeasuring) return
    this.#isMeasuring = true
    const { clock } = this.#options
    const beganMs = clock.monotonicMs()
    this.#afterTurn(() => this.#turned(clock.monotonicMs() - beganMs))
  }

  #turned(busyMs: number): void {
    const grows = this.#somebodyWaits
    this.#isMeasuring = false
    this.#somebodyWaits = false
    const before = this.#places
    if (busyMs > turnMs) this.#places = Math.max(this.#min, before * shrink)
    else if (grows) this.#places = Math.min(this.#options.placesMax, before + 1)
    if (this.#places !== before) this.#options.metrics.places(Math.floor(this.#places))
  }
}
