// Owns: how long an HTTP request may take to get its connection, and whether it ever had one.
import type { ClientRequest } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../../../../src/fsm/client/client-ports.ts'

/** A host that answers nothing is given up after this long; there may be another. */
export const connectTimeoutMsDefault = 2_000

export interface ConnectBound {
  /** False: nothing of the request can have reached the peer. */
  readonly isConnected: () => boolean
}

/** Calls `onTimeout` when the socket of `request`, once it has one, is not connected (TLS included) in time. */
export function boundConnect(
  request: ClientRequest,
  clock: Clock,
  options: { readonly timeoutMs: number; readonly tls: boolean },
  onTimeout: () => void,
): ConnectBound {
  let connected = false
  request.once('socket', (socket: Socket) => {
    if (!socket.connecting) {
      connected = true
      return
    }
    const timer = clock.after(options.timeoutMs, onTimeout)
    socket.once(options.tls ? 'secureConnect' : 'connect', () => {
      connected = true
      timer.cancel()
    })
    socket.once('close', () => timer.cancel())
  })
  return { isConnected: () => connected }
}
