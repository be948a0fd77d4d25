// Owns: requests and answers on one authenticated socket: frames, correlation, time-outs.
// 1. A request whose answer does not come in time closes the socket: one that stays silent would stay so.
// 2. send() hands over synchronously: when it returns, every byte is the socket's; when it throws, none is.
// 3. No frame above answerBytesMax is waited for: whatever says so is no Kafka broker.
// Leaves out: opening it (dialer.ts), which request goes where.
import type { Socket } from 'node:net'
import type { Clock, Timer } from '../../ports/clock.ts'
import { type ApiName, type ApiRequest, apiKeys } from './api.ts'
import type { Dialed } from './dialer.ts'
import type { KafkaMetrics, RequestOutcome } from './metrics.ts'
import { TransportError } from './transport-error.ts'
import { WireReader, WireWriter } from './wire.ts'

export interface ConnectionParts {
  readonly dialed: Dialed
  readonly clientId: string
  readonly clock: Clock
  readonly metrics: KafkaMetrics
}

interface Waiting {
  readonly name: ApiName
  readonly startedMs: number
  readonly timer: Timer
  readonly answer: (payload: Buffer) => void
  readonly fail: (error: TransportError) => void
}

const answerBytesMax = 128 * 1024 * 1024

export class Connection {
  readonly versions: ReadonlyMap<number, number>
  /** Settles once, when the socket is gone. */
  readonly closed: Promise<void>
  readonly #parts: ConnectionParts
  readonly #socket: Socket
  readonly #waiting = new Map<number, Waiting>()
  #chunks: Buffer[] = []
  #bytes = 0
  #needed = 4
  #correlation = 0
  #end: TransportError | undefined
  #settleClosed: () => void = () => {}

  constructor(parts: ConnectionParts) {
    this.#parts = parts
    this.versions = parts.dialed.versions
    this.#socket = parts.dialed.socket
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve
    })
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk))
    this.#socket.on('error', (error) => this.#close(new TransportError('lost', 'connection broken', error)))
    this.#socket.on('end', () => this.#close(new TransportError('lost', 'closed by the broker')))
    this.#socket.on('close', () => this.#close(new TransportError('lost', 'connection closed')))
    if (this.#socket.destroyed) this.#close(new TransportError('lost', 'connection closed'))
    parts.metrics.connection('opened')
  }

  /** Whether new requests may be sent here. */
  get isUsable(): boolean {
    return this.#end === undefined && !this.#parts.dialed.isExpired()
  }

  get inFlight(): number {
    return this.#waiting.size
  }

  /** Rejects with a TransportError. */
  send<T>(request: ApiRequest<T>, timeoutMs: number): Promise<T> {
    if (this.#end !== undefined) return Promise.reject(new TransportError('unreachable', 'connection closed before'))
    const { clock, metrics } = this.#parts
    const correlation = this.#correlation
    this.#correlation = (correlation + 1) % 0x7fff_ffff
    const pieces = frame(request, correlation, this.#parts.clientId)
    return new Promise((resolve, reject) => {
      const startedMs = clock.monotonicMs()
      const done = (outcome: RequestOutcome): void => {
        timer.cancel()
        this.#waiting.delete(correlation)
        metrics.inFlight(request.name, -1)
        metrics.request(request.name, outcome, clock.monotonicMs() - startedMs)
      }
      const timer = clock.after(timeoutMs, () => {
        metrics.connection('replaced')
        this.#close(new TransportError('timeout', `no answer to ${request.name} in time`))
      })
      this.#waiting.set(correlation, {
        name: request.name,
        startedMs,
        timer,
        answer: (payload) => {
          try {
            const reader = new WireReader(payload)
            if (request.flexible) reader.tags()
            const answer = request.parse(reader)
            done('ok')
            resolve(answer)
          } catch (error) {
            done('malformed')
            const malformed = new TransportError('malformed', `an answer to ${request.name} that is none`, error)
            reject(malformed)
            this.#close(malformed)
          }
        },
        fail: (error) => {
          done(error.failure === 'timeout' ? 'timeout' : 'lost')
          reject(error)
        },
      })
      metrics.inFlight(request.name, 1)
      this.#socket.cork()
      for (const piece of pieces) this.#socket.write(piece)
      this.#socket.uncork()
    })
  }

  /** Requests under way get no answer. */
  destroy(why: string): void {
    this.#close(new TransportError('lost', why))
  }

  #read(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    while (this.#bytes >= this.#needed && this.#end === undefined) {
      const all = this.#chunks.length === 1 ? (this.#chunks[0] ?? chunk) : Buffer.concat(this.#chunks)
      const size = all.readInt32BE(0)
      if (size < 4 || size > answerBytesMax) {
        this.#close(new TransportError('malformed', 'a frame of an impossible size'))
        return
      }
      this.#needed = 4 + size
      if (all.length < this.#needed) {
        this.#chunks = [all]
        return
      }
      const rest = all.subarray(this.#needed)
      const correlation = all.readInt32BE(4)
      const payload = all.subarray(8, this.#needed)
      this.#chunks = rest.length === 0 ? [] : [rest]
      this.#bytes = rest.length
      this.#needed = 4
      const waiting = this.#waiting.get(correlation)
      if (waiting === undefined) {
        this.#close(new TransportError('malformed', 'an answer to nothing'))
        return
      }
      waiting.answer(payload)
    }
  }

  #close(error: TransportError): void {
    if (this.#end !== undefined) return
    this.#end = error
    this.#chunks = []
    this.#socket.destroy()
    this.#parts.metrics.connection('closed')
    this.#settleClosed()
    for (const waiting of [...this.#waiting.values()]) waiting.fail(error)
  }
}

function frame(request: ApiRequest<unknown>, correlation: number, clientId: string): readonly Buffer[] {
  const writer = new WireWriter()
  writer.int16(apiKeys[request.name]).int16(request.version).int32(correlation).string(clientId)
  if (request.flexible) writer.noTags()
  request.body(writer)
  const size = Buffer.allocUnsafe(4)
  size.writeInt32BE(writer.length)
  return [size, ...writer.finish()]
}
