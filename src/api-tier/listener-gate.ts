// Owns: what stands between a listening server and its own listeners for connections.
// 1. A connection that its address may not have is closed unanswered, before a byte of it is read and before TLS; as one
//    above the listener's limit is. A client sees a transport failure and tries again.
// 2. Refused connections are counted one by one, and told in a bounded number of lines.
// Leaves out: who may have how many (quotas/connection-places.ts).
import type { Server, Socket } from 'node:net'
import type { Logger } from '../observability/log.ts'
import type { Clock } from '../ports/clock.ts'
import { LineBudget, linesPerSecond } from './line-budget.ts'
import type { ConnectionPlaces } from './quotas/connection-places.ts'

export interface GateDeps {
  readonly places: ConnectionPlaces
  readonly clock: Clock
  readonly logger: Logger
}

/** `gate` decides for each socket whether `go`, the server's own listeners, see it. */
export function standBetween(
  server: Server,
  event: 'connection' | 'secureConnection',
  gate: (socket: Socket, go: () => void) => void,
): void {
  const own = server.listeners(event)
  server.removeAllListeners(event)
  server.on(event, (socket: Socket) =>
    gate(socket, () => {
      for (const listener of own) Reflect.apply(listener, server, [socket])
    }),
  )
}

/** To be called when the server has its listeners (and its TLS front) and before it listens. */
export function boundConnections(server: Server, { places, clock, logger }: GateDeps): void {
  const lines = new LineBudget(clock, (count) => {
    logger.warn({ tier: 'api', count, limit: linesPerSecond }, 'more connections were refused than is told one by one')
  })
  const tell = (remote: string | undefined, limit: string): void => {
    if (!lines.take()) return
    const where = remote === undefined ? {} : { remote }
    logger.warn({ tier: 'api', ...where }, `refused a connection: ${limit} has as many as it may`)
  }
  standBetween(server, 'connection', (socket, go) => {
    const leave = places.enter(socket.remoteAddress)
    if (leave === undefined) {
      tell(socket.remoteAddress, 'its address')
      socket.on('error', () => {})
      socket.destroy()
      return
    }
    socket.once('close', leave)
    go()
  })
  server.on('drop', (peer) => {
    places.dropped()
    tell(peer?.remoteAddress, 'the listener')
  })
  server.on('close', () => lines.close())
}
