// Owns: Thrift over HTTP: one message a body, POST /thrift, connections kept alive.
// N1 Every call settles: with its answer, by its timeout, or when its connection fails. None is ever sent twice: Node's
//    agent does not repeat a POST.
// N2 A reply is at most frameBytesMax; a longer one is MALFORMED_FRAME and its connection is dropped.
import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { Clock } from '../../../../src/fsm/client/client-ports.ts'
import { TrunklineError } from '../../../../src/protocol/errors.ts'
import { frameBytesMax } from '../../../../src/protocol/limits.ts'
import type { MethodName, ReplyOf, RequestOf } from '../../../../src/protocol/messages.ts'
import { decodeReply, encodeCall } from '../../../../src/protocol/thrift/message.ts'
import type { CallOptions, Transport } from '../transport.ts'

export interface HttpTransportOptions {
  /** `http://host:port` or `https://host:port`; a path before /thrift is kept. */
  readonly url: URL
  readonly clock: Clock
  /** Connections at once; calls beyond wait for one, inside their timeout. Default 64. */
  readonly connectionsMax?: number
}

const connectionsMaxDefault = 64
const seqidMax = 0x7fffffff

export class HttpTransport implements Transport {
  readonly #url: URL
  readonly #clock: Clock
  readonly #agent: HttpAgent | HttpsAgent
  readonly #out = new Set<ClientRequest>()
  #seqid = 0
  #closed = false

  constructor(options: HttpTransportOptions) {
    this.#clock = options.clock
    this.#url = new URL(options.url)
    this.#url.pathname = `${this.#url.pathname.replace(/\/$/, '')}/thrift`
    const agentOptions = { keepAlive: true, noDelay: true, maxSockets: options.connectionsMax ?? connectionsMaxDefault }
    this.#agent = this.#url.protocol === 'https:' ? new HttpsAgent(agentOptions) : new HttpAgent(agentOptions)
  }

  async call<M extends MethodName>(method: M, request: RequestOf<M>, options: CallOptions): Promise<ReplyOf<M>> {
    if (this.#closed) throw unavailable('client closed')
    if (options.signal?.aborted === true) throw new TrunklineError('DEADLINE', { details: { why: 'aborted' } })
    this.#seqid = this.#seqid === seqidMax ? 1 : this.#seqid + 1
    const seqid = this.#seqid
    const body = await this.#post(method, encodeCall(method, seqid, request), options)
    const message = decodeReply(method, body)
    if (message.seqid !== seqid)
      throw new TrunklineError('MALFORMED_FRAME', { details: { why: 'answer to another call' } })
    if ('error' in message) throw message.error
    return message.reply
  }

  close(): Promise<void> {
    this.#closed = true
    for (const request of this.#out) request.destroy()
    this.#agent.destroy()
    return Promise.resolve()
  }

  #post(method: MethodName, message: Uint8Array, { timeoutMs, signal }: CallOptions): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const send = this.#url.protocol === 'https:' ? httpsRequest : httpRequest
      const headers = {
        'content-type': 'application/x-thrift',
        accept: 'application/x-thrift',
        'content-length': message.length,
      }
      const request = send(this.#url, { method: 'POST', agent: this.#agent, headers })
      const finish = (outcome: { body: Uint8Array } | { error: TrunklineError }): void => {
        if (!this.#out.delete(request)) return
        timer.cancel()
        signal?.removeEventListener('abort', giveUp)
        if ('body' in outcome) resolve(outcome.body)
        else {
          request.destroy()
          reject(outcome.error)
        }
      }
      const giveUp = (): void => finish({ error: new TrunklineError('DEADLINE', { details: { method } }) })
      this.#out.add(request)
      const timer = this.#clock.after(timeoutMs, giveUp)
      signal?.addEventListener('abort', giveUp)
      request.on('error', (cause) => finish({ error: unavailable('connection failed', cause) }))
      request.on('close', () => finish({ error: unavailable('connection lost') }))
      request.on('response', (response) => collect(response, finish))
      request.end(message)
    })
  }
}

function collect(
  response: IncomingMessage,
  finish: (outcome: { body: Uint8Array } | { error: TrunklineError }) => void,
): void {
  const chunks: Buffer[] = []
  let size = 0
  response.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > frameBytesMax)
      return finish({ error: new TrunklineError('MALFORMED_FRAME', { details: { why: 'reply too large' } }) })
    chunks.push(chunk)
  })
  response.on('error', (cause) => finish({ error: unavailable('connection failed', cause) }))
  response.on('end', () => {
    const type = response.headers['content-type'] ?? ''
    if (/thrift|octet-stream/.test(type)) return finish({ body: new Uint8Array(Buffer.concat(chunks, size)) })
    finish({ error: errorOfStatus(response.statusCode ?? 0) })
  })
}

/** What stands between us and the gateway answered: by its status alone. */
function errorOfStatus(status: number): TrunklineError {
  const details = { httpStatus: String(status) }
  if (status === 401) return new TrunklineError('UNAUTHENTICATED', { details })
  if (status === 403) return new TrunklineError('FORBIDDEN', { details })
  if (status === 413) return new TrunklineError('FRAME_TOO_LARGE', { details })
  if (status === 404 || status === 405 || status === 415) return new TrunklineError('UNKNOWN_METHOD', { details })
  if (status === 429) return new TrunklineError('TOO_MANY_REQUESTS', { details })
  return unavailable(`HTTP ${status}`)
}

function unavailable(why: string, cause?: unknown): TrunklineError {
  // Seen from here nobody asked us to wait: the session's own growing waits decide.
  return new TrunklineError('UNAVAILABLE', {
    details: { why },
    retryAfterMs: 0,
    ...(cause === undefined ? {} : { cause }),
  })
}
