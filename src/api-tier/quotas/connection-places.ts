// Owns: whose the connections of one listener are, and how many each may have: by address from the first packet, by client
// and tenant from the first request that proved one.
// 1. An address with as many as it may have gets no further one; silent and unfinished ones count. Shared addresses (load
//    balancers, NAT) are not counted: behind them many callers look like one.
// 2. A connection belongs to the client of its last proven request. When that client or its tenant has as many as it may, the
//    request is refused as TOO_MANY_REQUESTS, and the connection is to end: `isRefused`. Those that were there go on.
// 3. What is counted is forgotten when the last of it closes, so it is bounded by the listener's own limit.
// Leaves out: sockets (listener-gate.ts), the listener's limit of all (Node), requests (quotas.ts).
import { type AddressRanges, countedAddress, isWithin } from '../../config/address-ranges.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import type { Asker, QuotaMetrics } from './quotas.ts'

/** 0: without a limit. */
export interface ConnectionLimits {
  readonly addressConnectionsMax: number
  readonly clientConnectionsMax: number
  readonly tenantConnectionsMax: number
  /** Invariant 1. */
  readonly sharedAddresses: AddressRanges
}

/** What the core sees of a connection. */
export interface ConnectionOwner {
  /** Invariant 2. Answers TOO_MANY_REQUESTS with `limit` when it may not; what is never refused is served all the same. */
  takenBy(asker: Pick<Asker, 'client' | 'tenant'>): TrunklineError | undefined
}

export interface ConnectionSeat extends ConnectionOwner {
  /** It was taken by somebody who may have no more: it ends when that is said. */
  readonly isRefused: boolean
  /** It is closed. Idempotent. */
  leave(): void
}

/** Somebody has to close one first. */
const retryMs = 5_000

class Counts {
  readonly #limit: string
  readonly #max: number
  readonly #of = new Map<string, number>()

  constructor(limit: string, max: number) {
    this.#limit = limit
    this.#max = max
  }

  get limit(): string {
    return this.#limit
  }

  isFull(name: string): boolean {
    return this.#max > 0 && (this.#of.get(name) ?? 0) >= this.#max
  }

  change(name: string, delta: 1 | -1): void {
    const count = (this.#of.get(name) ?? 0) + delta
    if (count > 0) this.#of.set(name, count)
    else this.#of.delete(name) // invariant 3
  }
}

export class ConnectionPlaces {
  readonly #shared: AddressRanges
  readonly #metrics: Pick<QuotaMetrics, 'refused'>
  readonly #addresses: Counts
  readonly #clients: Counts
  readonly #tenants: Counts

  constructor(limits: ConnectionLimits, metrics: Pick<QuotaMetrics, 'refused'>) {
    this.#shared = limits.sharedAddresses
    this.#metrics = metrics
    this.#addresses = new Counts('address connections', limits.addressConnectionsMax)
    this.#clients = new Counts('client connections', limits.clientConnectionsMax)
    this.#tenants = new Counts('tenant connections', limits.tenantConnectionsMax)
  }

  /** Answers what gives the place back, once; undefined: the address has as many as it may. */
  enter(remote: string | undefined): (() => void) | undefined {
    // Without an address it has gone already.
    if (remote === undefined || isWithin(this.#shared, remote)) return () => {}
    const address = countedAddress(remote)
    if (this.#addresses.isFull(address)) {
      this.#metrics.refused(this.#addresses.limit)
      return undefined
    }
    this.#addresses.change(address, 1)
    return () => this.#addresses.change(address, -1)
  }

  /** The listener itself let no more in. */
  dropped(): void {
    this.#metrics.refused('listener connections')
  }

  /** Of a connection that nobody has proven to own yet. */
  seat(): ConnectionSeat {
    const levels = [
      [this.#clients, 'client'],
      [this.#tenants, 'tenant'],
    ] as const
    const metrics = this.#metrics
    let owner: Pick<Asker, 'client' | 'tenant'> | undefined
    let isRefused = false
    let isLeft = false
    const give = (next: typeof owner): void => {
      for (const [counts, level] of levels) {
        if (owner !== undefined) counts.change(owner[level], -1)
        if (next !== undefined) counts.change(next[level], 1)
      }
      owner = next
    }
    return {
      get isRefused() {
        return isRefused
      },
      takenBy: ({ client, tenant }) => {
        // What still runs when it has closed must count for nobody.
        if (isLeft || (owner?.client === client && owner.tenant === tenant)) return undefined
        const next = { client, tenant }
        const full = levels.find(([counts, level]) => owner?.[level] !== next[level] && counts.isFull(next[level]))
        if (full !== undefined) {
          const [{ limit }] = full
          isRefused = true
          metrics.refused(limit)
          return new TrunklineError('TOO_MANY_REQUESTS', { details: { limit }, retryAfterMs: retryMs })
        }
        give(next)
        return undefined
      },
      leave: () => {
        isLeft = true
        give(undefined)
      },
    }
  }
}

/** Of a listener without such limits. */
export function unlimitedPlaces(): ConnectionPlaces {
  const none: AddressRanges = { check: () => true }
  return new ConnectionPlaces(
    { addressConnectionsMax: 0, clientConnectionsMax: 0, tenantConnectionsMax: 0, sharedAddresses: none },
    { refused: () => {} },
  )
}
