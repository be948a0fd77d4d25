// Owns: the turns of one session and the replies it owes (design.md §3): in-turn requests run once, repeats get the same
// answer, everything else is refused and changes nothing.
// C1 Every request that was begun is answered exactly once; what comes again within the window gets that same answer.
// C2 A cached answer is dropped when its seq leaves the window, also while an older request waits: memory is bounded by
//    window × reply size. More unanswered requests than any client with a window has are refused (TOO_MANY_REQUESTS).
// Leaves out: what a request means (read-session, write-session), MACs.
import type { RequestRef } from '../fsm/server/session.types.ts'
import type { Random } from '../ports/random.ts'
import { TrunklineError } from '../protocol/errors.ts'
import { type Proof, slot, type Turn } from '../protocol/messages.ts'
import { issueChallenge, judgeTurn, newestChallenge, openTurns, type SlotTurns, takeTurn } from '../protocol/turns.ts'

/** A reply struct without its turn, or the error that stands for it. */
export type Outcome = { readonly reply: object } | { readonly error: TrunklineError }

/** A reply struct with its turn, as it goes out. */
export type Answered = { readonly reply: object & { turn: Turn } } | { readonly error: TrunklineError }

interface Exchange {
  readonly seq: number
  /** What was asked, so that a repeat can be told from another request under the same number. */
  readonly fingerprint: string
  readonly answered: Promise<Answered>
  readonly answer: (outcome: Answered) => void
  done: boolean
}

export type Begun =
  | { readonly kind: 'run'; readonly request: RequestRef; readonly answered: Promise<Answered> }
  | { readonly kind: 'repeat'; readonly answered: Promise<Answered> }

const challengeBytes = 12
/** Unanswered requests of a slot above its window: an extend that waits when dispose comes, and repeats under new seqs. */
const owedAboveWindowMax = 16

export class Conversation {
  readonly #random: Random
  readonly #leaseMs: number
  readonly #turns: [SlotTurns, SlotTurns]
  readonly #exchanges: readonly [Exchange[], Exchange[]] = [[], []]
  #open = 0
  #isOver = false

  constructor(options: { random: Random; leaseMs: number; window: number }) {
    this.#random = options.random
    this.#leaseMs = options.leaseMs
    const first = this.#random.bytes(challengeBytes)
    this.#turns = [openTurns(first, options.window), openTurns(first, 1)]
  }

  /** Requests begun and not answered. */
  get open(): number {
    return this.#open
  }

  /** The turn of the allocate reply: both slots start at 1 with the same challenge. */
  firstTurn(): Turn {
    return this.#turn(slot.data)
  }

  /** Errors: BAD_REQUEST (no seq or slot), SEQUENCE_MISMATCH, BAD_CHALLENGE, WRITE_CHANGED, TOO_MANY_REQUESTS; each carries the turn. */
  begin(proof: Proof | undefined, fingerprint: string): Begun {
    const at = proof?.slot ?? slot.data
    const seq = proof?.seq
    if ((at !== slot.data && at !== slot.control) || seq === undefined || !Number.isSafeInteger(seq)) {
      throw new TrunklineError('BAD_REQUEST', { details: { field: 'proof' } })
    }
    const turns = this.#turns[at]
    switch (judgeTurn(turns, seq, proof?.challenge ?? new Uint8Array())) {
      case 'repeat':
        return this.#repeat(at, seq, fingerprint)
      case 'out-of-turn':
        throw new TrunklineError('SEQUENCE_MISMATCH', {
          expected: turns.next,
          details: { of: 'seq' },
          turn: this.#turn(at),
        })
      case 'bad-challenge':
        throw new TrunklineError('BAD_CHALLENGE', { turn: this.#turn(at) })
      case 'run':
        return this.#run(at, seq, fingerprint)
    }
  }

  /** Answers a request that was begun; a second answer is a bug. */
  answer(request: RequestRef, outcome: Outcome): void {
    const at = request.slot === slot.control ? slot.control : slot.data
    const exchange = this.#exchanges[at].find(({ seq }) => seq === request.seq)
    if (exchange === undefined || exchange.done) throw new Error('a request is answered once')
    exchange.done = true
    this.#open -= 1
    this.#turns[at] = issueChallenge(this.#turns[at], this.#random.bytes(challengeBytes))
    const turn = this.#turn(at)
    exchange.answer(
      'error' in outcome ? { error: outcome.error.with({ turn }) } : { reply: { ...outcome.reply, turn } },
    )
  }

  /** Answers everything still owed with one error (the session is over). */
  answerAll(error: TrunklineError): void {
    for (const at of [slot.data, slot.control]) {
      for (const { seq, done } of [...this.#exchanges[at]]) if (!done) this.answer({ slot: at, seq }, { error })
    }
  }

  /** Whether a request that was begun still waits for its answer. */
  owes({ slot: at, seq }: RequestRef): boolean {
    return this.#exchanges[at === slot.control ? slot.control : slot.data].some(
      (exchange) => exchange.seq === seq && !exchange.done,
    )
  }

  /** The session is over: batches it answered are let go; every other answer is small and is still repeated. */
  forgetBatches(): void {
    this.#isOver = true
    for (const exchanges of this.#exchanges) {
      const kept = exchanges.filter(({ fingerprint }) => !isRead(fingerprint))
      exchanges.splice(0, exchanges.length, ...kept)
    }
  }

  #run(at: 0 | 1, seq: number, fingerprint: string): Begun {
    const { window } = this.#turns[at]
    const exchanges = this.#exchanges[at]
    const owed = exchanges.length > window ? exchanges.filter(({ done }) => !done) : []
    if (owed.length >= window + owedAboveWindowMax)
      throw new TrunklineError('TOO_MANY_REQUESTS', { turn: this.#turn(at) })
    this.#turns[at] = takeTurn(this.#turns[at])
    const { promise, resolve } = deferred<Answered>()
    exchanges.push({ seq, fingerprint, answered: promise, answer: resolve, done: false })
    while (exchanges.length > window && exchanges[0]?.done) exchanges.shift()
    // C2: behind one that still waits.
    if (exchanges.length > window) {
      const kept = exchanges.filter((exchange) => !exchange.done || exchange.seq > seq - window)
      exchanges.splice(0, exchanges.length, ...kept)
    }
    this.#open += 1
    return { kind: 'run', request: { slot: at, seq }, answered: promise }
  }

  #repeat(at: 0 | 1, seq: number, fingerprint: string): Begun {
    const exchange = this.#exchanges[at].find((other) => other.seq === seq)
    if (exchange?.fingerprint === fingerprint) return { kind: 'repeat', answered: exchange.answered }
    if (exchange === undefined && this.#isOver) throw new TrunklineError('SESSION_GONE', { turn: this.#turn(at) })
    const changed = exchange !== undefined && isWrite(fingerprint) && isWrite(exchange.fingerprint)
    throw new TrunklineError(changed ? 'WRITE_CHANGED' : 'SEQUENCE_MISMATCH', {
      expected: this.#turns[at].next,
      details: { of: 'seq' },
      turn: this.#turn(at),
    })
  }

  #turn(at: 0 | 1): Turn {
    const turns = this.#turns[at]
    return { nextSeq: turns.next, challenge: newestChallenge(turns), leaseMs: this.#leaseMs }
  }
}

const isRead = (fingerprint: string): boolean => fingerprint.startsWith('read ')
const isWrite = (fingerprint: string): boolean => fingerprint.startsWith('write ')

export interface Deferred<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
  readonly reject: (reason: unknown) => void
}

export function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void
  let reject!: (reason: unknown) => void
  const promise = new Promise<T>((onValue, onReason) => {
    resolve = onValue
    reject = onReason
  })
  return { promise, resolve, reject }
}
