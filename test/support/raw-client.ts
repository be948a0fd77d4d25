// Owns: a client of the Thrift listener that keeps no rule by itself: tests send what they like, in and out of turn.
// It uses our codec only; the stock Apache client is driven from Python elsewhere.
import { connect, type Socket } from 'node:net'
import { TrunklineError } from '../../src/protocol/errors.ts'
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
import { decodeReply, encodeCall } from '../../src/protocol/thrift/message.ts'

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

  static async open(thriftUrl: string): Promise<RawClient> {
    const { hostname, port } = new URL(thriftUrl)
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return new RawClient(socket)
  }

  /** One call, as it is. Rejects with the TrunklineError of the reply. */
  async call<M extends MethodName>(method: M, request: RequestOf<M>): Promise<ReplyOf<M>> {
    const seqid = ++this.#seqid
    const body = encodeCall(method, seqid, request)
    const frame = await this.frame(seqid, body)
    const decoded = decodeReply(method, frame)
    if ('error' in decoded) throw decoded.error
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
