// Owns: one served key on one link: its queue, its binding, its part in the shard's allocations.
// 1. An allocation is acked when it is taken, and its handler starts when the broker has the ack: a request that the
//    broker hands to another node, or gives back to its caller as unserved, was never begun here.
// 2. When the last place is taken the consumer is cancelled before that allocation is acked, on the same channel: the
//    broker sends no further one. What another shard sent meanwhile goes back to its queue, with its time running on.
// Leaves out: the places, which all shards share, and the handlers (served-node.ts).
import type { Channel, ConsumeMessage } from 'amqplib'
import type { Link } from './link.ts'
import { propertiesOf } from './wire.ts'

export interface ServedLinkListeners {
  call(message: ConsumeMessage): void
  /** Takes a place; false when there is none. */
  takes(): boolean
  /** The broker has the ack: it is this node's. */
  allocate(message: ConsumeMessage): void
  /** The link ended before that: the place is free again, and nothing was begun. */
  untaken: () => void
}

/** A queue of requests that its node does not empty: far more than a node may have in flight at once. */
const queueBytesMax = 256 * 1024 * 1024

export class ServedLink {
  readonly link: Link
  readonly queue: string
  readonly #key: string
  readonly #calls: Channel
  readonly #allocations: Channel
  readonly #listeners: ServedLinkListeners
  readonly #markerId: string
  #taking = false
  /** Consumers of allocations so far: each has its own tag. */
  #consumers = 0
  #markerReached: (() => void) | undefined

  private constructor(
    link: Link,
    key: string,
    { calls, allocations, queue }: ServedParts,
    listeners: ServedLinkListeners,
  ) {
    this.link = link
    this.#key = key
    this.queue = queue
    this.#calls = calls
    this.#allocations = allocations
    this.#listeners = listeners
    this.#markerId = `${queue}/unbound`
  }

  /** Bound and consuming calls when it resolves; allocations come after setTaking(true). */
  static async open(link: Link, key: string, listeners: ServedLinkListeners): Promise<ServedLink> {
    const calls = await link.openChannel()
    const allocations = await link.openChannel()
    await allocations.prefetch(1)
    const { queue } = await calls.assertQueue('', {
      exclusive: true,
      durable: false,
      arguments: { 'x-max-length-bytes': queueBytesMax },
    })
    const served = new ServedLink(link, key, { calls, allocations, queue }, listeners)
    const handle = link.consumer((message) => served.#called(message))
    await calls.consume(queue, handle, { noAck: true, consumerTag: served.#callsTag })
    await calls.bindQueue(queue, link.topology.sessExchange, key)
    return served
  }

  /** Idempotent. Requests on one channel keep their order, so a later one wins. */
  setTaking(taking: boolean): void {
    if (this.#taking === taking || this.link.isEnded) return
    this.#taking = taking
    const done = taking ? this.#consume() : this.#allocations.cancel(this.#allocationsTag)
    done.catch((error: unknown) => this.link.end(error))
  }

  /** No further call is routed here; those that were have been handed over when it resolves. Rejects with the link. */
  async unbind(): Promise<void> {
    this.setTaking(false)
    const { link } = this
    await this.#calls.unbindQueue(this.queue, link.topology.sessExchange, this.#key)
    await new Promise<void>((resolve, reject) => {
      this.#markerReached = resolve
      void link.ended.then(reject)
      // It comes behind everything that was routed before.
      link.publish('', this.queue, propertiesOf('ping', this.#markerId))
    })
  }

  /** After unbind: the queue goes, and nothing of it is left on the link. Rejects with the link. */
  async remove(): Promise<void> {
    await this.#calls.cancel(this.#callsTag)
    await this.#calls.deleteQueue(this.queue)
    await this.link.closeChannel(this.#calls)
    await this.link.closeChannel(this.#allocations)
  }

  get #callsTag(): string {
    return `${this.queue}/calls`
  }

  get #allocationsTag(): string {
    return `${this.queue}/allocations/${this.#consumers}`
  }

  async #consume(): Promise<void> {
    this.#consumers += 1
    const handle = this.link.consumer((message) => this.#delivered(message))
    await this.#allocations.consume(this.link.topology.allocQueue, handle, { consumerTag: this.#allocationsTag })
  }

  #called(message: ConsumeMessage): void {
    if (message.properties.correlationId === this.#markerId) this.#markerReached?.()
    else this.#listeners.call(message)
  }

  #delivered(message: ConsumeMessage): void {
    // The link has ended, and the broker has put it back already.
    if (this.link.isEnded) return
    if (this.#listeners.takes())
      this.#take(message).then(() => this.#listeners.allocate(message), this.#listeners.untaken)
    else this.#allocations.nack(message, false, true)
  }

  async #take(message: ConsumeMessage): Promise<void> {
    this.#allocations.ack(message)
    // An answer to anything that is asked behind the ack says that the broker has it.
    await this.#allocations.prefetch(1)
  }
}

interface ServedParts {
  readonly calls: Channel
  readonly allocations: Channel
  readonly queue: string
}
