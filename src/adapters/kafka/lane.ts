// Owns: one connection to each broker, for one purpose. A broker reads the next request of a connection only when it has
// answered the one before: what may wait long has a lane of its own.
// 1. At most one attempt to connect to a broker at a time, shared; after a failed one, none for `pauseMs`.
// 2. A connection that is closed, or whose login has expired, is replaced by the next one who asks.
import type { Clock } from '../../ports/clock.ts'
import type { ApiRequest } from './api.ts'
import type { BrokerAddress } from './api-metadata.ts'
import { Connection } from './connection.ts'
import type { Dialer } from './dialer.ts'
import type { KafkaMetrics } from './metrics.ts'
import { TransportError } from './transport-error.ts'

export interface LaneParts {
  readonly dialer: Dialer
  readonly clientId: string
  readonly clock: Clock
  readonly metrics: KafkaMetrics
}

const pauseMs = 100
/** Older than any request: what is still under way on a connection whose login has expired. */
const expiredLingerMs = 30_000

interface Failed {
  readonly untilMs: number
  readonly error: TransportError
}

export class Lane {
  readonly #parts: LaneParts
  readonly #open = new Map<string, Connection>()
  readonly #opening = new Map<string, Promise<Connection>>()
  readonly #failed = new Map<string, Failed>()
  #closed = false

  constructor(parts: LaneParts) {
    this.#parts = parts
  }

  /** A usable connection, or undefined without waiting. */
  ready(at: BrokerAddress): Connection | undefined {
    const connection = this.#open.get(keyOf(at))
    return connection?.isUsable === true ? connection : undefined
  }

  /** Rejects with a TransportError that is `neverSent`. */
  connection(at: BrokerAddress): Promise<Connection> {
    const ready = this.ready(at)
    if (ready !== undefined) return Promise.resolve(ready)
    if (this.#closed) return Promise.reject(new TransportError('closed', 'the log is closed'))
    const key = keyOf(at)
    const failed = this.#failed.get(key)
    if (failed !== undefined && this.#parts.clock.monotonicMs() < failed.untilMs) return Promise.reject(failed.error)
    let opening = this.#opening.get(key)
    if (opening === undefined) {
      opening = this.#connect(key, at).finally(() => this.#opening.delete(key))
      this.#opening.set(key, opening)
    }
    return opening
  }

  /** Rejects with a TransportError. */
  async request<T>(at: BrokerAddress, request: ApiRequest<T>, timeoutMs: number): Promise<T> {
    const connection = await this.connection(at)
    return connection.send(request, timeoutMs)
  }

  close(): void {
    this.#closed = true
    for (const connection of this.#open.values()) connection.destroy('the log is closed')
    this.#open.clear()
  }

  async #connect(key: string, at: BrokerAddress): Promise<Connection> {
    const { dialer, clientId, clock, metrics } = this.#parts
    this.#failed.delete(key)
    let connection: Connection
    try {
      const dialed = await dialer.dial(at.host, at.port)
      connection = new Connection({ dialed, clientId, clock, metrics })
    } catch (thrown) {
      const error =
        thrown instanceof TransportError ? thrown : new TransportError('unreachable', 'no connection', thrown)
      metrics.connection('failed')
      this.#failed.set(key, { untilMs: clock.monotonicMs() + pauseMs, error })
      throw error
    }
    if (this.#closed) {
      connection.destroy('the log is closed')
      throw new TransportError('closed', 'the log is closed')
    }
    const before = this.#open.get(key)
    if (before !== undefined) clock.after(expiredLingerMs, () => before.destroy('its login has expired'))
    this.#open.set(key, connection)
    void connection.closed.then(() => {
      if (this.#open.get(key) === connection) this.#open.delete(key)
    })
    return connection
  }
}

function keyOf(at: BrokerAddress): string {
  return `${at.nodeId}@${at.host}:${at.port}`
}
