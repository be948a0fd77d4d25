// Real attacking clients at the HTTP port: slow, endless, huge, many at once, smuggled. Each is cut or answered with a
// problem of ours; others are served meanwhile, memory stays within a budget, nothing is left behind.
import { readFileSync } from 'node:fs'
import { connect as openSocket, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { certificateFiles, makeCertificates } from '../../../scripts/stack/certificates.ts'
import { startGateway } from '../../../src/main/gateway.ts'
import { nullLogger } from '../../../src/observability/log.ts'
import { buildBlock } from '../../../src/protocol/block.ts'
import { encoding } from '../../../src/protocol/messages.ts'
import { encodeCall } from '../../../src/protocol/thrift/message.ts'
import { memoryOf } from '../../support/memory.ts'
import { RawSession, signedRequest } from '../../support/raw-client.ts'
import { blockOf, Harness, refused } from '../sessions/harness.ts'

const mebibyte = 1024 * 1024
const budgetBytes = 160 * mebibyte

let at: Harness
const sockets = new Set<Socket>()
beforeAll(async () => {
  at = await Harness.start({ requestTimeoutMs: 1_000, connectionsMax: 200, clientHeldBytesMax: 32 * mebibyte })
  await at.publish('good', blockOf(0, 'a'))
})
afterAll(() => at.end())

afterEach(async () => {
  for (const socket of sockets) socket.destroy()
  sockets.clear()
  expect([...(await at.everything('good')).values()]).toEqual([['a']])
  expect(await at.metric('trunkline_errors_total', { name: 'INTERNAL' })).toBe(0)
})

class Attacker {
  readonly socket: Socket
  readonly closed: Promise<void>
  received = ''

  constructor(socket: Socket, reads: boolean) {
    this.socket = socket
    socket.on('error', () => {})
    if (reads)
      socket.on('data', (chunk: Buffer) => {
        this.received += chunk.toString('latin1')
      })
    // The gateway's end is what counts: this side stays open, as an attacker's would.
    this.closed = new Promise((resolve) => {
      socket.once('end', () => resolve())
      socket.once('close', () => resolve())
    })
  }

  static async open(reads = true): Promise<Attacker> {
    const { hostname, port } = new URL(at.gateway.httpUrl)
    const socket = openSocket({ host: hostname, port: Number(port), noDelay: true, allowHalfOpen: true })
    sockets.add(socket)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return new Attacker(socket, reads)
  }

  send(text: string | Uint8Array): void {
    this.socket.write(text)
  }

  /** Writes the text a byte at a time until it is cut. */
  async drip(text: string): Promise<void> {
    let isOver = false
    void this.closed.then(() => {
      isOver = true
    })
    for (const character of text) {
      if (isOver || this.socket.destroyed) return
      this.socket.write(character)
      await sleep(50)
    }
    throw new Error('it was never cut')
  }
}

const head = (line: string, ...headers: readonly string[]): string =>
  [line, 'Host: trunkline', `Authorization: Bearer ${at.bearer}`, ...headers, '', ''].join('\r\n')

async function served(): Promise<void> {
  expect((await at.http('/v1/topics/good/events?from=earliest')).status).toBe(200)
}

describe('slow clients', () => {
  it('Given headers that drip in, on many connections, then each is cut in its time and others are served', async () => {
    const slow = await Promise.all(Array.from({ length: 50 }, () => Attacker.open()))
    const cut = slow.map((one) => one.drip(`POST /v1/topics HTTP/1.1\r\nX-Slow: ${'a'.repeat(2_000)}`))
    await served()
    await Promise.all(cut)
  }, 300_000)

  it('Given a body that drips in, then it is cut in its time, and nothing of it is published', async () => {
    const slow = await Attacker.open()
    const body = `{"payload":{"text":"${'x'.repeat(2_000)}"}}`
    const headers = ['Content-Type: application/json', `Content-Length: ${body.length}`]
    slow.send(head('POST /v1/topics/good/events HTTP/1.1', ...headers))
    await slow.drip(body)
    await served()
  }, 300_000)

  it('Given connections that say nothing, or end their side in the middle, then they are closed', async () => {
    const silent = await Promise.all(Array.from({ length: 20 }, () => Attacker.open()))
    const half = await Attacker.open()
    half.send('POST /v1/topics HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{')
    half.socket.end()
    await served()
    await half.closed
    await Promise.all(silent.map(({ closed }) => closed))
  }, 300_000)
})

describe('slow clients of a TLS listener', () => {
  it('Given headers that drip in, then they are cut in their time', async () => {
    const folder = join(at.dir, 'certificates')
    makeCertificates(folder)
    const { ca, server } = certificateFiles(folder)
    const files = { tlsCertFile: server.certificate, tlsKeyFile: server.key }
    const logger = nullLogger
    const dataDir = join(at.dir, 'over-tls')
    const gateway = await startGateway({
      dataDir,
      httpPort: 0,
      thriftPort: 0,
      adminPort: 0,
      requestTimeoutMs: 1_000,
      logger,
      ...files,
    })
    try {
      for (const url of [gateway.httpUrl, gateway.adminUrl]) {
        // The admin port waits for 10 s.
        const bytes = url === gateway.httpUrl ? 200 : 600
        const { hostname, port } = new URL(url)
        const socket = connectTls({ host: hostname, port: Number(port), ca: readFileSync(ca, 'utf8') })
        sockets.add(socket)
        await new Promise<void>((resolve, reject) => {
          socket.once('secureConnect', resolve)
          socket.once('error', reject)
        })
        await new Attacker(socket, true).drip(`GET /v1/topics HTTP/1.1\r\nX-Slow: ${'a'.repeat(bytes)}`)
      }
    } finally {
      await gateway.close()
    }
  }, 300_000)
})

describe('floods', () => {
  it.each<[string, () => string, RegExp]>([
    [
      'one header of 1 MiB',
      () => head('GET /v1/topics HTTP/1.1', `X-Big: ${'a'.repeat(mebibyte)}`),
      /^HTTP\/1\.1 431 /,
    ],
    [
      'ten thousand headers',
      () => head('GET /v1/topics HTTP/1.1', ...Array.from({ length: 10_000 }, (_, index) => `X-${index}: 1`)),
      /^HTTP\/1\.1 431 /,
    ],
    ['a path of 1 MiB', () => head(`GET /${'a'.repeat(mebibyte)} HTTP/1.1`), /^HTTP\/1\.1 431 /],
    [
      'a length and chunks at once',
      () => head('POST /v1/topics HTTP/1.1', 'Content-Length: 5', 'Transfer-Encoding: chunked'),
      /^HTTP\/1\.1 400 /,
    ],
    [
      'two lengths',
      () => head('POST /v1/topics HTTP/1.1', 'Content-Length: 5', 'Content-Length: 6'),
      /^HTTP\/1\.1 400 /,
    ],
    ['a line that is none', () => 'GET\x00/ HTTP/9.9\r\n\r\n', /^HTTP\/1\.1 400 /],
    ['a header with a line in it', () => head('GET /v1/topics HTTP/1.1', 'X: a\n\nb'), /^HTTP\/1\.1 400 /],
    [
      'an upgrade',
      () => head('GET /v1/topics HTTP/1.1', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: x'),
      /^HTTP\/1\.1 (200|400|426) /,
    ],
    ['an unheard-of method', () => head('BREW /v1/topics HTTP/1.1'), /^HTTP\/1\.1 (400|404|405|501) /],
  ])('Given %s, then it is answered as the caller’s fault, within the budget', async (_, request, expected) => {
    const used = await memoryOf(async () => {
      const attacker = await Attacker.open()
      attacker.send(request())
      await at.eventually(() => attacker.received !== '' || attacker.socket.destroyed, 'an answer')
      expect(attacker.received.slice(0, 200)).toMatch(expected)
      await served()
    })
    expect(used).toBeLessThan(budgetBytes)
  })

  it('Given a body without end in chunks, then it ends at the limit, within the budget', async () => {
    const used = await memoryOf(async () => {
      const attacker = await Attacker.open()
      attacker.send(
        head('POST /v1/topics/good/events HTTP/1.1', 'Content-Type: application/json', 'Transfer-Encoding: chunked'),
      )
      const chunk = `10000\r\n${'"'.padEnd(0x10000, 'x')}\r\n`
      for (let sent = 0; sent < 64 && !attacker.socket.destroyed && attacker.received === ''; sent++) {
        attacker.send(chunk)
        await sleep(2)
      }
      await at.eventually(() => attacker.received !== '' || attacker.socket.destroyed, 'it is cut')
      if (attacker.received !== '') expect(attacker.received).toMatch(/^HTTP\/1\.1 413 /)
      await served()
    })
    expect(used).toBeLessThan(budgetBytes)
  })

  it('Given 20,000 requests in one go and nobody who reads the answers, then memory stays within the budget', async () => {
    const used = await memoryOf(async () => {
      const attacker = await Attacker.open(false)
      attacker.socket.pause()
      const many = head('GET /v1/topics HTTP/1.1').repeat(200)
      for (let round = 0; round < 100 && !attacker.socket.destroyed; round++) {
        attacker.send(many)
        await sleep(1)
        if (round % 20 === 0) await served()
      }
      await served()
    })
    expect(used).toBeLessThan(budgetBytes)
  })
})

describe('answers that nobody reads', () => {
  it('Given events that grow in JSON, asked for again and again over many connections, then what is held is bounded, others are served, and all of it is free in the end', async () => {
    await at.createTopic('growing')
    const payload = new Uint8Array(700_000).fill(1)
    await at.publish('growing', buildBlock(0, [{ payload }], encoding.none))
    const request = head('GET /v1/topics/growing/events?from=earliest HTTP/1.1').repeat(5)
    const used = await memoryOf(async () => {
      const attackers = await Promise.all(Array.from({ length: 60 }, () => Attacker.open(false)))
      for (const attacker of attackers) {
        attacker.socket.pause()
        attacker.send(request)
      }
      await at.eventually(
        async () => (await at.metric('trunkline_quota_refusals_total', { limit: 'client held bytes' })) > 0,
        'answers find no place',
      )
      await sleep(1_000)
      expect(await at.metric('trunkline_held_bytes')).toBeGreaterThan(1_000_000)
      expect(await at.metric('trunkline_held_bytes')).toBeLessThan(40 * mebibyte)
      await served()
      for (const attacker of attackers) attacker.socket.destroy()
    })
    expect(used).toBeLessThan(2 * budgetBytes)
    await at.eventually(async () => (await at.metric('trunkline_held_bytes')) === 0, 'all of it is free')
  }, 300_000)

  it('Given the same over Thrift, then what is held is bounded, and all of it is free in the end', async () => {
    const client = await at.connect()
    const reader = await RawSession.read(client, at.bearer, 'growing', { earliest: true })
    const proof = reader.proof()
    const read = signedRequest('read', { proof, session: reader.allocated.session, n: 1 })
    const used = await memoryOf(async () => {
      for (let connection = 0; connection < 30; connection++) {
        const { hostname, port } = new URL(at.gateway.thriftUrl)
        const socket = openSocket({ host: hostname, port: Number(port), noDelay: true })
        sockets.add(socket)
        socket.on('error', () => {})
        await new Promise<void>((resolve) => socket.once('connect', () => resolve()))
        socket.pause()
        for (let seqid = 1; seqid <= 40; seqid++) {
          const message = encodeCall('read', seqid, read)
          const length = Buffer.alloc(4)
          length.writeUInt32BE(message.length)
          socket.write(Buffer.concat([length, message]))
        }
      }
      await sleep(2_000)
      expect(await at.metric('trunkline_held_bytes')).toBeLessThan(40 * mebibyte)
      await served()
      for (const socket of sockets) socket.destroy()
    })
    expect(used).toBeLessThan(2 * budgetBytes)
    await at.eventually(async () => (await at.metric('trunkline_held_bytes')) === 0, 'all of it is free')
    await reader.call('dispose', {}, 1)
  }, 300_000)
})

describe('bombs', () => {
  it('Given blocks whose gzip is larger than they say, then they are refused and inflate no more', async () => {
    await at.createTopic('bombs')
    const bomb = gzipSync(Buffer.alloc(256 * mebibyte), { level: 9 })
    const writer = await at.writer('bombs')
    const block = { partition: 0, packing: 1, count: 1, encoding: encoding.gzip, rawSize: 4 * mebibyte, data: bomb }
    const used = await memoryOf(async () => {
      for (let n = 1; n <= 5; n++)
        await refused(writer.call('write', { n: 1, blocks: [block, block], commit: true }), 'BAD_BLOCK')
    })
    expect(used).toBeLessThan(budgetBytes)
    await writer.call('dispose', {}, 1)
    await served()
  })
})
