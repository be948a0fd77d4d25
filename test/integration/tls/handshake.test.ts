// Proves that a peer cannot hold a TLS listener by not finishing its handshake: in time, in number, and through a drain.
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { nullApiMetrics } from '../../../src/api-tier/api-metrics.ts'
import { buildAdminApp } from '../../../src/api-tier/http/admin.ts'
import { closeHttp, listenHttp } from '../../../src/api-tier/http/http-listener.ts'
import { ThriftDispatcher } from '../../../src/api-tier/thrift/dispatcher.ts'
import { framed } from '../../../src/api-tier/thrift/foreign-protocols.ts'
import { ThriftTcpServer } from '../../../src/api-tier/thrift/tcp-server.ts'
import type { HandshakeFailure, ListenerTls, TlsFront } from '../../../src/api-tier/tls-front.ts'
import { decodeReply, encodeCall } from '../../../src/protocol/thrift/message.ts'
import { greet, makeTlsWorld, opensslRequirement, pem, type TlsWorld } from '../../support/tls-world.ts'
import { ScriptedNode } from '../../unit/api-tier/scripted-node.ts'
import { gatewayCalls, random, silentLogger, tokenOf } from '../../unit/api-tier/support.ts'

const handshakeTimeoutMs = 10_000
const connectionsMax = 3

opensslRequirement.describe('an unfinished handshake', () => {
  let world: TlsWorld
  let clock: SimulatedClock
  let front: TlsFront | undefined
  let calling = false
  /** What the node behind the Thrift listener waits for. */
  let held: Promise<void> | undefined
  const failures: HandshakeFailure[] = []
  const sockets: Socket[] = []
  const closers: (() => Promise<void>)[] = []
  beforeAll(() => {
    world = makeTlsWorld()
  })
  afterAll(() => world.remove())
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy()
    for (const close of closers.splice(0)) await close()
    failures.length = 0
  })

  const tls = (): ListenerTls => {
    clock = new SimulatedClock()
    return {
      terms: {
        cert: pem(world.served.tlsCertFile),
        key: pem(world.served.tlsKeyFile),
        minVersion: 'TLSv1.3',
        clientAuth: 'none',
      },
      clock,
      onFront: (made) => {
        front = made
      },
      onFailure: (reason) => failures.push(reason),
    }
  }

  const until = async (isSo: () => boolean): Promise<void> => {
    while (!isSo()) await new Promise((resolve) => setImmediate(resolve))
  }

  interface Listening {
    readonly port: number
    readonly close: () => Promise<void>
  }

  const listeners: Readonly<Record<string, () => Promise<Listening>>> = {
    http: async () => {
      const app: FastifyInstance = await buildAdminApp({
        notReady: () => [],
        metricsText: async () => '',
        metricsContentType: 'text/plain',
        logger: silentLogger,
        tls: tls(),
      })
      const { port } = await listenHttp(app, { host: '127.0.0.1', port: 0, connectionsMax })
      return { port, close: () => closeHttp(app, 60_000, clock) }
    },
    thrift: async () => {
      const { answer } = new ScriptedNode()
      const { calls } = gatewayCalls(async (seen) => {
        calling = true
        await held
        return answer(seen)
      })
      const server = new ThriftTcpServer({
        dispatcher: new ThriftDispatcher({ calls, metrics: nullApiMetrics }),
        tls: tls(),
        clock,
        random,
        metrics: nullApiMetrics,
        logger: silentLogger,
        connectionsMax,
      })
      const { port } = await server.listen({ host: '127.0.0.1', port: 0 })
      return { port, close: () => server.drain(60_000) }
    },
  }

  const peer = (port: number, bytes?: Uint8Array): Socket => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.on('error', () => undefined)
    socket.resume()
    if (bytes !== undefined) socket.write(bytes)
    sockets.push(socket)
    return socket
  }
  /** The head of a ClientHello record of 512 bytes. */
  const hello = Uint8Array.of(0x16, 0x03, 0x01, 0x02, 0x00, 0x01)

  it('Given a Thrift peer that ends its side after a call, then it still gets the answer', async () => {
    const { port, close } = (await listeners['thrift']?.()) ?? { port: 0, close: async () => undefined }
    closers.push(close)
    const options = { host: '127.0.0.1', port, rejectUnauthorized: false, allowHalfOpen: true }
    const socket = connectTls(options)
    sockets.push(socket)
    const heard: Buffer[] = []
    socket.on('data', (chunk: Buffer) => heard.push(chunk))
    let release: () => void = () => {}
    held = new Promise((resolve) => {
      release = resolve
    })
    socket.once('secureConnect', () => socket.end(framed(encodeCall('extend', 7, { session: tokenOf() }))))
    await until(() => calling)
    // The end of the peer's side has come long before the answer.
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
    release()
    await until(() => heard.length > 0 || socket.closed)
    expect(decodeReply('extend', Buffer.concat(heard).subarray(4)).seqid).toBe(7)
  })

  for (const [name, listen] of Object.entries(listeners)) {
    it(`Given one that says nothing and one that trickles to ${name}, when the time is over, then both are cut`, async () => {
      const { port, close } = await listen()
      closers.push(close)
      const silent = peer(port)
      const trickle = peer(port, hello)
      await until(() => front?.opening === 2)
      for (let afterMs = 1_000; afterMs < handshakeTimeoutMs; afterMs += 1_000) {
        await clock.advance(1_000)
        trickle.write(Uint8Array.of(0))
        await new Promise((resolve) => setImmediate(resolve))
        expect([silent.closed, trickle.closed]).toEqual([false, false])
      }
      await clock.advance(1_000)
      await until(() => silent.closed && trickle.closed)
      expect(failures).toEqual(['timeout', 'timeout'])
      expect(front?.opening).toBe(0)
      // Nobody else was hurt.
      await greet(`https://127.0.0.1:${port}`)
    })

    it(`Given as many as ${name} takes, then the next one is closed until one of them has gone`, async () => {
      const { port, close } = await listen()
      closers.push(close)
      const held = Array.from({ length: connectionsMax }, () => peer(port, hello))
      await until(() => front?.opening === connectionsMax)
      await expect(greet(`https://127.0.0.1:${port}`)).rejects.toThrow()
      held[0]?.destroy()
      await until(() => front?.opening === connectionsMax - 1)
      await greet(`https://127.0.0.1:${port}`)
      expect(failures).toEqual(['closed'])
    })

    it(`Given some when ${name} drains, then it waits for none of them`, async () => {
      const { port, close } = await listen()
      const held = [peer(port), peer(port, hello)]
      await until(() => front?.opening === 2)
      // The clock stands still: what waits for a time limit waits for ever.
      await close()
      await until(() => held.every(({ closed }) => closed))
      expect(failures).toEqual([])
    })
  }
})
