// Owns: the real transports against small raw servers: what comes in order, out of order, broken, late, or not at all.
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { defaultLimits, frameBytesMax } from '../../../src/protocol/limits.ts'
import type { DescribeReply } from '../../../src/protocol/messages.ts'
import {
  decodeCall,
  encodeApplicationException,
  encodeErrorReply,
  encodeReply,
} from '../../../src/protocol/thrift/message.ts'
import { isTrunklineError } from '../src/index.ts'
import { connect } from '../src/node/connect.ts'
import { FrameSplitter } from '../src/node/frame-splitter.ts'
import { HttpTransport } from '../src/node/http-transport.ts'
import { systemClock } from '../src/node/system.ts'
import { TcpTransport } from '../src/node/tcp-transport.ts'
import { faultOf } from '../src/transport.ts'
import { BlackHole } from './support/socket-gateway.ts'

const reply: DescribeReply = { version: '1', limits: defaultLimits, features: [] }
const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

interface Peer {
  readonly port: number
  readonly sockets: Socket[]
  readonly seqids: number[]
}

/** A TCP server; `onCall` gets each framed call. */
async function peer(onCall: (socket: Socket, seqid: number, count: number) => void): Promise<Peer> {
  const sockets: Socket[] = []
  const seqids: number[] = []
  const server: Server = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
    const splitter = new FrameSplitter(frameBytesMax, (frame) => {
      const { seqid } = decodeCall(frame)
      seqids.push(seqid)
      onCall(socket, seqid, seqids.length)
      return true
    })
    socket.on('data', (chunk) => splitter.push(chunk))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => {
    for (const socket of sockets) socket.destroy()
    return new Promise((resolve) => server.close(resolve))
  })
  return { port: (server.address() as AddressInfo).port, sockets, seqids }
}

function framed(message: Uint8Array): Buffer {
  const head = Buffer.alloc(4)
  head.writeUInt32BE(message.length)
  return Buffer.concat([head, message])
}

function tcp(port: number, options: { clock?: SimulatedClock; unsentBytesMax?: number } = {}): TcpTransport {
  const transport = new TcpTransport({
    host: '127.0.0.1',
    port,
    clock: options.clock ?? systemClock,
    ...(options.unsentBytesMax === undefined ? {} : { unsentBytesMax: options.unsentBytesMax }),
  })
  closers.push(() => transport.close())
  return transport
}

const describeCall = (transport: TcpTransport | HttpTransport, timeoutMs = 5_000): Promise<DescribeReply> =>
  transport.call('describe', {}, { timeoutMs })

describe('Thrift over TCP', () => {
  test('Given calls at once, when they are answered in another order, then each gets its own answer over one connection', async () => {
    const waiting: [Socket, number][] = []
    const { port, sockets } = await peer((socket, seqid) => {
      waiting.push([socket, seqid])
      if (waiting.length < 20) return
      for (const [at, id] of waiting.reverse())
        at.write(framed(encodeReply('describe', id, { ...reply, version: String(id) })))
    })
    const transport = tcp(port)
    const replies = await Promise.all(Array.from({ length: 20 }, () => describeCall(transport)))
    expect(replies.map(({ version }) => version)).toEqual(Array.from({ length: 20 }, (_, i) => String(i + 1)))
    expect(sockets).toHaveLength(1)
  })

  test('Given an answer in single bytes, then it is put together', async () => {
    const { port } = await peer((socket, seqid) => {
      for (const byte of framed(encodeReply('describe', seqid, reply))) socket.write(Uint8Array.of(byte))
    })
    await expect(describeCall(tcp(port))).resolves.toMatchObject({ version: '1' })
  })

  test('Given a typed error, then the call rejects with it', async () => {
    const { port } = await peer((socket, seqid) =>
      socket.write(framed(encodeErrorReply('describe', seqid, new TrunklineError('UNKNOWN_TOPIC')))),
    )
    await expect(describeCall(tcp(port))).rejects.toMatchObject({ name: 'UNKNOWN_TOPIC' })
  })

  test.each([
    ['a reset', (socket: Socket) => socket.resetAndDestroy()],
    ['a half-close', (socket: Socket) => socket.end()],
    ['a close', (socket: Socket) => socket.destroy()],
    ['bytes that are no frame', (socket: Socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['a frame above the bound', (socket: Socket) => socket.write(Uint8Array.of(0x7f, 0, 0, 0))],
    ['an empty frame', (socket: Socket) => socket.write(Uint8Array.of(0, 0, 0, 0))],
    ['a frame that is no Thrift', (socket: Socket) => socket.write(framed(new Uint8Array(64).fill(0xff)))],
    [
      'half a frame and the end',
      (socket: Socket) => socket.end(framed(encodeReply('describe', 1, reply)).subarray(0, 20)),
    ],
  ])(
    'Given %s instead of an answer, then every call that is out settles, and the next connects anew',
    async (_, act) => {
      const { port, sockets } = await peer((socket, seqid, count) => {
        if (count === 2) act(socket)
        if (count > 2) socket.write(framed(encodeReply('describe', seqid, reply)))
      })
      const transport = tcp(port)
      const outcomes = await Promise.allSettled([describeCall(transport), describeCall(transport)])
      for (const outcome of outcomes)
        expect(outcome).toMatchObject({ status: 'rejected', reason: { name: 'UNAVAILABLE' } })
      await expect(describeCall(transport)).resolves.toMatchObject({ version: '1' })
      expect(sockets).toHaveLength(2)
    },
  )

  test('Given a reply that does not decode, then its call is MALFORMED_FRAME and the connection is given up', async () => {
    const { port } = await peer((socket, seqid) => {
      const message = encodeReply('describe', seqid, reply)
      socket.write(framed(message.subarray(0, message.length - 5)))
    })
    await expect(describeCall(tcp(port))).rejects.toMatchObject({ name: 'MALFORMED_FRAME' })
  })

  test('Given a call without an answer among others that are answered, when its timeout has passed, then it rejects with DEADLINE, the connection stays, and its late answer is dropped', async () => {
    const clock = new SimulatedClock()
    let late: (() => void) | undefined
    const { port, sockets } = await peer((socket, seqid) => {
      const answer = (): void =>
        void socket.write(framed(encodeReply('describe', seqid, { ...reply, version: String(seqid) })))
      if (seqid === 1) late = answer
      else answer()
    })
    const transport = tcp(port, { clock })
    const first = describeCall(transport, 1_000)
    first.catch(() => undefined)
    while (late === undefined) await clock.settle()
    await clock.advance(600)
    await describeCall(transport)
    await clock.advance(400)
    await expect(first).rejects.toMatchObject({ name: 'DEADLINE' })
    late()
    await expect(describeCall(transport)).resolves.toMatchObject({ version: '3' })
    expect(sockets).toHaveLength(1)
    expect(clock.pendingCount).toBe(0)
  })

  test('Given a call whose whole timeout passes in silence, then its connection is given up, with every call on it, and the next connects anew', async () => {
    const clock = new SimulatedClock()
    const { port, sockets, seqids } = await peer((socket, seqid, count) => {
      if (count > 2) socket.write(framed(encodeReply('describe', seqid, reply)))
    })
    const transport = tcp(port, { clock })
    const [first, second] = [describeCall(transport, 1_000), describeCall(transport, 4_000)]
    for (const call of [first, second]) call.catch(() => undefined)
    while (seqids.length < 2) await clock.settle()
    await clock.advance(1_000)
    await expect(first).rejects.toMatchObject({ name: 'DEADLINE' })
    await expect(second).rejects.toMatchObject({ name: 'UNAVAILABLE', details: { why: 'connection silent' } })
    await expect(describeCall(transport)).resolves.toMatchObject({ version: '1' })
    expect(sockets).toHaveLength(2)
  })

  test('Given a long call, when the peer answers a probe, then it goes on; when nothing comes any more, then it is UNAVAILABLE long before its timeout', async () => {
    const clock = new SimulatedClock()
    let alive = true
    const probes: number[] = []
    const { port, seqids } = await peer((socket, seqid, count) => {
      if (count === 1) return
      probes.push(clock.monotonicMs())
      if (alive) socket.write(framed(encodeApplicationException('alive', seqid, 1, 'no such method')))
    })
    const transport = tcp(port, { clock })
    let outcome: unknown
    const call = describeCall(transport, 60_000)
    call.catch((thrown: unknown) => {
      outcome = thrown
    })
    while (seqids.length < 1) await clock.settle()
    const pass = async (ms: number): Promise<void> => {
      for (let passed = 0; passed < ms; passed += 250) {
        await clock.advance(250)
        // The socket is real: what was written arrives in real time.
        await new Promise((resolve) => systemClock.after(2, () => resolve(undefined)))
      }
    }
    await pass(20_000)
    expect(outcome).toBeUndefined()
    expect(probes.length).toBeGreaterThan(1)
    alive = false
    await pass(15_000)
    expect(outcome).toMatchObject({ name: 'UNAVAILABLE', details: { why: 'connection silent' } })
    expect(faultOf(TrunklineError.from(outcome))).toBe('unanswered')
  })

  test('When the signal aborts, then the call settles at once', async () => {
    const { port } = await peer(() => abort.abort())
    const abort = new AbortController()
    await expect(tcp(port).call('describe', {}, { timeoutMs: 60_000, signal: abort.signal })).rejects.toMatchObject({
      name: 'DEADLINE',
    })
  })

  test('Given nobody listens, then calls fail at once, as not sent', async () => {
    const { port } = await peer(() => undefined)
    await closers.pop()?.()
    const error = TrunklineError.from(await describeCall(tcp(port)).catch((thrown: unknown) => thrown))
    expect(error).toMatchObject({ name: 'UNAVAILABLE', details: { why: 'connect failed' } })
    expect(faultOf(error)).toBe('unsent')
  })

  test('Given a peer that reads nothing, when too much waits, then calls are refused instead of kept', async () => {
    const { port } = await peer(() => undefined)
    const transport = tcp(port, { unsentBytesMax: 1 })
    const first = describeCall(transport, 50)
    first.catch(() => undefined)
    await expect(
      Promise.race([
        first,
        ...Array.from({ length: 50 }, () =>
          transport.call('describe', { topic: 'x'.repeat(100_000) }, { timeoutMs: 5_000 }),
        ),
      ]),
    ).rejects.toMatchObject({
      name: 'UNAVAILABLE',
      details: { why: 'peer does not read' },
    })
  })

  test('When it is closed, then calls that are out settle, and later ones are refused', async () => {
    const { port } = await peer(() => void transport.close())
    const transport = tcp(port)
    await expect(describeCall(transport)).rejects.toMatchObject({ name: 'UNAVAILABLE' })
    await expect(describeCall(transport)).rejects.toMatchObject({
      name: 'UNAVAILABLE',
      details: { why: 'client closed' },
    })
  })
})

describe('Thrift over HTTP', () => {
  async function web(handle: (body: Buffer, response: ServerResponse, request: IncomingMessage) => void): Promise<URL> {
    const server = createHttpServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => handle(Buffer.concat(chunks), response, request))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    closers.push(() => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(resolve))
    })
    return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  }

  function http(url: URL): HttpTransport {
    const transport = new HttpTransport({ url, clock: systemClock })
    closers.push(() => transport.close())
    return transport
  }

  const answer = (response: ServerResponse, message: Uint8Array): void => {
    response.writeHead(200, { 'content-type': 'application/x-thrift' }).end(message)
  }

  test('Given a gateway, then a call is one POST to /thrift and connections are used again', async () => {
    const seen = new Set<unknown>()
    const url = await web((body, response, request) => {
      seen.add(request.socket)
      expect([request.method, request.url, request.headers['content-type']]).toEqual([
        'POST',
        '/thrift',
        'application/x-thrift',
      ])
      answer(response, encodeReply('describe', decodeCall(body).seqid, reply))
    })
    const transport = http(url)
    for (let i = 0; i < 5; i += 1) await expect(describeCall(transport)).resolves.toMatchObject({ version: '1' })
    expect(seen.size).toBe(1)
  })

  test.each([
    [401, 'UNAUTHENTICATED'],
    [403, 'FORBIDDEN'],
    [404, 'UNKNOWN_METHOD'],
    [413, 'FRAME_TOO_LARGE'],
    [429, 'TOO_MANY_REQUESTS'],
    [502, 'UNAVAILABLE'],
  ])('Given a proxy that answers %d, then the call rejects with %s', async (status, name) => {
    const url = await web(
      (_, response) => void response.writeHead(status, { 'content-type': 'text/html' }).end('<html>'),
    )
    await expect(describeCall(http(url))).rejects.toMatchObject({ name })
  })

  test.each([
    [
      'a reset',
      'UNAVAILABLE',
      (_: Buffer, response: ServerResponse): void => {
        response.socket?.resetAndDestroy()
      },
    ],
    [
      'garbage',
      'MALFORMED_FRAME',
      (_: Buffer, response: ServerResponse) => answer(response, new Uint8Array(20).fill(0xff)),
    ],
    [
      'too much',
      'MALFORMED_FRAME',
      (_: Buffer, response: ServerResponse) => answer(response, new Uint8Array(frameBytesMax + 1)),
    ],
    ['an empty body', 'MALFORMED_FRAME', (_: Buffer, response: ServerResponse) => answer(response, new Uint8Array())],
    [
      'the answer to another call',
      'MALFORMED_FRAME',
      (body: Buffer, response: ServerResponse) =>
        answer(response, encodeReply('describe', decodeCall(body).seqid + 1, reply)),
    ],
    [
      'half an answer',
      'UNAVAILABLE',
      (_: Buffer, response: ServerResponse) => {
        response.writeHead(200, { 'content-type': 'application/x-thrift', 'content-length': 100 })
        response.write('x', () => response.destroy())
      },
    ],
  ] as const)('Given %s, then the call rejects with %s', async (_, name, handle) => {
    await expect(describeCall(http(await web(handle)))).rejects.toMatchObject({ name })
  })

  test('Given no answer, when the timeout has passed, then the call rejects with DEADLINE', async () => {
    await expect(describeCall(http(await web(() => undefined)), 30)).rejects.toMatchObject({ name: 'DEADLINE' })
  })
})

describe('Thrift over HTTP, connecting', () => {
  test.each(['http', 'https'])(
    'Given a host that takes no %s connection, then the call is UNAVAILABLE after the connect timeout, as not sent',
    async (scheme) => {
      // TLS waits for a word of this peer that never comes; plain HTTP needs a host that takes no connection at all.
      const hole = new BlackHole()
      closers.push(() => Promise.resolve(hole.stop()))
      await hole.start()
      const port = scheme === 'https' ? (await peer(() => undefined)).port : hole.port
      const url = new URL(`${scheme}://127.0.0.1:${port}`)
      const transport = new HttpTransport({ url, clock: systemClock, connectTimeoutMs: 200 })
      closers.push(() => transport.close())
      const startMs = systemClock.monotonicMs()
      const error = TrunklineError.from(await describeCall(transport, 20_000).catch((thrown: unknown) => thrown))
      expect(error).toMatchObject({ name: 'UNAVAILABLE', details: { why: 'connect timed out' } })
      expect(faultOf(error)).toBe('unsent')
      expect(systemClock.monotonicMs() - startMs).toBeLessThan(5_000)
    },
  )
})

describe('connect', () => {
  test.each([
    ['nonsense', 'BAD_REQUEST'],
    ['ftp://host', 'BAD_REQUEST'],
    ['http://user:secret@host', 'BAD_REQUEST'],
  ])('Given the URL %s, then it throws %s', (url, name) => {
    expect(() => connect(url, { token: 't' })).toThrow(expect.objectContaining({ name }))
    expect(() => connect(['http://host', url], { token: 't' })).toThrow(expect.objectContaining({ name }))
    expect(() => connect(`http://host, ${url}`, { token: 't' })).toThrow(expect.objectContaining({ name }))
  })

  test('Given no URL at all, then it throws BAD_REQUEST', () => {
    expect(() => connect([], { token: 't' })).toThrow(expect.objectContaining({ name: 'BAD_REQUEST' }))
  })

  test('Given a client id and secret, then a token is got once and used; a refused secret is UNAUTHENTICATED and never shown', async () => {
    let tokens = 0
    const server = createHttpServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const form = new URLSearchParams(Buffer.concat(chunks).toString())
        if (request.url === '/oauth/token') {
          tokens += 1
          const good = form.get('client_secret') === 'right' && form.get('grant_type') === 'client_credentials'
          response.writeHead(good ? 200 : 401, { 'content-type': 'application/json' })
          response.end(JSON.stringify(good ? { access_token: 'at', expires_in: 3600 } : { error: 'invalid_client' }))
          return
        }
        const { seqid } = decodeCall(Buffer.concat(chunks))
        response.writeHead(200, { 'content-type': 'application/x-thrift' }).end(encodeReply('describe', seqid, reply))
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    closers.push(() => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(resolve))
    })
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    await using client = connect(url, { clientId: 'c', clientSecret: 'right' })
    await client.describe()
    await client.describe('t')
    expect(tokens).toBe(1)
    await using wrong = connect(url, { clientId: 'c', clientSecret: 'wrong-secret' })
    const error: unknown = await wrong.describe().catch((thrown: unknown) => thrown)
    expect(isTrunklineError(error, 'UNAUTHENTICATED')).toBe(true)
    expect(JSON.stringify(error) + String(error)).not.toContain('wrong-secret')
  })
})
