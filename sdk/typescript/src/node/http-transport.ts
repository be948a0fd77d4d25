// Owns: Thrift over HTTP: one message a body, POST /thrift, connections kept alive.
// N1 Every call settles: with its answer, by its timeout, or when its connection fails. None is ever sent twice: Node's
//    agent does not repeat a POST.
// N2 Connecting ends after connectTimeoutMs, TLS included. A call without an answer takes its connection with it, and
//    every idle one: they may be half open like it.
// N3 A reply is at most frameBytesMax; a longer one is MALFORMED_FRAME and its connection is dropped.
import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { Clock } from '../../../../src/fsm/client/client-ports.ts'
import { unsigned } from '../../../../src/protocol/error-struct.ts'
import { TrunklineError } from '../../../../src/protocol/errors.ts'
import { frameBytesMax } from '../../../../src/protocol/limits.ts'
import type { MethodName, ReplyOf, RequestOf } from '../../../../src/protocol/messages.ts'
import { decodeReply, encodeCall } from '../../../../src/protocol/thrift/message.ts'
import { type CallOptions, notReached, onTheWay, type Transport } from '../transport.ts'
import { boundConnect, connectTimeoutMsDefault } from './connect-bound.ts'
import { httpsAgent } from './https-agent.ts'
import { ClientTls, TlsVerdicts } from './tls.ts'

export interface HttpTransportOptions {
  /** `http://host:port` or `https://host:port`; a path before /thrift is kept. */
  readonly url: URL
  readonly clock: Clock
  /** Of https://. Default: the authorities of Node.js. */
  readonly tls?: ClientTls | undefined
  /** Default 2,000. */
  readonly connectTimeoutMs?: number
  /** Connections at once; calls beyond wait for one, inside their timeout. Default 64. */
  readonly connectionsMax?: number
}

const connectionsMaxDefault = 64
const seqidMax = 0x7fffffff

export class HttpTransport implements Transport {
  readonly #url: URL
  readonly #clock: Clock
  readonly #connectTimeoutMs: number
  readonly #agent: HttpAgent
  readonly #verdicts = new TlsVerdicts()
  readonly #out = new Set<ClientRequest>()
  #seqid = 0
  #closed = false

  constructor(options: HttpTransportOptions) {
    this.#clock = options.clock
    this.#connectTimeoutMs = options.connectTimeoutMs ?? connectTimeoutMsDefault
    this.#url = new URL(options.url)
    this.#url.pathname = `${this.#url.pathname.replace(/\/$/, '')}/thrift`
    const agentOptions = { keepAlive: true, noDelay: true, maxSockets: options.connectionsMax ?? connectionsMaxDefault }
    this.#agent =
      this.#url.protocol === 'https:'
        ? httpsAgent(options.tls ?? new ClientTls(), agentOptions)
        : new HttpAgent(agentOptions)
  }

  async call<M extends MethodName>(method: M, request: RequestOf<M>, options: CallOptions): Promise<ReplyOf<M>> {
    if (this.#closed) throw notReached('client closed', 'unsent')
    if (options.signal?.aborted === true) throw new TrunklineError('DEADLINE', { details: { why: 'aborted' } })
    this.#seqid = this.#seqid === seqidMax ? 1 : this.#seqid + 1
    const seqid = this.#seqid
    const body = await this.#post(method, encodeCall(method, seqid, request), options)
    const message = decoded(method, body)
    if (message.seqid !== seqid) throw malformed('answer to another call')
    if ('error' in message) throw message.error
    return message.reply
  }

  close(): Promise<void> {
    this.#closed = true
    for (const request of this.#out) request.destroy()
    this.#agent.destroy()
    return Promise.resolve()
  }

  #dropIdle(): void {
    for (const sockets of Object.values(this.#agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy()
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
      const deadline = (): TrunklineError => new TrunklineError('DEADLINE', { details: { method } })
      const giveUp = (): void => finish({ error: deadline() })
      const timeOut = (): void => {
        finish({ error: onTheWay(deadline(), 'unanswered') })
        this.#dropIdle()
      }
      const connect = { timeoutMs: this.#connectTimeoutMs, tls: this.#url.protocol === 'https:' }
      const bound = boundConnect(request, this.#clock, connect, () =>
        finish({ error: notReached('connect timed out', 'unsent') }),
      )
      const lost = (why: string, cause?: unknown): void =>
        finish({
          error:
            // On a connection that has served before, nothing is the handshake's.
            (request.reusedSocket ? undefined : this.#verdicts.errorOf(cause, bound.isConnected())) ??
            (bound.isConnected()
              ? notReached(why, 'unanswered', cause)
              : notReached('connect failed', 'unsent', cause)),
        })
      this.#out.add(request)
      const timer = this.#clock.after(timeoutMs, timeOut)
      signal?.addEventListener('abort', giveUp)
      request.on('error', (cause) => lost('connection failed', cause))
      request.on('close', () => lost('connection lost'))
      request.on('response', (response) => {
        this.#verdicts.worked()
        collect(response, finish)
      })
      request.end(message)
    })
  }
}

function decoded<M extends MethodName>(method: M, body: Uint8Array): ReturnType<typeof decodeReply<M>> {
  try {
    return decodeReply(method, body)
  } catch (thrown) {
    throw onTheWay(TrunklineError.from(thrown, 'MALFORMED_FRAME'), 'unanswered')
  }
}

function malformed(why: string): TrunklineError {
  return onTheWay(new TrunklineError('MALFORMED_FRAME', { details: { why } }), 'unanswered')
}

function collect(
  response: IncomingMessage,
  finish: (outcome: { body: Uint8Array } | { error: TrunklineError }) => void,
): void {
  const chunks: Buffer[] = []
  let size = 0
  response.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > frameBytesMax) return finish({ error: malformed('reply too large') })
    chunks.push(chunk)
  })
  response.on('error', (cause) => finish({ error: notReached('connection failed', 'unanswered', cause) }))
  response.on('end', () => {
    const type = response.headers['content-type'] ?? ''
    if (/thrift|octet-stream/.test(type)) return finish({ body: new Uint8Array(Buffer.concat(chunks, size)) })
    finish({ error: unsigned(errorOfStatus(response.statusCode ?? 0)) })
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
  return new TrunklineError('UNAVAILABLE', { details: { why: `HTTP ${status}` }, retryAfterMs: 0 })
}
