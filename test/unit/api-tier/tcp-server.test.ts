// Proves the Thrift listener with raw sockets: framing, pipelining, limits, foreign protocols, broken peers, drain.
import { connect, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { nullApiMetrics } from '../../../src/api-tier/api-metrics.ts'
import type { Backlog } from '../../../src/api-tier/quotas/fair-queue.ts'
import { ThriftDispatcher } from '../../../src/api-tier/thrift/dispatcher.ts'
import { framed } from '../../../src/api-tier/thrift/foreign-protocols.ts'
import type { TcpLimits } from '../../../src/api-tier/thrift/tcp-connection.ts'
import { ThriftTcpServer } from '../../../src/api-tier/thrift/tcp-server.ts'
import type { Clock } from '../../../src/ports/clock.ts'
import type { CallOutcome } from '../../../src/ports/switchboard.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { frameBytesMax } from '../../../src/protocol/limits.ts'
import { defaultTenant } from '../../../src/protocol/tenant-topics.ts'
import { decodeReply, encodeCall } from '../../../src/protocol/thrift/message.ts'
import {
  gatewayCalls,
  random,
  refused,
  replied,
  type SeenCall,
  silentLogger,
  tokenOf,
  turn,
  writeToken,
} from './support.ts'

const cleanups: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

interface UnderTest {
  readonly server: ThriftTcpServer
  readonly port: number
  readonly seen: SeenCall[]
}

async function serverWith(
  answer: (seen: SeenCall) => CallOutcome | Promise<CallOutcome>,
  over: {
    limits?: Partial<TcpLimits>
    clock?: Clock
    connectionsMax?: number
    arrivingBytesMax?: number
    backlog?: Backlog
  } = {},
): Promise<UnderTest> {
  const { calls, board } = gatewayCalls(answer)
  const server = new ThriftTcpServer({
    dispatcher: new ThriftDispatcher({ calls, metrics: nullApiMetrics }),
    clock: over.clock ?? systemClock,
    random,
    metrics: nullApiMetrics,
    logger: silentLogger,
    backlog: over.backlog,
    ...(over.limits === undefined ? {} : { limits: over.limits }),
    ...(over.arrivingBytesMax === undefined ? {} : { arrivingBytesMax: over.arrivingBytesMax }),
    ...(over.connectionsMax === undefined ? {} : { connectionsMax: over.connectionsMax }),
  })
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 })
  cleanups.push(() => server.close())
  return { server, port, seen: board.seen }
}

/** A raw client that collects frames and bytes. */
class RawClient {
  readonly socket: Socket
  readonly closed: Promise<void>
  bytes = Buffer.alloc(0)
  #wake: (() => void)[] = []

  constructor(port: number) {
    this.socket = connect({ host: '127.0.0.1', port, noDelay: true })
    this.socket.on('data', (chunk: Buffer) => {
      this.bytes = Buffer.concat([this.bytes, chunk])
      this.#signal()
    })
    this.socket.on('error', () => {})
    this.closed = new Promise((resolve) => {
      this.socket.on('close', () => {
        resolve()
        this.#signal()
      })
    })
    cleanups.push(() => {
      this.socket.destroy()
    })
  }

  send(...messages: Uint8Array[]): void {
    this.socket.write(Buffer.concat(messages.map(framed)))
  }

  /** The next whole frame's content. */
  async frame(): Promise<Buffer> {
    for (;;) {
      const size = this.bytes.length >= 4 ? this.bytes.readUInt32BE(0) : undefined
      if (size !== undefined && this.bytes.length >= 4 + size) {
        const frame = this.bytes.subarray(4, 4 + size)
        this.bytes = this.bytes.subarray(4 + size)
        return frame
      }
      if (this.socket.closed) throw new Error('closed before a whole frame')
      await new Promise<void>((resolve) => this.#wake.push(resolve))
    }
  }

  #signal(): void {
    for (const wake of this.#wake.splice(0)) wake()
  }
}

const extendCall = (seqid: number): Uint8Array => encodeCall('extend', seqid, { session: tokenOf() })
const extendReply = (): CallOutcome => replied('extend', { turn, expiresAtMs: 5 })
const readCall = (seqid: number, n: number): Uint8Array =>
  encodeCall('read', seqid, { session: tokenOf(), n, waitMs: 30_000 })

describe('the Thrift TCP listener', () => {
  it('answers a framed call', async () => {
    const { port, seen } = await serverWith(extendReply)
    const client = new RawClient(port)
    client.send(extendCall(41))
    expect(decodeReply('extend', await client.frame())).toEqual({ seqid: 41, reply: { turn, expiresAtMs: 5 } })
    expect(seen[0]?.envelope.method).toBe('extend')
  })

  it('answers pipelined calls in the order in which they finish', async () => {
    let release: (outcome: CallOutcome) => void = () => {}
    const slow = new Promise<CallOutcome>((resolve) => {
      release = resolve
    })
    const { port } = await serverWith(({ envelope }) => (envelope.method === 'read' ? slow : extendReply()))
    const client = new RawClient(port)
    client.send(readCall(1, 1), extendCall(2), extendCall(3))
    expect(decodeReply('extend', await client.frame()).seqid).toBe(2)
    expect(decodeReply('extend', await client.frame()).seqid).toBe(3)
    release(replied('read', { turn, n: 1, count: 0, cursor: Uint8Array.of(1) }))
    expect(decodeReply('read', await client.frame()).seqid).toBe(1)
  })

  it('given a tenant that has much waiting, when it pipelines more, then no more is read until it may go on, and answers go out', async () => {
    let isLong = true
    const held: (() => void)[] = []
    const asked: string[] = []
    const backlog: Backlog = {
      holdBack: (tenant, goOn) => {
        asked.push(tenant)
        if (!isLong) return undefined
        held.push(goOn)
        return () => void held.splice(0)
      },
    }
    const { port, seen } = await serverWith(extendReply, { backlog })
    const client = new RawClient(port)
    client.send(extendCall(1), extendCall(2), extendCall(3))
    // Nobody knows whose it is before one is read.
    expect(decodeReply('extend', await client.frame()).seqid).toBe(1)
    expect([seen.length, held.length, asked[0]]).toEqual([1, 1, defaultTenant])
    client.send(extendCall(4))
    held.shift()?.()
    expect(decodeReply('extend', await client.frame()).seqid).toBe(2)
    expect([seen.length, held.length]).toEqual([2, 1])
    isLong = false
    held.shift()?.()
    expect(decodeReply('extend', await client.frame()).seqid).toBe(3)
    expect(decodeReply('extend', await client.frame()).seqid).toBe(4)
  })

  it('given a connection that is held back, when the gateway closes it, then nobody has to tell it any more', async () => {
    const held: (() => void)[] = []
    const backlog: Backlog = {
      holdBack: (_, goOn) => {
        held.push(goOn)
        return () => void held.splice(0)
      },
    }
    const { port, server } = await serverWith(extendReply, { backlog })
    const client = new RawClient(port)
    client.send(extendCall(1))
    await client.frame()
    expect(held).toHaveLength(1)
    await server.close()
    expect(held).toHaveLength(0)
  })

  it.each(['the peer has sent all', 'the gateway drains'])(
    'given a connection that is held back with calls that have arrived, when %s, then they are answered',
    async (what) => {
      let holds = 0
      const backlog: Backlog = {
        holdBack: () => {
          holds += 1
          return () => {
            holds -= 1
          }
        },
      }
      const { port, server } = await serverWith(extendReply, { backlog })
      const client = new RawClient(port)
      client.send(extendCall(1), extendCall(2), extendCall(3))
      expect(decodeReply('extend', await client.frame()).seqid).toBe(1)
      expect(holds).toBe(1)
      if (what === 'the gateway drains') void server.close()
      else client.socket.end()
      expect(decodeReply('extend', await client.frame()).seqid).toBe(2)
      expect(decodeReply('extend', await client.frame()).seqid).toBe(3)
      expect(holds).toBe(0)
    },
  )

  it('sends the declared exception for an error of the node', async () => {
    const { port } = await serverWith(() => refused(new TrunklineError('SEQUENCE_MISMATCH', { expected: 4, turn })))
    const client = new RawClient(port)
    client.send(extendCall(5))
    const answer = decodeReply('extend', await client.frame())
    expect('error' in answer && [answer.error.name, answer.error.expected, answer.error.turn]).toEqual([
      'SEQUENCE_MISMATCH',
      4,
      turn,
    ])
  })

  it('passes two calls of one step at once on to the node, which is the one to judge them', async () => {
    let first: (outcome: CallOutcome) => void = () => {}
    let count = 0
    const { port } = await serverWith(() => {
      count += 1
      if (count > 1) return refused(new TrunklineError('STEP_BUSY'))
      return new Promise<CallOutcome>((resolve) => {
        first = resolve
      })
    })
    const client = new RawClient(port)
    client.send(readCall(1, 7), readCall(2, 7))
    const busy = decodeReply('read', await client.frame())
    expect('error' in busy && [busy.seqid, busy.error.name]).toEqual([2, 'STEP_BUSY'])
    first(replied('read', { turn, n: 7, count: 0, cursor: Uint8Array.of(1) }))
    expect(decodeReply('read', await client.frame()).seqid).toBe(1)
  })

  it('reads a frame that comes byte by byte', async () => {
    const { port } = await serverWith(extendReply)
    const client = new RawClient(port)
    for (const byte of framed(extendCall(6))) client.socket.write(Uint8Array.of(byte))
    expect(decodeReply('extend', await client.frame()).seqid).toBe(6)
  })

  it('answers an unknown method as such and goes on', async () => {
    const { port } = await serverWith(extendReply)
    const client = new RawClient(port)
    const unknown = Buffer.from(extendCall(7)).toString('latin1').replace('extend', 'explod')
    client.send(Buffer.from(unknown, 'latin1'), extendCall(8))
    const answer = decodeReply('extend', await client.frame())
    expect('error' in answer && [answer.seqid, answer.error.name]).toEqual([7, 'UNKNOWN_METHOD'])
    expect(decodeReply('extend', await client.frame()).seqid).toBe(8)
  })

  it('answers arguments that do not fit the IDL and goes on', async () => {
    const { port, seen } = await serverWith(extendReply)
    const client = new RawClient(port)
    const call = extendCall(9)
    client.send(call.subarray(0, call.length - 6), extendCall(10))
    const answer = decodeReply('extend', await client.frame())
    expect('error' in answer && [answer.seqid, answer.error.name]).toEqual([9, 'MALFORMED_FRAME'])
    expect(decodeReply('extend', await client.frame()).seqid).toBe(10)
    expect(seen).toHaveLength(1)
  })

  it('says why and closes when a frame holds no Thrift message', async () => {
    const { port, seen } = await serverWith(extendReply)
    const client = new RawClient(port)
    client.send(Buffer.from('what is this'), extendCall(1))
    const answer = decodeReply('extend', await client.frame())
    expect('error' in answer && answer.error.name).toBe('MALFORMED_FRAME')
    await client.closed
    expect(seen).toHaveLength(0)
  })

  it('answers a frame above the limit by its call without reading it, then closes', async () => {
    const { port, seen } = await serverWith(extendReply)
    const client = new RawClient(port)
    const call = extendCall(11)
    const head = Buffer.alloc(4)
    head.writeUInt32BE(frameBytesMax + 1, 0)
    client.socket.write(Buffer.concat([head, call]))
    const answer = decodeReply('extend', await client.frame())
    expect('error' in answer && [answer.seqid, answer.error.name]).toEqual([11, 'FRAME_TOO_LARGE'])
    await client.closed
    expect(seen).toHaveLength(0)
  })

  it.each([
    ['TLS', Buffer.from([0x16, 0x03, 0x01, 0x00, 0x05]), Buffer.from([0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 70])],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.from('HTTP/1.1 400')],
    ['unframed Thrift', Buffer.from(extendCall(1)), Buffer.from([0x80, 0x01, 0x00, 0x03])],
    ['anything else', Buffer.from([0x7b, 0x7d]), Buffer.from([0x00])],
  ])('tells a peer that speaks %s, and closes', async (_name, sent, begin) => {
    const { port } = await serverWith(extendReply)
    const client = new RawClient(port)
    client.socket.write(sent)
    await client.closed
    expect(client.bytes.subarray(0, begin.length)).toEqual(begin)
  })

  it('survives a reset in the middle of a frame and of a call', async () => {
    const { port, server, seen } = await serverWith(() => new Promise<CallOutcome>(() => {}))
    const broken = new RawClient(port)
    broken.send(readCall(1, 1))
    broken.socket.write(Buffer.from([0, 0, 1, 0, 0x80]))
    await until(() => seen.length === 1 && broken.socket.writableLength === 0)
    broken.socket.resetAndDestroy()
    await until(() => server.connections === 0)
    const { port: other } = await serverWith(extendReply)
    const client = new RawClient(other)
    client.send(extendCall(1))
    expect(decodeReply('extend', await client.frame()).seqid).toBe(1)
  })

  it('aborts the calls of a peer that is gone', async () => {
    const clock = new SimulatedClock()
    const { port, seen, server } = await serverWith(() => new Promise<CallOutcome>(() => {}), { clock })
    const client = new RawClient(port)
    client.send(readCall(1, 1))
    await until(() => seen.length === 1)
    client.socket.destroy()
    await client.closed
    await turns(20)
    await clock.advance(5_001)
    expect(server.connections).toBeLessThanOrEqual(1)
    await until(() => seen[0]?.options.signal?.aborted === true)
  })

  it('stops reading at the limit of calls in flight, and goes on when one is answered', async () => {
    const waiting: ((outcome: CallOutcome) => void)[] = []
    const { port, seen } = await serverWith(() => new Promise<CallOutcome>((resolve) => waiting.push(resolve)), {
      limits: { callsMax: 4 },
    })
    const client = new RawClient(port)
    client.send(...Array.from({ length: 10 }, (_, seqid) => extendCall(seqid)))
    await until(() => seen.length === 4)
    await turns(5)
    expect(seen).toHaveLength(4)
    waiting.shift()?.(extendReply())
    await client.frame()
    await until(() => seen.length === 5)
    while (seen.length < 10 || waiting.length > 0) {
      waiting.shift()?.(extendReply())
      await turns(1)
    }
    for (let answered = 1; answered < 10; answered++) await client.frame()
  })

  it('stops reading while the peer reads none of its answers', async () => {
    const data = new Uint8Array(1_000_000)
    const { port, seen } = await serverWith(
      () => replied('read', { turn, n: 1, count: 1, cursor: data.subarray(0, 8), blocks: [block(data)] }),
      { limits: { bytesMax: 2_000_000, callsMax: 2 } },
    )
    const client = new RawClient(port)
    client.socket.pause()
    client.send(...Array.from({ length: 100 }, (_, seqid) => readCall(seqid, 1)))
    await until(() => seen.length >= 3)
    await turns(50)
    expect(seen.length).toBeLessThan(50)
    client.socket.resume()
    for (let answered = 0; answered < 100; answered++) await client.frame()
    expect(seen).toHaveLength(100)
  })

  it('answers what it was asked when the peer has ended its side', async () => {
    const { port } = await serverWith(extendReply, { limits: { callsMax: 1 } })
    const client = new RawClient(port)
    client.socket.end(Buffer.concat([framed(extendCall(1)), framed(extendCall(2)), framed(extendCall(3))]))
    for (const seqid of [1, 2, 3]) expect(decodeReply('extend', await client.frame()).seqid).toBe(seqid)
    await client.closed
  })

  it('closes a connection that never finishes its frame', async () => {
    const clock = new SimulatedClock()
    const { port, server } = await serverWith(extendReply, { clock })
    const client = new RawClient(port)
    client.socket.write(Buffer.from([0x00]))
    await until(() => server.connections === 1)
    await turns(20)
    await clock.advance(15_001)
    await client.closed
  })

  it('closes an idle connection, but none whose call waits', async () => {
    const clock = new SimulatedClock()
    let answer: (outcome: CallOutcome) => void = () => {}
    const { port, server, seen } = await serverWith(
      () =>
        new Promise<CallOutcome>((resolve) => {
          answer = resolve
        }),
      { clock },
    )
    const waiting = new RawClient(port)
    const idle = new RawClient(port)
    waiting.send(readCall(1, 1))
    await until(() => seen.length === 1 && server.connections === 2)
    await clock.advance(120_001)
    await idle.closed
    expect(server.connections).toBe(1)
    answer(replied('read', { turn, n: 1, count: 0, cursor: Uint8Array.of(1) }))
    expect(decodeReply('read', await waiting.frame()).seqid).toBe(1)
  })

  it('closes connections above the limit', async () => {
    const { port, server } = await serverWith(extendReply, { connectionsMax: 1 })
    const first = new RawClient(port)
    first.send(extendCall(1))
    await first.frame()
    await new RawClient(port).closed
    expect(server.connections).toBe(1)
  })

  it('drains: answers what runs, refuses what comes as DRAINING, then ends', async () => {
    let answer: (outcome: CallOutcome) => void = () => {}
    const { port, server, seen } = await serverWith(
      () =>
        new Promise<CallOutcome>((resolve) => {
          answer = resolve
        }),
    )
    const client = new RawClient(port)
    client.send(readCall(1, 1))
    await until(() => seen.length === 1)
    const drained = server.drain(5_000)
    client.send(extendCall(2))
    const refusal = decodeReply('extend', await client.frame())
    expect('error' in refusal && [refusal.seqid, refusal.error.name]).toEqual([2, 'DRAINING'])
    answer(replied('read', { turn, n: 1, count: 0, cursor: Uint8Array.of(1) }))
    expect(decodeReply('read', await client.frame()).seqid).toBe(1)
    await client.closed
    await drained
    expect(seen).toHaveLength(1)
  })

  it('drains no longer than its deadline', async () => {
    const clock = new SimulatedClock()
    const { port, server, seen } = await serverWith(() => new Promise<CallOutcome>(() => {}), { clock })
    const client = new RawClient(port)
    client.send(readCall(1, 1))
    await until(() => seen.length === 1)
    const drained = server.drain(3_000)
    await clock.advance(3_000)
    await drained
    await client.closed
  })

  it('carries a write of the largest frame', async () => {
    const { port, seen } = await serverWith(() => replied('write', { turn, n: 1, published: false }))
    const client = new RawClient(port)
    client.send(encodeCall('write', 1, { session: writeToken(), n: 1, blocks: [block(new Uint8Array(1_250_000))] }))
    expect(decodeReply('write', await client.frame()).seqid).toBe(1)
    expect(seen[0]?.envelope.body.length).toBeGreaterThan(1_250_000)
  })
})

function block(data: Uint8Array) {
  return { partition: 0, packing: 1, count: 1, encoding: 0, rawSize: data.length, data }
}

/** Lets the loop turn until it is so; the test's own time limit ends a wait in vain. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await turns(1)
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

describe('unfinished frames', () => {
  /** 200 KB: two do not fit. */
  const large = framed(encodeCall('extend', 7, { session: new Uint8Array(200_000) }))
  const half = large.length / 2

  async function until(holds: () => boolean): Promise<void> {
    for (let attempt = 0; !holds(); attempt++) {
      if (attempt === 3_000) throw new Error('it never came')
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }

  /** One holds the place, another waits for it, and has sent everything. */
  async function twoPeers(): Promise<{
    clock: SimulatedClock
    server: ThriftTcpServer
    peers: [RawClient, RawClient]
  }> {
    const clock = new SimulatedClock()
    const { server, port } = await serverWith(extendReply, { clock, arrivingBytesMax: 300_000 })
    const peers: [RawClient, RawClient] = [new RawClient(port), new RawClient(port)]
    peers[0].socket.write(large.subarray(0, half))
    await until(() => server.arrivals.bytes === large.length)
    peers[1].socket.write(large)
    await until(() => server.arrivals.waiting === 1)
    return { clock, server, peers }
  }

  const answered = async (peer: RawClient): Promise<number> => decodeReply('extend', await peer.frame()).seqid

  it('share a budget: who waits is read on when the first frame is whole', async () => {
    const { server, peers } = await twoPeers()
    peers[0].socket.write(large.subarray(half))
    expect(await Promise.all(peers.map(answered))).toEqual([7, 7])
    expect([server.arrivals.bytes, server.arrivals.waiting]).toEqual([0, 0])
  })

  it('are cut when somebody waits and they have had their time', async () => {
    const { clock, server, peers } = await twoPeers()
    await clock.advance(1_000)
    expect(await answered(peers[1])).toBe(7)
    await peers[0].closed
    expect([server.arrivals.bytes, peers[0].bytes.length]).toEqual([0, 0])
  })

  it('end at their time limit also while they wait for a place', async () => {
    const clock = new SimulatedClock()
    const limits = { frameTimeoutMs: 500 }
    const { server, port } = await serverWith(extendReply, { clock, limits, arrivingBytesMax: 300_000 })
    const [holds, waits] = [new RawClient(port), new RawClient(port)]
    // A whole call before it, whose answer says that the beginning has come too.
    waits.socket.write(Buffer.concat([framed(extendCall(3)), large.subarray(0, 5_000)]))
    expect(await answered(waits)).toBe(3)
    await clock.advance(400)
    holds.socket.write(large.subarray(0, half))
    await until(() => server.arrivals.bytes === large.length)
    waits.socket.write(large.subarray(5_000, half))
    await until(() => server.arrivals.waiting === 1)
    await clock.advance(100)
    await until(() => server.arrivals.waiting === 0)
    expect(server.arrivals.bytes).toBe(large.length)
    await waits.closed
    await clock.advance(400)
    await holds.closed
    expect(server.arrivals.bytes).toBe(0)
  })

  it('give their places back when their connections break', async () => {
    const { server, peers } = await twoPeers()
    peers[0].socket.resetAndDestroy()
    expect(await answered(peers[1])).toBe(7)
    expect(server.arrivals.bytes).toBe(0)
  })
})
