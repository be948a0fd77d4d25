// Owns: a Switchboard that misbehaves within the port's contract: requests and answers are dropped, delayed (and so
// reordered) or delivered twice, as a plan says for each call.
// 1. Only what the port allows: `unroutable` and `no-capacity` are passed on and never invented, a call settles once,
//    and it settles at its deadline at the latest.
// 2. A second delivery carries a copy of the body: bodies are handed over (src/adapters/in-process).

import type { SeededRandom } from '../../src/adapters/random/seeded-random.ts'
import type { Clock } from '../../src/ports/clock.ts'
import { sleep } from '../../src/ports/clock.ts'
import type {
  AllocateOutcome,
  CallOptions,
  CallOutcome,
  NodePresence,
  ServeHandlers,
  Serving,
  Switchboard,
} from '../../src/ports/switchboard.ts'
import type { Incarnation } from '../../src/protocol/ids.ts'

export interface PlannedCall {
  readonly method: 'allocate' | 'call'
  readonly key?: Incarnation
  readonly body: Uint8Array
  /** Counts all calls of this wrapper from 0. */
  readonly index: number
}

/** What goes wrong with one call; an empty object is a call that goes well. */
export interface CallFault {
  readonly requestDelayMs?: number
  readonly answerDelayMs?: number
  /** The request vanishes: nothing runs. */
  readonly dropRequest?: boolean
  /** It runs, the answer vanishes. */
  readonly dropAnswer?: boolean
  /** How what vanished is noticed: at once as `lost`, or by the deadline. Default timeout. */
  readonly noticedAs?: 'lost' | 'timeout'
  /** A second copy of the request is delivered this much later; whatever answer comes first is the answer. */
  readonly repeatAfterMs?: number
}

export type FaultPlan = (call: PlannedCall) => CallFault

export interface FaultRates {
  readonly drop: number
  readonly delay: number
  readonly delayMsMax: number
  readonly repeat: number
}

export const noFaults: FaultPlan = () => ({})

/** Faults by chance, replayable from the generator's seed. */
export function randomFaults(random: SeededRandom, rates: FaultRates): FaultPlan {
  const delayMs = (): number => (random.chance(rates.delay) ? random.below(rates.delayMsMax + 1) : 0)
  return () => ({
    requestDelayMs: delayMs(),
    answerDelayMs: delayMs(),
    dropRequest: random.chance(rates.drop),
    dropAnswer: random.chance(rates.drop),
    noticedAs: random.chance(0.5) ? 'lost' : 'timeout',
    ...(random.chance(rates.repeat) ? { repeatAfterMs: random.below(rates.delayMsMax + 1) } : {}),
  })
}

export class FaultySwitchboard implements Switchboard {
  /** May be changed at any time; holds for calls made from then on. */
  plan: FaultPlan
  readonly #inner: Switchboard
  readonly #clock: Clock
  readonly #closed = new AbortController()
  #calls = 0

  constructor(inner: Switchboard, clock: Clock, plan: FaultPlan = noFaults) {
    this.#inner = inner
    this.#clock = clock
    this.plan = plan
  }

  allocate(body: Uint8Array, options: CallOptions): Promise<AllocateOutcome> {
    const fault = this.plan({ method: 'allocate', body, index: this.#calls++ })
    return this.#deliver(fault, body, options, (bytes, left) => this.#inner.allocate(bytes, left))
  }

  call(key: Incarnation, body: Uint8Array, options: CallOptions): Promise<CallOutcome> {
    const fault = this.plan({ method: 'call', key, body, index: this.#calls++ })
    return this.#deliver(fault, body, options, (bytes, left) => this.#inner.call(key, bytes, left))
  }

  serve(key: Incarnation, handlers: ServeHandlers): Promise<Serving> {
    return this.#inner.serve(key, handlers)
  }

  presence(): readonly NodePresence[] {
    return this.#inner.presence()
  }

  async close(): Promise<void> {
    this.#closed.abort()
    await this.#inner.close()
  }

  async #deliver<Outcome extends AllocateOutcome>(
    fault: CallFault,
    body: Uint8Array,
    options: CallOptions,
    send: (body: Uint8Array, options: CallOptions) => Promise<Outcome>,
  ): Promise<Outcome | { kind: 'lost' } | { kind: 'timeout' }> {
    const { requestDelayMs = 0, answerDelayMs = 0, repeatAfterMs, noticedAs = 'timeout' } = fault
    const deadlineAtMs = this.#clock.monotonicMs() + options.deadlineMs
    const copy = repeatAfterMs === undefined ? undefined : body.slice()
    const one = async (bytes: Uint8Array, waitMs: number): Promise<Outcome | { kind: 'lost' } | undefined> => {
      if (waitMs > 0) await sleep(this.#clock, waitMs, options.signal)
      if (this.#closed.signal.aborted) return { kind: 'lost' }
      if (fault.dropRequest) return undefined
      const outcome = await send(bytes, { ...options, deadlineMs: deadlineAtMs - this.#clock.monotonicMs() })
      if (fault.dropAnswer && (outcome.kind === 'answered' || outcome.kind === 'lost')) return undefined
      if (answerDelayMs > 0) await sleep(this.#clock, answerDelayMs, options.signal)
      return outcome
    }
    const sendings = [one(body, requestDelayMs)]
    if (copy !== undefined) sendings.push(one(copy, requestDelayMs + (repeatAfterMs ?? 0)))
    const done = new AbortController()
    const givenUp = this.#giveUp(options, done.signal)
    const outcome = await Promise.race([best(sendings), givenUp])
    if (outcome === undefined && noticedAs === 'timeout') return givenUp
    done.abort()
    return outcome ?? { kind: 'lost' }
  }

  async #giveUp(options: CallOptions, done: AbortSignal): Promise<{ kind: 'lost' } | { kind: 'timeout' }> {
    const ended = AbortSignal.any([done, this.#closed.signal, ...(options.signal ? [options.signal] : [])])
    await sleep(this.#clock, Math.max(0, options.deadlineMs), ended)
    return { kind: this.#closed.signal.aborted ? 'lost' : 'timeout' }
  }
}

/** The first sending that is answered; when none is, the outcome that claims the least (undefined: it vanished). */
async function best<Outcome extends AllocateOutcome | undefined>(
  sendings: readonly Promise<Outcome>[],
): Promise<Outcome | undefined> {
  const answered = sendings.map(async (sending) => {
    const outcome = await sending
    if (outcome?.kind !== 'answered') throw new Error('not answered')
    return outcome
  })
  const first = await Promise.any(answered).catch(() => undefined)
  if (first !== undefined) return first
  const outcomes = await Promise.all(sendings)
  if (outcomes.some((outcome) => outcome === undefined)) return undefined
  return outcomes.find((outcome) => outcome !== undefined && !claimsNothingRan(outcome)) ?? outcomes[0]
}

function claimsNothingRan(outcome: AllocateOutcome): boolean {
  return outcome.kind === 'unroutable' || outcome.kind === 'no-capacity'
}
