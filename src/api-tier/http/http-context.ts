// Owns: what an HTTP request tells the core about itself: ids, bearer, that its caller is gone, when its answer has left.
// 1. What an answer takes is freed when it has left or its connection ends; also answers that wait behind another one on
//    their connection, of which Node says nothing when that breaks.
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { CallContext } from '../call-context.ts'
import { saneTraceparent } from '../request-ids.ts'
import { seatOf } from './connection-seats.ts'
import { spanOf } from './http-tracing.ts'

const bearerPattern = /^Bearer +(\S+)$/i

export function httpContext(request: FastifyRequest, reply: FastifyReply): CallContext {
  const gone = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableEnded) gone.abort()
  })
  const bearer = bearerOf(request)
  const traceparent = saneTraceparent(request.headers['traceparent'])
  const span = spanOf(request)
  const seat = seatOf(request)
  const end = new AnswerEnd(reply.raw, request.raw.socket)
  return {
    whenSent: (free) => end.run(free),
    ...(request.routeOptions.url === '/thrift' ? {} : { answerFactor: jsonFactor }),
    requestId: request.id,
    remote: request.ip,
    ...(seat === undefined ? {} : { connection: seat }),
    signal: gone.signal,
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(span === undefined ? {} : { span }),
    ...(bearer === undefined ? {} : { bearer }),
  }
}

/** JSON writes a byte as up to six characters; most as little more than one. */
const jsonFactor = 3

const endsOf = new WeakMap<Socket, Set<AnswerEnd>>()

/** Invariant 1. */
class AnswerEnd {
  #frees: (() => void)[] | undefined = []
  readonly #ends: Set<AnswerEnd>

  constructor(response: ServerResponse, socket: Socket) {
    let ends = endsOf.get(socket)
    if (ends === undefined) {
      const all = new Set<AnswerEnd>()
      ends = all
      endsOf.set(socket, all)
      socket.once('close', () => {
        for (const end of [...all]) end.#run()
      })
    }
    this.#ends = ends
    if (socket.destroyed) this.#run()
    else {
      ends.add(this)
      response.once('close', () => this.#run())
    }
  }

  /** At the end, or now when that has come. */
  run(free: () => void): void {
    if (this.#frees === undefined) free()
    else this.#frees.push(free)
  }

  #run(): void {
    const frees = this.#frees ?? []
    this.#frees = undefined
    this.#ends.delete(this)
    for (const free of frees) free()
  }
}

/** The bearer of the Authorization header; undefined when there is none or it is of another scheme. */
export function bearerOf(request: FastifyRequest): string | undefined {
  return bearerPattern.exec(request.headers.authorization ?? '')?.[1]
}
