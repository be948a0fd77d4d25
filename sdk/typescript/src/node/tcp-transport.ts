// Owns: Thrift, framed, over one TCP connection: pipelined by seqid, answers in any order.
// N1 Every call settles: with its answer, by its timeout, or when the connection is lost. None is ever sent twice.
// N2 Frames of one turn of the event loop leave in one write (cork); Nagle is off.
// N3 A received frame is at most frameBytesMax; a longer one, or one that is no Thrift reply, ends the connection.
// N4 Connecting again waits longer after each failure, up to connectBackoffMsMax; calls meanwhile fail at once with
//    UNAVAILABLE, and their owners' own bounded retries come back.
import { connect, type Socket } from 'node:net'
import type { Clock, Random, Timer } from '../../../../src/fsm/client/client-ports.ts'
import { TrunklineError } from '../../../../src/protocol/errors.ts'
import { frameBytesMax } from '../../../../src/protocol/limits.ts'
import type { MethodName, ReplyOf, RequestOf } from '../../../../src/protocol/messages.ts'
import { decodeReply, encodeCall, peekSeqid } from '../../../../src/protocol/thrift/message.ts'
import type { CallOptions, Transport } from '../transport.ts'
import { FrameSplitter } from './frame-splitter.ts'

export interface TcpTransportOptions {
  readonly host: string
  readonly port: number
  readonly clock: Clock
  readonly random: Random
  /** Default 5,000. */
  readonly connectTimeoutMs?: number
  /** Bytes handed to the socket and not taken by the peer; beyond it a call is refused UNAVAILABLE. Default 16 MiB. */
  readonly unsentBytesMax?: number
}

interface PendingCall {
  readonly method: MethodName
  readonly settle: (outcome: { reply: unknown } | { error: TrunklineError }) => void
}

interface Connection {
  readonly socket: Socket
  readonly calls: Map<number, PendingCall>
  corked: boolean
}

const connectTimeoutMsDefault = 5_000
const unsentBytesMaxDefault = 16 * 1024 * 1024
const connectBackoffMsMin = 20
const connectBackoffMsMax = 2_000
const seqidMax = 0x7fffffff

export class TcpTransport implements Transport {
  readonly #options: TcpTransportOptions
  #connecting: Promise<Connection> | undefined
  #connection: Connection | undefined
  #failures = 0
  #retryAtMs = 0
  #seqid = 0
  #closed = false

  constructor(options: TcpTransportOptions) {
    this.#options = options
  }

  async call<M extends MethodName>(method: M, request: RequestOf<M>, options: CallOptions): Promise<ReplyOf<M>> {
    this.#seqid = this.#seqid === seqidMax ? 1 : this.#seqid + 1
    const seqid = this.#seqid
    // Before anything else: a request that cannot be encoded is the caller's error, whatever the connection does.
    const frame = framed(encodeCall(method, seqid, request))
    const connection = this.#connection ?? (await this.#connect())
    return (await this.#exchange(connection, method, seqid, frame, options)) as ReplyOf<M>
  }

  close(): Promise<void> {
    this.#closed = true
    const connection = this.#connection
    if (connection !== undefined) {
      // A dispose that was just sent still leaves.
      connection.socket.end()
      this.#lose(connection, 'closed')
    }
    return Promise.resolve()
  }

  #exchange(
    connection: Connection,
    method: MethodName,
    seqid: number,
    frame: readonly Uint8Array[],
    options: CallOptions,
  ): Promise<unknown> {
    const { socket, calls } = connection
    return new Promise((resolve, reject) => {
      if (options.signal?.aborted === true)
        return reject(new TrunklineError('DEADLINE', { details: { why: 'aborted' } }))
      if (socket.destroyed) return reject(unavailable('connection lost'))
      if (socket.writableLength > (this.#options.unsentBytesMax ?? unsentBytesMaxDefault))
        return reject(unavailable('peer does not read'))
      let timer: Timer | undefined
      const giveUp = (): void => settle({ error: new TrunklineError('DEADLINE', { details: { method } }) })
      const settle: PendingCall['settle'] = (outcome) => {
        if (!calls.delete(seqid)) return
        timer?.cancel()
        options.signal?.removeEventListener('abort', giveUp)
        if ('error' in outcome) reject(outcome.error)
        else resolve(outcome.reply)
      }
      calls.set(seqid, { method, settle })
      timer = this.#options.clock.after(options.timeoutMs, giveUp)
      options.signal?.addEventListener('abort', giveUp)
      this.#write(connection, frame)
    })
  }

  /** N2 */
  #write(connection: Connection, frame: readonly Uint8Array[]): void {
    const { socket } = connection
    if (!connection.corked) {
      connection.corked = true
      socket.cork()
      process.nextTick(() => {
        connection.corked = false
        socket.uncork()
      })
    }
    for (const part of frame) socket.write(part)
  }

  #connect(): Promise<Connection> {
    if (this.#closed) return Promise.reject(unavailable('client closed'))
    if (this.#connecting !== undefined) return this.#connecting
    if (this.#options.clock.monotonicMs() < this.#retryAtMs) return Promise.reject(unavailable('gateway not reached'))
    this.#connecting = this.#open().then(
      (connection) => {
        this.#connecting = undefined
        this.#failures = 0
        return connection
      },
      (thrown: unknown) => {
        this.#connecting = undefined
        this.#failures += 1
        const waitMs = Math.min(connectBackoffMsMax, connectBackoffMsMin * 2 ** Math.min(this.#failures, 10))
        this.#retryAtMs = this.#options.clock.monotonicMs() + waitMs * (0.5 + this.#options.random.fraction() / 2)
        throw thrown
      },
    )
    return this.#connecting
  }

  #open(): Promise<Connection> {
    const { host, port, clock } = this.#options
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 })
      const connection: Connection = { socket, calls: new Map(), corked: false }
      const timer = clock.after(this.#options.connectTimeoutMs ?? connectTimeoutMsDefault, () => {
        socket.destroy()
        reject(unavailable('connect timed out'))
      })
      socket.once('connect', () => {
        timer.cancel()
        if (this.#closed) {
          socket.destroy()
          return reject(unavailable('client closed'))
        }
        this.#connection = connection
        resolve(connection)
      })
      const splitter = new FrameSplitter(frameBytesMax, (frame) => this.#receive(connection, frame))
      socket.on('data', (chunk: Buffer) => {
        if (!splitter.push(chunk)) this.#abandon(connection, 'not framed Thrift')
      })
      socket.on('error', (cause) => {
        timer.cancel()
        reject(unavailable('connect failed', cause))
        this.#lose(connection, 'connection failed')
      })
      socket.on('close', () => {
        timer.cancel()
        reject(unavailable('connect failed'))
        this.#lose(connection, 'connection lost')
      })
      // The peer half-closed: nothing will be answered any more.
      socket.on('end', () => this.#abandon(connection, 'connection ended by the gateway'))
    })
  }

  #receive(connection: Connection, frame: Uint8Array): boolean {
    const seqid = peekSeqid(frame)
    if (seqid === undefined) return false
    const call = connection.calls.get(seqid)
    // The answer to a call that was given up.
    if (call === undefined) return true
    try {
      const message = decodeReply(call.method, frame)
      call.settle('error' in message ? { error: message.error } : { reply: message.reply })
      return true
    } catch (thrown) {
      call.settle({ error: TrunklineError.from(thrown, 'MALFORMED_FRAME') })
      return false
    }
  }

  #abandon(connection: Connection, why: string): void {
    connection.socket.destroy()
    this.#lose(connection, why)
  }

  /** N1 */
  #lose(connection: Connection, why: string): void {
    if (this.#connection === connection) this.#connection = undefined
    for (const call of [...connection.calls.values()]) call.settle({ error: unavailable(why) })
  }
}

function framed(message: Uint8Array): readonly Uint8Array[] {
  const head = new Uint8Array(4)
  new DataView(head.buffer).setUint32(0, message.length)
  return [head, message]
}

function unavailable(why: string, cause?: unknown): TrunklineError {
  // Seen from here nobody asked us to wait: the session's own growing waits decide.
  return new TrunklineError('UNAVAILABLE', {
    details: { why },
    retryAfterMs: 0,
    ...(cause === undefined ? {} : { cause }),
  })
}
