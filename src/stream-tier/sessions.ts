// Owns: the sessions of one node: finding, one per producer, leases, and the short memory of closed ones.
// X1 One session per producer and node: a later one closes the earlier before it opens (design.md §3.6).
// X2 A closed session is never opened again: its id answers repeats of its last requests for a lease, then SESSION_GONE.
// X3 Bounded: `sessionsMax` open sessions, `closedMax` remembered ones (the oldest are forgotten first).
// X4 A node that ends opens none any more: an allocation that was under way is refused.
// X5 A client and a tenant have at most so many of them open, where an operator says so; counted by who allocated.
import type { Clock, Timer } from '../ports/clock.ts'
import { type ErrorName, TrunklineError } from '../protocol/errors.ts'
import type { ProducerId, SessionId } from '../protocol/ids.ts'
import { type OwnerBound, OwnerSums, ownerOf } from './owner-sums.ts'
import type { Session } from './session.ts'
import { WriteSession } from './write-session.ts'

const closedMax = 4096
/** When sessions of theirs may have ended. */
const tooManyRetryMs = 5_000

export class Sessions {
  readonly #clock: Clock
  readonly #leaseMs: number
  readonly #sessionsMax: number
  readonly #clients: OwnerSums
  readonly #tenants: OwnerSums
  readonly #open = new Map<SessionId, Session>()
  readonly #byProducer = new Map<ProducerId, WriteSession>()
  readonly #closed = new Map<SessionId, { readonly session: Session; readonly untilMs: number }>()
  readonly #emptied: (() => void)[] = []
  #sweep: Timer | undefined
  #refusal: ErrorName | undefined

  /** `clientSessionsMax`, `tenantSessionsMax`: 0 or absent is no limit. */
  constructor(options: {
    clock: Clock
    leaseMs: number
    sessionsMax: number
    clientSessionsMax?: number | undefined
    tenantSessionsMax?: number | undefined
  }) {
    this.#clock = options.clock
    this.#leaseMs = options.leaseMs
    this.#sessionsMax = options.sessionsMax
    const bound = (limit: string, max = 0): OwnerBound => ({ limit, max, retryAfterMs: tooManyRetryMs })
    this.#clients = new OwnerSums(bound('client sessions', options.clientSessionsMax))
    this.#tenants = new OwnerSums(bound('tenant sessions', options.tenantSessionsMax))
  }

  get size(): number {
    return this.#open.size
  }

  get isFull(): boolean {
    return this.#open.size >= this.#sessionsMax
  }

  all(): Iterable<Session> {
    return this.#open.values()
  }

  /** Open sessions in a state of their machine: counted when somebody asks. */
  inState(state: string): number {
    let count = 0
    for (const session of this.#open.values()) if (session.state === state) count += 1
    return count
  }

  /** X4: from here on `add` is refused with this error. */
  close(because: ErrorName): void {
    this.#refusal ??= because
  }

  /** Errors: NO_CAPACITY (X3), TOO_MANY_REQUESTS (X5), what close() was given (X4). */
  add(session: Session): void {
    if (this.#refusal !== undefined) throw new TrunklineError(this.#refusal)
    if (this.isFull) throw new TrunklineError('NO_CAPACITY')
    const { client, tenant } = ownerOf(session.principal)
    this.#clients.check(client, 1)
    this.#tenants.check(tenant, 1)
    this.#clients.change(client, 1)
    this.#tenants.change(tenant, 1)
    this.#open.set(session.id, session)
    if (session instanceof WriteSession) this.#byProducer.set(session.producerId, session)
    this.#sweep ??= this.#clock.after(this.#leaseMs / 6, () => this.#sweepLeases())
  }

  /** The open session, or one closed lately that still answers repeats. Errors: SESSION_GONE. */
  find(id: SessionId): Session {
    const session = this.#open.get(id) ?? this.#closed.get(id)?.session // X2, within its lease: #sweepLeases forgets it
    if (session === undefined) throw new TrunklineError('SESSION_GONE')
    return session
  }

  /** Closes a session for good. True when nothing of it is in flight any more; false: ask again. Unknown ones are closed. */
  release(id: SessionId): boolean {
    this.#open.get(id)?.send({ type: 'RELEASE' })
    return !this.#open.has(id)
  }

  ofProducer(producerId: ProducerId): WriteSession | undefined {
    return this.#byProducer.get(producerId)
  }

  closed(session: Session): void {
    if (this.#open.delete(session.id)) {
      const { client, tenant } = ownerOf(session.principal)
      this.#clients.change(client, -1)
      this.#tenants.change(tenant, -1)
    }
    if (session instanceof WriteSession && this.#byProducer.get(session.producerId) === session)
      this.#byProducer.delete(session.producerId)
    this.#closed.set(session.id, { session, untilMs: this.#clock.monotonicMs() + this.#leaseMs })
    this.#forgetClosed()
    if (this.#open.size === 0) for (const tell of this.#emptied.splice(0)) tell()
  }

  /** Resolves when no session is open. */
  empty(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve()
    return new Promise((resolve) => this.#emptied.push(resolve))
  }

  stop(): void {
    this.#sweep?.cancel()
    this.#sweep = undefined
  }

  #sweepLeases(): void {
    const nowMs = this.#clock.monotonicMs()
    for (const session of [...this.#open.values()])
      if (session.leaseEnded(nowMs)) session.send({ type: 'LEASE_EXPIRED' })
    this.#forgetClosed()
    const isIdle = this.#open.size === 0 && this.#closed.size === 0
    this.#sweep = isIdle ? undefined : this.#clock.after(this.#leaseMs / 6, () => this.#sweepLeases())
  }

  /** Oldest first: those whose lease is over, and what is above the bound. */
  #forgetClosed(): void {
    for (const [id, { untilMs }] of this.#closed) {
      if (this.#closed.size <= closedMax && untilMs > this.#clock.monotonicMs()) return
      this.#closed.delete(id)
    }
  }
}
