// However the bytes of a connection are cut into chunks, the library reads the same frames from them.
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Duplex } from 'node:stream'
import type { ChannelModel } from 'amqplib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { joinChunksOnce } from '../../../../src/adapters/rabbitmq/incoming-frames.ts'

interface Frame {
  readonly channel: number
  readonly payload: Buffer
  readonly rest: Buffer
}

const require = createRequire(import.meta.url)
/** Its inner files have no public names. */
const lib = join(dirname(require.resolve('amqplib')), 'lib')
const { parseFrame, makeBodyFrame } = require(join(lib, 'frame.js')) as {
  readonly parseFrame: (bytes: Buffer, max: number) => Frame | false
  readonly makeBodyFrame: (channel: number, body: Buffer) => Buffer
}

/** Reads as the library's connection does. */
class Inner {
  readonly stream: Duplex
  readonly maxFrameSize: number
  rest = Buffer.alloc(0)
  recvSinceLastCheck = false

  constructor(chunks: readonly Buffer[], maxFrameSize: number) {
    this.maxFrameSize = maxFrameSize
    const left = [...chunks]
    this.stream = Object.assign(new Duplex({ read: () => {}, write: (_, __, done) => done() }), {
      read: () => left.shift() ?? null,
    })
  }

  recvFrame(): Frame | false {
    const frame = parseFrame(this.rest, this.maxFrameSize)
    if (frame === false) {
      const chunk: unknown = this.stream.read()
      if (!Buffer.isBuffer(chunk)) return false
      this.rest = Buffer.concat([this.rest, chunk])
      return this.recvFrame()
    }
    this.rest = Buffer.from(frame.rest)
    return frame
  }
}

function framesFrom(chunks: readonly Buffer[], maxFrameSize: number): [number, string][] {
  const inner = new Inner(chunks, maxFrameSize)
  joinChunksOnce({ connection: inner } as unknown as ChannelModel)
  const frames: [number, string][] = []
  for (let frame = inner.recvFrame(); frame !== false; frame = inner.recvFrame())
    frames.push([frame.channel, frame.payload.toString('hex')])
  return frames
}

function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = []
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1
    chunks.push(bytes.subarray(at, at + size))
    at += size
  }
  return chunks
}

describe('frames of a connection', () => {
  it.each([0, 4_096])(
    'given any frames in chunks of any size, then each is read once, whole and in order (limit %i)',
    (limit) => {
      const bodies = fc.array(fc.uint8Array({ maxLength: 600 }), { minLength: 1, maxLength: 12 })
      const sizes = fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 1, maxLength: 8 })
      fc.assert(
        fc.property(bodies, sizes, (all, cuts) => {
          const expected = all.map((body, index): [number, string] => [index, Buffer.from(body).toString('hex')])
          const bytes = Buffer.concat(all.map((body, index) => makeBodyFrame(index, Buffer.from(body))))
          expect(framesFrom(cut(bytes, cuts), limit)).toEqual(expected)
        }),
        { numRuns: 300 },
      )
    },
  )

  it('given a frame above what was agreed, then it is refused by its head, before more of it is read', () => {
    const frame = makeBodyFrame(1, Buffer.alloc(5_000))
    expect(() => framesFrom(cut(frame, [100]).slice(0, 1), 4_096)).toThrow('exceeds maxFrameSize')
  })

  it('given a library that reads otherwise, then it says so when a connection is opened', () => {
    expect(() => joinChunksOnce({ connection: { stream: new Duplex() } } as unknown as ChannelModel)).toThrow(
      'amqplib has changed',
    )
  })
})
