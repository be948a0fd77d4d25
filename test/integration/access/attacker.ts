// Owns: callers that come from addresses of their own choice (those of this machine), and keep no rule.
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { platform } from 'node:process'
import { requirement } from '../../support/requirement.ts'
import type { AccessWorld } from './harness.ts'

/** All of 127.0.0.0/8 is this machine's: so one machine has many callers. */
export const manyAddresses = requirement('many loopback addresses', () =>
  platform === 'linux' ? true : 'only Linux answers on all of 127.0.0.0/8',
)

export class Peer {
  readonly socket: Socket
  /** The gateway's end, or all of it. */
  readonly closed: Promise<void>
  isClosed = false
  received = Buffer.alloc(0)

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk])
    })
    this.closed = new Promise((resolve) => {
      const end = (): void => {
        this.isClosed = true
        resolve()
      }
      socket.once('end', end)
      socket.once('close', end)
    })
  }

  static async open(url: string, from: string): Promise<Peer> {
    const { hostname, port } = new URL(url)
    const peer = new Peer(connect({ host: hostname, port: Number(port), localAddress: from, noDelay: true }))
    // One that is refused at once may be closed before it is heard of.
    await Promise.race([new Promise<void>((resolve) => peer.socket.once('connect', () => resolve())), peer.closed])
    return peer
  }

  /** One HTTP request on this connection; answers the status and the text of all that came. */
  async get(path: string, bearer: string): Promise<{ readonly status: number; readonly text: string }> {
    this.received = Buffer.alloc(0)
    this.socket.write(`GET ${path} HTTP/1.1\r\nHost: trunkline\r\nAuthorization: Bearer ${bearer}\r\n\r\n`)
    for (let attempt = 0; attempt < 2_000; attempt++) {
      const text = this.received.toString('latin1')
      const [head = '', body] = text.split('\r\n\r\n')
      const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0)
      if (body !== undefined && body.length >= length) return { status: Number(text.slice(9, 12)), text }
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    throw new Error('no answer came')
  }
}

export interface Answered {
  readonly status: number
  readonly retryAfter: string | undefined
  readonly body: Readonly<Record<string, unknown>>
}

/** One HTTP request over a connection of its own. */
export async function ask(
  url: string,
  from: string,
  options: { readonly form?: Readonly<Record<string, string>>; readonly bearer?: string },
): Promise<Answered> {
  const form = options.form === undefined ? undefined : new URLSearchParams(options.form).toString()
  return await new Promise((resolve, reject) => {
    const asked = request(
      url,
      {
        agent: false,
        localAddress: from,
        method: form === undefined ? 'GET' : 'POST',
        headers: {
          ...(options.bearer === undefined ? {} : { authorization: `Bearer ${options.bearer}` }),
          ...(form === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
        },
      },
      (answer) => {
        let text = ''
        answer.on('data', (chunk: Buffer) => {
          text += chunk.toString('utf8')
        })
        answer.on('end', () =>
          resolve({
            status: answer.statusCode ?? 0,
            retryAfter: answer.headers['retry-after'],
            body: JSON.parse(text) as Answered['body'],
          }),
        )
      },
    )
    asked.on('error', reject)
    asked.end(form)
  })
}

/** The value of one series, as the admin port shows it. */
export async function counted(world: AccessWorld, series: string): Promise<number> {
  const text = await (await fetch(`${world.gateway.adminUrl}/metrics`)).text()
  const line = text.split('\n').find((each) => each.startsWith(`${series} `))
  return Number(line?.slice(series.length + 1) ?? 0)
}

export async function eventually(holds: () => Promise<boolean> | boolean, what: string): Promise<void> {
  for (let attempt = 0; attempt < 2_000; attempt++) {
    if (await holds()) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`never came: ${what}`)
}
