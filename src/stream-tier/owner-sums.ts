// Owns: sums of something by its owner (a client, a tenant), with a bound for each owner.
// 1. Sums are exact: what was added is removed once, by whoever added it; owners without anything are forgotten.
import type { Principal } from '../protocol/envelope.ts'
import { TrunklineError } from '../protocol/errors.ts'

/** The same for the life of a session. */
export interface Owner {
  readonly tenant: string
  /** Names the client among all tenants. */
  readonly client: string
}

export function ownerOf({ tenant, clientId, subject }: Principal): Owner {
  return { tenant, client: JSON.stringify([tenant, clientId, subject]) }
}

export interface OwnerBound {
  /** Its name in the refusal. */
  readonly limit: string
  /** 0: no bound. */
  readonly max: number
  /** When there may be room. */
  readonly retryAfterMs: number
}

export class OwnerSums {
  readonly #bound: OwnerBound
  readonly #sums = new Map<string, number>()

  constructor(bound: OwnerBound) {
    this.#bound = bound
  }

  /** Owners that have something. */
  get size(): number {
    return this.#sums.size
  }

  /** Whether the owner may have so much more; nothing is taken. Errors: TOO_MANY_REQUESTS. */
  check(owner: string, amount: number): void {
    const { limit, max, retryAfterMs } = this.#bound
    const has = this.#sums.get(owner) ?? 0
    // One is always allowed, or what is larger than the bound would be asked for again for ever.
    if (max === 0 || has === 0 || has + amount <= max) return
    throw new TrunklineError('TOO_MANY_REQUESTS', { details: { limit }, retryAfterMs })
  }

  change(owner: string, amount: number): void {
    const after = (this.#sums.get(owner) ?? 0) + amount
    if (after < 0) throw new Error('no more is removed than was added')
    if (after === 0) this.#sums.delete(owner)
    else this.#sums.set(owner, after)
  }
}
