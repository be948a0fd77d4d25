// Owns: one shard as this party sees it: connected again for ever, watched, and in one of four states.
// 1. `up` is the only state in which anything is sent. `blocked`: the broker is short of memory or disk and reads nothing
//    from us. `down`: not connected, or silent.
// 2. Silence is measured by probes of our own, published to our own answer queue, not by calls that wait: a parked read is
//    silent for half a minute on a sound shard, and a frozen node is not a frozen broker. A probe that does not come back
//    within suspectAfterMs makes the shard `down` until anything comes; three heartbeats later the connection ends.
// 3. When a shard stops being up, what is out there is lost at once. Nothing is sent twice by itself.
// 4. A reconnected link serves the same keys under new queues.
import type { ConsumeMessage } from 'amqplib'
import { type Clock, sleep, type Timer } from '../../ports/clock.ts'
import type { Random } from '../../ports/random.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { parseIncarnation } from '../../protocol/ids.ts'
import { type AttemptEnd, Attempts, type AttemptTarget } from './attempts.ts'
import { type RabbitAccess, type RabbitShard, refusalOf } from './connect.ts'
import { Link } from './link.ts'
import type { RabbitMetrics, ShardState } from './metrics.ts'
import type { Outgoing } from './outgoing.ts'
import type { PresenceTable } from './presence.ts'
import type { ServedNode } from './served-node.ts'
import type { RabbitSettings } from './settings.ts'
import { parseMessage, propertiesOf, type WireMessage } from './wire.ts'

export interface ShardOptions {
  readonly shard: RabbitShard
  /** Asked before each attempt to connect. */
  readonly access: () => RabbitAccess
  readonly name: string
  /** This party's own name on every shard. */
  readonly sender: string
  readonly clock: Clock
  readonly random: Random
  readonly settings: RabbitSettings
  readonly metrics: RabbitMetrics
  readonly presence: PresenceTable
  /** What is served on every shard; the shard looks at it when a link opens. */
  readonly served: ReadonlySet<ServedNode>
  readonly onProblem: (problem: unknown) => void
  /** The state, or what the last attempt failed with, has changed. */
  readonly onChange: () => void
}

/** A link that lives so long was sound: the next attempts begin with short pauses again. */
const soundAfterMs = 10_000

export class Shard {
  readonly name: string
  readonly #options: ShardOptions
  readonly #closing = new AbortController()
  readonly #running: Promise<void>
  #state: ShardState = 'connecting'
  #link: Link | undefined
  #attempts: Attempts | undefined
  #openedAtMs = 0
  #isBlocked = false
  #isSuspect = false
  #probeSentAtMs: number | undefined
  #announcedAtMs = 0
  #tickedAtMs = 0
  #timer: Timer | undefined
  /** What the last attempt failed with; undefined while the link lives. */
  #failure: string | undefined
  #refusal: string | undefined
  #eventsMissingTold = false

  constructor(options: ShardOptions) {
    this.#options = options
    this.name = options.shard.name
    options.metrics.shardState(this.name, this.#state)
    this.#running = this.#run()
  }

  get state(): ShardState {
    return this.#state
  }

  /** Why the broker refuses us, as of the last attempt. */
  get refusal(): string | undefined {
    return this.#refusal
  }

  get isUp(): boolean {
    return this.#state === 'up'
  }

  /** Not all nodes may have been heard here yet. */
  get isYoung(): boolean {
    return this.#options.clock.monotonicMs() - this.#openedAtMs < 1.5 * this.#options.settings.presenceIntervalMs
  }

  async send(outgoing: Outgoing, target: AttemptTarget): Promise<AttemptEnd> {
    if (!this.isUp || this.#attempts === undefined) return { kind: 'unsent' }
    const end = await this.#attempts.send(outgoing, target)
    if (end.kind === 'returned') {
      this.#options.metrics.returned(this.name)
      // The queue of allocations is declared when a link opens; without it only a new link helps.
      if (target.method === 'allocate') this.#link?.end(new Error('the queue of allocations is gone'))
    }
    return end
  }

  /** A node that is served from now on. True when it is bound here. */
  async attach(node: ServedNode): Promise<boolean> {
    const link = this.#link
    if (link === undefined) return false
    try {
      await node.attach(link)
      return true
    } catch (error) {
      link.end(error)
      return false
    }
  }

  /** What is out is lost; what was published arrives. */
  async close(): Promise<void> {
    this.#closing.abort()
    this.#attempts?.allLost()
    await this.#link?.close()
    // An attempt to connect that is under way ends by itself.
    await Promise.race([this.#running, sleep(this.#options.clock, this.#options.settings.closeTimeoutMs)])
    this.#timer?.cancel()
  }

  async #run(): Promise<void> {
    const { clock, settings, random, metrics } = this.#options
    const { signal } = this.#closing
    let failures = 0
    let wasUp = false
    while (!signal.aborted) {
      try {
        const link = await this.#open()
        if (wasUp) metrics.reconnected(this.name)
        wasUp = true
        const reason = await link.ended
        this.#lost(reason)
        if (clock.monotonicMs() - this.#openedAtMs >= soundAfterMs) failures = 0
      } catch (error) {
        this.#failed(error)
      }
      if (signal.aborted) return
      failures += 1
      const ceilingMs = Math.min(settings.reconnectMaxMs, settings.reconnectMinMs * 2 ** Math.min(failures, 16))
      const pauseMs = settings.reconnectMinMs + random.fraction() * (ceilingMs - settings.reconnectMinMs)
      await sleep(clock, pauseMs, signal)
    }
  }

  async #open(): Promise<Link> {
    const { shard, access, name, clock, settings, served, sender, metrics, onProblem } = this.#options
    const link = await Link.open(
      {
        shard,
        access: access(),
        name,
        clock,
        settings,
        onEventsMissing: () => this.#eventsMissing(),
        onDefect: onProblem,
      },
      (opened) => ({
        message: (message) => this.#message(opened, message),
        returned: (id) => this.#attempts?.returned(id),
        queueDeleted: (queue) => this.#queueDeleted(queue),
        blocked: (isBlocked) => this.#blocked(isBlocked),
      }),
    )
    if (this.#closing.signal.aborted) {
      await link.close()
      return link
    }
    this.#link = link
    this.#attempts = new Attempts(link, clock, settings, metrics, sender)
    this.#openedAtMs = clock.monotonicMs()
    this.#isBlocked = false
    this.#isSuspect = false
    this.#probeSentAtMs = undefined
    this.#failure = undefined
    this.#refusal = undefined
    link.publish(link.topology.presenceExchange, '', propertiesOf('who', '', {}, link.replyQueue))
    this.#update()
    this.#tickedAtMs = this.#openedAtMs
    this.#tick(link)
    await Promise.all(Array.from(served, (node) => this.attach(node)))
    return link
  }

  #lost(reason: unknown): void {
    const { presence, onProblem } = this.#options
    this.#timer?.cancel()
    this.#link = undefined
    const attempts = this.#attempts
    this.#attempts = undefined
    presence.shardLost(this.name)
    this.#update()
    attempts?.allLost()
    if (!this.#closing.signal.aborted)
      onProblem(new TrunklineError('UNAVAILABLE', { details: { shard: this.name }, cause: reason }))
  }

  /** An attempt to connect failed. Told once for each kind of failure, not with every attempt. */
  #failed(error: unknown): void {
    if (this.#closing.signal.aborted) return
    // Not the broker's: what we would show it cannot be had, for a moment or until somebody mends it.
    const own = error instanceof TrunklineError ? error : undefined
    const refusal = own === undefined ? refusalOf(error) : undefined
    const failure = own?.name ?? refusal ?? 'unreachable'
    const details = { shard: this.name, why: failure }
    const name = refusal === undefined ? 'UNAVAILABLE' : 'BROKER_REFUSED'
    if (failure !== this.#failure) this.#options.onProblem(own ?? new TrunklineError(name, { details, cause: error }))
    this.#failure = failure
    this.#refusal = refusal
    this.#update('down')
    this.#options.onChange()
  }

  #update(otherwise: ShardState = this.#state === 'connecting' ? 'connecting' : 'down'): void {
    let state = otherwise
    if (this.#link !== undefined) state = this.#isBlocked ? 'blocked' : this.#isSuspect ? 'down' : 'up'
    if (state === this.#state) return
    this.#state = state
    this.#options.metrics.shardState(this.name, state)
    this.#options.onChange()
  }

  #blocked(isBlocked: boolean): void {
    this.#isBlocked = isBlocked
    // Probes of the time when nothing was read prove nothing.
    this.#probeSentAtMs = undefined
    this.#isSuspect = false
    this.#update()
    if (isBlocked) this.#attempts?.allLost()
  }

  /** Every probeIntervalMs while the link lives: is the broker there, and have we said that we are. */
  #tick(link: Link): void {
    if (link.isEnded) return
    const { clock, settings, served } = this.#options
    const nowMs = clock.monotonicMs()
    // We were frozen ourselves: what came meanwhile is not yet read.
    const frozen = nowMs - this.#tickedAtMs > 2 * settings.probeIntervalMs
    this.#tickedAtMs = nowMs
    if (!this.#isBlocked) this.#probe(link, nowMs, frozen)
    if (nowMs - this.#announcedAtMs >= settings.presenceIntervalMs) {
      this.#announcedAtMs = nowMs
      for (const node of served) node.announce(link)
    }
    for (const { key, queue } of this.#options.presence.expire(this.name)) this.#attempts?.queueGone(key, queue)
    this.#timer = clock.after(settings.probeIntervalMs, () => this.#tick(link))
  }

  #probe(link: Link, nowMs: number, frozen: boolean): void {
    const { suspectAfterMs, probeIntervalMs } = this.#options.settings
    const sentAtMs = this.#probeSentAtMs
    if (sentAtMs !== undefined && link.receivedAtMs >= sentAtMs) this.#probeSentAtMs = undefined
    else if (sentAtMs !== undefined && frozen) this.#probeSentAtMs = nowMs
    if (this.#probeSentAtMs === undefined) {
      if (nowMs - link.receivedAtMs < probeIntervalMs) return
      this.#probeSentAtMs = nowMs
      link.publish('', link.replyQueue, propertiesOf('ping', ''))
    } else if (nowMs - this.#probeSentAtMs >= suspectAfterMs && !this.#isSuspect) {
      this.#isSuspect = true
      this.#update()
      this.#attempts?.allLost()
    }
  }

  #message(link: Link, message: ConsumeMessage): void {
    this.#heard()
    const parsed = parseMessage(message)
    if (parsed.kind !== 'ours') this.#options.metrics.ignored(this.name, parsed.kind)
    else if (!this.#understood(link, parsed.message)) this.#options.metrics.ignored(this.name, 'malformed')
  }

  #heard(): void {
    if (!this.#isSuspect) return
    this.#isSuspect = false
    this.#update()
  }

  #understood(link: Link, message: WireMessage): boolean {
    const { presence, served } = this.#options
    const { key, queue, replyTo } = message
    switch (message.kind) {
      case 'ping':
        link.pinged(message.id)
        return true
      case 'here': {
        const incarnation = key === undefined ? undefined : incarnationOf(key)
        if (incarnation === undefined || queue === undefined) return false
        presence.here(this.name, incarnation, queue)
        return true
      }
      case 'bye': {
        if (key === undefined || queue === undefined) return false
        presence.bye(this.name, queue)
        this.#attempts?.queueGone(key, queue)
        return true
      }
      case 'who':
        if (replyTo === '') return false
        for (const node of served) node.announce(link, replyTo)
        return true
      default:
        return this.#attempts?.receive(message) ?? true
    }
  }

  #queueDeleted(queue: string): void {
    const key = this.#options.presence.queueDeleted(this.name, queue)
    if (key === undefined) return
    this.#options.metrics.queueDeleted(this.name)
    this.#attempts?.queueGone(key, queue)
  }

  #eventsMissing(): void {
    if (this.#eventsMissingTold) return
    this.#eventsMissingTold = true
    const why = 'the plugin rabbitmq_event_exchange is off: calls to a node that dies wait for their deadlines'
    this.#options.onProblem(new TrunklineError('BAD_CONFIG', { details: { shard: this.name, why } }))
  }
}

function incarnationOf(text: string): ReturnType<typeof parseIncarnation> | undefined {
  try {
    return parseIncarnation(text)
  } catch {
    return undefined
  }
}
