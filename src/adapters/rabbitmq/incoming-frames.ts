// Owns: how bytes of a connection become frames: a frame that comes in several chunks is joined once. The library joins
// what it has with every chunk, and copies every chunk even when there is nothing to join.
// 1. What a frame is, and what it means, stays the library's: it is only asked when a whole frame is there.
// Leaves out: contents (link.ts).
import { Duplex } from 'node:stream'
import type { ChannelModel } from 'amqplib'

/** Of the library's connection, what it reads with. */
interface Inner {
  readonly stream: Duplex
  readonly maxFrameSize: number
  rest: Buffer
  recvSinceLastCheck: boolean
  recvFrame: () => unknown
}

const frameHeadSize = 7
const frameOverhead = 8
const sizeAt = 3

export function joinChunksOnce(connection: ChannelModel): void {
  const inner: unknown = connection.connection
  if (!isInner(inner)) throw new Error('amqplib has changed: its frames are read otherwise')
  const parse = inner.recvFrame.bind(inner)
  /** Behind `rest`, which holds the beginning of an unfinished frame. */
  let chunks: Buffer[] = []
  let bytes = 0
  inner.recvFrame = () => {
    for (;;) {
      const { rest } = inner
      const have = rest.length + bytes
      const needed = rest.length < frameHeadSize ? frameHeadSize : frameOverhead + rest.readUInt32BE(sizeAt)
      // A frame above what was agreed is the library's to refuse, before more of it is read.
      const isRefused = rest.length >= frameHeadSize && needed - frameOverhead > inner.maxFrameSize
      if (have >= needed || isRefused) {
        if (bytes > 0) {
          inner.rest = Buffer.concat([rest, ...chunks], have)
          chunks = []
          bytes = 0
          continue
        }
        return parse()
      }
      const chunk: unknown = inner.stream.read()
      if (!Buffer.isBuffer(chunk)) return false
      inner.recvSinceLastCheck = true
      if (rest.length === 0) inner.rest = chunk
      else {
        chunks.push(chunk)
        bytes += chunk.length
      }
    }
  }
}

function isInner(inner: unknown): inner is Inner {
  if (typeof inner !== 'object' || inner === null) return false
  return (
    'stream' in inner &&
    inner.stream instanceof Duplex &&
    'rest' in inner &&
    Buffer.isBuffer(inner.rest) &&
    'maxFrameSize' in inner &&
    typeof inner.maxFrameSize === 'number' &&
    'recvSinceLastCheck' in inner &&
    'recvFrame' in inner &&
    typeof inner.recvFrame === 'function'
  )
}
