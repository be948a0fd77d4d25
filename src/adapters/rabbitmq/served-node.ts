// Owns: one served key over all shards: its places for allocations, what it has in flight, and its end.
// 1. An allocation holds one of the places, counted over all shards, until its handler settles.
// 2. What cannot be run here (too much in flight, another version) is answered `lost`; what is too late is dropped.
// 3. Closing: unbound everywhere, what runs is answered, the answers are with the brokers, the queues go. After the end
//    no answer leaves.
// Leaves out: queues and consumers (served-link.ts).
import type { ConsumeMessage } from 'amqplib'
import { type Clock, sleep } from '../../ports/clock.ts'
import type { ServeHandlers } from '../../ports/switchboard.ts'
import type { Incarnation } from '../../protocol/ids.ts'
import { ignore } from './connect.ts'
import { HeldReplies } from './held-replies.ts'
import type { Link } from './link.ts'
import type { RabbitMetrics } from './metrics.ts'
import type { SenderClocks } from './sender-clocks.ts'
import { ServedLink } from './served-link.ts'
import type { RabbitSettings } from './settings.ts'
import { bufferOf, parseMessage, propertiesOf, type WireKind, type WireMessage } from './wire.ts'

const capacityDefault = 64

export interface ServedNodeOptions {
  readonly key: Incarnation
  readonly handlers: ServeHandlers
  readonly clock: Clock
  readonly senderClocks: SenderClocks
  readonly settings: RabbitSettings
  readonly metrics: RabbitMetrics
  /** A handler rejected or threw. */
  readonly onDefect: (error: unknown) => void
}

export class ServedNode {
  readonly key: Incarnation
  /** Resolves when it was first bound on a shard. */
  readonly attached: Promise<void>
  readonly #options: ServedNodeOptions
  readonly #links = new Map<Link, ServedLink>()
  readonly #held: HeldReplies
  #capacity = capacityDefault
  #allocating = 0
  #inFlight = 0
  #inFlightBytes = 0
  #draining = false
  #closing = false
  #ended = false
  #emptied: () => void = ignore
  #firstAttached: () => void = ignore

  constructor(options: ServedNodeOptions) {
    this.key = options.key
    this.#options = options
    this.attached = new Promise((resolve) => {
      this.#firstAttached = resolve
    })
    this.#held = new HeldReplies(options.clock, options.settings.heldReplyBytesMax)
  }

  /** It is bound on a shard now. */
  get isAttached(): boolean {
    return this.#links.size > 0
  }

  /** Serves on that link from now on. Rejects when the link does not let it. */
  async attach(link: Link): Promise<void> {
    const served = await ServedLink.open(link, this.key, {
      call: (message) => this.#called(served, message),
      takes: () => this.#takePlace(),
      allocate: (message) => this.#allocate(served, message),
      untaken: () => this.#freePlace(),
    })
    if (this.#closing) {
      // It closed while this was under way.
      await served.unbind()
      return served.remove()
    }
    this.#links.set(link, served)
    this.#firstAttached()
    void link.ended.then(() => this.#links.delete(link))
    this.announce(link)
    this.#updateTaking()
    // From here on whoever is connected hears of its death.
    await link.flushed()
  }

  /** Says that it is there: to all, or to the one who asked. */
  announce(link: Link, replyTo?: string): void {
    const served = this.#links.get(link)
    if (served === undefined || this.#ended) return
    const properties = propertiesOf('here', '', { key: this.key, queue: served.queue })
    if (replyTo === undefined) link.publish(link.topology.presenceExchange, '', properties)
    else link.publish('', replyTo, properties)
  }

  setCapacity(allocations: number): void {
    if (!Number.isInteger(allocations) || allocations < 0) throw new Error(`a capacity of ${allocations}`)
    this.#capacity = allocations
    this.#updateTaking()
  }

  drain(): void {
    this.#draining = true
    this.#updateTaking()
  }

  /** Answers what runs, then ends. What a broker does not confirm in closeTimeoutMs is not waited for. */
  async close(): Promise<void> {
    const { clock, settings } = this.#options
    const within = (work: Promise<unknown>): Promise<unknown> =>
      Promise.race([work.catch(ignore), sleep(clock, settings.closeTimeoutMs)])
    this.#closing = true
    this.drain()
    const serving = [...this.#links.values()]
    await Promise.all(serving.map((served) => within(served.unbind())))
    if (this.#inFlight > 0 && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#emptied = resolve
      })
    }
    await Promise.all(
      serving.map((served) =>
        within(
          (async () => {
            // Who hears of the end must have heard the answers before.
            await served.link.flushed()
            this.#sayBye(served)
            await served.remove()
          })(),
        ),
      ),
    )
    this.end()
  }

  /** At once: no answer leaves any more, and all are told. */
  end(): void {
    if (this.#ended) return
    this.#closing = true
    this.#draining = true
    for (const served of this.#links.values()) this.#sayBye(served)
    this.#ended = true
    this.#updateTaking()
    this.#links.clear()
    this.#held.clear()
    this.#emptied()
  }

  #sayBye({ link, queue }: ServedLink): void {
    link.publish(link.topology.presenceExchange, '', propertiesOf('bye', '', { key: this.key, queue }))
  }

  #updateTaking(): void {
    const taking = !this.#draining && this.#allocating < this.#capacity
    for (const served of this.#links.values()) served.setTaking(taking)
  }

  #takePlace(): boolean {
    if (this.#draining || this.#allocating >= this.#capacity) return false
    this.#allocating += 1
    this.#updateTaking()
    return true
  }

  #freePlace(): void {
    this.#allocating -= 1
    this.#updateTaking()
  }

  #allocate(served: ServedLink, message: ConsumeMessage): void {
    const request = this.#requestOf(served, message, 'allocate')
    if (request === undefined) this.#freePlace()
    else {
      this.#answer(served, 'taken', request, { key: this.key, queue: served.queue })
      void this.#run(served, request, 'allocate').finally(() => this.#freePlace())
    }
  }

  #called(served: ServedLink, message: ConsumeMessage): void {
    const request = this.#requestOf(served, message, 'call')
    if (request === undefined) return
    switch (request.kind) {
      case 'send': {
        const body = this.#held.take(heldName(request))
        if (body !== undefined) this.#answer(served, 'answer', request, {}, body)
        return
      }
      case 'drop':
        this.#held.drop(heldName(request))
        return
      case 'call':
        void this.#run(served, request, 'call')
        return
      default:
        this.#options.metrics.ignored(served.link.shardName, 'malformed')
    }
  }

  /** Undefined: not for us, and dealt with. */
  #requestOf(served: ServedLink, message: ConsumeMessage, expected: WireKind): WireMessage | undefined {
    const { link } = served
    const parsed = parseMessage(message)
    switch (parsed.kind) {
      case 'ours':
        if (expected === 'allocate' && parsed.message.kind !== 'allocate') break
        return parsed.message
      case 'version':
        this.#options.metrics.ignored(link.shardName, 'version')
        if (parsed.replyTo !== '')
          link.publish('', parsed.replyTo, propertiesOf('lost', parsed.id, {}, undefined, parsed.appId))
        return undefined
      case 'foreign':
        this.#options.metrics.ignored(link.shardName, 'foreign')
        return undefined
      case 'malformed':
        break
    }
    this.#options.metrics.ignored(link.shardName, 'malformed')
    return undefined
  }

  async #run(served: ServedLink, request: WireMessage, method: 'call' | 'allocate'): Promise<void> {
    const { clock, senderClocks, settings, metrics, handlers, onDefect } = this.#options
    const { sender, sentAtMs, leftMs, body } = request
    const shard = served.link.shardName
    if (sender === undefined || sentAtMs === undefined || leftMs === undefined || request.replyTo === '')
      return metrics.ignored(shard, 'malformed')
    const remainsMs = senderClocks.leftMs(sender, sentAtMs, leftMs)
    if (remainsMs <= 0) return metrics.expired(shard)
    if (this.#inFlight >= settings.servedMax || this.#inFlightBytes + body.length > settings.servedBytesMax)
      return this.#answer(served, 'lost', request)
    const deadlineAtMs = clock.monotonicMs() + remainsMs
    const finished = this.#begin(body.length)
    try {
      const reply = await handlers[method](body, { deadlineAtMs })
      const lateMs = clock.monotonicMs() - deadlineAtMs
      if (lateMs >= 0) {
        metrics.expired(shard)
        finished()
      } else if (reply.length <= settings.eagerReplyBytesMax) {
        this.#answer(served, 'answer', request, {}, reply)
        finished()
      } else if (!this.#ended && this.#held.hold(heldName(request), reply, -lateMs, finished))
        this.#answer(served, 'ready', request, { key: this.key, bytes: reply.length })
      else {
        this.#answer(served, 'lost', request)
        finished()
      }
    } catch (error) {
      this.#answer(served, 'lost', request)
      finished()
      onDefect(error)
    }
  }

  #begin(bytes: number): () => void {
    this.#inFlight += 1
    this.#inFlightBytes += bytes
    return () => {
      this.#inFlight -= 1
      this.#inFlightBytes -= bytes
      if (this.#inFlight === 0) this.#emptied()
    }
  }

  #answer(
    { link }: ServedLink,
    kind: WireKind,
    { id, replyTo }: WireMessage,
    fields: Parameters<typeof propertiesOf>[2] = {},
    body?: Uint8Array,
  ): void {
    if (this.#ended) return
    link.publish('', replyTo, propertiesOf(kind, id, fields), body === undefined ? undefined : bufferOf(body))
  }
}

/** Callers number their calls; their queue tells them apart. */
function heldName({ replyTo, id }: WireMessage): string {
  return `${replyTo} ${id}`
}
