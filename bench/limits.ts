// Owns: the limit runs beside ours: raw lmdb puts with the same group commit, and a bare fastify that moves the same bytes.
// L1 The lmdb run answers a put only after its flush, as the log does; the same number of puts is outstanding.
// L2 The fastify run is a process of its own, as the gateway is.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { open } from 'lmdb'
import { rate } from './measure.ts'

/** Bytes per second of durable puts of `bytes` each, `workers` at once. */
export async function lmdbPuts(bytes: number, workers: number, durationMs: number): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), 'trunkline-limit-'))
  const db = open<Buffer, number>({ path: dir, encoding: 'binary', keyEncoding: 'uint32' })
  const value = Buffer.alloc(bytes, 7)
  let key = 0
  try {
    return await rate(workers, durationMs, async () => {
      await db.put(key++, value)
      await db.flushed
      return bytes
    })
  } finally {
    await db.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

export class EchoServer {
  readonly #child: ChildProcess
  readonly #port: number
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 256 })

  private constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.#port = port
  }

  static async start(): Promise<EchoServer> {
    const child = fork(fileURLToPath(new URL('./echo-server.ts', import.meta.url)), { execArgv: ['--import', 'tsx'] })
    const [port] = (await once(child, 'message')) as [number]
    return new EchoServer(child, port)
  }

  /** Sends `up` bytes, gets `down` bytes. */
  exchange(up: Buffer, down: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const call = request(
        {
          port: this.#port,
          agent: this.#agent,
          method: 'POST',
          path: `/${down}`,
          headers: { 'content-type': 'application/octet-stream', 'content-length': up.length },
        },
        (response) => {
          let received = 0
          response.on('data', (chunk: Buffer) => {
            received += chunk.length
          })
          response.on('end', () => resolve(received))
          response.on('error', reject)
        },
      )
      call.on('error', reject)
      call.end(up)
    })
  }

  stop(): void {
    this.#agent.destroy()
    this.#child.kill('SIGKILL')
  }
}
