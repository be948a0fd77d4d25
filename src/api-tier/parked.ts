// Owns: calls that wait for events at a node, so that an API process that stops need not wait for them.
// 1. From `drain` on every one of them, and every later one, ends as DRAINING: its caller asks again elsewhere under the
//    same numbers, and the node has kept what it had for it.
import { TrunklineError } from '../protocol/errors.ts'

export class Parked {
  readonly #ends = new Set<() => void>()
  #draining = false

  /** The call's own end, or DRAINING. What runs at the node goes on. */
  async untilDrained<T>(call: () => Promise<T>): Promise<T> {
    if (this.#draining) throw new TrunklineError('DRAINING')
    let end = (): void => {}
    const drained = new Promise<never>((_, reject) => {
      end = () => reject(new TrunklineError('DRAINING'))
    })
    this.#ends.add(end)
    try {
      return await Promise.race([call(), drained])
    } finally {
      this.#ends.delete(end)
    }
  }

  /** Invariant 1. Idempotent. */
  drain(): void {
    this.#draining = true
    for (const end of this.#ends) end()
  }
}
