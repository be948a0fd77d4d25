// Owns: making an HTTP application listen, and closing it within a deadline; used by src/main for both ports.
import { Server } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { Clock } from '../../ports/clock.ts'
import { TlsFront } from '../tls-front.ts'

export interface HttpAddress {
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  /** Default 1,000; above it connections are closed unanswered. */
  readonly connectionsMax?: number
}

/** Resolves when it listens, with the port. Rejects when the address cannot be had. */
export async function listenHttp(app: FastifyInstance, address: HttpAddress): Promise<{ port: number }> {
  app.server.maxConnections = address.connectionsMax ?? 1_000
  await app.listen({ host: address.host, port: address.port })
  const bound = app.server.address()
  if (bound === null || typeof bound === 'string') throw new Error('a TCP listener has a port')
  return { port: bound.port }
}

/** Refuses what comes, finishes what runs, at the latest after `deadlineMs`. Idempotent. */
export async function closeHttp(app: FastifyInstance, deadlineMs: number, clock: Clock): Promise<void> {
  TlsFront.of(app.server)?.refuse()
  const timer = clock.after(deadlineMs, () => app.server.closeAllConnections())
  try {
    await app.close()
  } finally {
    timer.cancel()
  }
}

/**
 * No new connection; those that are open stay so for `goodbyeMs`, or until all have ended: what a busy caller had sent
 * already is answered, and the answer says that the connection closes. Called by what closes the application.
 */
export async function stopListening(app: FastifyInstance, goodbyeMs: number, clock: Clock): Promise<void> {
  if (!app.server.listening) return
  await new Promise<void>((resolve) => {
    const timer = clock.after(goodbyeMs, resolve)
    // Not the server's own close: that ends idle connections at once.
    Server.prototype.close.call(app.server, () => {
      timer.cancel()
      resolve()
    })
  })
}
