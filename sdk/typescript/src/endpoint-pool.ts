// Owns: which of several gateway endpoints a call takes. Any endpoint serves any request of any session, so a change of
// endpoint changes nothing else.
// E1 Sticky: calls take the endpoint that serves, from a random start; another one when it fails, at random among the
//    best, so that the clients of a dead endpoint spread over the others. One that failed is not taken again before one
//    that has not: it may be silent, and cost a whole time limit each time.
// E2 A call that certainly did not run (no connection, refused by an endpoint that shuts down) is sent to the next one
//    here, at most once to each. What may have run is the caller's to repeat, under its own numbers: `wayOf` says
//    whether that can go elsewhere at once.
// E3 An endpoint that failed is left alone for a growing, bounded, jittered time, however many calls fail with it. When
//    all are left alone, calls fail at once, without a word to the network.
// E4 While endpoints fail, each error says in details.endpoints what each of them did.
// E5 What may pass (an endpoint that is away) is told rather than what will not (TLS_REFUSED): the caller tries again.
// Leaves out: connections, their time limits (node/), pauses between rounds (src/fsm/client).
import type { Clock, Random } from '../../../src/fsm/client/client-ports.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import type { MethodName, ReplyOf, RequestOf } from '../../../src/protocol/messages.ts'
import { type CallOptions, faultOf, notReached, type Transport, type Way } from './transport.ts'

export interface Endpoint {
  /** host:port, for people. */
  readonly name: string
  readonly transport: Transport
}

export interface EndpointPoolOptions {
  /** At least one. */
  readonly endpoints: readonly Endpoint[]
  readonly clock: Clock
  readonly random: Random
}

interface Member extends Endpoint {
  /** In a row. */
  failures: number
  retryAtMs: number
  /** The last failure; undefined: it serves. */
  why: string | undefined
  /** It answers, if only that it cannot: without a better one it is asked all the same. */
  answers: boolean
  /** Calls of an earlier time say nothing about it now (E3). */
  epoch: number
}

const restMsMin = 20
const restMsMax = 2_000

export class EndpointPool implements Transport {
  readonly #members: readonly Member[]
  readonly #clock: Clock
  readonly #random: Random
  readonly #ways = new WeakMap<TrunklineError, Way>()
  #current: Member

  constructor({ endpoints, clock, random }: EndpointPoolOptions) {
    this.#members = endpoints.map(({ name, transport }) => ({
      name,
      transport,
      failures: 0,
      retryAtMs: 0,
      why: undefined,
      answers: false,
      epoch: 0,
    }))
    this.#clock = clock
    this.#random = random
    this.#current = this.#anyOf(this.#members)
  }

  async call<M extends MethodName>(method: M, request: RequestOf<M>, options: CallOptions): Promise<ReplyOf<M>> {
    const tried = new Set<Member>()
    let last: TrunklineError | undefined
    let away: TrunklineError | undefined
    for (;;) {
      const member = this.#choose(tried)
      if (member === undefined) throw away ?? last ?? this.#noneLeft()
      const { epoch } = member
      try {
        const reply = await member.transport.call(method, request, options)
        this.#served(member, epoch)
        return reply
      } catch (thrown) {
        const failure = judge(TrunklineError.from(thrown))
        if (failure === undefined) {
          this.#served(member, epoch)
          throw thrown
        }
        this.#failed(member, epoch, failure)
        tried.add(member)
        last = this.#told(member, failure)
        // E5
        if (last.retryable) away = last
        if (failure.mayHaveRun) throw last
      }
    }
  }

  wayOf(error: TrunklineError): Way | undefined {
    return this.#ways.get(error)
  }

  async close(): Promise<void> {
    await Promise.all(this.#members.map(({ transport }) => transport.close()))
  }

  /** E1. */
  #choose(tried: ReadonlySet<Member>): Member | undefined {
    const open = this.#members.filter((member) => !tried.has(member))
    const rested = open.filter((member) => this.#isRested(member))
    const best = Math.min(...rested.map(({ failures }) => failures))
    if (rested.includes(this.#current) && this.#current.failures === best) return this.#current
    const chosen =
      rested.length > 0
        ? this.#anyOf(rested.filter(({ failures }) => failures === best))
        : tried.size > 0
          ? undefined
          : this.#soonest(open.filter(({ answers }) => answers))
    if (chosen !== undefined) this.#current = chosen
    return chosen
  }

  #soonest(members: readonly Member[]): Member | undefined {
    return members.toSorted((a, b) => a.retryAtMs - b.retryAtMs)[0]
  }

  #anyOf(members: readonly Member[]): Member {
    const member = members[Math.floor(this.#random.fraction() * members.length)]
    if (member === undefined) throw new Error('a pool has endpoints')
    return member
  }

  #isRested({ retryAtMs }: Member): boolean {
    return retryAtMs <= this.#clock.monotonicMs()
  }

  #served(member: Member, epoch: number): void {
    if (member.epoch !== epoch || member.failures === 0) return
    member.failures = 0
    member.retryAtMs = 0
    member.why = undefined
  }

  /** E3. */
  #failed(member: Member, epoch: number, { why, answered }: Failure): void {
    if (member.epoch !== epoch) return
    member.epoch += 1
    member.failures += 1
    member.why = why
    member.answers = answered
    const restMs = Math.min(restMsMax, restMsMin * 2 ** Math.min(member.failures, 10))
    member.retryAtMs = this.#clock.monotonicMs() + restMs * (0.5 + this.#random.fraction() / 2)
  }

  #told(member: Member, { error, mayHaveRun }: Failure): TrunklineError {
    const told = error.with({ details: { endpoints: this.#report() } })
    const elsewhere = this.#members.some((other) => other !== member && this.#isRested(other))
    this.#ways.set(told, { endpoint: member.name, elsewhere, unsent: !mayHaveRun })
    return told
  }

  #noneLeft(): TrunklineError {
    const error = notReached('gateway not reached', 'unsent')
    return this.#told(this.#current, { error, why: '', answered: false, mayHaveRun: false })
  }

  /** E4. */
  #report(): string {
    return this.#members.flatMap(({ name, why }) => (why === undefined ? [] : [`${name} (${why})`])).join(', ')
  }
}

interface Failure {
  readonly error: TrunklineError
  readonly why: string
  readonly answered: boolean
  readonly mayHaveRun: boolean
}

/** What an error says against its endpoint; undefined: it served. */
function judge(error: TrunklineError): Failure | undefined {
  const fault = faultOf(error)
  const why = error.details['why'] ?? error.name
  if (fault !== undefined) return { error, why, answered: false, mayHaveRun: fault === 'unanswered' }
  // A process of the API tier that shuts down: the session and its node are well.
  if (error.name === 'DRAINING' && error.details['tier'] === 'api') {
    const { details, retryAfterMs = 0 } = error
    const away = new TrunklineError('UNAVAILABLE', { details: { ...details, why: 'DRAINING' }, retryAfterMs })
    return { error: away, why: 'DRAINING', answered: true, mayHaveRun: false }
  }
  // With a turn it is the session's own word.
  if (error.name === 'UNAVAILABLE' && error.turn === undefined) return { error, why, answered: true, mayHaveRun: true }
  return undefined
}
