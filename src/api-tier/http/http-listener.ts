// Owns: making an HTTP application listen, and closing it within a deadline; used by src/main for both ports.
import type { FastifyInstance } from 'fastify'
import type { Clock } from '../../ports/clock.ts'

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
  const timer = clock.after(deadlineMs, () => app.server.closeAllConnections())
  try {
    await app.close()
  } finally {
    timer.cancel()
  }
}
