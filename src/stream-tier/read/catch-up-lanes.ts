// Owns: how many catch-up fetches of a node run at once, over all topics. The rest waits in order, bounded.
import { TrunklineError } from '../../protocol/errors.ts'

const lanesDefault = 8
const waitingMax = 4_096

export class CatchUpLanes {
  readonly #lanes: number
  readonly #waiting: (() => void)[] = []
  #running = 0

  constructor(lanes: number = lanesDefault) {
    this.#lanes = lanes
  }

  /** Whether a fetch would start at once: read-ahead takes only what nobody waits for. */
  get isFree(): boolean {
    return this.#running < this.#lanes
  }

  /** Errors: UNAVAILABLE when too many wait; otherwise those of `work`. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#lanes) {
      if (this.#waiting.length >= waitingMax) throw new TrunklineError('UNAVAILABLE')
      // The lane is handed over by the one that ends: #running stays.
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    } else {
      this.#running += 1
    }
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#running -= 1
      else next()
    }
  }
}
