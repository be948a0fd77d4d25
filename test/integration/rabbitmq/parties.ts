// Owns: parties of a RabbitMQ switchboard for tests: each reaches its brokers through proxies of its own, under names that
// no other test uses, which are removed at the end.
import { randomBytes } from 'node:crypto'
import { connect } from 'amqplib'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import {
  openRabbitSwitchboard,
  type RabbitMetrics,
  type RabbitSettings,
  type RabbitSwitchboard,
} from '../../../src/adapters/rabbitmq/open.ts'
import { topologyOf } from '../../../src/adapters/rabbitmq/wire.ts'
import { systemRandom } from '../../../src/adapters/random/system-random.ts'
import { TcpProxy } from './tcp-proxy.ts'

export interface Party {
  readonly switchboard: RabbitSwitchboard
  /** In the order of its shards. */
  readonly proxies: readonly TcpProxy[]
  readonly problems: readonly unknown[]
  /** Cut off for good, without a word. */
  kill(): void
}

export interface PartyOptions {
  /** Which brokers; all by default. */
  readonly on?: readonly number[]
  readonly settings?: Partial<RabbitSettings>
  /** Brokers whose first answer waits until the test resumes the proxy. */
  readonly stalled?: readonly number[]
  readonly metrics?: RabbitMetrics
}

const shardNames = ['a', 'b', 'c'] as const

export class Parties {
  readonly namePrefix = `test-${randomBytes(6).toString('hex')}`
  readonly #urls: readonly string[]
  readonly #parties: Party[] = []

  /** URLs with credentials, as a stack gives them. */
  constructor(urls: readonly string[]) {
    this.#urls = urls
  }

  async open({ on, settings, metrics, stalled }: PartyOptions = {}): Promise<Party> {
    const proxies: TcpProxy[] = []
    const shards: { name: string; url: string }[] = []
    for (const index of on ?? this.#urls.keys()) {
      const { hostname, port } = this.#url(index)
      const proxy = await TcpProxy.open({ host: hostname, port: Number(port) })
      proxies.push(proxy)
      if (stalled?.includes(index)) proxy.stall()
      shards.push({ name: shardNames[index] ?? `shard-${index}`, url: `amqp://127.0.0.1:${proxy.port}` })
    }
    const problems: unknown[] = []
    const { username, password } = this.#url(0)
    const switchboard = await openRabbitSwitchboard({
      shards,
      access: { credentials: { username, password } },
      name: this.namePrefix,
      clock: systemClock,
      random: systemRandom,
      settings: { namePrefix: this.namePrefix, ...settings },
      ...(metrics === undefined ? {} : { metrics }),
      onProblem: (problem) => problems.push(problem),
    })
    const kill = (): void => {
      for (const proxy of proxies) proxy.close()
    }
    const party = { switchboard, proxies, problems, kill }
    this.#parties.push(party)
    return party
  }

  /** Ends all parties and removes what they declared on brokers that still live. */
  async close(): Promise<void> {
    await Promise.all(this.#parties.map(({ switchboard }) => switchboard.close()))
    for (const party of this.#parties) party.kill()
    await Promise.all(this.#urls.map((url) => removeTopology(url, this.namePrefix).catch(() => undefined)))
  }

  #url(index: number): URL {
    const url = this.#urls[index]
    if (url === undefined) throw new Error(`there is no broker ${index}`)
    return new URL(url)
  }
}

async function removeTopology(url: string, namePrefix: string): Promise<void> {
  const connection = await connect(url, { noDelay: true, timeout: 2_000 })
  connection.on('error', () => undefined)
  const channel = await connection.createChannel()
  const { sessExchange, allocExchange, allocQueue, presenceExchange } = topologyOf(namePrefix)
  await channel.deleteQueue(allocQueue)
  for (const exchange of [sessExchange, allocExchange, presenceExchange]) await channel.deleteExchange(exchange)
  await connection.close()
}

/** Times in tests are those of a quiet machine. What they guard against is a hang, or a deadline many times as long. */
const busyFactor = 5

/** Rejects when the promise takes much more than `quietMs`. */
export async function within<T>(quietMs: number, promise: Promise<T>): Promise<T> {
  const ms = quietMs * busyFactor
  let timer: NodeJS.Timeout | undefined
  // Made here: it names the line that waits.
  const tooLate = new Error(`not settled within ${ms} ms`)
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(tooLate), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

export function pass(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Resolves when it holds; looks every 10 ms. Rejects when that takes much more than `quietMs`. */
export async function until(what: string, quietMs: number, holds: () => boolean): Promise<void> {
  const ms = quietMs * busyFactor
  const endMs = systemClock.monotonicMs() + ms
  while (!holds()) {
    if (systemClock.monotonicMs() > endMs) throw new Error(`not after ${ms} ms: ${what}`)
    await pass(10)
  }
}
