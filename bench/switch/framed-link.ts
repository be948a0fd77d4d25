// Owns: the peer that the switch is measured against: one TCP connection, frames of length, id and body, answered by id.
// Leaves out: everything a product would need of it (who listens where, deadlines, reconnecting, bounds).
import { connect, createServer, type Server, type Socket } from 'node:net'

const headerBytes = 8

function send(socket: Socket, id: number, body: Uint8Array): void {
  const header = Buffer.allocUnsafe(headerBytes)
  header.writeUInt32BE(body.length, 0)
  header.writeUInt32BE(id, 4)
  if (body.length < 16_384) {
    socket.write(Buffer.concat([header, body]))
    return
  }
  socket.cork()
  socket.write(header)
  socket.write(body)
  socket.uncork()
}

function onFrames(socket: Socket, handle: (id: number, body: Uint8Array) => void): void {
  let chunks: Buffer[] = []
  let bytes = 0
  let wanted = headerBytes
  socket.on('data', (chunk) => {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes < wanted) return
    let all = chunks.length === 1 ? chunk : Buffer.concat(chunks)
    for (;;) {
      wanted = headerBytes + (all.length < headerBytes ? 0 : all.readUInt32BE(0))
      if (all.length < headerBytes || all.length < wanted) break
      handle(all.readUInt32BE(4), all.subarray(headerBytes, wanted))
      all = all.subarray(wanted)
    }
    chunks = all.length === 0 ? [] : [all]
    bytes = all.length
  })
}

export async function serveFrames(answer: (body: Uint8Array) => Promise<Uint8Array>): Promise<Server> {
  const server = createServer((socket) => {
    socket.setNoDelay(true)
    socket.on('error', () => undefined)
    onFrames(socket, (id, body) => void answer(body).then((reply) => send(socket, id, reply)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

export class FramedLink {
  readonly #socket: Socket
  readonly #pending = new Map<number, (body: Uint8Array) => void>()
  #ids = 0

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    onFrames(socket, (id, body) => {
      this.#pending.get(id)?.(body)
      this.#pending.delete(id)
    })
  }

  static async open(port: number): Promise<FramedLink> {
    const socket = connect(port, '127.0.0.1')
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return new FramedLink(socket)
  }

  call(body: Uint8Array): Promise<Uint8Array> {
    this.#ids = (this.#ids + 1) >>> 0
    const id = this.#ids
    return new Promise((resolve) => {
      this.#pending.set(id, resolve)
      send(this.#socket, id, body)
    })
  }

  close(): void {
    this.#socket.destroy()
  }
}
