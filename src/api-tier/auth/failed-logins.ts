// Owns: how often an address may fail to log in, by name (a client id, a bearer): who tries more is refused before anything
// is hashed or verified, until time has passed.
// 1. A name fails a minute's worth at once, then at the rate. Only failures count; a success forgets those of its name.
// 2. It is counted per address and name: nobody can lock a client out from elsewhere, but whoever shares its address can
//    slow it there. Shared addresses (load balancers, NAT) are therefore not counted at all.
// 3. An address has at most `namesMax` names; further ones fail together, and no success forgets that. So it fails at most
//    `namesMax + 1` times the rate, whatever names it makes up, and an own account does not help with another's.
// 4. At most `addressesMax` addresses are remembered; the one that was silent longest is forgotten. To be forgotten takes as
//    many other addresses, each of which is slowed like the first: what it buys is one more minute's worth.
// 5. What was under way when a rate was used up still runs, and is a debt of at most a minute's worth.
// Leaves out: what a failure is (routes-oauth.ts, gateway-calls.ts), its log lines.
import { LRUCache } from 'lru-cache'
import { type AddressRanges, countedAddress, isWithin } from '../../config/address-ranges.ts'
import type { Clock } from '../../ports/clock.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import type { QuotaMetrics } from '../quotas/quotas.ts'
import { TokenBucket } from '../quotas/token-bucket.ts'

export interface FailedLoginsOptions {
  /** 0: without a limit. */
  readonly failedLoginsPerMinute: number
  /** Invariant 2. */
  readonly sharedAddresses: AddressRanges
  readonly clock: Clock
  readonly metrics: Pick<QuotaMetrics, 'refused'>
}

/** Some 20 MB when all of them are used up. */
const addressesMax = 4_096
const namesMax = 15
/** A longer name fails together with the further ones. */
const nameCharactersMax = 128
const secondsPerMinute = 60
const limit = 'failed logins'

interface Failures {
  readonly named: Map<string, TokenBucket>
  further: TokenBucket | undefined
}

export class FailedLogins {
  readonly #options: FailedLoginsOptions
  readonly #failures = new LRUCache<string, Failures>({ max: addressesMax })

  constructor(options: FailedLoginsOptions) {
    this.#options = options
  }

  /** Before an attempt. Errors: TOO_MANY_REQUESTS with `limit` and retryAfterMs. */
  check(remote: string | undefined, name: string): void {
    // Almost always nobody has failed.
    if (remote === undefined || this.#failures.size === 0) return
    const failures = this.#failures.get(countedAddress(remote))
    if (failures === undefined) return
    const nowMs = this.#options.clock.monotonicMs()
    const waitMs = this.#bucketFor(failures, name, nowMs)?.waitMs(1, nowMs) ?? 0
    if (waitMs === 0) return
    this.#options.metrics.refused(limit)
    throw new TrunklineError('TOO_MANY_REQUESTS', { details: { limit }, retryAfterMs: waitMs })
  }

  failed(remote: string | undefined, name: string): void {
    const { failedLoginsPerMinute, sharedAddresses, clock } = this.#options
    if (remote === undefined || failedLoginsPerMinute === 0 || isWithin(sharedAddresses, remote)) return
    const address = countedAddress(remote)
    const failures = this.#failures.get(address) ?? { named: new Map(), further: undefined }
    this.#failures.set(address, failures)
    const nowMs = clock.monotonicMs()
    let bucket = this.#bucketFor(failures, name, nowMs)
    if (bucket === undefined) {
      bucket = new TokenBucket(failedLoginsPerMinute / secondsPerMinute, nowMs, failedLoginsPerMinute)
      if (hasPlace(failures, name)) failures.named.set(name, bucket)
      else failures.further = bucket
    }
    bucket.take(1, nowMs)
  }

  succeeded(remote: string | undefined, name: string): void {
    if (remote === undefined || this.#failures.size === 0) return
    const address = countedAddress(remote)
    const failures = this.#failures.get(address)
    if (failures === undefined || !failures.named.delete(name)) return
    if (failures.named.size === 0 && failures.further === undefined) this.#failures.delete(address)
  }

  /** Where its failures are counted; undefined while there are none. */
  #bucketFor(failures: Failures, name: string, nowMs: number): TokenBucket | undefined {
    const { named, further } = failures
    const known = named.get(name)
    if (known !== undefined) return known
    // A rate that is whole again has nothing to remember.
    if (named.size >= namesMax) for (const [each, bucket] of named) if (bucket.isFull(nowMs)) named.delete(each)
    return hasPlace(failures, name) ? undefined : further
  }
}

function hasPlace({ named }: Failures, name: string): boolean {
  return named.size < namesMax && name.length <= nameCharactersMax
}
