// Owns: the way between a client and one API node: a Transport that loses, doubles, delays and so reorders requests and
// replies, each on its own. Every message goes as the bytes of its Thrift message.
// 1. A call is sent once; its promise settles at its timeout at the latest (unless the client's process is dead).
// 2. "Broken": the client hears UNAVAILABLE at once or soon, and the request arrives later all the same, or never.
// 3. What a client hears of a lost call never says that it was not sent, unless nobody listened.

import { type CallOptions, notReached, onTheWay, type Transport } from '../../../sdk/typescript/src/transport.ts'
import type { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { replyAround } from '../../../src/api-tier/thrift/reply-frame.ts'
import type { Clock } from '../../../src/ports/clock.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import type { MethodName, ReplyOf, RequestOf } from '../../../src/protocol/messages.ts'
import {
  decodeCall,
  decodeReply,
  decodeRequest,
  encodeCall,
  encodeErrorReply,
  encodeErrorStructReply,
} from '../../../src/protocol/thrift/message.ts'
import type { Gate } from './gate.ts'
import type { SimApi } from './sim-api.ts'
import type { Trace } from './trace.ts'

export interface LinkFaults {
  delayMsMin: number
  delayMsMax: number
  /** The request vanishes: the client learns at its timeout, or at once. */
  requestLost: number
  replyLost: number
  /** A second copy arrives up to `lateMsMax` later. */
  duplicate: number
  /** The connection breaks; the request arrives up to `lateMsMax` later. */
  broken: number
  /** The reply comes up to `lateMsMax` later. */
  replyLate: number
  lateMsMax: number
  /** Nothing gets through. */
  cut: boolean
}

export const calmLink: LinkFaults = {
  delayMsMin: 0.1,
  delayMsMax: 2,
  requestLost: 0,
  replyLost: 0,
  duplicate: 0,
  broken: 0,
  replyLate: 0,
  lateMsMax: 1_000,
  cut: false,
}

export interface LinkParts {
  readonly name: string
  /** The world's clock: the link outlives the client. */
  readonly clock: Clock
  readonly random: SeededRandom
  readonly gate: Gate
  readonly trace: Trace
  readonly api: SimApi
  /** Shared by all links, changed while the run goes on. */
  readonly faults: LinkFaults
  /** Shortens every timeout but that of reads. */
  readonly timeoutMsMax: number
  readonly onDefect: (text: string) => void
}

const connectTimeoutMs = 2_000

export class SimLink implements Transport {
  readonly #parts: LinkParts
  #calls = 0

  constructor(parts: LinkParts) {
    this.#parts = parts
  }

  call<M extends MethodName>(method: M, request: RequestOf<M>, options: CallOptions): Promise<ReplyOf<M>> {
    const { clock, random, gate, trace, faults, timeoutMsMax, api } = this.#parts
    const seqid = ++this.#calls
    const name = `${this.#parts.name}@${api.name}#${seqid} ${method}`
    const frame = encodeCall(method, seqid, request)
    trace.note(`${name} sent`, frame)
    return new Promise((resolve, reject) => {
      let over = false
      const settle = (how: string, tell: () => void): void =>
        gate.run(() => {
          if (over) return
          over = true
          timer.cancel()
          stopListening()
          trace.note(`${name} ${how}`)
          tell()
        })
      const fail = (error: TrunklineError): void => settle(error.name, () => reject(error))
      const waitMs = method === 'read' ? options.timeoutMs : Math.min(options.timeoutMs, timeoutMsMax)
      const timer = clock.after(waitMs, () => fail(onTheWay(new TrunklineError('DEADLINE'), 'unanswered')))
      const answer = (reply: Uint8Array): void => {
        const decoded = decodeReply(method, reply)
        if ('error' in decoded) fail(decoded.error)
        else settle('ok', () => resolve(decoded.reply))
      }
      const lostSoon = (): void =>
        void clock.after(this.#delayMs(), () => fail(notReached('connection lost', 'unanswered')))
      const stopListening = api.onDeath(lostSoon)
      if (api.state === 'dead') {
        trace.count('link connects refused')
        clock.after(this.#delayMs(), () => fail(notReached('connect failed', 'unsent')))
        return
      }
      if (api.state === 'silent') {
        // There is a connection, that is half open, or none can be made.
        trace.count('link calls into silence')
        if (random.chance(0.5)) clock.after(connectTimeoutMs, () => fail(notReached('connect timed out', 'unsent')))
        return
      }
      if (faults.cut || this.#chance(faults.requestLost)) {
        trace.count('link requests lost')
        if (random.chance(0.5)) lostSoon()
        return
      }
      if (this.#chance(faults.broken)) {
        trace.count('link connections broken')
        lostSoon()
        clock.after(faults.lateMsMax * random.fraction(), () => this.#arrive(method, frame, () => undefined))
        return
      }
      if (this.#chance(faults.duplicate)) {
        trace.count('link requests doubled')
        clock.after(faults.lateMsMax * random.fraction(), () => this.#arrive(method, frame, answer))
      }
      clock.after(this.#delayMs(), () => this.#arrive(method, frame, answer))
    })
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  #arrive<M extends MethodName>(method: M, frame: Uint8Array, answer: (reply: Uint8Array) => void): void {
    const { clock, trace, faults, api, onDefect } = this.#parts
    const copy = frame.slice()
    const message = decodeCall(copy)
    const { seqid } = message
    const name = `${this.#parts.name}@${api.name}#${seqid} ${method}`
    if (api.state === 'dead' || api.state === 'silent') return
    trace.note(`${name} arrives`)
    const { epoch } = api
    const reply = (bytes: Uint8Array, how: string): void => {
      if (api.epoch !== epoch || api.state === 'silent') return
      trace.note(`${name} answered ${how}`, bytes)
      if (faults.cut || this.#chance(faults.replyLost)) {
        trace.count('link replies lost')
        return
      }
      const late = this.#chance(faults.replyLate)
      if (late) trace.count('link replies late')
      clock.after(late ? faults.lateMsMax * this.#parts.random.fraction() : this.#delayMs(), () => answer(bytes))
    }
    if (api.state === 'draining') {
      trace.count('link calls to a draining node')
      reply(encodeErrorReply(method, seqid, new TrunklineError('DRAINING', { details: { tier: 'api' } })), 'DRAINING')
      return
    }
    void api.calls
      .callSigned(method, decodeRequest(method, message.body), { requestId: name.slice(0, 64) })
      .then((answered) => {
        if ('reply' in answered) return reply(replyAround(method, seqid, answered.reply), 'ok')
        if (answered.error.name === 'INTERNAL') onDefect(`${name}: ${answered.error.name}`)
        reply(encodeErrorStructReply(method, seqid, answered.error), answered.error.name)
      })
  }

  #delayMs(): number {
    const { delayMsMin, delayMsMax } = this.#parts.faults
    return delayMsMin + (delayMsMax - delayMsMin) * this.#parts.random.fraction()
  }

  #chance(share: number): boolean {
    return share > 0 && this.#parts.random.chance(share)
  }
}
