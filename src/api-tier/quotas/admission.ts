// Owns: what a call passes before it runs: its caller's limits (quotas.ts), then its turn (fair-queue.ts).
// 1. What it took is given back once: when its answer has been sent where the front says so, otherwise when it ends.
// 2. Its tenant is told to the front before it waits: who has many waiting is read no further.
// Leaves out: how much a call takes (demand.ts), who may call (authorize).
import type { CallContext } from '../call-context.ts'
import type { FairQueue } from './fair-queue.ts'
import type { Asker, Demand, Quotas } from './quotas.ts'

export class Admission {
  readonly #quotas: Quotas | undefined
  readonly #fairQueue: FairQueue | undefined

  /** Without quotas everybody runs at once; without a queue who is admitted does. */
  constructor(quotas: Quotas | undefined, fairQueue: FairQueue | undefined) {
    this.#quotas = quotas
    this.#fairQueue = fairQueue
  }

  /** Errors: TOO_MANY_REQUESTS, DRAINING, DEADLINE when its caller has gone, and those of `work`. */
  async run(
    asker: Asker,
    demand: Demand,
    { whenSent, answerFactor = 1, signal, askedBy }: CallContext,
    work: () => Promise<Uint8Array>,
  ): Promise<Uint8Array> {
    askedBy?.(asker.tenant)
    const admitted = this.#quotas?.admit(asker, demand)
    if (admitted === undefined) return await work()
    let isHeld = false
    try {
      const body = await (this.#fairQueue?.run(asker.tenant, demand, signal, work) ?? work())
      admitted.answered(body.length, body.length * (demand.unpacks ? 2 * answerFactor : 1))
      if (whenSent !== undefined) {
        isHeld = true
        whenSent(() => admitted.release())
      }
      return body
    } finally {
      if (!isHeld) admitted.release()
    }
  }

  /** What waits, now and later, is answered DRAINING. */
  drain(): void {
    this.#fairQueue?.drain()
  }
}
