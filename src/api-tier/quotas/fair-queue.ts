// Owns: whose request is served next when this process is asked for more than it can do at once.
// 1. A request takes a place from its start to its answer. While there is room it starts at once, and nothing is queued.
// 2. Without room it waits behind those of its tenant, in the order in which they came; the tenant that was served least
//    is served next. What counts is bytes, of requests and answers: few large ones weigh as many small ones, and take as
//    many places. What an answer will be is judged by the tenant's last ones. A tenant that was idle begins at the present,
//    with neither credit nor debt; credit of one that asks for little wins it no
//    more than what is left of the places when all others have their even share (rule 3).
// 3. A tenant that has less than its even share of the places does not wait for others: it starts at once. So at most twice
//    the places are taken, and one more of each tenant.
// 4. While others wait, a place lasts `placeMs`: what takes longer waits itself, for a log. That of a read that may wait for
//    events lasts `pollMs`, and no answer is expected of it. So neither they nor a partition that does not answer stop anybody.
//    Whenever somebody waits, a place is taken, and a timer runs until it has lasted.
// 5. At most `waitingMax` wait. Above it the newest of the tenant that has most of them is refused, and who has waited
//    `waitMsMax` is refused too. A refusal is TOO_MANY_REQUESTS and has spent nothing.
// 6. Who is gone leaves the queue at once. From `drain` on nobody waits: DRAINING.
// 7. Connections whose tenant has `readAheadMax` waiting are held back, and go on in their order as those leave, and by
//    themselves when none is left: what is not read yet costs no memory and no collection of it.
// 8. In one turn of the loop what waits is started for `sliceMs`; the rest when what has come meanwhile was read. So who
//    comes in between waits for a slice, not for all of them, and what was started is flushed while the next starts.
// Leaves out: how many places there are (concurrency-limit.ts), rates and bytes (quotas.ts), who they are (gateway-calls.ts).
import type { Clock, Timer } from '../../ports/clock.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import type { ConcurrencyLimit } from './concurrency-limit.ts'
import type { Demand } from './quotas.ts'

export const placeMs = 100
const pollMs = 5
export const waitMsMax = 5_000
export const sliceMs = 0.5
export const readAheadMax = 16
/** So many bytes cost as much as a request without any. */
const bytesPerRequest = 32 * 1_024
const retryMs = 1_000
/** Weight of the newest answer. */
const learning = 1 / 8
/** Between two times that `readAheadMax` connections go on by themselves. */
const pumpMs = 1

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
  /** Runs at the end of the present turn of the loop. Default setImmediate. */
  readonly afterTurn?: (run: () => void) => void
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
  /** While some are held back and nothing waits (rule 7). */
  pump: Timer | undefined
  /** Cost of its answers, as they were lately. */
  answerCost: number
}

interface Running {
  readonly tenant: Tenant
  readonly cost: number
  /** Others may have its place then. */
  readonly dueMs: number
}

/** What is known of a request before it starts. */
type Work = Pick<Demand, 'waits'> & { readonly cost: number; readonly start: () => Promise<Uint8Array> }

interface Waiting {
  readonly tenant: Tenant
  readonly sinceMs: number
  readonly start: () => void
  readonly refuse: (error: TrunklineError) => void
}

export class FairQueue {
  readonly #options: FairQueueOptions
  readonly #afterTurn: (run: () => void) => void
  /** That have something running or waiting. */
  readonly #tenants = new Map<string, Tenant>()
  /** Oldest first, as a Set keeps them; those that may wait for events apart. */
  readonly #working = new Set<Running>()
  readonly #polling = new Set<Running>()
  #runningCost = 0
  #waiting = 0
  /** How much the tenant that was served last had been served before. */
  #present = 0
  /** Of this turn; undefined before the first one that waited has started in it. */
  #sliceEndsMs: number | undefined
  #timer: Timer | undefined
  #draining = false

  constructor(options: FairQueueOptions) {
    this.#options = options
    this.#afterTurn = options.afterTurn ?? setImmediate
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
    { bytes, waits }: Pick<Demand, 'bytes' | 'waits'>,
    signal: AbortSignal | undefined,
    start: () => Promise<Uint8Array>,
  ): Promise<Uint8Array> {
    if (!this.#hasRoom) this.#expire()
    const tenant = this.#tenantOf(name)
    const work = { waits, cost: 1 + bytes / bytesPerRequest, start }
    const mayStart =
      tenant.waiting.length === 0 && ((this.#waiting === 0 && this.#hasRoom) || this.#isBelowShare(tenant))
    return mayStart ? this.#start(tenant, work) : this.#wait(tenant, work, signal)
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
        heldBack: undefined,
        pump: undefined,
        answerCost: 0,
      }
      this.#tenants.set(name, tenant)
    }
    return tenant
  }

  #forgetIdle(tenant: Tenant): void {
    if (tenant.running === 0 && tenant.waiting.length === 0 && tenant.pump === undefined)
      this.#tenants.delete(tenant.name)
  }

  async #start(tenant: Tenant, { waits, cost: requestCost, start }: Work): Promise<Uint8Array> {
    const { limit, clock } = this.#options
    const expectedCost = waits ? 0 : tenant.answerCost
    const cost = requestCost + expectedCost
    const running: Running = { tenant, cost, dueMs: clock.monotonicMs() + (waits ? pollMs : placeMs) }
    const all = waits ? this.#polling : this.#working
    all.add(running)
    this.#runningCost += cost
    tenant.running += 1
    tenant.runningCost += cost
    this.#present = Math.max(this.#present, tenant.served)
    tenant.served += cost
    limit.used(this.#runningCost, this.#waiting > 0)
    try {
      const answer = await start()
      const answerCost = answer.length / bytesPerRequest
      tenant.served += answerCost - expectedCost
      tenant.answerCost += (answerCost - tenant.answerCost) * learning
      return answer
    } finally {
      limit.used(this.#runningCost, this.#waiting > 0)
      this.#free(all, running)
      this.#serve()
      this.#goOn(tenant)
    }
  }

  #free(all: Set<Running>, running: Running): void {
    if (!all.delete(running)) return
    const { tenant, cost } = running
    tenant.running -= 1
    // From nothing, so that fractions never add up.
    this.#runningCost = this.#working.size + this.#polling.size === 0 ? 0 : this.#runningCost - cost
    tenant.runningCost = tenant.running === 0 ? 0 : tenant.runningCost - cost
    this.#forgetIdle(tenant)
  }

  #wait(tenant: Tenant, work: Work, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const { clock, metrics, waitingMax } = this.#options
    return new Promise((resolve, reject) => {
      const sinceMs = clock.monotonicMs()
      const gone = (): void => {
        this.#takeOut(one)
        one.refuse(new TrunklineError('DEADLINE'))
      }
      const one: Waiting = {
        tenant,
        sinceMs,
        start: () => {
          signal?.removeEventListener('abort', gone)
          metrics.waited(clock.monotonicMs() - sinceMs)
          resolve(this.#start(tenant, work))
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
      // Places may have had their time since the others began to wait.
      if (this.#hasRoom) this.#serve()
      else this.#watch()
    })
  }

  #takeOut(one: Waiting): void {
    if (!this.#leave(one)) return
    this.#goOn(one.tenant)
    this.#forgetIdle(one.tenant)
  }

  #leave(one: Waiting): boolean {
    const { waiting } = one.tenant
    const at = waiting.indexOf(one)
    if (at < 0) return false
    waiting.splice(at, 1)
    this.#waiting -= 1
    this.#options.metrics.waiting(this.#waiting)
    return true
  }

  /** Rule 7. One at a time: what it has sent comes in a later turn. */
  #goOn(tenant: Tenant): void {
    if (tenant.waiting.length < readAheadMax) letGo(tenant, 1)
    // Those may have nothing to say, or wait for events: nothing would end, and the others be forgotten.
    if (tenant.waiting.length === 0) this.#pump(tenant)
  }

  #pump(tenant: Tenant): void {
    if (tenant.pump !== undefined || (tenant.heldBack?.size ?? 0) === 0) return
    tenant.pump = this.#options.clock.after(pumpMs, () => {
      tenant.pump = undefined
      letGo(tenant, readAheadMax - tenant.waiting.length)
      if (tenant.waiting.length === 0) this.#pump(tenant)
      this.#forgetIdle(tenant)
    })
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
      if (one === undefined || this.#isSliceOver()) break
      if (this.#options.clock.monotonicMs() - one.sinceMs >= waitMsMax) {
        this.#refuse(one)
        continue
      }
      this.#leave(one)
      one.start()
      this.#goOn(one.tenant)
    }
    this.#watch()
  }

  /** Rule 8. Asked only when one may start: the turn that goes on with it has something to do. */
  #isSliceOver(): boolean {
    const nowMs = this.#options.clock.monotonicMs()
    if (this.#sliceEndsMs !== undefined) return nowMs >= this.#sliceEndsMs
    this.#sliceEndsMs = nowMs + sliceMs
    this.#afterTurn(() => {
      this.#sliceEndsMs = undefined
      this.#serve()
    })
    return false
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
    for (const all of [this.#working, this.#polling])
      for (const running of all) {
        if (running.dueMs > nowMs) break
        this.#free(all, running)
      }
  }

  /** Looks again when the oldest place has had its time. */
  #watch(): void {
    const [worker] = this.#working
    const [poll] = this.#polling
    const dueMs = Math.min(worker?.dueMs ?? Number.POSITIVE_INFINITY, poll?.dueMs ?? Number.POSITIVE_INFINITY)
    if (this.#waiting === 0 || !Number.isFinite(dueMs)) {
      this.#timer?.cancel()
      this.#timer = undefined
      return
    }
    // One that rings too early looks again; to move it with every request would cost more.
    if (this.#timer !== undefined) return
    const { clock } = this.#options
    this.#timer = clock.after(Math.max(1, dueMs - clock.monotonicMs()), () => {
      this.#timer = undefined
      this.#serve()
    })
  }
}

/** The first of them, at most `count`. */
function letGo({ heldBack }: Tenant, count: number): void {
  let left = count
  for (const goOn of heldBack ?? []) {
    if (left <= 0) return
    left -= 1
    heldBack?.delete(goOn)
    goOn()
  }
}

function draining(): TrunklineError {
  return new TrunklineError('DRAINING', { details: { tier: 'api' } })
}
