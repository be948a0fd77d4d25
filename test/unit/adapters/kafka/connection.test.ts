// Owns: one connection against a server that answers what a test tells it: frames in pieces, late, wrong or never.
import { createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../../src/adapters/clock/system-clock.ts'
import type { ApiRequest } from '../../../../src/adapters/kafka/api.ts'
import { Dialer } from '../../../../src/adapters/kafka/dialer.ts'
import { Lane } from '../../../../src/adapters/kafka/lane.ts'
import { type KafkaMetrics, noMetrics } from '../../../../src/adapters/kafka/metrics.ts'
import { WireWriter } from '../../../../src/adapters/kafka/wire.ts'

const apiVersions = 18
const supported: readonly number[] = [0, 1, 2, 3, 10, 19, 20, 22, 32]

/** A request whose answer is one number. */
const question = (value: number): ApiRequest<number> => ({
  name: 'Metadata',
  version: 1,
  flexible: false,
  body: (writer) => writer.int32(value),
  parse: (reader) => reader.int32(),
})

function frame(correlation: number, body: Buffer): Buffer {
  const head = Buffer.alloc(8)
  head.writeInt32BE(4 + body.length, 0)
  head.writeInt32BE(correlation, 4)
  return Buffer.concat([head, body])
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

interface Question {
  readonly correlation: number
  readonly value: number
  readonly socket: Socket
}

describe('a connection', () => {
  let server: Server
  let lane: Lane
  let port = 0
  let maxVersion = 20
  let sockets: Socket[]
  let questions: Question[]
  let onQuestion: (question: Question) => void
  let events: string[]
  let inFlight = 0

  beforeEach(async () => {
    sockets = []
    questions = []
    events = []
    inFlight = 0
    maxVersion = 20
    onQuestion = () => {}
    server = createServer((socket) => {
      sockets.push(socket)
      socket.on('error', () => {})
      let left = Buffer.alloc(0)
      socket.on('data', (chunk) => {
        left = Buffer.concat([left, chunk])
        while (left.length >= 4 && left.length >= 4 + left.readInt32BE(0)) {
          const request = left.subarray(4, 4 + left.readInt32BE(0))
          left = left.subarray(4 + request.length)
          const correlation = request.readInt32BE(4)
          if (request.readInt16BE(0) === apiVersions) {
            const body = new WireWriter().int16(0)
            body.array(supported, (key) => body.int16(key).int16(0).int16(maxVersion))
            socket.write(frame(correlation, Buffer.concat(body.finish())))
            continue
          }
          const one = { correlation, value: request.readInt32BE(request.length - 4), socket }
          questions.push(one)
          onQuestion(one)
        }
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    port = typeof address === 'object' ? (address?.port ?? 0) : 0
    const metrics: KafkaMetrics = {
      ...noMetrics,
      connection: (event) => events.push(event),
      inFlight: (_, change) => {
        inFlight += change
      },
    }
    const dialer = new Dialer({ clientId: 'test', access: () => ({}), clock: systemClock, connectTimeoutMs: 1_000 })
    lane = new Lane({ dialer, clientId: 'test', clock: systemClock, metrics })
  })
  afterEach(() => {
    lane.close()
    for (const socket of sockets) socket.destroy()
    server.close()
  })

  const ask = (value: number, timeoutMs = 5_000): Promise<number> =>
    lane.request({ nodeId: 1, host: '127.0.0.1', port }, question(value), timeoutMs)
  const reply = ({ correlation, value, socket }: Question): boolean =>
    socket.write(frame(correlation, int32(value * 10)))

  it('Given answers in any order and in pieces, then each reaches its request, over one connection', async () => {
    onQuestion = ({ socket }) => {
      if (questions.length < 3) return
      const all = Buffer.concat(questions.reverse().map((one) => frame(one.correlation, int32(one.value * 10))))
      for (const byte of all) socket.write(Buffer.from([byte]))
    }
    expect(await Promise.all([ask(1), ask(2), ask(3)])).toEqual([10, 20, 30])
    expect(sockets).toHaveLength(1)
    expect(inFlight).toBe(0)
  })

  it('Given no answer in time, then that connection is closed with all on it, and the next request has a new one', async () => {
    const slow = ask(1, 10_000).catch((error: unknown) => error)
    await expect(ask(2, 100)).rejects.toMatchObject({ failure: 'timeout', neverSent: false })
    expect(await slow).toMatchObject({ failure: 'timeout' })
    onQuestion = reply
    expect(await ask(3)).toBe(30)
    expect(sockets).toHaveLength(2)
    expect(events).toEqual(['opened', 'replaced', 'closed', 'opened'])
    expect(inFlight).toBe(0)
  })

  it('Given a connection that breaks, then what was sent is lost, and that it was sent is said', async () => {
    onQuestion = ({ socket }) => socket.destroy()
    await expect(ask(1)).rejects.toMatchObject({ failure: 'lost', neverSent: false })
    onQuestion = reply
    expect(await ask(2)).toBe(20)
  })

  it('Given an answer to nothing, one of an impossible size, or one that is none, then the connection is given up', async () => {
    for (const nonsense of [
      frame(9_999, int32(1)),
      Buffer.from('7fffffff00000000', 'hex'),
      Buffer.from('ffffffff00000000', 'hex'),
    ]) {
      onQuestion = ({ socket }) => socket.write(nonsense)
      await expect(ask(1)).rejects.toMatchObject({ failure: 'malformed', neverSent: false })
    }
    onQuestion = ({ correlation, socket }) => socket.write(frame(correlation, Buffer.alloc(2)))
    await expect(ask(1)).rejects.toMatchObject({ failure: 'malformed' })
    onQuestion = reply
    expect(await ask(2)).toBe(20)
  })

  it('Given nobody who listens, then nothing was sent, and that is certain', async () => {
    await new Promise((resolve) => server.close(resolve))
    await expect(ask(1)).rejects.toMatchObject({ failure: 'unreachable', neverSent: true })
    expect(events).toEqual(['failed'])
  })

  it('Given a broker that is too old, then it is refused', async () => {
    maxVersion = 8
    await expect(ask(1)).rejects.toMatchObject({ failure: 'refused', neverSent: true })
  })

  it('Given a closed lane, then what is under way ends, and nothing is sent any more', async () => {
    const waiting = ask(1)
    onQuestion = () => lane.close()
    await expect(waiting).rejects.toMatchObject({ failure: 'lost' })
    await expect(ask(2)).rejects.toMatchObject({ failure: 'closed', neverSent: true })
  })

  it('Given an idle connection, then nothing runs: no timer of the library is left', async () => {
    onQuestion = reply
    await ask(1)
    const before = process.cpuUsage()
    await new Promise((resolve) => systemClock.after(500, () => resolve(undefined)))
    const timers = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout')
    expect(timers).toEqual([])
    expect(process.cpuUsage(before).user).toBeLessThan(200_000)
  })
})
