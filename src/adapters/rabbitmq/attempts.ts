// Owns: what this party has out on one link: requests that wait for their answers, and large answers it may take.
// 1. Every attempt ends once: answered, given back unserved, lost, refused, or given up by its caller.
// 2. `returned`, `refused` and `unsent` are only said when nothing ran. Anything else that ends without an answer is `lost`.
// 3. Answers above eagerReplyBytesMax wait at their node until they are asked for, in order, while what was asked for and
//    did not come yet stays within replyBytesMax (one is always allowed): a caller that stops reading costs the broker
//    no more than that. A caller whose answer has to wait is still bound by its own deadline.
// 4. The count and the bytes of requests are bounded; beyond them a request is not sent, and lost.
import { type Clock, sleep } from '../../ports/clock.ts'
import { ignore } from './connect.ts'
import type { Link } from './link.ts'
import type { RabbitMetrics } from './metrics.ts'
import type { Outgoing } from './outgoing.ts'
import type { RabbitSettings } from './settings.ts'
import { bufferOf, propertiesOf, type WireMessage } from './wire.ts'

export type AttemptEnd =
  | { readonly kind: 'answered'; readonly body: Uint8Array }
  | { readonly kind: 'lost' }
  /** Nobody serves the key on this shard. */
  | { readonly kind: 'returned' }
  /** The request found no place in its time. */
  | { readonly kind: 'no-capacity' }
  /** The link was gone before anything was written. */
  | { readonly kind: 'unsent' }
  /** The caller does not wait any more. */
  | { readonly kind: 'given-up' }

export interface AttemptTarget {
  readonly method: 'call' | 'allocate'
  /** Of a call. */
  readonly key?: string
  /** The node's queue, as presence last told. */
  readonly queue?: string | undefined
}

interface Attempt {
  readonly outgoing: Outgoing
  readonly method: 'call' | 'allocate'
  readonly resolve: (end: AttemptEnd) => void
  /** Where it is, as far as known; an allocation's when a node has taken it. */
  key: string | undefined
  queue: string | undefined
  /** Size of its large answer, and whether it was asked for. */
  replyBytes: number
  asked: boolean
}

export class Attempts {
  readonly #link: Link
  readonly #clock: Clock
  readonly #settings: RabbitSettings
  readonly #metrics: RabbitMetrics
  readonly #sender: string
  readonly #pending = new Map<string, Attempt>()
  /** Large answers that are not asked for yet, oldest first. */
  readonly #waiting = new Map<string, Attempt>()
  #requestBytes = 0
  #replyBytes = 0

  constructor(link: Link, clock: Clock, settings: RabbitSettings, metrics: RabbitMetrics, sender: string) {
    this.#link = link
    this.#clock = clock
    this.#settings = settings
    this.#metrics = metrics
    this.#sender = sender
  }

  send(outgoing: Outgoing, { method, key, queue }: AttemptTarget): Promise<AttemptEnd> {
    // It may have been given up between two shards: nobody would end it here.
    if (outgoing.settled) return Promise.resolve({ kind: 'given-up' })
    const { callsMax, requestBytesMax } = this.#settings
    if (this.#pending.size >= callsMax || this.#requestBytes + outgoing.body.length > requestBytesMax)
      return Promise.resolve({ kind: 'lost' })
    const { replyQueue, topology } = this.#link
    const nowMs = this.#clock.monotonicMs()
    const leftMs = outgoing.deadlineAtMs - nowMs
    const waitMs = method === 'call' ? leftMs : Math.min(leftMs, this.#settings.allocateWaitMs)
    const properties = {
      ...propertiesOf(method, outgoing.id, { sender: this.#sender, sentAtMs: nowMs, leftMs }, replyQueue),
      // In a queue it is not worth more: the broker forgets it there.
      expiration: String(Math.max(0, Math.ceil(waitMs))),
      mandatory: true,
    }
    const [exchange, routingKey] =
      method === 'call' ? [topology.sessExchange, key ?? ''] : [topology.allocExchange, replyQueue]
    if (!this.#link.publish(exchange, routingKey, properties, bufferOf(outgoing.body)))
      return Promise.resolve({ kind: 'unsent' })
    return new Promise((resolve) => {
      const attempt = { outgoing, method, resolve, key, queue, replyBytes: 0, asked: false }
      this.#pending.set(outgoing.id, attempt)
      this.#requestBytes += outgoing.body.length
      outgoing.onSettled(() => this.#end(attempt, { kind: 'given-up' }))
    })
  }

  /** What came to the answer queue. False when it makes no sense there. */
  receive(message: WireMessage): boolean {
    const attempt = this.#pending.get(message.id)
    switch (message.kind) {
      case 'answer':
        if (attempt !== undefined) this.#end(attempt, { kind: 'answered', body: message.body })
        return true
      case 'lost':
        if (attempt !== undefined) this.#end(attempt, { kind: 'lost' })
        return true
      case 'allocate':
        // Our own request, given back by the queue: no node had taken it.
        if (!message.refused) return false
        if (attempt !== undefined) this.#end(attempt, { kind: 'no-capacity' })
        return true
      case 'taken':
        if (attempt !== undefined) {
          attempt.key = message.key
          attempt.queue = message.queue
        }
        return true
      case 'ready':
        return this.#ready(attempt, message)
      case 'call':
      case 'send':
      case 'drop':
      case 'here':
      case 'bye':
      case 'who':
      case 'ping':
        return false
    }
  }

  returned(id: string): void {
    const attempt = this.#pending.get(id)
    if (attempt !== undefined) this.#end(attempt, { kind: 'returned' })
  }

  /**
   * The queue of a node is gone. What is out at it is lost, but not before the broker has given back what came too late
   * for that queue, and handed over the answers that were in time.
   */
  queueGone(key: string, queue: string): void {
    const concerned = [...this.#pending.values()].filter(
      (attempt) => attempt.key === key && (attempt.queue === undefined || attempt.queue === queue),
    )
    if (concerned.length === 0) return
    const heard = Promise.all([this.#link.flushed().catch(ignore), this.#link.emptied()])
    void Promise.race([heard, sleep(this.#clock, this.#settings.goneGraceMs)]).then(() => {
      for (const attempt of concerned) this.#end(attempt, { kind: 'lost' })
    })
  }

  /** Nothing more is heard here. */
  allLost(): void {
    for (const attempt of [...this.#pending.values()]) this.#end(attempt, { kind: 'lost' })
  }

  #ready(attempt: Attempt | undefined, { id, key, bytes }: WireMessage): boolean {
    if (key === undefined || bytes === undefined) return false
    if (attempt === undefined) this.#tell('drop', id, key)
    else if (!attempt.asked) {
      attempt.key = key
      attempt.replyBytes = bytes
      this.#waiting.set(id, attempt)
      this.#ask()
    }
    return true
  }

  #ask(): void {
    for (const [id, attempt] of this.#waiting) {
      const total = this.#replyBytes + attempt.replyBytes
      if (this.#replyBytes > 0 && total > this.#settings.replyBytesMax) return
      this.#waiting.delete(id)
      attempt.asked = true
      this.#setReplyBytes(total)
      this.#tell('send', id, attempt.key ?? '')
    }
  }

  #tell(kind: 'send' | 'drop', id: string, key: string): void {
    this.#link.publish(this.#link.topology.sessExchange, key, propertiesOf(kind, id, {}, this.#link.replyQueue))
  }

  #end(attempt: Attempt, end: AttemptEnd): void {
    const { outgoing } = attempt
    if (this.#pending.get(outgoing.id) !== attempt) return
    this.#pending.delete(outgoing.id)
    outgoing.onSettled(undefined)
    this.#requestBytes -= outgoing.body.length
    if (this.#waiting.delete(outgoing.id)) this.#tell('drop', outgoing.id, attempt.key ?? '')
    if (attempt.asked) {
      this.#setReplyBytes(this.#replyBytes - attempt.replyBytes)
      this.#ask()
    }
    attempt.resolve(end)
  }

  #setReplyBytes(bytes: number): void {
    this.#replyBytes = bytes
    this.#metrics.outstandingReplyBytes(this.#link.shardName, bytes)
  }
}
