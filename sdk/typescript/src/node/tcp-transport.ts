// Owns: Thrift, framed, over one connection, TCP or TLS: pipelined by seqid, answers in any order.
// N1 Every call settles: with its answer, by its timeout, or when the connection is lost. None is ever sent twice.
// N2 Frames of one turn of the event loop leave in one write (cork); Nagle is off.
// N3 A received frame is at most frameBytesMax; a longer one, or one that is no Thrift reply, ends the connection.
// N4 Connecting, TLS included, ends after connectTimeoutMs. When to try again is the pool's to say (endpoint-pool.ts).
// N5 A peer that is silent while calls are out is asked for a word after silenceMs, by a method that no gateway has; a
//    connection without one after probeMs more, or on which a whole time-out passed in silence, is half open and is
//    given up. Not asked while so many calls are out that a gateway may have stopped reading.
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Clock, Timer } from '../../../../src/fsm/client/client-ports.ts'
import { TrunklineError } from '../../../../src/protocol/errors.ts'
import { frameBytesMax } from '../../../../src/protocol/limits.ts'
import type { MethodName, ReplyOf, RequestOf } from '../../../../src/protocol/messages.ts'
import { decodeReply, encodeCall, peekSeqid } from '../../../../src/protocol/thrift/message.ts'
import { type CallOptions, notReached, onTheWay, type Transport } from '../transport.ts'
import { FrameSplitter } from './frame-splitter.ts'
import { type ClientTls, TlsVerdicts } from './tls.ts'

export interface TcpTransportOptions {
  readonly host: string
  readonly port: number
  readonly clock: Clock
  /** Default: plain TCP. */
  readonly tls?: ClientTls | undefined
  /** Default 2,000. */
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
  /** Monotonic: the last byte from the peer, or the first call that went out to an idle one. */
  heardAtMs: number
  probed: boolean
  watch: Timer | undefined
  /** A frame of the peer came. */
  heard: boolean
}

const connectTimeoutMsDefault = 2_000
const silenceMs = 5_000
const probeMs = 3_000
const probeCallsMax = 32
const probeName = new TextEncoder().encode('alive')
const unsentBytesMaxDefault = 16 * 1024 * 1024
const seqidMax = 0x7fffffff
const keepAliveMs = 30_000
const endedUnheard = 'connection ended before any answer: the gateway may refuse the certificate of this client'

export class TcpTransport implements Transport {
  readonly #options: TcpTransportOptions
  #connecting: Promise<Connection> | undefined
  #connection: Connection | undefined
  #seqid = 0
  #closed = false
  readonly #verdicts = new TlsVerdicts()

  constructor(options: TcpTransportOptions) {
    this.#options = options
  }

  async call<M extends MethodName>(method: M, request: RequestOf<M>, options: CallOptions): Promise<ReplyOf<M>> {
    const seqid = this.#nextSeqid()
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
      if (socket.destroyed) return reject(notReached('connection lost', 'unsent'))
      if (socket.writableLength > (this.#options.unsentBytesMax ?? unsentBytesMaxDefault))
        return reject(notReached('peer does not read', 'unsent'))
      let timer: Timer | undefined
      const deadline = (): TrunklineError => new TrunklineError('DEADLINE', { details: { method } })
      const giveUp = (): void => settle({ error: deadline() })
      const timeOut = (): void => {
        const silent = this.#isSilent(connection, Math.min(options.timeoutMs, silenceMs))
        settle({ error: silent ? onTheWay(deadline(), 'unanswered') : deadline() })
        if (silent) this.#abandon(connection, 'connection silent')
      }
      const settle: PendingCall['settle'] = (outcome) => {
        if (!calls.delete(seqid)) return
        timer?.cancel()
        if (calls.size === 0) unwatch(connection)
        options.signal?.removeEventListener('abort', giveUp)
        if ('error' in outcome) reject(outcome.error)
        else resolve(outcome.reply)
      }
      calls.set(seqid, { method, settle })
      timer = this.#options.clock.after(options.timeoutMs, timeOut)
      this.#watch(connection)
      options.signal?.addEventListener('abort', giveUp)
      this.#write(connection, frame)
    })
  }

  #nextSeqid(): number {
    this.#seqid = this.#seqid === seqidMax ? 1 : this.#seqid + 1
    return this.#seqid
  }

  #isSilent({ heardAtMs }: Connection, forMs: number): boolean {
    return this.#options.clock.monotonicMs() - heardAtMs >= forMs
  }

  /** N5, while calls are out. */
  #watch(connection: Connection): void {
    if (connection.watch !== undefined) return
    const { clock } = this.#options
    connection.heardAtMs = clock.monotonicMs()
    const look = (afterMs: number): void => {
      connection.watch = clock.after(afterMs, () => {
        const quietMs = clock.monotonicMs() - connection.heardAtMs
        if (connection.probed && quietMs >= silenceMs + probeMs) return this.#abandon(connection, 'connection silent')
        if (!connection.probed && quietMs >= silenceMs && connection.calls.size <= probeCallsMax) {
          connection.probed = true
          this.#write(connection, framed(probeOf(this.#nextSeqid())))
        }
        look(connection.probed ? probeMs : silenceMs)
      })
    }
    look(silenceMs)
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
    if (this.#closed) return Promise.reject(notReached('client closed', 'unsent'))
    if (this.#connecting !== undefined) return this.#connecting
    this.#connecting = this.#open().finally(() => {
      this.#connecting = undefined
    })
    return this.#connecting
  }

  #open(): Promise<Connection> {
    const { clock, tls } = this.#options
    return new Promise((resolve, reject) => {
      const socket = this.#socket()
      const connection: Connection = {
        socket,
        calls: new Map(),
        corked: false,
        heardAtMs: 0,
        probed: false,
        watch: undefined,
        heard: false,
      }
      const timer = clock.after(this.#options.connectTimeoutMs ?? connectTimeoutMsDefault, () => {
        socket.destroy()
        reject(notReached('connect timed out', 'unsent'))
      })
      socket.once(tls === undefined ? 'connect' : 'secureConnect', () => {
        timer.cancel()
        if (this.#closed) {
          socket.destroy()
          return reject(notReached('client closed', 'unsent'))
        }
        this.#connection = connection
        resolve(connection)
      })
      const splitter = new FrameSplitter(frameBytesMax, (frame) => this.#receive(connection, frame))
      socket.on('data', (chunk: Buffer) => {
        connection.heardAtMs = clock.monotonicMs()
        connection.probed = false
        if (!splitter.push(chunk)) this.#abandon(connection, 'not framed Thrift')
      })
      socket.on('error', (cause) => {
        timer.cancel()
        const refused =
          tls === undefined || connection.heard
            ? undefined
            : this.#verdicts.errorOf(cause, this.#connection === connection)
        reject(refused ?? notReached('connect failed', 'unsent', cause))
        this.#lose(connection, 'connection failed', refused)
      })
      socket.on('close', () => {
        timer.cancel()
        reject(notReached('connect failed', 'unsent'))
        this.#lose(connection, 'connection lost')
      })
      // The peer half-closed: nothing will be answered any more.
      socket.on('end', () =>
        this.#abandon(
          connection,
          tls === undefined || connection.heard ? 'connection ended by the gateway' : endedUnheard,
        ),
      )
    })
  }

  #socket(): Socket {
    const { host, port, tls } = this.#options
    if (tls === undefined)
      return connect({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs })
    const socket = connectTls({ host, port, ...tls.connectionTo(host) })
    return socket.setNoDelay(true).setKeepAlive(true, keepAliveMs)
  }

  #receive(connection: Connection, frame: Uint8Array): boolean {
    const seqid = peekSeqid(frame)
    if (seqid === undefined) return false
    // No call of ours: the last words of a port that speaks something else.
    if (seqid === 0) {
      this.#abandon(
        connection,
        `the port speaks another protocol than thrift${this.#options.tls === undefined ? '' : 's'}://`,
      )
      return true
    }
    connection.heard = true
    this.#verdicts.worked()
    const call = connection.calls.get(seqid)
    // The answer to a call that was given up.
    if (call === undefined) return true
    try {
      const message = decodeReply(call.method, frame)
      call.settle('error' in message ? { error: message.error } : { reply: message.reply })
      return true
    } catch (thrown) {
      call.settle({ error: onTheWay(TrunklineError.from(thrown, 'MALFORMED_FRAME'), 'unanswered') })
      return false
    }
  }

  #abandon(connection: Connection, why: string): void {
    connection.socket.destroy()
    this.#lose(connection, why)
  }

  /** N1 */
  #lose(connection: Connection, why: string, refused?: TrunklineError): void {
    if (this.#connection === connection) this.#connection = undefined
    for (const call of [...connection.calls.values()]) call.settle({ error: refused ?? notReached(why, 'unanswered') })
  }
}

function framed(message: Uint8Array): readonly Uint8Array[] {
  const head = new Uint8Array(4)
  new DataView(head.buffer).setUint32(0, message.length)
  return [head, message]
}

function unwatch(connection: Connection): void {
  connection.watch?.cancel()
  connection.watch = undefined
  connection.probed = false
}

/** A call without arguments, in strict Thrift binary: any gateway answers that it has no such method, asking no one. */
function probeOf(seqid: number): Uint8Array {
  const frame = new Uint8Array(12 + probeName.length + 1)
  const view = new DataView(frame.buffer)
  view.setUint32(0, 0x80010001)
  view.setUint32(4, probeName.length)
  frame.set(probeName, 8)
  view.setInt32(8 + probeName.length, seqid)
  return frame
}
