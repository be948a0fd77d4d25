// Owns: whose request is served next when this process is asked for more than it can do at once.
// 1. A request takes a place from its start to its answer. While there is room it starts at once, and nothing is queued.
// 2. Without room it waits behind those of its tenant, in the order in which they came; the tenant that was served least
//    is served next. What counts is bytes, of requests and answers: few large ones weigh as many small ones, and take as
//    many places. What an answer will be is judged by the tenant's last ones. A tenant that was idle begins at the present,
//    with neither credit nor debt.
// 3. A tenant that has less than its even share of the places does not wait for others: it starts at once. So at most twice
//    the places are taken, and one more of each tenant.
// 4. While others wait, a place lasts `placeMs`: what takes longer waits itself, for a log or for events. So neither reads that wait nor a
//    partition that does not answer stop anybody.
// 5. At most `waitingMax` wait. Above it the newest of the tenant that has most of them is refused, and who has waited
//    `waitMsMax` is refused too. A refusal is TOO_MANY_REQUESTS and has spent nothing.
// 6. Who is gone leaves the queue at once. From `drain` on nobody waits: DRAINING.
// 7. Connections whose tenant has `readAheadMax` waiting are held back, and go on in their order as those leave: what is
//    not read yet costs no memory and no collection of it.
// Leaves out: how many places there are (concurrency-limit.ts), rates and bytes (quotas.ts), who they are (gateway-calls.ts).
import type { Clock, Timer } from '../../ports/clock.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import type { ConcurrencyLimit } from './concurrency-limit.ts'

export const placeMs = 100
export const waitMsMax = 5_000
export const readAheadMax = 16
/** So many bytes cost as much as a request without any. */
const bytesPerRequest = 32 * 1_024
const retryMs = 1_000
/** Weight of the newest answer. */
const learning = 1 / 8

export interface FairQueueMetrics {
  /** How many wait. */
  waiting(requests: number): void
  /** One has waited, and starts. */
  waited(durationMs: number): void
  /** Refused by `limit`, as by quotas. */
  refused(limit: string): void
}

export interface FairQueueOptions {
  readonly limit: Pick<ConcurrencyLimit, 'places' | 'used'>
  readonly waitingMax: number
  readonly clock: Clock
  readonly metrics: FairQueueMetrics
}

/** What listeners need of it. */
export type Backlog = Pick<FairQueue, 'holdBack'>

interface Tenant {
  readonly name: string
  /** Rule 2: comparable between tenants, in requests. */
  served: number
  running: number
  runningCost: number
  readonly waiting: Waiting[]
  /** Made when it is needed, as with few requests it never is. */
  heldBack: Set<() => void> | undefined
  /** Cost of its answers, as they were lately. */
  answerCost: number
}

interface Running {
  readonly tenant: Tenant
  readonly cost: number
  readonly sinceMs: number
}

interface Waiting {
  readonly tenant: Tenant
  readonly cost: number
  readonly sinceMs: number
  readonly start: () => void
  readonly refuse: (error: TrunklineError) => void
}

export class FairQueue {
  readonly #options: FairQueueOptions
  /** That have something running or waiting. */
  readonly #tenants = new Map<string, Tenant>()
  /** Oldest first, as a Set keeps them. */
  readonly #running = new Set<Running>()
  #runningCost = 0
  #waiting = 0
  /** How much the tenant that was served last had been served before. */
  #present = 0
  #timer: Timer | undefined
  #draining = false

  constructor(options: FairQueueOptions) {
    this.#options = options
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting
  }

  /**
   * Calls `work` when it is its turn; those of a tenant are called in the order in which they were given. Its answer, or
   * TOO_MANY_REQUESTS or DRAINING; DEADLINE when the signal says that nobody waits for it any more.
   */
  run(
    name: string,
    bytes: number,
    signal: AbortSignal | undefined,
    work: () => Promise<Uint8Array>,
  ): Promise<Uint8Array> {
    if (this.#runningCost >= this.#options.limit.places) this.#expire()
    const tenant = this.#tenantOf(name)
    const cost = 1 + bytes / bytesPerRequest
    const mayStart =
      tenant.waiting.length === 0 && ((this.#waiting === 0 && this.#hasRoom) || this.#isBelowShare(tenant))
    return mayStart ? this.#start(tenant, cost, work) : this.#wait(tenant, cost, signal, work)
  }

  /** Rule 7. Undefined: read on. Otherwise `goOn` is called once, unless what is returned is called before. */
  holdBack(name: string, goOn: () => void): (() => void) | undefined {
    const tenant = this.#tenants.get(name)
    if (tenant === undefined) return undefined
    // Nor does it overtake those that are held back already.
    const heldBack = tenant.heldBack ?? new Set()
    if (tenant.waiting.length < readAheadMax && heldBack.size === 0) return undefined
    tenant.heldBack = heldBack.add(goOn)
    return () => void heldBack.delete(goOn)
  }

  /** Rule 6. Idempotent. */
  drain(): void {
    this.#draining = true
    for (const { waiting } of [...this.#tenants.values()])
      for (const one of [...waiting]) {
        this.#takeOut(one)
        one.refuse(draining())
      }
    this.#watch()
  }

  get #hasRoom(): boolean {
    return this.#runningCost < this.#options.limit.places
  }

  /** Rule 3. */
  #isBelowShare(tenant: Tenant): boolean {
    return tenant.runningCost < this.#options.limit.places / this.#tenants.size
  }

  #tenantOf(name: string): Tenant {
    let tenant = this.#tenants.get(name)
    if (tenant === undefined) {
      tenant = {
        name,
        served: this.#present,
        running: 0,
        runningCost: 0,
        waiting: [],
        heldBack: new Set(),
        answerCost: 0,
      }
      this.#tenants.set(name, tenant)
    }
    return tenant
  }

  #forgetIdle(tenant: Tenant): void {
    if (tenant.running > 0 || tenant.waiting.length > 0) return
    this.#tenants.delete(tenant.name)
    for (const goOn of tenant.heldBack ?? []) goOn()
    tenant.heldBack = undefined
  }

  async #start(tenant: Tenant, requestCost: number, work: () => Promise<Uint8Array>): Promise<Uint8Array> {
    const { limit, clock } = this.#options
    const expectedCost = tenant.answerCost
    const cost = requestCost + expectedCost
    const running: Running = { tenant, cost, sinceMs: clock.monotonicMs() }
    this.#running.add(running)
    this.#runningCost += cost
    tenant.running += 1
    tenant.runningCost += cost
    this.#present = Math.max(this.#present, tenant.served)
    tenant.served += cost
    limit.used(this.#runningCost, this.#waiting > 0)
    try {
      const answer = await work()
      const answerCost = answer.length / bytesPerRequest
      tenant.served += answerCost - expectedCost
      tenant.answerCost += (answerCost - tenant.answerCost) * learning
      return answer
    } finally {
      limit.used(this.#runningCost, this.#waiting > 0)
      this.#free(running)
      this.#serve()
      this.#goOn(tenant)
    }
  }

  #free(running: Running): void {
    if (!this.#running.delete(running)) return
    const { tenant, cost } = running
    tenant.running -= 1
    // From nothing, so that fractions never add up.
    this.#runningCost = this.#running.size === 0 ? 0 : this.#runningCost - cost
    tenant.runningCost = tenant.running === 0 ? 0 : tenant.runningCost - cost
    this.#forgetIdle(tenant)
  }

  #wait(
    tenant: Tenant,
    cost: number,
    signal: AbortSignal | undefined,
    work: () => Promise<Uint8Array>,
  ): Promise<Uint8Array> {
    const { clock, metrics, waitingMax } = this.#options
    return new Promise((resolve, reject) => {
      const sinceMs = clock.monotonicMs()
      const gone = (): void => {
        this.#takeOut(one)
        one.refuse(new TrunklineError('DEADLINE'))
      }
      const one: Waiting = {
        tenant,
        cost,
        sinceMs,
        start: () => {
          signal?.removeEventListener('abort', gone)
          metrics.waited(clock.monotonicMs() - sinceMs)
          resolve(this.#start(tenant, cost, work))
        },
        refuse: (error) => {
          signal?.removeEventListener('abort', gone)
          reject(error)
        },
      }
      tenant.waiting.push(one)
      this.#waiting += 1
      metrics.waiting(this.#waiting)
      signal?.addEventListener('abort', gone)
      if (signal?.aborted === true) gone()
      else if (this.#draining) {
        this.#takeOut(one)
        one.refuse(draining())
      } else if (this.#waiting > waitingMax) this.#shed()
      this.#watch()
    })
  }

  #takeOut(one: Waiting): void {
    const { tenant } = one
    const at = tenant.waiting.indexOf(one)
    if (at < 0) return
    tenant.waiting.splice(at, 1)
    this.#waiting -= 1
    this.#options.metrics.waiting(this.#waiting)
    this.#goOn(tenant)
    this.#forgetIdle(tenant)
  }

  /** Rule 7. One at a time: what it has sent comes in a later turn. Those that have nothing to say are passed quickly. */
  #goOn(tenant: Tenant): void {
    if (tenant.heldBack === undefined || tenant.waiting.length >= readAheadMax) return
    const [first] = tenant.heldBack
    if (first === undefined) return
    tenant.heldBack.delete(first)
    first()
  }

  /** Rule 5. */
  #shed(): void {
    let longest: Tenant | undefined
    for (const tenant of this.#tenants.values())
      if (tenant.waiting.length > (longest?.waiting.length ?? 0)) longest = tenant
    const newest = longest?.waiting.at(-1)
    if (newest !== undefined) this.#refuse(newest)
  }

  #refuse(one: Waiting): void {
    const limit = 'waiting requests of the process'
    this.#takeOut(one)
    this.#options.metrics.refused(limit)
    one.refuse(new TrunklineError('TOO_MANY_REQUESTS', { details: { limit }, retryAfterMs: retryMs }))
  }

  #serve(): void {
    if (this.#waiting > 0 && !this.#hasRoom) this.#expire()
    while (this.#waiting > 0) {
      const one = this.#next()
      if (one === undefined) break
      if (this.#options.clock.monotonicMs() - one.sinceMs >= waitMsMax) {
        this.#refuse(one)
        continue
      }
      // It runs before it is taken out: its tenant is not forgotten in between.
      one.start()
      this.#takeOut(one)
    }
    this.#watch()
  }

  /** Rules 2 and 3. */
  #next(): Waiting | undefined {
    const hasRoom = this.#hasRoom
    let next: Tenant | undefined
    for (const tenant of this.#tenants.values()) {
      if (tenant.waiting.length === 0 || !(hasRoom || this.#isBelowShare(tenant))) continue
      if (next === undefined || tenant.served < next.served) next = tenant
    }
    return next?.waiting[0]
  }

  /** Rule 4. */
  #expire(): void {
    const nowMs = this.#options.clock.monotonicMs()
    for (const running of this.#running) {
      if (nowMs - running.sinceMs < placeMs) break
      this.#free(running)
    }
  }

  /** Looks again when the oldest place has had its time. */
  #watch(): void {
    const [oldest] = this.#running
    if (this.#waiting === 0 || oldest === undefined) {
      this.#timer?.cancel()
      this.#timer = undefined
      return
    }
    // One that rings too early looks again; to move it with every request would cost more.
    if (this.#timer !== undefined) return
    const { clock } = this.#options
    this.#timer = clock.after(Math.max(1, oldest.sinceMs + placeMs - clock.monotonicMs()), () => {
      this.#timer = undefined
      this.#serve()
    })
  }
}

function draining(): TrunklineError {
  return new TrunklineError('DRAINING', { details: { tier: 'api' } })
}
