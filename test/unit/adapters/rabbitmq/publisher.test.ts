// The frames that the publisher makes are those of the library, byte for byte, whatever is published.
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Duplex } from 'node:stream'
import type { Channel, ChannelModel } from 'amqplib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Publisher } from '../../../../src/adapters/rabbitmq/publisher.ts'

interface LibraryFrames {
  readonly BasicPublish: number
  readonly BasicProperties: number
  encodeMethod(method: number, channel: number, fields: object): Buffer
  encodeProperties(id: number, channel: number, size: number, fields: object): Buffer
}

const require = createRequire(import.meta.url)
/** Its inner files have no public names. */
const lib = join(dirname(require.resolve('amqplib')), 'lib')
const library = require(join(lib, 'defs.js')) as LibraryFrames
const { makeBodyFrame } = require(join(lib, 'frame.js')) as {
  readonly makeBodyFrame: (channel: number, body: Buffer) => Buffer
}
const channelNumber = 7
const frameMax = 4_096

class Wire extends Duplex {
  readonly chunks: Buffer[] = []
  writes = 0
  override _writev(chunks: readonly { chunk: Buffer }[], done: () => void): void {
    this.writes += 1
    for (const { chunk } of chunks) this.chunks.push(Buffer.from(chunk))
    done()
  }
  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.writes += 1
    this.chunks.push(Buffer.from(chunk))
    done()
  }
  override _read(): void {
    // Nothing comes.
  }
}

function made(): { readonly wire: Wire; readonly publisher: Publisher } {
  const wire = new Wire()
  const connection = { connection: { stream: wire, frameMax } } as unknown as ChannelModel
  return { wire, publisher: new Publisher(connection, { ch: channelNumber } as unknown as Channel) }
}

function framesOf({ exchange, routingKey, properties, body }: Published): Buffer {
  const { mandatory, ...rest } = properties
  const bodyMax = frameMax - 8
  const bodies: Buffer[] = []
  for (let at = 0; at < body.length; at += bodyMax)
    bodies.push(makeBodyFrame(channelNumber, body.subarray(at, at + bodyMax)))
  return Buffer.concat([
    library.encodeMethod(library.BasicPublish, channelNumber, { exchange, routingKey, mandatory: mandatory === true }),
    library.encodeProperties(library.BasicProperties, channelNumber, body.length, rest),
    ...bodies,
  ])
}

const text = fc.string({ unit: 'grapheme', maxLength: 20 })
const published = fc.record({
  exchange: text,
  routingKey: text,
  properties: fc.record(
    {
      appId: text,
      type: text,
      correlationId: text,
      replyTo: text,
      expiration: fc.nat().map(String),
      mandatory: fc.boolean(),
      headers: fc.dictionary(fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 12 }), text, { maxKeys: 5 }),
    },
    { requiredKeys: [] },
  ),
  body: fc
    .oneof(fc.uint8Array({ maxLength: 200 }), fc.uint8Array({ minLength: 4_000, maxLength: 20_000 }))
    .map((bytes) => Buffer.from(bytes)),
})
type Published = typeof published extends fc.Arbitrary<infer T> ? T : never

describe('publishing on a channel', () => {
  it('given any messages, then what reaches the socket is what the library would have written', () => {
    fc.assert(
      fc.property(fc.array(published, { minLength: 1, maxLength: 12 }), (messages) => {
        const { wire, publisher } = made()
        for (const { exchange, routingKey, properties, body } of messages)
          publisher.publish(exchange, routingKey, properties, body)
        publisher.flush()
        expect(Buffer.concat(wire.chunks).equals(Buffer.concat(messages.map(framesOf)))).toBe(true)
      }),
      { numRuns: 300 },
    )
  })

  it('given many messages in one turn, then they leave in one write; given none since, then flushing writes nothing', async () => {
    const { wire, publisher } = made()
    const message = { exchange: 'x', routingKey: 'k', properties: { type: 'call' }, body: Buffer.alloc(100, 1) }
    for (let i = 0; i < 1_000; i++) publisher.publish('x', 'k', message.properties, message.body)
    expect(wire.writes).toBe(0)
    await new Promise((resolve) => setImmediate(resolve))
    expect(wire.writes).toBe(1)
    expect(
      Buffer.concat(wire.chunks).equals(Buffer.concat(Array.from({ length: 1_000 }, () => framesOf(message)))),
    ).toBe(true)
    publisher.flush()
    expect(wire.writes).toBe(1)
  })

  it('given a name above 255 bytes, then it throws, and what was published before and after is whole', () => {
    const { wire, publisher } = made()
    const sound = { exchange: 'x', routingKey: 'k', properties: { type: 'call' }, body: Buffer.from('body') }
    publisher.publish('x', 'k', sound.properties, sound.body)
    expect(() => publisher.publish('x', 'k'.repeat(256), {}, sound.body)).toThrow('255')
    publisher.publish('x', 'k', sound.properties, sound.body)
    publisher.flush()
    expect(Buffer.concat(wire.chunks).equals(Buffer.concat([framesOf(sound), framesOf(sound)]))).toBe(true)
  })

  it('given a socket that is gone, then what was published is dropped without an error', () => {
    const { wire, publisher } = made()
    publisher.publish('x', 'k', {}, Buffer.from('late'))
    wire.destroy()
    publisher.flush()
    expect(wire.chunks).toEqual([])
  })

  it('given a library with other names, then it says so when a connection is opened', () => {
    const connection = { connection: { socket: new Wire() } } as unknown as ChannelModel
    expect(() => new Publisher(connection, { ch: 1 } as unknown as Channel)).toThrow('amqplib has changed')
  })
})
