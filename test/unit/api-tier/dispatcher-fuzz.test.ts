// Proves that no bytes crash the dispatcher or go unanswered: mutated calls, seeded (TRUNKLINE_SEED replays a run).
import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { nullApiMetrics } from '../../../src/api-tier/api-metrics.ts'
import { ThriftDispatcher } from '../../../src/api-tier/thrift/dispatcher.ts'
import { framed } from '../../../src/api-tier/thrift/foreign-protocols.ts'
import { FrameReader } from '../../../src/api-tier/thrift/frame-reader.ts'
import { defaultLimits } from '../../../src/protocol/limits.ts'
import { mode } from '../../../src/protocol/messages.ts'
import { encodeCall } from '../../../src/protocol/thrift/message.ts'
import { scale } from '../../support/scale.ts'
import { context, gatewayCalls, replied, tokenOf, turn, writeToken } from './support.ts'

const seed = Number(process.env['TRUNKLINE_SEED'] ?? 20_240_611)
const rounds = scale(20_000, 200_000)

const proof = { bearer: 'alice', slot: 0, seq: 1, challenge: Uint8Array.of(1, 2, 3) }
const event = { key: Uint8Array.of(1), payload: new Uint8Array(40), headers: new Map([['a', 'b']]), id: 'x' }
const samples = [
  encodeCall('allocate', 1, { proof, topic: 'quakes', mode: mode.read, startAt: { earliest: true } }),
  encodeCall('read', 2, { proof, session: tokenOf(), n: 1, asEvents: true }),
  encodeCall('write', 3, { proof, session: writeToken(), n: 1, events: [event, event] }),
  encodeCall('ack', 4, { proof, session: tokenOf(), n: 1 }),
  encodeCall('describe', 5, { proof, topic: 'quakes' }),
]

function mutate(random: SeededRandom, source: Uint8Array): Uint8Array {
  const bytes = Buffer.from(source)
  const pick = (below: number): number => Math.floor(random.fraction() * below)
  switch (pick(5)) {
    case 0:
      return bytes.subarray(0, pick(bytes.length))
    case 1:
      bytes.writeInt32BE(pick(2) === 0 ? 0x7fff_ffff : -pick(100), pick(bytes.length - 4))
      return bytes
    case 2: {
      const at = pick(bytes.length)
      return Buffer.concat([bytes.subarray(0, at), random.bytes(pick(16)), bytes.subarray(at)])
    }
    default:
      for (let change = pick(4); change >= 0; change--) bytes[pick(bytes.length)] = pick(256)
      return bytes
  }
}

describe(`the dispatcher under mutated calls (TRUNKLINE_SEED=${seed}, ${rounds} rounds)`, () => {
  it('answers every one of them with one message, in fixed words', async () => {
    const random = new SeededRandom(seed)
    const { calls } = gatewayCalls(({ envelope }) => {
      switch (envelope.method) {
        case 'read':
          return replied('read', { turn, n: 1, count: 0, cursor: new Uint8Array(1), blocks: [] })
        case 'write':
          return replied('write', { turn, n: 1, published: true })
        case 'ack':
          return replied('ack', { turn, n: 1 })
        default:
          return replied('describe', { version: '1', limits: defaultLimits, features: [] })
      }
    })
    const dispatcher = new ThriftDispatcher({ calls, metrics: nullApiMetrics })
    const kinds = new Map<string, number>()
    let worstMs = 0
    for (let round = 0; round < rounds; round++) {
      const sample = samples[round % samples.length] ?? new Uint8Array()
      const message = mutate(random, sample)
      const startedMs = performance.now()
      const dispatched = await dispatcher.dispatch(message, 'thrift-tcp', context)
      worstMs = Math.max(worstMs, performance.now() - startedMs)
      const word = Buffer.from(dispatched.message).readUInt32BE(0)
      const type = word & 0xff
      expect(word >>> 16).toBe(0x8001)
      if (type === 3)
        expect(String(Buffer.from(dispatched.message))).toMatch(/Thrift binary call|no such method|do not fit the IDL/)
      kinds.set(`${dispatched.kind} ${type}`, (kinds.get(`${dispatched.kind} ${type}`) ?? 0) + 1)
    }
    process.stdout.write(`${rounds} mutated Thrift messages: worst ${worstMs.toFixed(0)} ms\n`)
    // Each kind of answer came: the mutations reach past the header and past the codec.
    expect([...kinds.keys()].sort()).toEqual(['garbage 3', 'reply 2', 'reply 3'])
  }, 120_000)
})

describe('the frame reader', () => {
  it('gives the same frames however the stream is cut', () => {
    const random = new SeededRandom(seed)
    const messages = Array.from({ length: 200 }, () => random.bytes(Math.floor(random.fraction() * 3_000)))
    const stream = Buffer.concat(messages.map(framed))
    for (const cutMax of [1, 7, 100, 5_000]) {
      const reader = new FrameReader(4_000)
      const found: string[] = []
      for (let at = 0; at < stream.length; ) {
        const size = 1 + Math.floor(random.fraction() * cutMax)
        reader.push(stream.subarray(at, at + size))
        at += size
        for (;;) {
          const read = reader.next()
          if (read.kind !== 'frame') break
          found.push(Buffer.from(read.content).toString('hex'))
        }
      }
      expect(found).toEqual(messages.map((message) => Buffer.from(message).toString('hex')))
      expect(reader.pendingBytes).toBe(0)
    }
  })

  it('tells an oversize frame by its length alone', () => {
    const reader = new FrameReader(100)
    reader.push(Buffer.from([0, 0, 0, 101, 1, 2]))
    expect(reader.next()).toEqual({ kind: 'oversize', declaredBytes: 101, start: Buffer.from([1, 2]) })
  })
})
