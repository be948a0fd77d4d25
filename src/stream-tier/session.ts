// Owns: what reading and writing sessions share: the actor, its conversation, its lease, its end.
// Every effect of src/fsm/server/session.machine.ts is a method here or in read-session.ts / write-session.ts.
// Leaves out: finding sessions (sessions.ts), the node (stream-node.ts).
import type { Actor } from 'xstate'
import type { Refusal, sessionMachine } from '../fsm/server/session.machine.ts'
import type { CloseReason, RequestRef, SessionEvent } from '../fsm/server/session.types.ts'
import type { Clock } from '../ports/clock.ts'
import type { Principal } from '../protocol/envelope.ts'
import { TrunklineError } from '../protocol/errors.ts'
import type { SessionId, TopicId } from '../protocol/ids.ts'
import type { DisposeRequest, ExtendRequest, Proof } from '../protocol/messages.ts'
import { type Answered, type Conversation, deferred, type Outcome } from './conversation.ts'

export type SessionActor = Actor<typeof sessionMachine>

export interface SessionBase {
  readonly sessionId: SessionId
  readonly conversation: Conversation
  readonly clock: Clock
  readonly leaseMs: number
  readonly principal: Principal
  /** The session is over: forget it (its conversation still answers repeats for a while). */
  readonly onClosed: (session: Session, reason: CloseReason) => void
  /** An effect of the machine threw. */
  readonly onDefect: (session: Session, thrown: unknown) => void
}

export abstract class Session {
  readonly id: SessionId
  abstract readonly topicId: TopicId
  readonly conversation: Conversation
  /** Settles when the session has closed: nothing of it is in flight, and nothing ever will be. */
  readonly closed: Promise<void>
  protected readonly clock: Clock
  readonly #leaseMs: number
  readonly #onClosed: (session: Session, reason: CloseReason) => void
  readonly #onDefect: (session: Session, thrown: unknown) => void
  readonly #ended = deferred<void>()
  #principal: Principal
  #seenAtMs: number
  #actor: SessionActor | undefined
  /** Asked while the session was not over: answered by its last act. */
  readonly #disposals: RequestRef[] = []
  #isOver = false

  constructor(base: SessionBase) {
    this.id = base.sessionId
    this.conversation = base.conversation
    this.clock = base.clock
    this.#leaseMs = base.leaseMs
    this.#principal = base.principal
    this.#onClosed = base.onClosed
    this.#onDefect = base.onDefect
    this.#seenAtMs = base.clock.monotonicMs()
    this.closed = this.#ended.promise
  }

  /** Given once, right after construction. */
  start(actor: SessionActor): void {
    this.#actor = actor
    // An effect that threw is a defect: the session ends, its clients go on elsewhere, the cause is logged.
    actor.subscribe({ error: (thrown: unknown) => this.#fail(thrown) })
    actor.start()
  }

  send(event: SessionEvent): void {
    if (this.#actor === undefined) throw new Error('a session is started before it is used')
    // A closed session hears nothing any more: an answer of the log may come after it.
    if (this.#actor.getSnapshot().status === 'active') this.#actor.send(event)
  }

  get principal(): Principal {
    return this.#principal
  }

  get expiresAtMs(): number {
    return this.#principal.expiresAtMs
  }

  /** The state of the machine, for counting. */
  get state(): string {
    const value = this.#actor?.getSnapshot().value ?? 'closed'
    return typeof value === 'string' ? value : (Object.keys(value)[0] ?? 'closed')
  }

  /** True while the machine waits in `closing` or is done. */
  get isClosing(): boolean {
    const snapshot = this.#actor?.getSnapshot()
    return snapshot === undefined || snapshot.status !== 'active' || snapshot.matches('closing')
  }

  /** A session with a request in progress is alive: a parked read holds its lease. */
  leaseEnded(nowMs: number): boolean {
    return this.conversation.open === 0 && nowMs - this.#seenAtMs > this.#leaseMs
  }

  /** Judges turn and lease; `run` gives the request to the machine, `whenOver` answers when there is none any more. */
  protected converse(
    proof: Proof | undefined,
    fingerprint: string,
    run: (request: RequestRef) => void,
    whenOver = (request: RequestRef): void => this.answer(request, { error: new TrunklineError('SESSION_GONE') }),
    principal: Principal = this.#principal,
  ): Promise<Answered> {
    this.#seenAtMs = this.clock.monotonicMs()
    if (this.clock.nowMs() >= principal.expiresAtMs) throw new TrunklineError('TOKEN_EXPIRED')
    const begun = this.conversation.begin(proof, fingerprint)
    if (begun.kind === 'run') this.#run(begun.request, this.#isOver ? whenOver : run)
    return begun.answered.finally(() => {
      this.#seenAtMs = this.clock.monotonicMs()
    })
  }

  extend(request: ExtendRequest, refreshed: Principal | undefined): Promise<Answered> {
    if (refreshed !== undefined && !isSame(refreshed, this.#principal)) throw new TrunklineError('BAD_SESSION_TOKEN')
    // Only a request that is in turn changes anything; a fresh bearer revives a session whose own has expired.
    const take = (ref: RequestRef): void => {
      if (refreshed !== undefined) this.#principal = refreshed
      this.send({ type: 'EXTEND', request: ref })
    }
    return this.converse(request.proof, 'extend', take, undefined, refreshed)
  }

  /** Idempotent, also under a new seq: every dispose of a session answers where it ended. */
  dispose(request: DisposeRequest): Promise<Answered> {
    return this.converse(
      request.proof,
      'dispose',
      (ref) => {
        const isFirst = !this.isClosing
        this.#disposals.push(ref)
        if (isFirst) this.send({ type: 'DISPOSE', request: ref })
      },
      (ref) => this.answer(ref, { reply: this.finalPosition() }),
    )
  }

  answer(request: RequestRef, outcome: Outcome): void {
    this.conversation.answer(request, outcome)
  }

  refuse(event: SessionEvent, { error, expected }: Refusal): void {
    if (!('request' in event)) throw new Error(`nobody waits for an answer to ${event.type}`)
    this.answer(event.request, {
      error: new TrunklineError(error, expected === null ? {} : { expected, details: { of: 'n' } }),
    })
  }

  /** The machine's last act. */
  settle(reason: CloseReason): void {
    for (const request of this.#disposals) this.answer(request, { reply: this.finalPosition() })
    this.#end(reason, new TrunklineError('SESSION_GONE'))
  }

  /** What dispose answers besides the turn. */
  protected abstract finalPosition(): object
  abstract answerExtend(request: RequestRef): void
  abstract windDown(): void
  /** Lets go of what only an open session needs: a closed one is remembered for a lease, and there are many. */
  protected abstract forget(): void

  #fail(thrown: unknown): void {
    this.#onDefect(this, thrown)
    this.windDown()
    this.#end('failed', new TrunklineError('INTERNAL', { cause: thrown }))
  }

  #end(reason: CloseReason, owed: TrunklineError): void {
    this.#isOver = true
    this.conversation.answerAll(owed)
    this.conversation.forgetBatches()
    this.forget()
    this.#onClosed(this, reason)
    this.#ended.resolve()
  }

  #run(request: RequestRef, run: (request: RequestRef) => void): void {
    try {
      run(request)
    } catch (thrown) {
      // A check that failed before the machine heard of it; the turn is spent, the step is not.
      if (!(thrown instanceof TrunklineError)) throw thrown
      this.answer(request, { error: thrown })
    }
  }
}

function isSame(a: Principal, b: Principal): boolean {
  return a.subject === b.subject && a.clientId === b.clientId && a.tenant === b.tenant
}

/** A whole number from `min` on, or BAD_REQUEST naming the field. */
export function wholeNumber(value: number | undefined, field: string, min: number, otherwise: number): number {
  if (value === undefined) return otherwise
  if (!Number.isSafeInteger(value) || value < min) throw new TrunklineError('BAD_REQUEST', { details: { field } })
  return value
}
