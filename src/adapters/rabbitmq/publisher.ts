// Owns: publishing on one channel: the frames of AMQP's basic.publish, written straight to the connection's socket, and
// all of one turn of the event loop in one write. The library copies each body twice and writes each message alone.
// 1. The channel is for publishing and for methods without content: no frame of the library's comes between the frames
//    of one message, since those of a message are written together.
// 2. A body is copied when it is small and handed to the socket as it is otherwise: nobody changes it afterwards.
// 3. What was published before flush() stands before whatever the library writes after it.
// Leaves out: how much may be out (attempts.ts, served-node.ts), the end of the connection (link.ts).
import { Duplex } from 'node:stream'
import type { Channel, ChannelModel, Options } from 'amqplib'

/** What messages of ours have; another property is a defect. */
export type PublishProperties = Pick<
  Options.Publish,
  'appId' | 'type' | 'correlationId' | 'replyTo' | 'expiration' | 'mandatory'
> & { readonly headers?: Readonly<Record<string, string>> }

const frameMethod = 1
const frameHeader = 2
const frameBody = 3
const frameEnd = 0xce
const frameHeadSize = 7
const frameOverhead = frameHeadSize + 1
const classBasic = 60
const methodPublish = 40
const mandatoryBit = 1
const longString = 'S'.charCodeAt(0)
const shortStringMax = 255
/** Bits of the properties that are present, in the order in which they are written. */
const flag = {
  headers: 1 << 13,
  correlationId: 1 << 10,
  replyTo: 1 << 9,
  expiration: 1 << 8,
  type: 1 << 5,
  appId: 1 << 3,
}

const slabBytes = 64 * 1024
/** From here on a body is not copied. */
const copyBytesMax = 4 * 1024

interface Wire {
  readonly stream: Duplex
  readonly channel: number
  readonly bodyBytesMax: number
}

export class Publisher {
  readonly #wire: Wire
  /** Whole pieces for the socket, in order; what is written of the slab stands behind them. */
  #pieces: Uint8Array[] = []
  #slab: Buffer = Buffer.allocUnsafeSlow(slabBytes)
  #from = 0
  #at = 0
  #scheduled = false

  constructor(connection: ChannelModel, channel: Channel) {
    this.#wire = wireOf(connection, channel)
  }

  /** Leaves with everything else of this turn. Throws when a name is longer than AMQP allows. */
  publish(exchange: string, routingKey: string, properties: PublishProperties, body: Buffer): void {
    const headSize = sizeOf(exchange, routingKey, properties)
    this.#reserve(headSize)
    const startAt = this.#at
    try {
      this.#head(exchange, routingKey, properties, body.length)
    } catch (error) {
      // Nothing of it leaves.
      this.#at = startAt
      throw error
    }
    this.#body(body)
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => this.flush())
  }

  /** Hands over what waits. */
  flush(): void {
    this.#scheduled = false
    this.#cut()
    const pieces = this.#pieces
    if (pieces.length === 0) return
    this.#pieces = []
    const { stream } = this.#wire
    if (stream.destroyed || stream.writableEnded) return
    if (pieces.length > 1) stream.cork()
    for (const piece of pieces) stream.write(piece)
    if (pieces.length > 1) stream.uncork()
  }

  #body(body: Buffer): void {
    const { channel, bodyBytesMax } = this.#wire
    for (let from = 0; from < body.length; from += bodyBytesMax) {
      const part = from === 0 && body.length <= bodyBytesMax ? body : body.subarray(from, from + bodyBytesMax)
      const isCopied = part.length < copyBytesMax
      this.#reserve(frameOverhead + (isCopied ? part.length : 0))
      this.#frameHead(frameBody, channel, part.length)
      if (isCopied) {
        this.#slab.set(part, this.#at)
        this.#at += part.length
      } else {
        this.#cut()
        this.#pieces.push(part)
        this.#reserve(1)
      }
      this.#slab[this.#at++] = frameEnd
    }
  }

  #head(exchange: string, routingKey: string, properties: PublishProperties, bodySize: number): void {
    const { channel } = this.#wire
    const slab = this.#slab
    const methodAt = this.#frameHead(frameMethod, channel, 0)
    this.#u16(classBasic)
    this.#u16(methodPublish)
    this.#u16(0)
    this.#shortString(exchange)
    this.#shortString(routingKey)
    slab[this.#at++] = properties.mandatory === true ? mandatoryBit : 0
    this.#endFrame(methodAt)
    const headerAt = this.#frameHead(frameHeader, channel, 0)
    this.#u16(classBasic)
    this.#u16(0)
    this.#at = slab.writeUInt32BE(0, this.#at)
    this.#at = slab.writeUInt32BE(bodySize, this.#at)
    this.#properties(properties)
    this.#endFrame(headerAt)
  }

  #properties({ headers, correlationId, replyTo, expiration, type, appId }: PublishProperties): void {
    const flagsAt = this.#at
    this.#at += 2
    let flags = 0
    if (headers !== undefined) {
      flags |= flag.headers
      this.#table(headers)
    }
    flags |= this.#property(flag.correlationId, correlationId)
    flags |= this.#property(flag.replyTo, replyTo)
    flags |= this.#property(flag.expiration, expiration)
    flags |= this.#property(flag.type, type)
    flags |= this.#property(flag.appId, appId)
    this.#slab.writeUInt16BE(flags, flagsAt)
  }

  /** The bit that says that it is there. */
  #property(bit: number, text: string | number | undefined): number {
    if (text === undefined) return 0
    this.#shortString(String(text))
    return bit
  }

  #table(headers: Readonly<Record<string, string>>): void {
    const slab = this.#slab
    const sizeAt = this.#at
    this.#at += 4
    for (const name in headers) {
      this.#shortString(name)
      slab[this.#at++] = longString
      const valueAt = this.#at + 4
      const size = slab.write(headers[name] ?? '', valueAt, 'utf8')
      slab.writeUInt32BE(size, this.#at)
      this.#at = valueAt + size
    }
    slab.writeUInt32BE(this.#at - sizeAt - 4, sizeAt)
  }

  #shortString(text: string): void {
    const size = this.#slab.write(text, this.#at + 1, 'utf8')
    if (size > shortStringMax) throw new Error('a name above 255 bytes')
    this.#slab[this.#at] = size
    this.#at += 1 + size
  }

  #u16(value: number): void {
    this.#at = this.#slab.writeUInt16BE(value, this.#at)
  }

  /** Where the payload begins. */
  #frameHead(type: number, channel: number, size: number): number {
    const slab = this.#slab
    slab[this.#at] = type
    slab.writeUInt16BE(channel, this.#at + 1)
    this.#at = slab.writeUInt32BE(size, this.#at + 3)
    return this.#at
  }

  #endFrame(payloadAt: number): void {
    this.#slab.writeUInt32BE(this.#at - payloadAt, payloadAt - 4)
    this.#slab[this.#at++] = frameEnd
  }

  /** What is written of the slab so far is a piece; what is the socket's is never written again. */
  #cut(): void {
    if (this.#at > this.#from) this.#pieces.push(this.#slab.subarray(this.#from, this.#at))
    this.#from = this.#at
  }

  #reserve(size: number): void {
    if (this.#at + size <= this.#slab.length) return
    this.#cut()
    this.#slab = Buffer.allocUnsafeSlow(Math.max(slabBytes, size))
    this.#from = 0
    this.#at = 0
  }
}

/** At most: a UTF-16 unit takes up to 3 bytes. */
function sizeOf(exchange: string, routingKey: string, properties: PublishProperties): number {
  const { headers, correlationId = '', replyTo = '', expiration = '', type = '', appId = '' } = properties
  let units = exchange.length + routingKey.length
  units += correlationId.length + replyTo.length + String(expiration).length + type.length + appId.length
  let fixed = 2 * frameOverhead + 7 + 14 + 7
  for (const name in headers) {
    units += name.length + (headers[name]?.length ?? 0)
    fixed += 6
  }
  return fixed + 4 + units * 3
}

/** The library has no public names for these; a version without them shows at the first connection. */
function wireOf(connection: ChannelModel, channel: Channel): Wire {
  const inner: unknown = connection.connection
  if (typeof inner === 'object' && inner !== null && 'stream' in inner && 'frameMax' in inner && 'ch' in channel) {
    const { stream, frameMax } = inner
    const number: unknown = channel.ch
    if (stream instanceof Duplex && typeof frameMax === 'number' && typeof number === 'number') {
      // 0: the broker names no limit.
      const bodyBytesMax = frameMax > frameOverhead ? frameMax - frameOverhead : 0x7fff_ffff
      return { stream, channel: number, bodyBytesMax }
    }
  }
  throw new Error('amqplib has changed: no socket, frame size or channel number')
}
