// Owns: a load generator that costs next to nothing, since it shares the cores with what it measures: frames are encoded
// once and only their numbers are written in place; of a reply only its head is looked at.
// 1. One session on one connection, one request out at a time.
// 2. An error ends the run: a figure of a run that failed is never printed.
// 3. Requests are signed as a real client's are, over signed bytes that are made once and changed in place (a block's
//    SHA-256 too: nobody packs here). The MACs of answers are not looked at.
// Leaves out: everything a real client does about failure (the SDK), packing.
import { createHmac } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { type Block, mode, type RequestOf } from '../../src/protocol/messages.ts'
import { deriveMacKeys, requestMac, requestSignedBytes } from '../../src/protocol/signed-bytes.ts'
import { encodeCall, encodeReply } from '../../src/protocol/thrift/message.ts'
import { RawClient, RawSession } from '../../test/support/raw-client.ts'

const lengthSize = 4
const fieldHeaderSize = 3
const i32Size = 4
const i64Size = 8
const challengeSize = 12
const macSize = 32
/** In signed bytes: id u16, length u32. */
const signedHeaderSize = 6
/** Enough of a reply for its turn and count. */
const headBytesMax = 128
const chunkBytes = 256 * 1024

export interface Where {
  readonly thriftUrl: string
  readonly bearer: string
  /** For a gateway with `sessionSignatures: optional`. */
  readonly unsigned?: boolean
  /** Sessions are opened at thriftUrl and used there: any process of the API tier serves them. */
  readonly overTls?: { readonly thriftsUrl: string; readonly ca: string }
}

/** Frames in, heads of replies out, in order. */
class LeanConnection {
  readonly #socket: Socket
  readonly #head = Buffer.alloc(headBytesMax)
  #received = 0
  #frameBytes = 0
  #waiting: { resolve: (head: Buffer) => void; reject: (error: Error) => void } | undefined

  private constructor({ thriftUrl, overTls }: Where) {
    this.#socket = overTls === undefined ? this.#connect(thriftUrl) : this.#connectTls(overTls)
    this.#socket.on('error', (error) => this.#fail(error))
    this.#socket.on('close', () => this.#fail(new Error('the gateway closed the connection')))
  }

  #connect(thriftUrl: string): Socket {
    const { hostname, port } = new URL(thriftUrl)
    const buffer = Buffer.allocUnsafe(chunkBytes)
    return connect({
      host: hostname,
      port: Number(port),
      noDelay: true,
      onread: {
        buffer,
        callback: (size) => {
          this.#take(buffer, size)
          return true
        },
      },
    })
  }

  #connectTls({ thriftsUrl, ca }: NonNullable<Where['overTls']>): Socket {
    const { hostname, port } = new URL(thriftsUrl)
    const socket = connectTls({ host: hostname, port: Number(port), ca })
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => this.#take(chunk, chunk.length))
    return socket
  }

  static async open(where: Where): Promise<LeanConnection> {
    const connection = new LeanConnection(where)
    await new Promise<void>((resolve, reject) => {
      connection.#socket.once(where.overTls === undefined ? 'connect' : 'secureConnect', resolve)
      connection.#socket.once('error', reject)
    })
    return connection
  }

  /** The first bytes of the reply, overwritten by the next one. */
  exchange(frame: Uint8Array): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
      this.#socket.write(frame)
    })
  }

  close(): void {
    this.#waiting = undefined
    this.#socket.destroy()
  }

  #take(chunk: Buffer, size: number): void {
    if (this.#received < headBytesMax)
      chunk.copy(this.#head, this.#received, 0, Math.min(size, headBytesMax - this.#received))
    this.#received += size
    if (this.#frameBytes === 0 && this.#received >= lengthSize)
      this.#frameBytes = lengthSize + this.#head.readUInt32BE(0)
    if (this.#frameBytes === 0 || this.#received < this.#frameBytes) return
    this.#received = 0
    this.#frameBytes = 0
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.resolve(this.#head)
  }

  #fail(error: Error): void {
    this.#waiting?.reject(error)
    this.#waiting = undefined
  }
}

/** A request without its MAC, and with room for it. */
type Unsigned<M extends 'read' | 'write'> = RequestOf<M> & { readonly proof: { readonly challenge: Uint8Array } }

/**
 * A frame whose seq, challenge, MAC, n and ackOf are written in place, and the same places of its signed bytes; the order
 * of fields is that of our own codec.
 */
class Template<M extends 'read' | 'write'> {
  readonly #frame: Buffer
  readonly #signed: Buffer
  readonly #key: Uint8Array | undefined
  readonly #seqAt: number
  readonly #macAt: number
  readonly #nAt: number
  readonly #signedSeqAt: number
  readonly #signedNAt: number

  /** Without a secret the MAC is left out. */
  constructor(method: M, request: Unsigned<M>, secret: Uint8Array | undefined) {
    const tokenBytes = request.session.length
    const mac = secret === undefined ? {} : { mac: new Uint8Array(macSize) }
    const message = encodeCall(method, 1, { ...request, proof: { ...request.proof, ...mac } })
    this.#frame = Buffer.alloc(lengthSize + message.length)
    this.#frame.writeUInt32BE(message.length)
    this.#frame.set(message, lengthSize)
    this.#signed = Buffer.from(requestSignedBytes(method, request))
    this.#key = secret === undefined ? undefined : deriveMacKeys(secret).c2s
    const argsAt = lengthSize + i32Size + i32Size + method.length + i32Size
    // args │ proof │ slot │ seq
    this.#seqAt = argsAt + 4 * fieldHeaderSize + i32Size
    const challengeEnd = this.#seqAt + i64Size + fieldHeaderSize + i32Size + challengeSize
    this.#macAt = challengeEnd + fieldHeaderSize + i32Size
    const proofEnd = (secret === undefined ? challengeEnd : this.#macAt + macSize) + 1
    this.#nAt = proofEnd + fieldHeaderSize + i32Size + tokenBytes + fieldHeaderSize
    // "tl1" │ method │ "request" │ proof │ slot │ seq
    this.#signedSeqAt = 7 + i32Size + method.length + 11 + 3 * signedHeaderSize + i32Size
    const signedProofEnd = this.#signedSeqAt + i64Size + signedHeaderSize + challengeSize
    this.#signedNAt = signedProofEnd + signedHeaderSize + tokenBytes + signedHeaderSize
  }

  /** Challenge and next seq of `head`, a reply to `method`. */
  turn(head: Buffer, method: M): void {
    const seqAt = turnOf(method)
    const challengeAt = seqAt + i64Size + fieldHeaderSize + i32Size
    const copy = (target: Buffer, at: number, headerSize: number): void => {
      head.copy(target, at, seqAt, seqAt + i64Size)
      head.copy(target, at + i64Size + headerSize, challengeAt, challengeAt + challengeSize)
    }
    copy(this.#frame, this.#seqAt, fieldHeaderSize + i32Size)
    copy(this.#signed, this.#signedSeqAt, signedHeaderSize)
  }

  n(n: number): void {
    this.#frame.writeUInt32BE(n, this.#nAt + i32Size)
    this.#signed.writeUInt32BE(n, this.#signedNAt + i32Size)
  }

  ackOf(n: number): void {
    this.#frame.writeUInt32BE(n, this.#nAt + i64Size + fieldHeaderSize + i32Size)
    this.#signed.writeUInt32BE(n, this.#signedNAt + i64Size + signedHeaderSize + i32Size)
  }

  get isSigned(): boolean {
    return this.#key !== undefined
  }

  /** To be sent now. */
  signedFrame(): Buffer {
    if (this.#key !== undefined)
      createHmac('sha256', this.#key).update(this.#signed).digest().copy(this.#frame, this.#macAt)
    return this.#frame
  }
}

/** Where nextSeq of the turn begins in a reply that is no error. */
function turnOf(method: 'read' | 'write'): number {
  return lengthSize + i32Size + i32Size + method.length + i32Size + 3 * fieldHeaderSize
}

function check(head: Buffer, method: 'read' | 'write'): void {
  const resultField = head.readInt16BE(turnOf(method) - 3 * fieldHeaderSize + 1)
  if (resultField !== 0) throw new Error(`a ${method} failed: ${head.toString('latin1')}`)
}

/** count of a ReadReply: turn {nextSeq, challenge, leaseMs[, mac]} │ n │ count */
function countOf(head: Buffer, isSigned: boolean): number {
  const challengeEnd = turnOf('read') + i64Size + fieldHeaderSize + i32Size + challengeSize
  const macBytes = isSigned ? fieldHeaderSize + i32Size + macSize : 0
  const turnEnd = challengeEnd + fieldHeaderSize + i32Size + macBytes + 1
  return head.readInt32BE(turnEnd + fieldHeaderSize + i64Size + fieldHeaderSize)
}

interface Opened {
  readonly connection: LeanConnection
  readonly session: RawSession
}

async function open(
  where: Where,
  request: Parameters<typeof RawSession.open>[2],
): Promise<Opened & { readonly raw: RawClient }> {
  const raw = await RawClient.open(where.thriftUrl)
  const session = await RawSession.openPatiently(raw, where.bearer, request)
  return { raw, session, connection: await LeanConnection.open(where) }
}

export class LeanWriter {
  readonly #connection: LeanConnection
  readonly #templates: readonly Template<'write'>[]
  #last: Buffer | undefined
  #n = 0

  private constructor(connection: LeanConnection, templates: readonly Template<'write'>[]) {
    this.#connection = connection
    this.#templates = templates
  }

  /** Writes take the blocks in turn, beginning at `first`. */
  static async open(where: Where, topic: string, blocks: readonly Block[], first = 0): Promise<LeanWriter> {
    const { raw, session, connection } = await open(where, { topic, mode: mode.write })
    const { session: token, secret } = session.allocated
    const turned = blocks.map((_, index) => blocks[(index + first) % blocks.length] as Block)
    const templates = turned.map((block) => {
      const request = { proof: proofOf(session), session: token, n: 1, blocks: [block], commit: true }
      return new Template('write', request, where.unsigned === true ? undefined : secret)
    })
    raw.close()
    return new LeanWriter(connection, templates)
  }

  /** Resolves when it is published. */
  async write(): Promise<void> {
    const template = this.#templates[this.#n % this.#templates.length] as Template<'write'>
    // A refusal without a turn has spent neither.
    const n = this.#n + 1
    if (this.#last !== undefined) template.turn(this.#last, 'write')
    template.n(n)
    const head = await this.#connection.exchange(template.signedFrame())
    check(head, 'write')
    this.#n = n
    // A copy: a refusal that comes next writes over it, and has no turn.
    this.#last = Buffer.from(head)
  }

  close(): void {
    this.#connection.close()
  }
}

export class LeanReader {
  readonly #connection: LeanConnection
  readonly #template: Template<'read'>
  #n: number
  #last: Buffer | undefined

  private constructor(connection: LeanConnection, template: Template<'read'>) {
    this.#connection = connection
    this.#template = template
    this.#n = 1
  }

  /** Its first read is done here, without an ack, and counts nothing. */
  static async open(
    where: Where,
    topic: string,
    startAt: { earliest: true } | { latest: true },
    waitMs: number,
  ): Promise<LeanReader> {
    const { raw, session, connection } = await open(where, { topic, mode: mode.read, startAt })
    const { session: token, secret } = session.allocated
    await session.call('read', { n: 1, waitMs: 0, maxEvents: 1 })
    const request = { proof: proofOf(session), session: token, n: 2, ackOf: 1, maxEvents: 10_000, waitMs }
    raw.close()
    return new LeanReader(connection, new Template('read', request, where.unsigned === true ? undefined : secret))
  }

  /** Events of the next batch; the one before is acked by it. */
  async read(): Promise<number> {
    this.#n += 1
    if (this.#last !== undefined) this.#template.turn(this.#last, 'read')
    this.#template.n(this.#n)
    this.#template.ackOf(this.#n - 1)
    const head = await this.#connection.exchange(this.#template.signedFrame())
    check(head, 'read')
    this.#last = head
    return countOf(head, this.#template.isSigned)
  }

  close(): void {
    this.#connection.close()
  }
}

/** Proves that the frames made in place are what the codec would have made; throws otherwise. */
export function proveTemplates(): void {
  const reply = Buffer.alloc(headBytesMax)
  const turn = { nextSeq: 33, challenge: new Uint8Array(challengeSize).fill(4), leaseMs: 5 }
  for (const isSigned of [false, true]) {
    const mac = isSigned ? { mac: new Uint8Array(macSize) } : {}
    const message = encodeReply('read', 1, { turn: { ...turn, ...mac }, n: 1, count: 77, cursor: new Uint8Array(8) })
    reply.set(message.subarray(0, headBytesMax - lengthSize), lengthSize)
    check(reply, 'read')
    if (countOf(reply, isSigned) !== 77) throw new Error('the head of a read reply is not where it is looked for')
  }
  const token = new Uint8Array(100).fill(9)
  const request = (seq: number, challenge: number, n: number) => ({
    proof: { slot: 0, seq, challenge: new Uint8Array(challengeSize).fill(challenge) },
    session: token,
    n,
    ackOf: n - 1,
    maxEvents: 10_000,
    waitMs: 5,
  })
  const secret = new Uint8Array(32).fill(7)
  for (const key of [undefined, secret]) {
    const template = new Template('read', request(1, 1, 2), key)
    template.turn(reply, 'read')
    template.n(1_000)
    template.ackOf(999)
    const sent = request(33, 4, 1_000)
    const mac = key === undefined ? {} : { mac: requestMac(deriveMacKeys(key), 'read', sent) }
    const expected = encodeCall('read', 1, { ...sent, proof: { ...sent.proof, ...mac } })
    if (Buffer.compare(template.signedFrame().subarray(lengthSize), expected) !== 0)
      throw new Error('a frame made in place is not what the codec makes')
  }
}

function proofOf(session: RawSession): { slot: number; seq: number; challenge: Uint8Array } {
  const { nextSeq: seq, challenge } = session.turns[0]
  return { slot: 0, seq, challenge }
}
