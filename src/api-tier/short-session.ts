// Owns: a session that lives for one call of the one-shot API: allocate, one step, dispose, with the client's duties of
// the two-phase protocol (turns, repeats) on this side.
// 1. A repeat carries the same numbers; a retryable error that does not end the session is repeated until the deadline.
// 2. `dispose` is not waited for: when it is lost, the lease ends the session.
// Leaves out: taking a producer over. A session that is gone is for the caller to start again (at least once).
import { type Clock, sleep } from '../ports/clock.ts'
import { type ErrorName, TrunklineError } from '../protocol/errors.ts'
import type { AllocateReply, AllocateRequest, ReplyOf, RequestOf, Turn } from '../protocol/messages.ts'
import type { CallContext } from './call-context.ts'
import type { GatewayCalls } from './gateway-calls.ts'

const pauseMsMin = 20
const pauseMsMax = 1_000
/** Pauses bound the repeats by time; this bounds them when a deadline is long and pauses are short. */
const attemptsMax = 50

/** Only another session, after a while, can do better: the caller is told at once, with Retry-After. */
const endsTheCall: ReadonlySet<ErrorName> = new Set([
  'SESSION_GONE',
  'STORAGE_FULL',
  'STORAGE_FAILED',
  'DRAINING',
  'NO_CAPACITY',
  'TOO_MANY_REQUESTS',
])

export interface ShortSessionDeps {
  readonly calls: Pick<GatewayCalls, 'call'>
  readonly clock: Clock
  readonly context: CallContext
  /** Monotonic; after it nothing is repeated. */
  readonly endMs: number
}

type StepMethod = 'read' | 'write'
type StepRequest<M extends StepMethod> = Omit<RequestOf<M>, 'proof' | 'session'>

export class ShortSession {
  readonly allocated: AllocateReply
  readonly #deps: ShortSessionDeps
  #turn: Turn

  private constructor(deps: ShortSessionDeps, allocated: AllocateReply) {
    this.#deps = deps
    this.allocated = allocated
    this.#turn = allocated.turn
  }

  static async open(deps: ShortSessionDeps, request: AllocateRequest): Promise<ShortSession> {
    const allocated = await repeated(deps, () => deps.calls.call('allocate', request, deps.context))
    return new ShortSession(deps, allocated)
  }

  async step<M extends StepMethod>(method: M, request: StepRequest<M>): Promise<ReplyOf<M>> {
    const { calls, context } = this.#deps
    const reply = await repeated(this.#deps, async () => {
      const full = { ...request, proof: this.#proof(), session: this.allocated.session } as RequestOf<M>
      try {
        return await calls.call(method, full, context)
      } catch (thrown) {
        if (thrown instanceof TrunklineError && thrown.turn !== undefined) this.#turn = thrown.turn
        throw thrown
      }
    })
    this.#turn = reply.turn
    return reply
  }

  /** Invariant 2. */
  dispose(): void {
    const { calls, context } = this.#deps
    const { signal: _signal, ...rest } = context
    calls.call('dispose', { proof: this.#proof(), session: this.allocated.session }, rest).catch(() => {
      // Counted and, when it is a defect, logged by GatewayCalls; the session's lease ends it.
    })
  }

  #proof(): { bearer: string | undefined; slot: number; seq: number; challenge: Uint8Array } {
    return { bearer: this.#deps.context.bearer, slot: 0, seq: this.#turn.nextSeq, challenge: this.#turn.challenge }
  }
}

/** Runs until it succeeds, fails for good, the session is gone, the caller is gone, or the time is over. */
async function repeated<R>(deps: ShortSessionDeps, run: () => Promise<R>): Promise<R> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run()
    } catch (thrown) {
      const error = TrunklineError.from(thrown)
      const pauseMs = Math.min(Math.max(error.retryAfterMs ?? 0, pauseMsMin), pauseMsMax)
      const inTime = deps.clock.monotonicMs() + pauseMs < deps.endMs
      const again = error.retryable && !endsTheCall.has(error.name) && inTime && attempt < attemptsMax
      if (!again || deps.context.signal?.aborted) throw error
      await sleep(deps.clock, pauseMs, deps.context.signal)
    }
  }
}
