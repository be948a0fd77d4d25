// Owns: this party's two connections to one shard, from their opening to their end, and the queues that are its own: for
// answers, for presence, for the ends of other parties' queues.
// 1. One connection consumes, one publishes: when the broker is short of memory it stops the one that publishes, and
//    the other still hears.
// 2. Whatever ends one channel or connection ends the link; the shard (shard.ts) makes a new one. `ended` settles once.
// 3. Nothing thrown by a consumer reaches the library: it would close the channel.
// 4. The queues are bounded: presence by count and age, answers by what callers ask for (attempts.ts).
import type { Channel, ChannelModel, ConsumeMessage } from 'amqplib'
import type { Clock } from '../../ports/clock.ts'
import {
  closeConnection,
  destroyConnection,
  ignore,
  openConnection,
  type RabbitAccess,
  type RabbitShard,
  withinTime,
} from './connect.ts'
import { joinChunksOnce } from './incoming-frames.ts'
import { Publisher, type PublishProperties } from './publisher.ts'
import { allocQueueBytesMax, allocQueueItemsMax, allocQueueTtlMs, type RabbitSettings } from './settings.ts'
import { noBody, propertiesOf, type Topology, topologyOf } from './wire.ts'

export interface LinkOptions {
  readonly shard: RabbitShard
  readonly access: RabbitAccess
  /** Shown to operators. */
  readonly name: string
  readonly clock: Clock
  readonly settings: RabbitSettings
  /** The broker does not tell of deleted queues: its plugin is off. */
  readonly onEventsMissing: () => void
  /** A consumer threw: a defect. */
  readonly onDefect: (error: unknown) => void
}

export interface LinkListeners {
  /** Came to the answer queue or by presence. */
  message(message: ConsumeMessage): void
  /** A request of ours that no queue took. */
  returned(id: string): void
  queueDeleted(queue: string): void
  blocked(isBlocked: boolean): void
}

export class Link {
  readonly topology: Topology
  /** Where answers come. */
  readonly replyQueue: string
  readonly ended: Promise<unknown>
  readonly #options: LinkOptions
  readonly #consuming: ChannelModel
  readonly #publishing: ChannelModel
  readonly #out: Channel
  readonly #publisher: Publisher
  readonly #closing = new WeakSet<Channel>()
  /** By id; as many as nodes go at the same time. */
  readonly #echoed = new Map<string, () => void>()
  #echoes = 0
  #end: (reason: unknown) => void = ignore
  #isEnded = false
  #receivedAtMs: number

  /** Made by open(). */
  constructor(options: LinkOptions, parts: LinkParts) {
    this.#options = options
    this.topology = topologyOf(options.settings.namePrefix)
    this.#consuming = parts.consuming
    this.#publishing = parts.publishing
    this.#out = parts.out
    this.#publisher = new Publisher(parts.publishing, parts.out)
    this.replyQueue = parts.replyQueue
    this.#receivedAtMs = options.clock.monotonicMs()
    this.ended = new Promise((resolve) => {
      this.#end = resolve
    })
    for (const connection of [parts.consuming, parts.publishing])
      connection.on('close', (error) => this.end(error ?? new Error('closed')))
  }

  /** Connects, declares what all parties share and what is ours, and listens. Rejects with the library's error. */
  static async open(options: LinkOptions, listenersOf: (link: Link) => LinkListeners): Promise<Link> {
    const { clock, settings } = options
    const connections: ChannelModel[] = []
    const opening = (async (): Promise<Link> => {
      for (const purpose of ['consume', 'publish'] as const) {
        connections.push(
          await openConnection({
            ...options.access,
            shard: options.shard,
            connectionName: `${options.name} ${purpose}`,
            heartbeatSeconds: settings.heartbeatSeconds,
            attemptTimeoutMs: settings.attemptTimeoutMs,
            clock,
          }),
        )
      }
      const [consuming, publishing] = connections
      if (consuming === undefined || publishing === undefined) throw new Error('two connections were opened')
      return declareAndListen(options, consuming, publishing, listenersOf)
    })()
    try {
      // Connecting has its own bound, twice; then as long again for everything that is declared.
      const boundMs = 3 * settings.attemptTimeoutMs
      return await withinTime(clock, boundMs, opening, () => new Error(`${options.shard.name} did not answer in time`))
    } catch (error) {
      opening.then((late) => late.end(error), ignore)
      for (const connection of connections) destroyConnection(connection)
      throw error
    }
  }

  get shardName(): string {
    return this.#options.shard.name
  }

  get isEnded(): boolean {
    return this.#isEnded
  }

  /** When anything came last on the consuming connection. */
  get receivedAtMs(): number {
    return this.#receivedAtMs
  }

  /** False: nothing was sent. True: it is on its way, and nobody knows more. */
  publish(exchange: string, routingKey: string, properties: PublishProperties, body: Buffer = noBody): boolean {
    if (this.#isEnded) return false
    try {
      // How much may be out is bounded by those who publish.
      this.#publisher.publish(exchange, routingKey, properties, body)
      return true
    } catch (error) {
      this.end(error)
      return false
    }
  }

  /** A channel of its own on the consuming connection, for a node that serves. Its end is the end of the link. */
  async openChannel(): Promise<Channel> {
    const channel = await this.#consuming.createChannel()
    this.guard(channel)
    return channel
  }

  /** Closes a channel of openChannel() without ending the link. */
  async closeChannel(channel: Channel): Promise<void> {
    this.#closing.add(channel)
    await channel.close()
  }

  guard(channel: Channel): void {
    let reason: unknown
    channel.on('error', (error) => {
      reason = error
    })
    channel.on('close', () => {
      if (!this.#closing.has(channel)) this.end(reason ?? new Error('a channel closed'))
    })
  }

  /** Wraps what handles the messages of one consumer. */
  consumer(handle: (message: ConsumeMessage) => void): (message: ConsumeMessage | null) => void {
    return (message) => {
      this.#receivedAtMs = this.#options.clock.monotonicMs()
      // The broker deleted the queue: somebody else did that, and we need a new one.
      if (message === null) return this.end(new Error('a queue was deleted'))
      try {
        handle(message)
      } catch (error) {
        this.#options.onDefect(error)
      }
    }
  }

  /** What was published before is in its queues, or was given back, when this resolves. Rejects when the link ends. */
  async flushed(): Promise<void> {
    this.#publisher.flush()
    await this.#out.checkExchange(this.topology.sessExchange)
  }

  /** What was in the answer queue before has been handled when this resolves; so does the end of the link. */
  async emptied(): Promise<void> {
    this.#echoes += 1
    const id = `echo/${this.#echoes}`
    const echoed = new Promise<void>((resolve) => this.#echoed.set(id, resolve))
    this.publish('', this.replyQueue, propertiesOf('ping', id))
    await Promise.race([echoed, this.ended])
  }

  /** A ping of our own came back. */
  pinged(id: string): void {
    this.#echoed.get(id)?.()
    this.#echoed.delete(id)
  }

  /** The link is of no use any more. Idempotent. */
  end(reason: unknown): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#end(reason)
    destroyConnection(this.#consuming)
    destroyConnection(this.#publishing)
  }

  /** Orderly: what was published arrives. Takes no longer than closeTimeoutMs. */
  async close(): Promise<void> {
    if (this.#isEnded) return
    const { clock, settings } = this.#options
    this.#isEnded = true
    this.#end(undefined)
    this.#publisher.flush()
    await closeConnection(clock, settings.closeTimeoutMs, this.#publishing, [this.#out])
    await closeConnection(clock, settings.closeTimeoutMs, this.#consuming, [])
  }
}

/** What open() has made. */
export interface LinkParts {
  readonly consuming: ChannelModel
  readonly publishing: ChannelModel
  readonly out: Channel
  readonly replyQueue: string
}

async function declareAndListen(
  options: LinkOptions,
  consuming: ChannelModel,
  publishing: ChannelModel,
  listenersOf: (link: Link) => LinkListeners,
): Promise<Link> {
  const { settings } = options
  const topology = topologyOf(settings.namePrefix)
  joinChunksOnce(consuming)
  const inbox = await opened(consuming)
  await declareShared(inbox, topology)
  const { queue: replyQueue } = await inbox.assertQueue('', { exclusive: true, durable: false })
  const { queue: presenceQueue } = await inbox.assertQueue('', {
    exclusive: true,
    durable: false,
    maxLength: 10_000,
    messageTtl: settings.presenceTtlMs,
  })
  await inbox.bindQueue(presenceQueue, topology.presenceExchange, '')
  const hasEvents = await eventsExist(consuming)
  const out = await opened(publishing)
  const link = new Link(options, { consuming, publishing, out, replyQueue })
  const listeners = listenersOf(link)
  link.guard(inbox)
  link.guard(out)
  publishing.on('blocked', () => listeners.blocked(true))
  publishing.on('unblocked', () => listeners.blocked(false))
  out.on('return', ({ properties }) => {
    const id: unknown = properties.correlationId
    if (typeof id === 'string') listeners.returned(id)
  })
  const consume = (queue: string, handle: (message: ConsumeMessage) => void): Promise<unknown> =>
    inbox.consume(queue, link.consumer(handle), { noAck: true })
  await consume(replyQueue, (message) => listeners.message(message))
  await consume(presenceQueue, (message) => listeners.message(message))
  if (hasEvents) {
    const { queue } = await inbox.assertQueue('', { exclusive: true, durable: false, maxLength: 10_000 })
    await inbox.bindQueue(queue, eventExchange, 'queue.deleted')
    await consume(queue, ({ properties }) => {
      const name: unknown = properties.headers?.['name']
      if (typeof name === 'string') listeners.queueDeleted(name)
    })
  } else options.onEventsMissing()
  return link
}

const eventExchange = 'amq.rabbitmq.event'

async function declareShared(channel: Channel, topology: Topology): Promise<void> {
  await channel.assertExchange(topology.sessExchange, 'direct', { durable: true })
  await channel.assertExchange(topology.presenceExchange, 'fanout', { durable: true })
  await channel.assertExchange(topology.allocExchange, 'fanout', { durable: true })
  await channel.assertQueue(topology.allocQueue, {
    durable: true,
    messageTtl: allocQueueTtlMs,
    // The default exchange, under the routing key the request came with: back to its caller's answer queue.
    deadLetterExchange: '',
    maxLength: allocQueueItemsMax,
    arguments: { 'x-max-length-bytes': allocQueueBytesMax },
  })
  await channel.bindQueue(topology.allocQueue, topology.allocExchange, '')
}

/** On a channel of its own, since a missing exchange closes it. */
async function eventsExist(connection: ChannelModel): Promise<boolean> {
  const channel = await opened(connection)
  try {
    await channel.checkExchange(eventExchange)
  } catch {
    return false
  }
  await channel.close()
  return true
}

/** A channel whose errors end nothing yet. */
async function opened(connection: ChannelModel): Promise<Channel> {
  const channel = await connection.createChannel()
  channel.on('error', ignore)
  return channel
}
