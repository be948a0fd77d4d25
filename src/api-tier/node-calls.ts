// Owns: one encoded envelope to a stream node and its answer's body back: deadlines, and what each outcome of the
// switchboard means to a caller.
// 1. A call is sent once: the switchboard is patient with a key that was there a moment ago, and whatever may have run is
//    answered as retryable and repeated by the caller under its own numbers.
// 2. An allocation that no node heard is sent again, at most `retryDelaysMs.length` times: the next incarnation of the only
//    node is about to serve.
// Leaves out: who may call and what the body means (gateway-calls.ts).

import { type Clock, sleep } from '../ports/clock.ts'
import type { AllocateOutcome, CallOptions, Switchboard } from '../ports/switchboard.ts'
import { decodeAnswer } from '../protocol/envelope-codec.ts'
import { errorFromStruct } from '../protocol/error-struct.ts'
import { TrunklineError } from '../protocol/errors.ts'
import type { Incarnation } from '../protocol/ids.ts'

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
    const endMs = this.#clock.monotonicMs() + options.deadlineMs
    for (let attempt = 0; ; attempt++) {
      const left = { ...options, deadlineMs: Math.max(1, endMs - this.#clock.monotonicMs()) }
      const outcome = await this.#switchboard.allocate(envelope, callOptions(left))
      if (outcome.kind !== 'unroutable') return bodyOf(outcome)
      const delayMs = retryDelaysMs[attempt]
      if (delayMs === undefined || options.signal?.aborted)
        throw new TrunklineError('UNAVAILABLE', { details: { why: 'no node serves' } })
      await sleep(this.#clock, delayMs, options.signal)
    }
  }

  /** To one node. Errors: SESSION_GONE (nobody serves the key), UNAVAILABLE, DEADLINE, and whatever the node answers. */
  async toNode(key: Incarnation, envelope: Uint8Array, options: NodeCallOptions): Promise<Uint8Array> {
    const outcome = await this.#switchboard.call(key, envelope, callOptions(options))
    if (outcome.kind === 'unroutable') throw new TrunklineError('SESSION_GONE')
    return bodyOf(outcome)
  }
}

function callOptions({ deadlineMs, cookie, signal }: NodeCallOptions): CallOptions {
  return {
    deadlineMs,
    ...(cookie === undefined ? {} : { cookie }),
    ...(signal === undefined ? {} : { signal }),
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
      // Its successor can be asked for now: only what lies behind every node is worth waiting for.
      throw new TrunklineError('UNAVAILABLE', { details: { why: 'the node went away' }, retryAfterMs: 0 })
    case 'timeout':
      throw new TrunklineError('DEADLINE')
  }
}
