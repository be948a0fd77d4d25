// Owns: keeping one stream node incarnation alive in this process: a node that was fenced or failed is followed by a new
// incarnation (design.md §3.1 "the incarnation retires … a new one serves").
// 1. Bounded: pauses grow to `pauseMsMax`; after `failuresMax` boots in a row that fail it gives up and says so.
// 2. A broker that refuses this gateway ends it at once: trying again does not change credentials.

import type { Logger } from '../observability/log.ts'
import type { Metrics } from '../observability/metrics.ts'
import { type Clock, sleep } from '../ports/clock.ts'
import { TrunklineError } from '../protocol/errors.ts'
import type { StreamNode } from '../stream-tier/stream-node.ts'

type SupervisorMetrics = Pick<Metrics, 'nodeState' | 'retirements'>

export type SupervisedNode = Pick<StreamNode, 'boot' | 'drain' | 'ended' | 'isServing'>

/** Makes the next incarnation; never twice the same. */
export type NodeFactory = () => SupervisedNode

export interface SupervisorPatience {
  /** Boots in a row that may fail; Infinity where a log in other processes comes back some time. */
  readonly failuresMax: number
  /** Whether `start` rejects when the first incarnation cannot boot, or goes on trying. */
  readonly firstMustBoot: boolean
}

const pauseMs = 200
const pauseMsMax = 5_000

export class StreamSupervisor {
  readonly #factory: NodeFactory
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #metrics: SupervisorMetrics
  readonly #patience: SupervisorPatience
  readonly #stop = new AbortController()
  #node: SupervisedNode | undefined
  #failures = 0
  /** Settles when no node will serve any more: after drain(), or with the error that made it give up. */
  readonly ended: Promise<Error | undefined>
  #end: (error: Error | undefined) => void = () => {}

  constructor(options: {
    factory: NodeFactory
    clock: Clock
    logger: Logger
    metrics: SupervisorMetrics
    patience: SupervisorPatience
  }) {
    this.#factory = options.factory
    this.#clock = options.clock
    this.#logger = options.logger
    this.#metrics = options.metrics
    this.#patience = options.patience
    for (const state of ['serving', 'not-serving'] as const) {
      this.#metrics.nodeState.readFrom({ state }, () => ((state === 'serving') === this.isServing ? 1 : 0))
    }
    this.ended = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  get isServing(): boolean {
    return this.#node?.isServing === true
  }

  /** Resolves when the first incarnation serves, or has failed and may fail. Rejects when it must boot and cannot. */
  async start(): Promise<void> {
    const failed = await this.#boot()
    if (failed !== undefined && (this.#patience.firstMustBoot || isRefusal(failed))) {
      this.#stop.abort()
      throw failed
    }
    void this.#keepAlive(failed)
  }

  async drain(): Promise<void> {
    this.#stop.abort()
    await this.#node?.drain()
    this.#end(undefined)
  }

  /** What kept it from serving; undefined when it serves. */
  async #boot(): Promise<Error | undefined> {
    const node = this.#factory()
    this.#node = node
    try {
      await node.boot()
      this.#failures = 0
      return undefined
    } catch (thrown) {
      this.#failures += 1
      return thrown instanceof Error ? thrown : new Error('a stream node did not boot', { cause: thrown })
    }
  }

  async #keepAlive(firstFailure: Error | undefined): Promise<void> {
    let failure = firstFailure
    while (!this.#stop.signal.aborted) {
      if (failure === undefined) {
        const end = await this.#node?.ended
        if (this.#stop.signal.aborted || end === 'drained') return
        this.#metrics.retirements.add({ reason: String(end) })
        this.#logger.warn({ reason: String(end) }, 'a new incarnation follows')
      } else {
        if (isRefusal(failure)) return this.#end(failure)
        if (this.#failures >= this.#patience.failuresMax)
          return this.#end(new Error('the stream node could not be started again', { cause: failure }))
        this.#metrics.retirements.add({ reason: 'boot-failed' })
        const waitMs = Math.min(pauseMsMax, pauseMs * this.#failures)
        this.#logger.warn({ attempt: this.#failures, waitMs, err: failure }, 'the stream node did not start')
        await sleep(this.#clock, waitMs, this.#stop.signal)
        if (this.#stop.signal.aborted) return
      }
      failure = await this.#boot()
    }
  }
}

/** Invariant 2. */
function isRefusal(error: Error): boolean {
  return error instanceof TrunklineError && error.name === 'BROKER_REFUSED'
}
