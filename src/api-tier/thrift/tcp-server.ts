// Owns: the listener for framed Thrift over TCP: how many connections, start, drain, close.
// 1. Connections above `connectionsMax`, and above what an address may have, are closed unanswered: a client sees a
//    transport failure and tries again (listener-gate.ts).
// 2. `drain` returns when every connection has ended, at the latest after its deadline.
// 3. With TLS, connections that still shake hands count against the limit, and a drain ends them.
// 4. Unfinished frames of all connections share `arrivingBytesMax`, beyond what each may hold freely (arrival-budget.ts).
// Leaves out: what happens on a connection (tcp-connection.ts), the handshake (tls-front.ts).
import { createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import type { Logger } from '../../observability/log.ts'
import type { Clock } from '../../ports/clock.ts'
import type { Random } from '../../ports/random.ts'
import { frameBytesMax } from '../../protocol/limits.ts'
import type { ApiMetrics } from '../api-metrics.ts'
import { ArrivalBudget, type ArrivalMetrics, arrivingBytesDefault } from '../arrival-budget.ts'
import { boundConnections } from '../listener-gate.ts'
import { type ConnectionPlaces, unlimitedPlaces } from '../quotas/connection-places.ts'
import type { Backlog } from '../quotas/fair-queue.ts'
import { requestIdsFrom } from '../request-ids.ts'
import { type ListenerTls, serverOptionsOf, TlsFront } from '../tls-front.ts'
import type { ThriftDispatcher } from './dispatcher.ts'
import { plainThriftWords } from './foreign-protocols.ts'
import { TcpConnection, type TcpLimits } from './tcp-connection.ts'

export const defaultTcpLimits: TcpLimits = {
  callsMax: 64,
  bytesMax: 4 * 1024 * 1024,
  frameBytesMax,
  idleTimeoutMs: 120_000,
  frameTimeoutMs: 15_000,
  stallTimeoutMs: 30_000,
  endedTimeoutMs: 5_000,
  goodbyeMs: 500,
  lingerMs: 1_000,
}

export interface ThriftTcpServerDeps {
  readonly dispatcher: ThriftDispatcher
  readonly clock: Clock
  readonly random: Random
  readonly metrics: ApiMetrics
  /** Default: nobody is held back. */
  readonly backlog?: Backlog | undefined
  readonly logger: Logger
  readonly limits?: Partial<TcpLimits>
  /** Default 1,000. */
  readonly connectionsMax?: number
  /** Default 64 MiB. */
  readonly arrivingBytesMax?: number
  /** Default: nobody is told. */
  readonly arrivalMetrics?: ArrivalMetrics
  /** Default: connections are bounded by nothing but their number. */
  readonly places?: ConnectionPlaces
  /** Default: plain TCP. */
  readonly tls?: ListenerTls | undefined
}

export class ThriftTcpServer {
  readonly #deps: ThriftTcpServerDeps
  readonly #limits: TcpLimits
  readonly #server: Server
  readonly #arrivals: ArrivalBudget
  readonly #places: ConnectionPlaces
  readonly #connections = new Set<TcpConnection>()
  readonly #nextRequestId: () => string
  #onEmpty: (() => void)[] = []

  constructor(deps: ThriftTcpServerDeps) {
    this.#deps = deps
    this.#limits = { ...defaultTcpLimits, ...deps.limits }
    this.#arrivals = new ArrivalBudget({
      clock: deps.clock,
      bytesMax: deps.arrivingBytesMax ?? arrivingBytesDefault,
      metrics: deps.arrivalMetrics,
    })
    this.#nextRequestId = requestIdsFrom(deps.random)
    this.#places = deps.places ?? unlimitedPlaces()
    // allowHalfOpen: a peer that ends its side still gets the answers of what it asked.
    this.#server = serverOf(deps.tls, (socket) => this.#onConnection(socket))
    this.#server.maxConnections = deps.connectionsMax ?? 1_000
    boundConnections(this.#server, { places: this.#places, clock: deps.clock, logger: deps.logger })
  }

  /** Resolves when it listens, with the port (of use when 0 was asked). Rejects when the address cannot be had. */
  async listen(address: { readonly host: string; readonly port: number }): Promise<{ port: number }> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(address.port, address.host, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
    this.#server.on('error', (error) =>
      this.#deps.logger.error({ tier: 'api', err: error }, 'the Thrift listener failed'),
    )
    const bound = this.#server.address()
    if (bound === null || typeof bound === 'string') throw new Error('a TCP listener has a port')
    return { port: bound.port }
  }

  get connections(): number {
    return this.#connections.size
  }

  /** Unfinished frames: bytes of their places, and how many wait for one. */
  get arrivals(): Pick<ArrivalBudget, 'bytes' | 'waiting'> {
    return this.#arrivals
  }

  /** No new connections; what runs is answered within `deadlineMs`, then everything closes. Idempotent. */
  async drain(deadlineMs: number): Promise<void> {
    TlsFront.of(this.#server)?.refuse()
    this.#server.close()
    for (const connection of this.#connections) connection.drain()
    if (this.#connections.size === 0) return
    await new Promise<void>((resolve) => {
      const timer = this.#deps.clock.after(deadlineMs, () => this.#destroyAll())
      this.#onEmpty.push(() => {
        timer.cancel()
        resolve()
      })
    })
  }

  /** At once. Idempotent. */
  async close(): Promise<void> {
    await this.drain(0)
  }

  #destroyAll(): void {
    for (const connection of this.#connections) connection.destroy()
  }

  #onConnection(socket: Socket): void {
    const { dispatcher, clock, logger, metrics } = this.#deps
    metrics.tcpConnections(1)
    const connection = new TcpConnection({
      socket,
      dispatcher,
      clock,
      logger,
      limits: this.#limits,
      arrivals: this.#arrivals,
      seat: this.#places.seat(),
      backlog: this.#deps.backlog,
      nextRequestId: this.#nextRequestId,
      onClosed: () => {
        metrics.tcpConnections(-1)
        this.#connections.delete(connection)
        if (this.#connections.size === 0) for (const done of this.#onEmpty.splice(0)) done()
      },
    })
    this.#connections.add(connection)
  }
}

function serverOf(tls: ListenerTls | undefined, onConnection: (socket: Socket) => void): Server {
  if (tls === undefined) return createServer({ allowHalfOpen: true, noDelay: true }, onConnection)
  const server = createTlsServer({ noDelay: true, ...serverOptionsOf(tls.terms) }, (socket) => {
    // Not before: half open in its handshake, a peer that has gone would be waited for.
    socket.allowHalfOpen = true
    onConnection(socket)
  })
  new TlsFront(server, tls, plainThriftWords)
  return server
}
