// Owns: endpoints on real sockets before one FakeGateway: like processes of the API tier they share its sessions, and
// each serves, drains, falls silent or dies by itself.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { SimulatedClock } from '../../../../src/adapters/clock/simulated-clock.ts'
import { TrunklineError } from '../../../../src/protocol/errors.ts'
import { frameBytesMax } from '../../../../src/protocol/limits.ts'
import type { MethodName } from '../../../../src/protocol/messages.ts'
import {
  applicationException,
  decodeCall,
  decodeRequest,
  encodeApplicationException,
  encodeErrorReply,
  encodeReply,
} from '../../../../src/protocol/thrift/message.ts'
import { FrameSplitter } from '../../src/node/frame-splitter.ts'
import { systemClock } from '../../src/node/system.ts'
import { FakeGateway } from './fake-gateway.ts'

/** Real time, for a fake that was made for simulated time. */
class RunningClock extends SimulatedClock {
  override nowMs(): number {
    return systemClock.nowMs()
  }
  override monotonicMs(): number {
    return systemClock.monotonicMs()
  }
  override after(delayMs: number, callback: () => void): ReturnType<SimulatedClock['after']> {
    return systemClock.after(delayMs, callback)
  }
}

export function runningGateway(): FakeGateway {
  return new FakeGateway({ clock: new RunningClock() })
}

export type Behaviour =
  | 'serve'
  /** Answers DRAINING as a process of the API tier does that shuts down, and ends the connection. */
  | 'drain'
  /** Answers that what lies behind it cannot be reached. */
  | 'unavailable'
  /** Takes everything and answers nothing. */
  | 'silent'

export class SocketEndpoint {
  readonly #gateway: FakeGateway
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined
  port = 0
  behaviour: Behaviour = 'serve'
  /** Calls that arrived, by method. */
  readonly calls: string[] = []

  constructor(gateway: FakeGateway) {
    this.#gateway = gateway
  }

  get url(): string {
    return `thrift://127.0.0.1:${this.port}`
  }

  get connections(): number {
    return this.#sockets.size
  }

  /** Starts, or starts again on the port it had. */
  async start(): Promise<void> {
    const server = createServer((socket) => this.#serve(socket))
    this.#server = server
    server.listen(this.port, '127.0.0.1')
    await once(server, 'listening')
    this.port = (server.address() as AddressInfo).port
  }

  /** As kill -9 does: connections are reset, nobody listens. */
  async die(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    for (const socket of this.#sockets) socket.resetAndDestroy()
    if (server !== undefined) await new Promise((resolve) => server.close(resolve))
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => this.#sockets.delete(socket))
    const splitter = new FrameSplitter(frameBytesMax, (frame) => {
      void this.#answer(socket, frame.slice())
      return true
    })
    socket.on('data', (chunk) => splitter.push(chunk))
  }

  async #answer(socket: Socket, frame: Uint8Array): Promise<void> {
    const { method, seqid, body } = decodeCall(frame)
    this.calls.push(method)
    if (this.behaviour === 'silent') return
    if (method === 'alive') {
      send(socket, encodeApplicationException(method, seqid, applicationException.unknownMethod, 'no such method'))
      return
    }
    const name = method as MethodName
    if (this.behaviour === 'drain') {
      send(socket, encodeErrorReply(name, seqid, new TrunklineError('DRAINING', { details: { tier: 'api' } })))
      socket.end()
      return
    }
    if (this.behaviour === 'unavailable') {
      send(socket, encodeErrorReply(name, seqid, new TrunklineError('UNAVAILABLE')))
      return
    }
    try {
      const reply = await this.#gateway.call(name, decodeRequest(name, body), { timeoutMs: 40_000 })
      send(socket, encodeReply(name, seqid, reply))
    } catch (thrown) {
      send(socket, encodeErrorReply(name, seqid, TrunklineError.from(thrown)))
    }
  }
}

function send(socket: Socket, message: Uint8Array): void {
  if (socket.destroyed) return
  const head = Buffer.alloc(4)
  head.writeUInt32BE(message.length)
  socket.write(Buffer.concat([head, message]))
}

/** A port on which connecting neither succeeds nor fails: its process stands still and the backlog is full. */
export class BlackHole {
  readonly #child: ChildProcess
  readonly #fillers: Socket[] = []
  port = 0

  constructor() {
    const code = `
      const server = require('node:net').createServer()
      server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
        require('node:fs').writeSync(1, server.address().port + '\\n')
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
      })`
    this.#child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
  }

  async start(): Promise<void> {
    const [text] = (await once(this.#child.stdout ?? this.#child, 'data')) as [Buffer]
    this.port = Number(text.toString())
    for (let filled = 0; filled < 16; filled += 1) {
      const socket = connect(this.port, '127.0.0.1')
      socket.on('error', () => undefined)
      this.#fillers.push(socket)
      const connected = await Promise.race([
        once(socket, 'connect').then(() => true),
        new Promise<false>((resolve) => systemClock.after(200, () => resolve(false))),
      ])
      if (!connected) return
    }
    throw new Error('the backlog does not fill')
  }

  stop(): void {
    for (const socket of this.#fillers) socket.destroy()
    this.#child.kill('SIGKILL')
  }
}
