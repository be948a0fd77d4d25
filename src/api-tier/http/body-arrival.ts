// Owns: the HTTP side of the listener's budget for bodies that have begun to arrive and are not whole (arrival-budget.ts).
// 1. A body that says that it is small passes as it is; another one is read on beyond `arrivalFreeBytes` only with a place,
//    of its declared size, or of the largest there is when it declares none.
// 2. Who gets no place, or loses it, is answered UNAVAILABLE, and its connection ends: the rest of the body is not awaited.
// 3. A place is given back when the body is whole, its request is answered or its connection has gone, whatever is first.
// Leaves out: the time limit of a request and the largest body (app.ts).
import { Transform } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { TrunklineError } from '../../protocol/errors.ts'
import { type ArrivalBudget, type ArrivalPlace, arrivalFreeBytes } from '../arrival-budget.ts'

const retryAfterMs = 1_000

export function boundArrivingBodies(app: FastifyInstance, budget: ArrivalBudget, bodyBytesMax: number): void {
  app.addHook('preParsing', (request, reply, payload, done) => {
    const { 'content-length': length, 'transfer-encoding': coding } = request.headers
    const bytes = length === undefined ? (coding === undefined ? 0 : bodyBytesMax) : Number(length)
    // One that is too long is refused by what it declares, and not read.
    if (bytes <= arrivalFreeBytes || bytes > bodyBytesMax) {
      done(null, payload)
      return
    }
    const body = new ArrivingBody(budget, bytes, () => {
      void reply.header('connection', 'close')
    })
    // Whoever reads it hears of its errors; nobody may, for instance of a GET.
    body.on('error', () => {})
    payload.once('error', (error: Error) => body.destroy(error))
    // A peer that goes away ends nothing by itself.
    request.raw.once('close', () => {
      if (!request.raw.readableEnded) body.destroy()
    })
    // Answered before it was whole: what still comes is nobody's.
    reply.raw.once('close', () => body.letGo())
    done(null, payload.pipe(body))
  })
}

class ArrivingBody extends Transform {
  /** What has come, as fastify compares it with Content-Length. */
  receivedEncodedLength = 0
  readonly #budget: ArrivalBudget
  readonly #bytes: number
  readonly #onCut: () => void
  #place: ArrivalPlace | undefined
  #goOn: (() => void) | undefined

  constructor(budget: ArrivalBudget, bytes: number, onCut: () => void) {
    super({ highWaterMark: arrivalFreeBytes })
    this.#budget = budget
    this.#bytes = bytes
    this.#onCut = onCut
  }

  /** Rule 3. */
  letGo(): void {
    if (this.#place?.isGranted === false) this.destroy()
    this.#place?.release()
  }

  override _transform(chunk: Buffer, _encoding: string, done: (error: null, chunk: Buffer) => void): void {
    this.receivedEncodedLength += chunk.length
    if (this.#place === undefined && this.receivedEncodedLength > arrivalFreeBytes)
      this.#place = this.#budget.claim(this.#bytes, { granted: () => this.#goOn?.(), cut: () => this.#cut() })
    if (this.#place?.isGranted !== false) done(null, chunk)
    else this.#goOn = () => done(null, chunk)
  }

  override _flush(done: () => void): void {
    this.#place?.release()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#place?.release()
    done(error)
  }

  #cut(): void {
    this.#onCut()
    this.destroy(new TrunklineError('UNAVAILABLE', { retryAfterMs }))
  }
}
