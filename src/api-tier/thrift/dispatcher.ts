// Owns: one Thrift message in, one Thrift message out, over GatewayCalls; the same for TCP frames and HTTP bodies.
// 1. It never rejects: every message gets exactly one answer, or the verdict that the peer does not speak our protocol.
// 2. Declared errors travel as the declared exception. Only what reaches no method is a TApplicationException, with a
//    fixed text of ours.
// 3. The answer to a call is the encoded reply struct, passed on as it is (reply-frame.ts).
// Leaves out: frames, sockets, HTTP.
import type { TrunklineError } from '../../protocol/errors.ts'
import type { MethodName } from '../../protocol/messages.ts'
import {
  applicationException,
  decodeCall,
  decodeRequest,
  encodeApplicationException,
  encodeErrorReply,
  encodeErrorStructReply,
} from '../../protocol/thrift/message.ts'
import { isMethodName } from '../../protocol/thrift/schemas.ts'
import type { ApiMetrics, Front } from '../api-metrics.ts'
import type { CallContext } from '../call-context.ts'
import type { GatewayCalls } from '../gateway-calls.ts'
import { replyAround } from './reply-frame.ts'

export type Dispatched =
  | { readonly kind: 'reply'; readonly message: Uint8Array }
  /** The header of the message does not parse: tell the peer `message`, then close; nothing after it can be trusted. */
  | { readonly kind: 'garbage'; readonly message: Uint8Array }

export interface ThriftDispatcherDeps {
  readonly calls: Pick<GatewayCalls, 'callSigned'>
  readonly metrics: ApiMetrics
}

const texts = {
  garbage:
    'This is not a strict Thrift binary call (version 0x80010000). Check the protocol and transport of the client.',
  unknownMethod: 'The gateway has no such method. Check the IDL of the client against describe.',
  badArguments: 'The arguments do not fit the IDL. Generate the client from idl/trunkline.thrift of this version.',
} as const

export class ThriftDispatcher {
  readonly #calls: Pick<GatewayCalls, 'callSigned'>
  readonly #metrics: ApiMetrics

  constructor(deps: ThriftDispatcherDeps) {
    this.#calls = deps.calls
    this.#metrics = deps.metrics
  }

  /**
   * The verdict on what is no call of ours comes at once, so that nothing behind it is run; a call's answer comes later.
   * `message` is read while the call runs: its memory must stay as it is until the answer.
   */
  dispatch(message: Uint8Array, front: Front, context: CallContext): Dispatched | Promise<Dispatched> {
    const header = this.#header(message, front)
    if (header === undefined) return garbage()
    const { method, seqid, body } = header
    if (!isMethodName(method)) return unknownMethod(method, seqid)
    return this.#answer(method, seqid, body, front, context).then((answer) => ({ kind: 'reply', message: answer }))
  }

  /** The answer to a call that is not run at all, such as DRAINING. */
  refuse(message: Uint8Array, front: Front, error: TrunklineError): Dispatched {
    const header = this.#header(message, front)
    if (header === undefined) return garbage()
    if (!isMethodName(header.method)) return unknownMethod(header.method, header.seqid)
    return { kind: 'reply', message: encodeErrorReply(header.method, header.seqid, error) }
  }

  #header(message: Uint8Array, front: Front): ReturnType<typeof decodeCall> | undefined {
    try {
      return decodeCall(message)
    } catch {
      // decodeCall has one failure, MALFORMED_FRAME; what it says about the bytes is of no use to such a peer.
      this.#metrics.decodeFailure(front)
      return undefined
    }
  }

  async #answer<M extends MethodName>(
    method: M,
    seqid: number,
    body: Uint8Array,
    front: Front,
    context: CallContext,
  ): Promise<Uint8Array> {
    let request: ReturnType<typeof decodeRequest<M>>
    try {
      request = decodeRequest(method, body)
    } catch {
      // As above: the only failure is MALFORMED_FRAME.
      this.#metrics.decodeFailure(front)
      return encodeApplicationException(method, seqid, applicationException.protocolError, texts.badArguments)
    }
    const answered = await this.#calls.callSigned(method, request, context)
    if ('error' in answered) return encodeErrorStructReply(method, seqid, answered.error)
    return replyAround(method, seqid, answered.reply)
  }
}

/** For a peer whose message could not be read at all. */
export function garbage(text: string = texts.garbage): Dispatched {
  return { kind: 'garbage', message: encodeApplicationException('', 0, applicationException.protocolError, text) }
}

function unknownMethod(method: string, seqid: number): Dispatched {
  return {
    kind: 'reply',
    message: encodeApplicationException(method, seqid, applicationException.unknownMethod, texts.unknownMethod),
  }
}
