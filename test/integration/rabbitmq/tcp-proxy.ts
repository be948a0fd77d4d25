// Owns: a TCP proxy between one party and one broker, so that a test can cut that party off as kill -9 does, or let it
// stop reading.
import { connect, createServer, type Server, type Socket } from 'node:net'

export class TcpProxy {
  readonly #server: Server
  readonly #pairs = new Set<{ readonly near: Socket; readonly far: Socket }>()
  #isStalled = false
  /** Bytes that went to the broker, and came from it. */
  sentBytes = 0
  receivedBytes = 0

  private constructor(target: { readonly host: string; readonly port: number }) {
    this.#server = createServer((near) => {
      const far = connect({ ...target, noDelay: true })
      near.setNoDelay(true)
      const pair = { near, far }
      this.#pairs.add(pair)
      const end = (): void => {
        near.destroy()
        far.destroy()
        this.#pairs.delete(pair)
      }
      for (const socket of [near, far]) {
        socket.on('error', end)
        socket.on('close', end)
      }
      near.on('data', (chunk) => {
        this.sentBytes += chunk.length
      })
      far.on('data', (chunk) => {
        this.receivedBytes += chunk.length
      })
      near.pipe(far)
      if (this.#isStalled) far.pause()
      else far.pipe(near)
    })
  }

  static async open(target: { readonly host: string; readonly port: number }): Promise<TcpProxy> {
    const proxy = new TcpProxy(target)
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject)
      proxy.#server.listen(0, '127.0.0.1', resolve)
    })
    return proxy
  }

  get port(): number {
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('the proxy does not listen')
    return address.port
  }

  /** Cuts every connection; new ones are taken. */
  cut(): void {
    for (const { near } of this.#pairs) near.destroy()
  }

  /** The party reads nothing any more; what it sends goes through. */
  stall(): void {
    this.#isStalled = true
    for (const { near, far } of this.#pairs) far.unpipe(near).pause()
  }

  resume(): void {
    this.#isStalled = false
    for (const { near, far } of this.#pairs) far.pipe(near)
  }

  /** Cuts every connection and takes no new one. */
  close(): void {
    this.#server.close()
    this.cut()
  }
}
