// Owns: the way between a client and the API nodes: a Transport that loses, doubles, delays and so reorders requests and
// replies, each on its own. Every message goes as the bytes of its Thrift message.
// 1. A call is sent once; its promise settles at its timeout at the latest (unless the client's process is dead).
// 2. "Broken": the client hears UNAVAILABLE at once or soon, and the request arrives later all the same, or never.

import type { CallOptions, Transport } from '../../../sdk/typescript/src/transport.ts'
import type { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import type { GatewayCalls } from '../../../src/api-tier/gateway-calls.ts'
import type { Clock } from '../../../src/ports/clock.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import type { MethodName, ReplyOf, RequestOf } from '../../../src/protocol/messages.ts'
import {
  decodeCall,
  decodeReply,
  decodeRequest,
  encodeCall,
  encodeErrorReply,
  encodeReply,
} from '../../../src/protocol/thrift/message.ts'
import { textOfThrown } from './draw.ts'
import type { Gate } from './gate.ts'
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
  readonly apis: readonly GatewayCalls[]
  /** Shared by all links, changed while the run goes on. */
  readonly faults: LinkFaults
  /** Shortens every timeout but that of reads. */
  readonly timeoutMsMax: number
  readonly onDefect: (text: string) => void
}

export class SimLink implements Transport {
  readonly #parts: LinkParts
  #calls = 0

  constructor(parts: LinkParts) {
    this.#parts = parts
  }

  call<M extends MethodName>(method: M, request: RequestOf<M>, options: CallOptions): Promise<ReplyOf<M>> {
    const { clock, random, gate, trace, faults, timeoutMsMax } = this.#parts
    const seqid = ++this.#calls
    const name = `${this.#parts.name}#${seqid} ${method}`
    const frame = encodeCall(method, seqid, request)
    trace.note(`${name} sent`, frame)
    return new Promise((resolve, reject) => {
      let over = false
      const settle = (how: string, tell: () => void): void =>
        gate.run(() => {
          if (over) return
          over = true
          timer.cancel()
          trace.note(`${name} ${how}`)
          tell()
        })
      const fail = (error: TrunklineError): void => settle(error.name, () => reject(error))
      const waitMs = method === 'read' ? options.timeoutMs : Math.min(options.timeoutMs, timeoutMsMax)
      const timer = clock.after(waitMs, () => fail(new TrunklineError('DEADLINE')))
      const answer = (reply: Uint8Array): void => {
        const decoded = decodeReply(method, reply)
        if ('error' in decoded) fail(decoded.error)
        else settle('ok', () => resolve(decoded.reply))
      }
      const lostSoon = (): void => void clock.after(this.#delayMs(), () => fail(new TrunklineError('UNAVAILABLE')))
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
    const { clock, random, trace, faults, apis, onDefect } = this.#parts
    const copy = frame.slice()
    const message = decodeCall(copy)
    const { seqid } = message
    const name = `${this.#parts.name}#${seqid} ${method}`
    trace.note(`${name} arrives`)
    const api = random.pick(apis)
    const reply = (bytes: Uint8Array, how: string): void => {
      trace.note(`${name} answered ${how}`, bytes)
      if (faults.cut || this.#chance(faults.replyLost)) {
        trace.count('link replies lost')
        return
      }
      const late = this.#chance(faults.replyLate)
      if (late) trace.count('link replies late')
      clock.after(late ? faults.lateMsMax * random.fraction() : this.#delayMs(), () => answer(bytes))
    }
    api
      .call(method, decodeRequest(method, message.body), { requestId: name.slice(0, 64) })
      .then((done) => reply(encodeReply(method, seqid, done), 'ok'))
      .catch((thrown: unknown) => {
        const error = TrunklineError.from(thrown)
        if (error.name === 'INTERNAL') onDefect(`${name}: ${textOfThrown(error.cause ?? error)}`)
        reply(encodeErrorReply(method, seqid, error), error.name)
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
