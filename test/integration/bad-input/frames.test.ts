// Hostile peers at the Thrift and HTTP ports: the gateway stays up, its memory stays within a budget, no connection and no
// session is left behind, and others are served all the while.
import { connect as openSocket, type Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { buildBlock } from '../../../src/protocol/block.ts'
import { encoding } from '../../../src/protocol/messages.ts'
import { encodeCall } from '../../../src/protocol/thrift/message.ts'
import { memoryOf } from '../../support/memory.ts'
import { RawClient } from '../../support/raw-client.ts'
import { blockOf, bytes, Harness, payloadsOf } from '../sessions/harness.ts'

const mebibyte = 1024 * 1024
/** What one hostile peer may cost beyond what was there before: windows of 4 MiB each way, and garbage not collected yet. */
const budgetBytes = 160 * mebibyte

let at: Harness
const peers = new Set<Peer>()
beforeAll(async () => {
  at = await Harness.start({ requestTimeoutMs: 1_000, connectionsMax: 60 })
  await at.publish('good', blockOf(0, 'a'), blockOf(1, 'b'))
})
afterAll(() => at.end())

/** The gateway serves, and nothing is left of the peers. */
afterEach(async () => {
  for (const peer of peers) peer.socket.destroy()
  peers.clear()
  await at.eventually(async () => (await at.metric('trunkline_tcp_connections')) === 1, 'connections close')
  expect([...(await at.everything('good')).values()]).toEqual([['a'], ['b']])
  expect(await at.openSessions()).toBe(0)
  expect(await at.metric('trunkline_errors_total', { name: 'INTERNAL' })).toBe(0)
})

class Peer {
  readonly socket: Socket
  readonly closed: Promise<void>
  received: Buffer = Buffer.alloc(0)

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => {})
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()))
  }

  static async open(url = at.gateway.thriftUrl): Promise<Peer> {
    const { hostname, port } = new URL(url)
    const peer = new Peer(openSocket({ host: hostname, port: Number(port), noDelay: true }))
    peers.add(peer)
    await new Promise<void>((resolve, reject) => {
      peer.socket.once('connect', resolve)
      peer.socket.once('close', () => reject(new Error('was not let in')))
    })
    return peer
  }

  /** Keeps what comes. */
  listen(): this {
    this.socket.on('data', (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk])
    })
    return this
  }
}

function frame(content: Uint8Array, declared = content.length): Buffer {
  const head = Buffer.alloc(4)
  head.writeUInt32BE(declared)
  return Buffer.concat([head, content])
}

describe('frames', () => {
  it('Given a huge length, then the peer is told and the connection ends, without the memory it claims', async () => {
    const used = await memoryOf(async () => {
      for (const declared of [0xffff_ffff, 0x7fff_ffff, 0x00ff_ffff, 2 * mebibyte]) {
        const peer = (await Peer.open()).listen()
        peer.socket.write(frame(encodeCall('describe', 9, { proof: { bearer: at.bearer } }), declared))
        await peer.closed
        expect(peer.received.length).toBeGreaterThan(0)
      }
    })
    expect(used).toBeLessThan(budgetBytes)
  })

  it('Given a length of zero or a frame of nothing but noise, then the peer is told and the connection ends', async () => {
    for (const content of [
      new Uint8Array(),
      new Uint8Array(64),
      bytes('GET / HTTP/1.1\r\n\r\n'),
      new Uint8Array(64).fill(255),
    ]) {
      const peer = (await Peer.open()).listen()
      peer.socket.write(frame(content))
      await peer.closed
      expect(peer.received.length).toBeGreaterThan(0)
    }
  })

  it('Given a call whose containers claim more than there is, or nest without end, then it is refused as one bad call', async () => {
    const call = Buffer.from(encodeCall('describe', 3, { topic: 'good', proof: { bearer: at.bearer } }))
    const header = call.subarray(0, 8 + 'describe'.length + 4)
    const struct = (field: number): Buffer => Buffer.from([12, field >> 8, field & 255])
    const bombs = [
      // list<struct> of 2^31 - 1; map<string,string> of as many; a string of 2 GiB; lists in lists; structs in structs
      Buffer.concat([struct(1), Buffer.from([15, 0, 50, 12, 0x7f, 0xff, 0xff, 0xff])]),
      Buffer.concat([struct(1), Buffer.from([13, 0, 50, 11, 11, 0x7f, 0xff, 0xff, 0xff])]),
      Buffer.concat([struct(1), Buffer.from([11, 0, 2, 0x7f, 0xff, 0xff, 0xff])]),
      Buffer.concat([struct(1), Buffer.from([15, 0, 50]), Buffer.from('0f00000001'.repeat(200_000), 'hex')]),
      Buffer.concat([struct(1), Buffer.from('0c0032'.repeat(300_000), 'hex')]),
      Buffer.concat([struct(1), Buffer.from([15, 0, 50, 2, 0, 16, 0, 0]), Buffer.alloc(1_000_000)]),
    ]
    const used = await memoryOf(async () => {
      const client = await at.connect()
      for (const bomb of bombs) {
        const answer = Buffer.from(await client.frame(3, Buffer.concat([header, bomb])))
        // A TApplicationException of that call: the connection goes on.
        expect(answer.readUInt32BE(0)).toBe(0x80010003)
      }
      expect((await client.call('describe', { proof: { bearer: at.bearer } })).version).toMatch(/\d/)
      client.close()
    })
    expect(used).toBeLessThan(budgetBytes)
  })

  it('Given half a frame and silence, then that connection is closed in its time and others never wait for it', async () => {
    const whole = frame(encodeCall('describe', 4, { proof: { bearer: at.bearer } }))
    const [half, head, nothing] = [await Peer.open(), await Peer.open(), await Peer.open()]
    half.socket.write(whole.subarray(0, whole.length >> 1))
    head.socket.write(whole.subarray(0, 3))
    expect((await at.client.call('describe', { proof: { bearer: at.bearer } })).version).toMatch(/\d/)
    await Promise.all([half.closed, head.closed])
    nothing.socket.destroy()
  })

  it('Given a frame byte by byte, then it is answered as any other', async () => {
    const peer = (await Peer.open()).listen()
    for (const byte of frame(encodeCall('describe', 4, { proof: { bearer: at.bearer } })))
      peer.socket.write(Uint8Array.of(byte))
    await at.eventually(() => peer.received.length > 4, 'an answer')
    expect(peer.received.readUInt32BE(4)).toBe(0x80010002)
  })

  it('Given a peer that resets in the middle of a call, then nothing is left of it', async () => {
    for (let i = 0; i < 20; i++) {
      const peer = await Peer.open()
      peer.socket.write(frame(encodeCall('describe', 4, { proof: { bearer: at.bearer } })))
      peer.socket.resetAndDestroy()
    }
  })
})

describe('numbers', () => {
  it('Given 10,000 calls in one go, then each is answered once and memory stays within its budget', async () => {
    const calls = 10_000
    const seen = new Set<number>()
    const used = await memoryOf(async () => {
      const peer = await Peer.open()
      let rest: Buffer = Buffer.alloc(0)
      const all = new Promise<void>((resolve) => {
        peer.socket.on('data', (chunk: Buffer) => {
          rest = Buffer.concat([rest, chunk])
          while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE(0)) {
            const length = rest.readUInt32BE(0)
            seen.add(rest.readInt32BE(4 + 8 + 'describe'.length))
            rest = rest.subarray(4 + length)
          }
          if (seen.size === calls) resolve()
        })
      })
      for (let seqid = 1; seqid <= calls; seqid++)
        peer.socket.write(frame(encodeCall('describe', seqid, { proof: { bearer: at.bearer } })))
      await all
    })
    expect(seen.size).toBe(calls)
    expect(used).toBeLessThan(budgetBytes)
  })

  it('Given a peer that asks for much and reads nothing, then the gateway stops reading it and goes on with others', async () => {
    const payload = new Uint8Array(800_000)
    await at.publish('large', buildBlock(0, [{ payload }], encoding.none))
    const reader = await at.reader('large')
    const request = { n: 1, maxBytes: mebibyte, session: reader.allocated.session, proof: reader.proof() }
    const used = await memoryOf(async () => {
      const peer = await Peer.open()
      peer.socket.pause()
      // Every repeat is answered with the same 800 KB: 1.6 GB if nobody counted.
      for (let seqid = 1; seqid <= 2_000; seqid++) peer.socket.write(frame(encodeCall('read', seqid, request)))
      for (let i = 0; i < 50; i++) await at.client.call('describe', { proof: { bearer: at.bearer } })
      await at.eventually(async () => (await at.metric('trunkline_tcp_connections')) === 2, 'the peer is still there')
    })
    expect(used).toBeLessThan(budgetBytes)
    expect((await reader.call('read', { n: 1, maxBytes: mebibyte })).count).toBe(1)
    await reader.call('dispose', {}, 1)
  })

  it('Given more connections than the limit, then those above it are closed, those below it served, and later ones again', async () => {
    const opened = await Promise.allSettled(Array.from({ length: 200 }, () => Peer.open()))
    const alive = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    await at.eventually(() => alive.filter(({ socket }) => !socket.destroyed).length < 60, 'the rest is closed')
    expect(await at.metric('trunkline_tcp_connections')).toBeLessThanOrEqual(60)
    expect((await at.client.call('describe', { proof: { bearer: at.bearer } })).version).toMatch(/\d/)
    for (const peer of peers) peer.socket.destroy()
    await at.eventually(async () => (await at.metric('trunkline_tcp_connections')) === 1, 'connections close')
    const client = await RawClient.open(at.gateway.thriftUrl)
    expect((await client.call('describe', { proof: { bearer: at.bearer } })).version).toMatch(/\d/)
    client.close()
  })

  it('Given allocations without end by one client, then sessions stop at their limit with NO_CAPACITY and none is lost', async () => {
    const small = await Harness.start({ sessionsMax: 5 })
    try {
      await small.publish('t', blockOf(0, 'a'))
      const tries = await Promise.allSettled(Array.from({ length: 20 }, () => small.reader('t')))
      const open = tries.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
      expect(open.length).toBe(5)
      for (const one of tries) if (one.status === 'rejected') expect((one.reason as Error).name).toBe('NO_CAPACITY')
      expect(await small.openSessions()).toBe(5)
      for (const reader of open) {
        expect(payloadsOf(await reader.call('read', { n: 1 }))).toEqual(['a'])
        await reader.call('dispose', {}, 1)
      }
      expect(await small.everything('t')).toEqual(new Map([[0, ['a']]]))
    } finally {
      await small.end()
    }
  })
})

describe('HTTP', () => {
  const post = (
    path: string,
    body: NonNullable<RequestInit['body']>,
    headers: Record<string, string> = {},
  ): Promise<Response> =>
    at.http(path, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } })

  it('Given bodies that are too large, broken, compressed bombs or of another kind, then a problem with our name, never a 5xx', async () => {
    const bomb = gzipSync(Buffer.alloc(64 * mebibyte))
    const used = await memoryOf(async () => {
      const answers = [
        await post('/v1/topics/good/events', '{"payload":'),
        await post('/v1/topics/good/events', `"${'x'.repeat(3 * mebibyte)}"`),
        await post('/v1/topics/good/events', bomb, { 'content-encoding': 'gzip' }),
        await post('/thrift', bomb, { 'content-type': 'application/x-thrift', 'content-encoding': 'gzip' }),
        await post('/v1/topics/good/events', '[[[['.repeat(100_000)),
        await post('/v1/topics/good/events', Buffer.from([0xff, 0xfe, 0x22])),
        await post('/v1/topics/good/events', '{}', { 'content-type': 'text/xml' }),
        await post('/v1/topics', '{"name":"../../etc/passwd"}'),
        await post('/v1/sessions', '{"topic":"good","mode":"sideways"}'),
        await at.http('/v1/topics/%00/events?from=earliest'),
        await at.http('/v1/topics/good/events?from=yesterday'),
        await at.http('/v1/topics/good/events?cursor=AAAA'),
        await at.http('/v1/nothing/here'),
      ]
      for (const answer of answers) {
        expect(answer.status).toBeGreaterThanOrEqual(400)
        expect(answer.status).toBeLessThan(500)
        expect(((await answer.json()) as { name: string }).name).toMatch(/^[A-Z_]+$/)
      }
    })
    expect(used).toBeLessThan(budgetBytes)
  })

  it('Given Thrift bytes that are none over POST /thrift, then one answer and no more', async () => {
    for (const body of [new Uint8Array(), new Uint8Array(1_000), Buffer.from('80010001ffffffff', 'hex')]) {
      const answer = await post('/thrift', body, { 'content-type': 'application/x-thrift' })
      expect(answer.status).toBeLessThan(500)
      await answer.arrayBuffer()
    }
  })
})
