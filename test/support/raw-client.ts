// Owns: a client of the Thrift listener that keeps no rule by itself: tests send what they like, in and out of turn.
// 1. Calls of sessions that were allocated here are signed, unless they bring a MAC, and their answers must be signed.
// It uses our codec only; the stock Apache client is driven from Python elsewhere.
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { isErrorNamed, TrunklineError } from '../../src/protocol/errors.ts'
import { parseMacAlgorithm } from '../../src/protocol/mac-algorithm.ts'
import {
  type AllocateReply,
  type MethodName,
  mode,
  type Proof,
  type ReplyOf,
  type RequestOf,
  slot,
  type Turn,
} from '../../src/protocol/messages.ts'
import {
  deriveMacKeys,
  type MacKeys,
  requestMac,
  verifyError,
  verifyReply,
  verifyRequest,
} from '../../src/protocol/signed-bytes.ts'
import { decodeReply, encodeCall, type ReplyMessage } from '../../src/protocol/thrift/message.ts'

const allocateAttemptsMax = 50
const allocateRetryMs = 200

/** Of every session that was allocated through a RawClient of this process. */
const sessionKeys = new Map<string, MacKeys>()
const textOf = (token: Uint8Array): string => Buffer.from(token).toString('latin1')

const neverSigned = new Set(['UNAUTHENTICATED', 'TOKEN_EXPIRED', 'BAD_SESSION_TOKEN', 'BAD_PROOF', 'FORBIDDEN'])

function keysOf(request: object): MacKeys | undefined {
  return 'session' in request && request.session instanceof Uint8Array
    ? sessionKeys.get(textOf(request.session))
    : undefined
}

/** As it is when it brings a MAC, or its session is not ours. */
export function signedRequest<M extends MethodName>(method: M, request: RequestOf<M>): RequestOf<M> {
  const keys = keysOf(request)
  if (keys === undefined || request.proof?.mac !== undefined) return request
  // An empty proof counts too.
  const sent = { ...request, proof: { ...request.proof } }
  return { ...sent, proof: { ...sent.proof, mac: requestMac(keys, method, sent) } }
}

/** What the gateway answers to a call that it took for ours is signed by it. */
function checkSigned<M extends MethodName>(method: M, request: RequestOf<M>, answer: ReplyMessage<M>): void {
  const keys = keysOf(request)
  if (keys === undefined || !verifyRequest(keys, method, request)) return
  if ('error' in answer) {
    const { struct } = answer
    if (struct === undefined) return
    // Refused before anything of the request was looked at, or for its bearer.
    if (neverSigned.has(struct.name) || (struct.name === 'DRAINING' && struct.turn === undefined)) return
    if (!verifyError(keys, method, request.proof, struct)) throw new Error(`${struct.name} to ${method} is not signed`)
  } else if (!verifyReply(keys, method, request.proof, answer.reply))
    throw new Error(`the reply to ${method} is not signed`)
}

type Waiting = { resolve: (frame: Uint8Array) => void; reject: (error: Error) => void }

export class RawClient {
  readonly #socket: Socket
  readonly #waiting = new Map<number, Waiting>()
  #received: Buffer = Buffer.alloc(0)
  #seqid = 0

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.#take(chunk))
    socket.on('close', () => this.#fail(new Error('connection closed')))
    socket.on('error', (error) => this.#fail(error))
  }

  /** `from`: one of this machine's addresses. */
  static async open(thriftUrl: string, from?: string): Promise<RawClient> {
    const { hostname, port } = new URL(thriftUrl)
    const socket = connect({
      host: hostname,
      port: Number(port),
      noDelay: true,
      ...(from === undefined ? {} : { localAddress: from }),
    })
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return new RawClient(socket)
  }

  /** One call. Rejects with the TrunklineError of the reply. */
  async call<M extends MethodName>(method: M, request: RequestOf<M>): Promise<ReplyOf<M>> {
    const seqid = ++this.#seqid
    const signed = signedRequest(method, request)
    const decoded = decodeReply(method, await this.frame(seqid, encodeCall(method, seqid, signed)))
    checkSigned(method, signed, decoded)
    if ('error' in decoded) throw decoded.error
    if (method === 'allocate') {
      const { session, secret, macAlgorithm } = decoded.reply as AllocateReply
      sessionKeys.set(textOf(session), deriveMacKeys(secret, parseMacAlgorithm(macAlgorithm)))
    }
    return decoded.reply
  }

  /** Sends any message bytes in a frame; answers the frame that carries `seqid`. */
  frame(seqid: number, message: Uint8Array): Promise<Uint8Array> {
    const head = Buffer.alloc(4)
    head.writeUInt32BE(message.length)
    this.#socket.write(Buffer.concat([head, message]))
    return new Promise((resolve, reject) => this.#waiting.set(seqid, { resolve, reject }))
  }

  close(): void {
    this.#socket.destroy()
  }

  #take(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk])
    while (this.#received.length >= 4) {
      const length = this.#received.readUInt32BE(0)
      if (this.#received.length < 4 + length) return
      const frame = this.#received.subarray(4, 4 + length)
      this.#received = this.#received.subarray(4 + length)
      // version 4 │ name length 4 │ name │ seqid 4
      const seqid = frame.readInt32BE(8 + frame.readInt32BE(4))
      this.#waiting.get(seqid)?.resolve(Uint8Array.from(frame))
      this.#waiting.delete(seqid)
    }
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }
}

/** A session that keeps its turns: each slot's next seq and newest challenge. */
export class RawSession {
  readonly client: RawClient
  readonly allocated: AllocateReply
  readonly turns: [Turn, Turn]

  constructor(client: RawClient, allocated: AllocateReply) {
    this.client = client
    this.allocated = allocated
    this.turns = [allocated.turn, allocated.turn]
  }

  static async open(
    client: RawClient,
    bearer: string,
    request: Omit<RequestOf<'allocate'>, 'proof'>,
  ): Promise<RawSession> {
    return new RawSession(client, await client.call('allocate', { ...request, proof: { bearer } }))
  }

  /** On a busy machine an allocation may find no place within its time: that is asked again, as any client does. */
  static async openPatiently(...args: Parameters<typeof RawSession.open>): Promise<RawSession> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await RawSession.open(...args)
      } catch (thrown) {
        if (!isErrorNamed(thrown, 'NO_CAPACITY') || attempt === allocateAttemptsMax) throw thrown
        await sleep(allocateRetryMs)
      }
    }
  }

  static read(
    client: RawClient,
    bearer: string,
    topic: string,
    startAt: RequestOf<'allocate'>['startAt'],
  ): Promise<RawSession> {
    return RawSession.open(client, bearer, { topic, mode: mode.read, startAt })
  }

  static write(client: RawClient, bearer: string, topic: string): Promise<RawSession> {
    return RawSession.open(client, bearer, { topic, mode: mode.write })
  }

  proof(at: 0 | 1 = slot.data): Proof {
    return { slot: at, seq: this.turns[at].nextSeq, challenge: this.turns[at].challenge }
  }

  /** In turn; an error's turn counts too. */
  async call<M extends Exclude<MethodName, 'allocate' | 'describe'>>(
    method: M,
    request: Omit<RequestOf<M>, 'proof' | 'session'>,
    at: 0 | 1 = slot.data,
  ): Promise<ReplyOf<M>> {
    const full = { ...request, proof: this.proof(at), session: this.allocated.session } as RequestOf<M>
    try {
      const reply = await this.client.call(method, full)
      this.turns[at] = (reply as { turn: Turn }).turn
      return reply
    } catch (thrown) {
      if (thrown instanceof TrunklineError && thrown.turn !== undefined) this.turns[at] = thrown.turn
      throw thrown
    }
  }
}

/** An access token of the gateway's own issuer. */
export async function fetchToken(httpUrl: string, clientId: string, clientSecret: string): Promise<string> {
  const response = await fetch(`${httpUrl}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'client_credentials', client_id: clientId, client_secret: clientSecret }),
  })
  if (!response.ok) throw new Error(`the token endpoint answered ${response.status}`)
  const body = (await response.json()) as { access_token: string }
  return body.access_token
}
