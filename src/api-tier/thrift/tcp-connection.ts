// Owns: one connection of the Thrift listener, from its first byte to its close.
// 1. At most `callsMax` calls and `bytesMax` bytes of them run, and at most `bytesMax` bytes of answers wait for the
//    peer: beyond any of these it stops reading, and TCP slows the peer down.
// 2. Answers go out in the order in which calls finish, matched by seqid; all of one turn of the loop in one packet.
// 3. An error of the socket ends this connection and nothing else.
// 4. What never ends on its own has a time limit: first byte, unfinished frame, idle, unread answers,
//    a peer that ended its side, last words.
// 5. After `drain` what runs is answered, what comes is refused as DRAINING; then the connection ends, but not before
//    `goodbyeMs`: what a busy peer had sent already shall be answered too.
// 6. More of an unfinished frame than `arrivalFreeBytes` is read only with a place in the listener's budget; without one
//    reading stops, and the frame's time goes on. Who loses the place is closed unanswered (arrival-budget.ts).
// 7. When its caller may have no more connections, what runs is answered, what comes is refused, and it ends.
// 8. While the tenant that asked last on it has many requests waiting for their turn, it reads nothing: who floods waits
//    in its own packets (quotas/fair-queue.ts). Answers still go out.
// Leaves out: what messages mean (dispatcher.ts), how many connections there are (tcp-server.ts).
import { setMaxListeners } from 'node:events'
import type { Socket } from 'node:net'
import type { Logger } from '../../observability/log.ts'
import type { Clock, Timer } from '../../ports/clock.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { encodeErrorReply } from '../../protocol/thrift/message.ts'
import { isMethodName } from '../../protocol/thrift/schemas.ts'
import { type ArrivalBudget, type ArrivalPlace, arrivalFreeBytes } from '../arrival-budget.ts'
import type { CallContext } from '../call-context.ts'
import type { ConnectionSeat } from '../quotas/connection-places.ts'
import type { Backlog } from '../quotas/fair-queue.ts'
import { type Dispatched, garbage, type ThriftDispatcher } from './dispatcher.ts'
import { foreignProtocolOf, framed, lastWords } from './foreign-protocols.ts'
import { FrameReader } from './frame-reader.ts'
import { startOfCall } from './start-of-call.ts'

export interface TcpLimits {
  /** Calls in flight of one connection. Default 64. */
  readonly callsMax: number
  /** Bytes of requests in flight, and bytes of unsent answers. Default 4 MiB each. */
  readonly bytesMax: number
  readonly frameBytesMax: number
  /** Nothing runs and nothing comes; above the longest waitMs. Default 120 s. */
  readonly idleTimeoutMs: number
  /** From a frame's first byte to its last. Default 15 s. */
  readonly frameTimeoutMs: number
  /** The peer reads nothing of the answers that wait. Default 30 s. */
  readonly stallTimeoutMs: number
  /** For what runs when the peer has ended its side; a peer that died looks the same. Default 5 s. */
  readonly endedTimeoutMs: number
  /** From `drain` to the earliest end. Default 500 ms. */
  readonly goodbyeMs: number
  /** From our last words to the end of the connection. Default 1 s. */
  readonly lingerMs: number
}

export interface TcpConnectionDeps {
  readonly socket: Socket
  readonly dispatcher: ThriftDispatcher
  readonly clock: Clock
  readonly logger: Logger
  readonly limits: TcpLimits
  /** Of all connections of the listener. */
  readonly arrivals: ArrivalBudget
  /** Left when the connection is closed. */
  readonly seat: ConnectionSeat
  /** Default: nobody is held back. */
  readonly backlog?: Backlog | undefined
  readonly nextRequestId: () => string
  readonly onClosed: () => void
}

/** While the last words are on their way, so much is read and thrown away: an early close would take them back. */
const lingerBytesMax = 8 * 1024 * 1024

type Phase = 'first-byte' | 'open' | 'draining' | 'last-words' | 'closed'

export class TcpConnection {
  readonly #deps: TcpConnectionDeps
  readonly #socket: Socket
  readonly #frames: FrameReader
  readonly #gone = new AbortController()
  #phase: Phase = 'first-byte'
  #calls = 0
  #callBytes = 0
  #corked = false
  #ended = false
  #paused = false
  /** Of the unfinished frame; it may still wait for it. */
  #place: ArrivalPlace | undefined
  /** Who asked last. */
  #tenant: string | undefined
  /** Set while it is held back (invariant 8): nobody has to tell it any more. */
  #forgetHold: (() => void) | undefined
  #lingerBytes = 0
  /** Since when the present wait lasts; which wait it is follows from the state. */
  #waitSinceMs: number
  #timer: Timer | undefined
  #goodbye: Timer | undefined
  /** The goodbye was long enough. */
  #mayEnd = false

  constructor(deps: TcpConnectionDeps) {
    this.#deps = deps
    this.#socket = deps.socket
    this.#frames = new FrameReader(deps.limits.frameBytesMax)
    this.#waitSinceMs = deps.clock.monotonicMs()
    // One listener per call in flight: invariant 1 bounds them, not Node's warning.
    setMaxListeners(0, this.#gone.signal)
    const socket = deps.socket
    socket.setNoDelay(true)
    socket.on('error', (error: NodeJS.ErrnoException) => this.#onError(error))
    socket.on('close', () => this.#onClose())
    socket.on('end', () => this.#onEnd())
    socket.on('drain', () => this.#onDrain())
    socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    this.#watch()
  }

  /** Invariant 5. Idempotent. */
  drain(): void {
    if (this.#phase !== 'first-byte' && this.#phase !== 'open') return
    this.#phase = 'draining'
    this.#goodbye = this.#deps.clock.after(this.#deps.limits.goodbyeMs, () => {
      this.#mayEnd = true
      this.#endWhenDone()
    })
    this.#letGo()
  }

  /** At once; calls that run are answered to nobody. Idempotent. */
  destroy(): void {
    this.#socket.destroy()
  }

  #onData(chunk: Buffer): void {
    const first = chunk[0]
    if (this.#phase === 'last-words' || first === undefined) {
      this.#discard(chunk.length)
      return
    }
    if (this.#phase === 'first-byte') {
      const foreign = foreignProtocolOf(first)
      if (foreign !== undefined) {
        this.#deps.logger.debug({ tier: 'api', event: foreign }, 'refused a peer that does not speak framed Thrift')
        this.#sayAndEnd(lastWords(foreign))
        return
      }
      this.#phase = 'open'
    }
    if (this.#frames.pendingBytes === 0) this.#restartWait()
    this.#frames.push(chunk)
    this.#readFrames()
  }

  #readFrames(): void {
    while ((this.#phase === 'open' || this.#phase === 'draining') && !this.#full() && !this.#isHeldBack()) {
      const read = this.#frames.next()
      if (read.kind === 'incomplete') {
        this.#takePlace(read.frameBytes)
        break
      }
      if (read.kind === 'oversize') {
        const words = oversizeAnswer(read.start, read.declaredBytes, this.#deps.limits.frameBytesMax)
        // The header of the call may still be on its way; the frame's time limit ends the wait.
        if (words !== undefined) this.#sayAndEnd(words)
        return
      }
      this.#leavePlace()
      this.#restartWait()
      this.#serve(read.content)
    }
    this.#regulate()
  }

  /** Invariant 6. */
  #takePlace(frameBytes: number): void {
    if (this.#place !== undefined || this.#frames.pendingBytes <= arrivalFreeBytes) return
    this.#place = this.#deps.arrivals.claim(frameBytes, {
      granted: () => this.#regulate(),
      cut: () => this.destroy(),
    })
  }

  #leavePlace(): void {
    const place = this.#place
    this.#place = undefined
    place?.release()
  }

  /** It waits for a place. */
  get #starves(): boolean {
    return this.#place?.isGranted === false
  }

  #serve(message: Uint8Array): void {
    const { dispatcher } = this.#deps
    if (this.#phase === 'draining') {
      this.#answer(
        dispatcher.refuse(message, 'thrift-tcp', new TrunklineError('DRAINING', { details: { tier: 'api' } })),
      )
      return
    }
    const frees: (() => void)[] = []
    const context: CallContext = {
      requestId: this.#deps.nextRequestId(),
      signal: this.#gone.signal,
      whenSent: (free) => void frees.push(free),
      connection: this.#deps.seat,
      askedBy: (tenant) => {
        this.#tenant = tenant
      },
      ...(this.#socket.remoteAddress === undefined ? {} : { remote: this.#socket.remoteAddress }),
    }
    const dispatched = dispatcher.dispatch(message, 'thrift-tcp', context)
    if (!(dispatched instanceof Promise)) {
      this.#answer(dispatched)
      return
    }
    this.#calls += 1
    this.#callBytes += message.length
    dispatched.then(
      (answer) => this.#finish(message.length, answer, frees),
      (bug: unknown) => {
        // dispatch never rejects; if it does, this connection cannot be answered any more.
        this.#deps.logger.error(
          { tier: 'api', requestId: context.requestId, err: bug },
          'the dispatcher failed by a defect',
        )
        this.destroy()
      },
    )
  }

  #finish(bytes: number, dispatched: Dispatched, frees: readonly (() => void)[]): void {
    this.#calls -= 1
    this.#callBytes -= bytes
    const free = (): void => {
      for (const one of frees) one()
    }
    if (this.#phase === 'last-words' || this.#phase === 'closed') free()
    if (this.#phase === 'closed') return
    this.#answer(dispatched, free)
    if (this.#deps.seat.isRefused) this.#giveUp()
    this.#readFrames()
    this.#endWhenDone()
  }

  /** Invariant 7. */
  #giveUp(): void {
    if (this.#phase === 'open') this.#phase = 'draining'
    this.#mayEnd = true
  }

  /** `sent`: when it has left, or never will. */
  #answer(dispatched: Dispatched, sent?: () => void): void {
    if (this.#phase === 'last-words' || this.#phase === 'closed') return
    if (dispatched.kind === 'garbage') {
      sent?.()
      this.#sayAndEnd(framed(dispatched.message))
      return
    }
    this.#restartWait()
    this.#cork()
    const length = Buffer.allocUnsafe(4)
    length.writeUInt32BE(dispatched.message.length, 0)
    this.#socket.write(length)
    this.#socket.write(dispatched.message, sent)
  }

  /** Invariant 2: everything that finishes in this turn of the loop leaves in one write. */
  #cork(): void {
    if (this.#corked) return
    this.#corked = true
    this.#socket.cork()
    setImmediate(() => {
      this.#corked = false
      this.#socket.uncork()
      this.#regulate()
    })
  }

  #full(): boolean {
    const { callsMax, bytesMax } = this.#deps.limits
    return this.#calls >= callsMax || this.#callBytes >= bytesMax || this.#socket.writableLength >= bytesMax
  }

  /** Invariant 8. Who drains or has sent all is not kept waiting: what has arrived is answered. */
  #isHeldBack(): boolean {
    if (this.#forgetHold !== undefined) return true
    if (this.#tenant === undefined || this.#phase !== 'open' || this.#ended) return false
    this.#forgetHold = this.#deps.backlog?.holdBack(this.#tenant, () => {
      this.#forgetHold = undefined
      // One more is read before it is asked again.
      this.#tenant = undefined
      // In a turn of its own: others may come before what it has read already.
      setImmediate(() => this.#readFrames())
    })
    return this.#forgetHold !== undefined
  }

  #letGo(): void {
    if (this.#forgetHold === undefined) return
    this.#forgetHold()
    this.#forgetHold = undefined
    this.#readFrames()
  }

  /** Invariants 1 and 6. */
  #regulate(): void {
    if (this.#phase !== 'open' && this.#phase !== 'draining') return
    const stops = this.#full() || this.#starves || this.#forgetHold !== undefined
    if (stops === this.#paused) return
    this.#paused = stops
    if (stops) this.#socket.pause()
    else this.#socket.resume()
  }

  #onDrain(): void {
    this.#restartWait()
    this.#readFrames()
  }

  /** The peer has sent all it will: what runs is still answered. */
  #onEnd(): void {
    if (this.#phase === 'last-words' || this.#phase === 'closed') return
    this.#ended = true
    this.#letGo()
    this.#restartWait()
    this.#watch()
    this.#endWhenDone()
  }

  #endWhenDone(): void {
    const noMore = this.#ended || this.#mayEnd
    if (
      noMore &&
      this.#calls === 0 &&
      (this.#phase === 'open' || this.#phase === 'draining' || this.#phase === 'first-byte')
    )
      this.#sayAndEnd(undefined)
  }

  /** One last message, then the end; what still comes is thrown away (`lingerBytesMax`, `lingerMs`). */
  #sayAndEnd(bytes: Uint8Array | undefined): void {
    this.#phase = 'last-words'
    this.#frames.clear()
    this.#leavePlace()
    this.#restartWait()
    if (bytes === undefined) this.#socket.end()
    else this.#socket.end(bytes)
    this.#paused = false
    this.#socket.resume()
    this.#watch()
  }

  #discard(bytes: number): void {
    this.#lingerBytes += bytes
    if (this.#lingerBytes > lingerBytesMax) this.destroy()
  }

  #onError(error: NodeJS.ErrnoException): void {
    // 'close' follows; a reset by the peer is everyday life.
    this.#deps.logger.debug({ tier: 'api', event: error.code ?? 'error' }, 'a connection broke')
  }

  #onClose(): void {
    if (this.#phase === 'closed') return
    this.#phase = 'closed'
    this.#deps.seat.leave()
    this.#timer?.cancel()
    this.#goodbye?.cancel()
    this.#frames.clear()
    this.#leavePlace()
    this.#forgetHold?.()
    this.#gone.abort()
    this.#deps.onClosed()
  }

  #restartWait(): void {
    this.#waitSinceMs = this.#deps.clock.monotonicMs()
  }

  /** How long the present state may last; undefined while calls run, which have deadlines of their own. */
  #waitLimitMs(): number | undefined {
    const { limits } = this.#deps
    if (this.#phase === 'last-words') return limits.lingerMs
    if (this.#ended) return limits.endedTimeoutMs
    if (this.#socket.writableLength > 0) return limits.stallTimeoutMs
    if (this.#frames.pendingBytes > 0 && (!this.#paused || this.#starves)) return limits.frameTimeoutMs
    return this.#calls > 0 ? undefined : limits.idleTimeoutMs
  }

  /** Invariant 4, with one timer: it looks at the state when it rings. */
  #watch(): void {
    this.#timer?.cancel()
    const { clock, limits } = this.#deps
    const limitMs = this.#waitLimitMs()
    const leftMs = limitMs === undefined ? limits.idleTimeoutMs : this.#waitSinceMs + limitMs - clock.monotonicMs()
    if (limitMs !== undefined && leftMs <= 0) {
      this.destroy()
      return
    }
    // A shorter limit may begin to count meanwhile: look at least that often.
    const lookMs = Math.min(leftMs, limits.frameTimeoutMs, limits.stallTimeoutMs)
    this.#timer = clock.after(Math.max(1, lookMs), () => this.#watch())
  }
}

/** The answer to a call that is too long, once its header is there; undefined while it is not. */
function oversizeAnswer(start: Uint8Array, declaredBytes: number, bytesMax: number): Uint8Array | undefined {
  const call = startOfCall(start)
  if (call.kind === 'incomplete') return undefined
  if (call.kind === 'garbage' || !isMethodName(call.method)) {
    return framed(garbage(`A frame of ${declaredBytes} bytes is above the limit of ${bytesMax}.`).message)
  }
  const error = new TrunklineError('FRAME_TOO_LARGE', {
    details: { bytes: String(declaredBytes), bytesMax: String(bytesMax) },
  })
  return framed(encodeErrorReply(call.method, call.seqid, error))
}
