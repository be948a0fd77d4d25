// Proves the HTTP listener with raw sockets: drain, close within the deadline, bytes that are not HTTP, connection limit.
import { connect, type Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { nullApiMetrics } from '../../../src/api-tier/api-metrics.ts'
import { ClientRegistry } from '../../../src/api-tier/auth/client-registry.ts'
import { generateSigningJwk } from '../../../src/api-tier/auth/signing-key.ts'
import { TokenIssuer } from '../../../src/api-tier/auth/token-issuer.ts'
import { buildHttpApp } from '../../../src/api-tier/http/app.ts'
import { closeHttp, listenHttp } from '../../../src/api-tier/http/http-listener.ts'
import { ThriftDispatcher } from '../../../src/api-tier/thrift/dispatcher.ts'
import { ScriptedNode } from '../../unit/api-tier/scripted-node.ts'
import { gatewayCalls, random, type ScriptedSwitchboard, silentLogger } from '../../unit/api-tier/support.ts'

let app: FastifyInstance
let board: ScriptedSwitchboard
let port: number
const sockets: Socket[] = []
const defects: string[] = []

beforeEach(async () => {
  const node = new ScriptedNode()
  const made = gatewayCalls(node.answer)
  board = made.board
  const key = await generateSigningJwk(random)
  app = await buildHttpApp({
    calls: made.calls,
    dispatcher: new ThriftDispatcher({ calls: made.calls, metrics: nullApiMetrics }),
    oauth: {
      issuer: new TokenIssuer({ key, issuer: 'http://x/', audience: 'trunkline', clock: systemClock, random }),
      clients: new ClientRegistry([]),
    },
    clock: systemClock,
    random,
    metrics: nullApiMetrics,
    logger: { ...silentLogger, error: (_fields, message) => void defects.push(message) },
    version: '0.0.0',
  })
  const listening = await listenHttp(app, { host: '127.0.0.1', port: 0, connectionsMax: 4 })
  port = listening.port
})

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await app.close()
})

class RawHttp {
  readonly socket: Socket
  readonly closed: Promise<void>
  text = ''

  constructor() {
    this.socket = connect({ host: '127.0.0.1', port })
    this.socket.on('error', () => {})
    this.socket.on('data', (chunk: Buffer) => {
      this.text += chunk.toString('latin1')
    })
    this.closed = new Promise((resolve) => {
      this.socket.on('close', () => resolve())
    })
    sockets.push(this.socket)
  }
}

const head = 'GET /v1/topics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice\r\n'

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve))
}

describe('the HTTP listener', () => {
  it('finishes what runs and answers DRAINING to what comes while it closes', async () => {
    let release: () => void = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const { answer } = board
    board.answer = async (seen) => {
      await held
      return await answer(seen)
    }
    const running = new RawHttp()
    running.socket.write(`${head}\r\n`)
    const late = new RawHttp()
    late.socket.write(head)
    await until(() => board.seen.length === 1 && late.socket.bytesWritten > 0)
    const closing = closeHttp(app, 10_000, systemClock)
    await new Promise((resolve) => setImmediate(resolve))
    late.socket.write('\r\n')
    await until(() => late.text.includes('\r\n\r\n'))
    expect(late.text).toMatch(/^HTTP\/1\.1 503 /)
    expect(late.text).toContain('"name":"DRAINING"')
    expect(late.text.toLowerCase()).toContain('connection: close')
    release()
    await running.closed
    expect(running.text).toMatch(/^HTTP\/1\.1 200 /)
    await closing
  })

  it('tells a login that comes while it closes to try another gateway: that is no defect', async () => {
    defects.length = 0
    const late = new RawHttp()
    late.socket.write('POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n')
    // A call that runs on: until its end, connections that are not idle stay.
    board.answer = () => new Promise(() => {})
    const running = new RawHttp()
    running.socket.write(`${head}\r\n`)
    await until(() => board.seen.length === 1)
    const closing = closeHttp(app, 10_000, systemClock)
    await new Promise((resolve) => setImmediate(resolve))
    late.socket.write('Content-Length: 0\r\n\r\n')
    await until(() => late.text.includes('\r\n\r\n'))
    running.socket.destroy()
    await closing
    expect(late.text).toMatch(/^HTTP\/1\.1 503 /)
    expect(late.text).toContain('"error":"temporarily_unavailable"')
    expect(late.text.toLowerCase()).toContain('retry-after:')
    expect(defects).toEqual([])
  })

  it('closes at its deadline although a call runs on', async () => {
    const clock = new SimulatedClock()
    board.answer = () => new Promise(() => {})
    const running = new RawHttp()
    running.socket.write(`${head}\r\n`)
    await until(() => board.seen.length === 1)
    const closing = closeHttp(app, 3_000, clock)
    await clock.advance(3_000)
    await closing
    await running.closed
    expect(board.seen[0]?.options.signal?.aborted).toBe(true)
  })

  it('tells a caller that is gone to nobody but the call', async () => {
    board.answer = () => new Promise(() => {})
    const gone = new RawHttp()
    gone.socket.write(`${head}\r\n`)
    await until(() => board.seen.length === 1)
    gone.socket.destroy()
    await until(() => board.seen[0]?.options.signal?.aborted === true)
  })

  it.each([
    ['what is not HTTP', 'what is this\r\n\r\n', 'HTTP/1.1 400 '],
    ['headers above the limit', `GET / HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 'HTTP/1.1 431 '],
    ['a framed Thrift call', '\u0000\u0000\u0000\u0010abcdefgh', 'HTTP/1.1 400 '],
  ])('answers %s and closes', async (_name, bytes, begin) => {
    const client = new RawHttp()
    client.socket.write(bytes, 'latin1')
    await client.closed
    expect(client.text.slice(0, begin.length)).toBe(begin)
    expect(client.text).not.toMatch(/parse|HPE_/i)
  })

  it('closes connections above the limit', async () => {
    const clients = Array.from({ length: 5 }, () => new RawHttp())
    await Promise.race(clients.map(({ closed }) => closed))
    expect(clients.filter(({ socket }) => socket.closed)).toHaveLength(1)
  })
})
