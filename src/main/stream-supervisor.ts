// Owns: keeping one stream node incarnation alive in this process: a node that was fenced or failed is followed by a new
// incarnation (design.md §3.1 "the incarnation retires … a new one serves").
// 1. Bounded: after `failuresMax` boots in a row that fail, it gives up and says so.

import type { Logger } from '../observability/log.ts'
import type { Metrics } from '../observability/metrics.ts'
import { type Clock, sleep } from '../ports/clock.ts'
import type { StreamNode } from '../stream-tier/stream-node.ts'

type SupervisorMetrics = Pick<Metrics, 'nodeState' | 'retirements'>

/** Makes the next incarnation; never twice the same. */
export type NodeFactory = () => StreamNode

const failuresMax = 5
const pauseMs = 200

export class StreamSupervisor {
  readonly #factory: NodeFactory
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #metrics: SupervisorMetrics
  #node: StreamNode | undefined
  #stopping = false
  /** Settles when no node will serve any more: after drain(), or with the error that made it give up. */
  readonly ended: Promise<Error | undefined>
  #end: (error: Error | undefined) => void = () => {}

  constructor(options: { factory: NodeFactory; clock: Clock; logger: Logger; metrics: SupervisorMetrics }) {
    this.#factory = options.factory
    this.#clock = options.clock
    this.#logger = options.logger
    this.#metrics = options.metrics
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

  /** Rejects when the first incarnation cannot boot. */
  async start(): Promise<void> {
    this.#node = this.#factory()
    await this.#node.boot()
    void this.#keepAlive()
  }

  async drain(): Promise<void> {
    this.#stopping = true
    await this.#node?.drain()
    this.#end(undefined)
  }

  async #keepAlive(): Promise<void> {
    let failures = 0
    while (!this.#stopping) {
      const end = await this.#node?.ended
      if (this.#stopping || end === 'drained') break
      if (end === 'boot-failed') failures += 1
      else failures = 0
      if (failures >= failuresMax) return this.#end(new Error('the stream node could not be started again'))
      this.#metrics.retirements.add({ reason: String(end) })
      this.#logger.warn({ reason: String(end) }, 'a new incarnation follows')
      await sleep(this.#clock, pauseMs * failures)
      if (this.#stopping) break
      this.#node = this.#factory()
      // A boot that fails ends the node as boot-failed, which the loop counts.
      await this.#node
        .boot()
        .catch((thrown: unknown) => this.#logger.error({ err: thrown }, 'the stream node did not start'))
    }
  }
}
