// Owns: what tenants, clients and sessions may ask of this process, so that none of them takes it from the others:
// requests and bytes per second, bytes that are held, reads that wait.
// 1. A request is admitted before anything of it is sent on, or refused as TOO_MANY_REQUESTS with the time to wait; what
//    was admitted is released once, whatever became of it. Nobody is queued here: memory does not grow with load.
// 2. `heldBytesMax` bounds what is held in this process: requests under way, and answers until they have left. A tenant that
//    holds less than its even share of it is always admitted; the others only while there is room. So at most twice as much
//    is held, and a flood of one tenant never refuses another.
// 3. An answer that finds no place is thrown away and refused likewise: the session keeps it, the same request gets it
//    later. Small ones always have one: an ack is worth more than its bytes.
// 4. Rates are of this process: N processes behind one name let N times as much through.
// 5. At most `partiesMax` of each kind are remembered; the one that was silent longest is forgotten, and starts anew with
//    a full second's worth.
// Leaves out: who they are (gateway-calls.ts), connections (the listeners), sessions per node (stream tier).
import { LRUCache } from 'lru-cache'
import type { Clock } from '../../ports/clock.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { TokenBucket } from './token-bucket.ts'

/** 0: without a limit. */
export interface QuotaSettings {
  readonly tenantRequestsPerSecond: number
  readonly tenantBytesPerSecond: number
  readonly clientRequestsPerSecond: number
  readonly clientBytesPerSecond: number
  readonly sessionRequestsPerSecond: number
  readonly sessionBytesPerSecond: number
  readonly tenantHeldBytesMax: number
  readonly clientHeldBytesMax: number
  readonly tenantWaitingReadsMax: number
  readonly clientWaitingReadsMax: number
  /** Of all together; never 0. */
  readonly heldBytesMax: number
}

export interface Asker {
  readonly tenant: string
  /** Names the client among all tenants. */
  readonly client: string
  readonly session?: string | undefined
}

export interface Demand {
  /** Of the request. */
  readonly bytes: number
  /** It may wait for events. */
  readonly waits: boolean
  /** Its answer is unpacked here. */
  readonly unpacks: boolean
}

export interface QuotaMetrics {
  /** `limit`: which one, of the fixed set of names below. */
  refused(limit: string): void
  held(bytes: number): void
}

const partiesMax = 10_000
const retryMsMax = 5_000
/** When something that is held has to go first. */
const heldRetryMs = 100
/** Invariant 3. */
const smallAnswerBytes = 4 * 1_024

type Level = 'tenant' | 'client' | 'session'

class Party {
  readonly requests: TokenBucket | undefined
  readonly bytes: TokenBucket | undefined
  heldBytes = 0
  waitingReads = 0
  /** Under way: is not forgotten. */
  running = 0

  constructor(requestsPerSecond: number, bytesPerSecond: number, nowMs: number) {
    this.requests = requestsPerSecond === 0 ? undefined : new TokenBucket(requestsPerSecond, nowMs)
    this.bytes = bytesPerSecond === 0 ? undefined : new TokenBucket(bytesPerSecond, nowMs)
  }
}

/** What was admitted. */
export interface Admitted {
  /**
   * The answer has so many bytes, and takes `heldBytes` until `release`; the request takes nothing any more. Once.
   * Errors: TOO_MANY_REQUESTS (invariant 3).
   */
  answered(bytes: number, heldBytes: number): void
  /** Idempotent. */
  release(): void
}

export class Quotas {
  readonly #settings: QuotaSettings
  readonly #clock: Clock
  readonly #metrics: QuotaMetrics
  readonly #rates: Readonly<Record<Level, { readonly requests: number; readonly bytes: number }>>
  readonly #parties: Readonly<Record<Level, LRUCache<string, Party>>>
  /** Of those that have something under way, by name; so also those that the cache has dropped meanwhile. */
  readonly #running: Readonly<Record<Level, Map<string, Party>>> = {
    tenant: new Map(),
    client: new Map(),
    session: new Map(),
  }
  #heldBytes = 0

  constructor(settings: QuotaSettings, clock: Clock, metrics: QuotaMetrics) {
    this.#settings = settings
    this.#rates = {
      tenant: { requests: settings.tenantRequestsPerSecond, bytes: settings.tenantBytesPerSecond },
      client: { requests: settings.clientRequestsPerSecond, bytes: settings.clientBytesPerSecond },
      session: { requests: settings.sessionRequestsPerSecond, bytes: settings.sessionBytesPerSecond },
    }
    this.#clock = clock
    this.#metrics = metrics
    const cache = (): LRUCache<string, Party> => new LRUCache({ max: partiesMax })
    this.#parties = { tenant: cache(), client: cache(), session: cache() }
  }

  /** Errors: TOO_MANY_REQUESTS with `limit` and retryAfterMs. */
  admit(asker: Asker, demand: Demand): Admitted {
    const nowMs = this.#clock.monotonicMs()
    const named = [
      ['tenant', asker.tenant],
      ['client', asker.client],
      ...(asker.session === undefined || !this.#countsSessions ? [] : [['session', asker.session] as const]),
    ] as const
    const parties = named.map(([level, name]) => ({ level, name, party: this.#party(level, name, nowMs) }))
    for (const { level, party } of parties) this.#check(level, party, demand, nowMs)
    this.#checkRoom(parties[0]?.party, demand)
    for (const { level, name, party } of parties) {
      party.requests?.take(1, nowMs)
      party.bytes?.take(demand.bytes, nowMs)
      party.heldBytes += demand.bytes
      party.waitingReads += demand.waits ? 1 : 0
      party.running += 1
      this.#running[level].set(name, party)
    }
    this.#hold(demand.bytes)
    let heldBytes = demand.bytes
    let isReleased = false
    const change = (bytes: number): void => {
      for (const { party } of parties) party.heldBytes += bytes - heldBytes
      this.#hold(bytes - heldBytes)
      heldBytes = bytes
    }
    return {
      answered: (bytes, answerBytes) => {
        for (const { party } of parties) party.bytes?.take(bytes, this.#clock.monotonicMs())
        change(0)
        if (answerBytes > smallAnswerBytes) {
          for (const { level, party } of parties) this.#checkHeld(level, party, answerBytes)
          this.#checkRoom(parties[0]?.party, { bytes: answerBytes })
        }
        change(answerBytes)
      },
      release: () => {
        if (isReleased) return
        isReleased = true
        change(0)
        for (const { level, name, party } of parties) {
          party.waitingReads -= demand.waits ? 1 : 0
          party.running -= 1
          if (party.running === 0) this.#running[level].delete(name)
        }
      },
    }
  }

  get #countsSessions(): boolean {
    return this.#rates.session.requests > 0 || this.#rates.session.bytes > 0
  }

  #party(level: Level, name: string, nowMs: number): Party {
    const known = this.#running[level].get(name) ?? this.#parties[level].get(name)
    if (known !== undefined) {
      this.#parties[level].set(name, known)
      return known
    }
    const { requests, bytes } = this.#rates[level]
    const party = new Party(requests, bytes, nowMs)
    this.#parties[level].set(name, party)
    return party
  }

  #check(level: Level, party: Party, demand: Demand, nowMs: number): void {
    const settings = this.#settings
    const requestsMs = party.requests?.waitMs(1, nowMs) ?? 0
    if (requestsMs > 0) throw this.#refusal(`${level} requests per second`, requestsMs)
    const bytesMs = party.bytes?.waitMs(demand.bytes, nowMs) ?? 0
    if (bytesMs > 0) throw this.#refusal(`${level} bytes per second`, bytesMs)
    if (level === 'session') return
    this.#checkHeld(level, party, demand.bytes)
    const waitingMax = level === 'tenant' ? settings.tenantWaitingReadsMax : settings.clientWaitingReadsMax
    if (demand.waits && waitingMax > 0 && party.waitingReads >= waitingMax)
      throw this.#refusal(`${level} waiting reads`, retryMsMax)
  }

  #checkHeld(level: Level, party: Party, bytes: number): void {
    if (level === 'session') return
    const heldMax = level === 'tenant' ? this.#settings.tenantHeldBytesMax : this.#settings.clientHeldBytesMax
    // One is always allowed: its own size has a limit elsewhere.
    if (heldMax > 0 && party.heldBytes > 0 && party.heldBytes + bytes > heldMax)
      throw this.#refusal(`${level} held bytes`, heldRetryMs)
  }

  /** Invariant 2. */
  #checkRoom(tenant: Party | undefined, { bytes }: Pick<Demand, 'bytes'>): void {
    const { heldBytesMax } = this.#settings
    if (this.#heldBytes + bytes <= heldBytesMax) return
    const tenants = this.#running.tenant.size + (tenant === undefined || tenant.running > 0 ? 0 : 1)
    const shareBytes = heldBytesMax / Math.max(1, tenants)
    if ((tenant?.heldBytes ?? 0) + bytes > shareBytes) throw this.#refusal('held bytes of the process', heldRetryMs)
  }

  #hold(bytes: number): void {
    this.#heldBytes += bytes
    this.#metrics.held(this.#heldBytes)
  }

  #refusal(limit: string, waitMs: number): TrunklineError {
    this.#metrics.refused(limit)
    return new TrunklineError('TOO_MANY_REQUESTS', {
      details: { limit },
      retryAfterMs: Math.min(Math.max(1, waitMs), retryMsMax),
    })
  }
}
