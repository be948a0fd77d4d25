// Owns: the sessions of one node: finding, one per producer, leases, and the short memory of closed ones.
// X1 One session per producer and node: a later one closes the earlier before it opens (design.md §3.6).
// X2 A closed session is never opened again: its id answers repeats of its last requests for a lease, then SESSION_GONE.
// X3 Bounded: `sessionsMax` open sessions, `closedMax` remembered ones (the oldest are forgotten first).
import type { Clock, Timer } from '../ports/clock.ts'
import { TrunklineError } from '../protocol/errors.ts'
import type { ProducerId, SessionId } from '../protocol/ids.ts'
import type { Session } from './session.ts'
import { WriteSession } from './write-session.ts'

const closedMax = 4096

export class Sessions {
  readonly #clock: Clock
  readonly #leaseMs: number
  readonly #sessionsMax: number
  readonly #open = new Map<SessionId, Session>()
  readonly #byProducer = new Map<ProducerId, WriteSession>()
  readonly #closed = new Map<SessionId, { readonly session: Session; readonly untilMs: number }>()
  readonly #emptied: (() => void)[] = []
  #sweep: Timer | undefined

  constructor(options: { clock: Clock; leaseMs: number; sessionsMax: number }) {
    this.#clock = options.clock
    this.#leaseMs = options.leaseMs
    this.#sessionsMax = options.sessionsMax
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

  /** Errors: NO_CAPACITY (X3). */
  add(session: Session): void {
    if (this.isFull) throw new TrunklineError('NO_CAPACITY')
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
    this.#open.delete(session.id)
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
