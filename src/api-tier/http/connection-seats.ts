// Owns: whose the connections of the HTTP listener are (quotas/connection-places.ts).
// 1. A refused connection ends with the answer that says so.
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { ConnectionPlaces, ConnectionSeat } from '../quotas/connection-places.ts'

const seats = new WeakMap<Socket, ConnectionSeat>()

export function seatOf(request: FastifyRequest): ConnectionSeat | undefined {
  return seats.get(request.raw.socket)
}

export function seatConnections(app: FastifyInstance, places: ConnectionPlaces): void {
  app.addHook('onRequest', async ({ raw: { socket } }) => {
    if (seats.has(socket) || socket.destroyed) return
    const seat = places.seat()
    seats.set(socket, seat)
    socket.once('close', () => seat.leave())
  })
  app.addHook('onSend', async (request, reply) => {
    if (seatOf(request)?.isRefused === true) reply.header('connection', 'close')
  })
}
