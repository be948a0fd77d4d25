// Owns: places for requests that have begun to arrive at a listener and are not whole, all its connections together: nobody
// has logged in yet, and each may declare the largest request there is.
// 1. A request up to `arrivalFreeBytes`, or one of which no more has come, needs no place.
// 2. A longer one takes a place of its whole size before more of it is read, so that whoever has a place can finish. All
//    places together are at most `bytesMax`.
// 3. Without room it waits, unread: TCP slows its peer down. The newest is served first, because who has waited long has
//    likely stalled. At most `waitingMax` wait; above it the oldest of them is cut.
// 4. While somebody waits, a place that is held longer than `graceMs` is taken away, the oldest first, and its owner is cut.
//    An honest request arrives within it, or has time until the listener's own limit when nobody waits.
// 5. A place is given back once; nothing is remembered of who has none.
// So a listener holds bytesMax, two reads of each of `waitingMax`, and arrivalFreeBytes of each connection. A flood of new
// connections that fills all places every `graceMs` slows large requests of others down; small ones never wait.
// Leaves out: time limits of a request (the listeners), whole requests that are under way (quotas).
import type { Clock, Timer } from '../ports/clock.ts'

export const arrivalFreeBytes = 16 * 1024
export const arrivingBytesDefault = 64 * 1024 * 1024

export interface ArrivalBudgetOptions {
  readonly clock: Clock
  readonly bytesMax: number
  /** Default 256. */
  readonly waitingMax?: number
  /** Default 1 s. */
  readonly graceMs?: number
  /** Default: nobody is told. */
  readonly metrics?: ArrivalMetrics | undefined
}

export interface ArrivalMetrics {
  /** Of all places. */
  arriving(bytes: number): void
  /** An unfinished request was cut to make room. */
  cut(): void
}

export interface ArrivalOwner {
  /** It had to wait and may be read on now. */
  granted(): void
  /** It gets no place, or loses it: give up what has come of it. */
  cut(): void
}

export interface ArrivalPlace {
  readonly isGranted: boolean
  /** It is whole, or gone. Idempotent. */
  release(): void
}

interface Claim {
  readonly bytes: number
  readonly owner: ArrivalOwner
  grantedAtMs: number | undefined
}

export class ArrivalBudget {
  readonly #options: Required<Omit<ArrivalBudgetOptions, 'metrics'>> & Pick<ArrivalBudgetOptions, 'metrics'>
  /** Oldest first, as a Set keeps them. */
  readonly #holding = new Set<Claim>()
  readonly #waiting = new Set<Claim>()
  #bytes = 0
  #timer: Timer | undefined

  constructor(options: ArrivalBudgetOptions) {
    this.#options = { waitingMax: 256, graceMs: 1_000, ...options }
  }

  /** Of all places. */
  get bytes(): number {
    return this.#bytes
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /** For a request of `bytes` in all. When it is not granted at once, the owner hears of it later, one way or the other. */
  claim(bytes: number, owner: ArrivalOwner): ArrivalPlace {
    // One that is longer than everything would wait for ever.
    const claim: Claim = { bytes: Math.min(bytes, this.#options.bytesMax), owner, grantedAtMs: undefined }
    if (this.#makeRoom(claim.bytes)) this.#grant(claim)
    else this.#wait(claim)
    return {
      get isGranted() {
        return claim.grantedAtMs !== undefined
      },
      release: () => this.#release(claim),
    }
  }

  #wait(claim: Claim): void {
    this.#waiting.add(claim)
    const [oldest] = this.#waiting
    if (oldest !== undefined && this.#waiting.size > this.#options.waitingMax) this.#cut(oldest) // rule 3
    this.#watch()
  }

  #grant(claim: Claim): void {
    claim.grantedAtMs = this.#options.clock.monotonicMs()
    this.#holding.add(claim)
    this.#change(claim.bytes)
  }

  #release(claim: Claim): void {
    const waited = this.#waiting.delete(claim)
    const held = this.#holding.delete(claim)
    if (!waited && !held) return // rule 5
    if (held) this.#change(-claim.bytes)
    if (this.#waiting.size > 0) this.#serve()
  }

  #cut(claim: Claim): void {
    this.#waiting.delete(claim)
    if (this.#holding.delete(claim)) this.#change(-claim.bytes)
    this.#options.metrics?.cut()
    claim.owner.cut()
  }

  /** Rule 4. False: there is no room, and nobody to be cut for it yet. */
  #makeRoom(bytes: number): boolean {
    const { bytesMax, graceMs, clock } = this.#options
    while (this.#bytes + bytes > bytesMax) {
      const [oldest] = this.#holding
      if (oldest?.grantedAtMs === undefined || clock.monotonicMs() - oldest.grantedAtMs < graceMs) return false
      this.#cut(oldest)
    }
    return true
  }

  #serve(): void {
    while (this.#waiting.size > 0) {
      const newest = [...this.#waiting].at(-1)
      if (newest === undefined || !this.#makeRoom(newest.bytes)) break
      this.#waiting.delete(newest)
      this.#grant(newest)
      newest.owner.granted()
    }
    this.#watch()
  }

  /** Looks again when the oldest place has had its time. */
  #watch(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    const { graceMs, clock } = this.#options
    const [oldest] = this.#holding
    if (this.#waiting.size === 0 || oldest?.grantedAtMs === undefined) return
    const leftMs = oldest.grantedAtMs + graceMs - clock.monotonicMs()
    this.#timer = clock.after(Math.max(1, leftMs), () => this.#serve())
  }

  #change(bytes: number): void {
    this.#bytes += bytes
    this.#options.metrics?.arriving(this.#bytes)
  }
}
