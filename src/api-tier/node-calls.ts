// Owns: one encoded envelope to a stream node and its answer's body back: deadlines, the brief retry of what certainly
// did not run, and what each outcome of the switchboard means to a caller.
// 1. Only outcomes that say "nothing ran" are retried here, at most `retryDelaysMs.length` times: whatever may have run
//    is answered as retryable and repeated by the caller under its own numbers.
// Leaves out: who may call and what the body means (gateway-calls.ts).

import { type Clock, sleep } from '../ports/clock.ts'
import type { AllocateOutcome, CallOptions, Switchboard } from '../ports/switchboard.ts'
import { decodeAnswer } from '../protocol/envelope-codec.ts'
import { errorFromStruct } from '../protocol/error-struct.ts'
import { TrunklineError } from '../protocol/errors.ts'
import type { Incarnation } from '../protocol/ids.ts'

/** A node that restarts or a shard that comes back is not seen for some ten milliseconds: then it is gone. */
const retryDelaysMs = [20, 60] as const

export interface NodeCallOptions {
  readonly deadlineMs: number
  /** Picks the preferred shard: the session's public id. */
  readonly cookie?: string | undefined
  readonly signal?: AbortSignal | undefined
}

export class NodeCalls {
  readonly #switchboard: Switchboard
  readonly #clock: Clock

  constructor(switchboard: Switchboard, clock: Clock) {
    this.#switchboard = switchboard
    this.#clock = clock
  }

  /** To any node with capacity. Errors: NO_CAPACITY, UNAVAILABLE, DEADLINE, and whatever the node answers. */
  async toAny(envelope: Uint8Array, options: NodeCallOptions): Promise<Uint8Array> {
    const outcome = await this.#retried(options, (left) => this.#switchboard.allocate(envelope, left))
    if (outcome.kind === 'unroutable') throw new TrunklineError('UNAVAILABLE', { details: { why: 'no node serves' } })
    return bodyOf(outcome)
  }

  /** To one node. Errors: SESSION_GONE (nobody serves the key), UNAVAILABLE, DEADLINE, and whatever the node answers. */
  async toNode(key: Incarnation, envelope: Uint8Array, options: NodeCallOptions): Promise<Uint8Array> {
    const outcome = await this.#retried(options, (left) => this.#switchboard.call(key, envelope, left))
    if (outcome.kind === 'unroutable') throw new TrunklineError('SESSION_GONE')
    return bodyOf(outcome)
  }

  async #retried<O extends AllocateOutcome>(
    options: NodeCallOptions,
    send: (left: CallOptions) => Promise<O>,
  ): Promise<O> {
    const endMs = this.#clock.monotonicMs() + options.deadlineMs
    for (let attempt = 0; ; attempt++) {
      const outcome = await send({
        deadlineMs: Math.max(1, endMs - this.#clock.monotonicMs()),
        ...(options.cookie === undefined ? {} : { cookie: options.cookie }),
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      })
      const delayMs = retryDelaysMs[attempt]
      if (outcome.kind !== 'unroutable' || delayMs === undefined || options.signal?.aborted) return outcome
      await sleep(this.#clock, delayMs, options.signal)
    }
  }
}

function bodyOf(outcome: Exclude<AllocateOutcome, { kind: 'unroutable' }>): Uint8Array {
  switch (outcome.kind) {
    case 'answered': {
      const answer = decodeAnswer(outcome.body)
      if (answer.error !== undefined) throw errorFromStruct(answer.error)
      if (answer.body === undefined) throw new Error('an answer has a body or an error')
      return answer.body
    }
    case 'no-capacity':
      throw new TrunklineError('NO_CAPACITY')
    case 'lost':
      throw new TrunklineError('UNAVAILABLE', { details: { why: 'the node went away' } })
    case 'timeout':
      throw new TrunklineError('DEADLINE')
  }
}
