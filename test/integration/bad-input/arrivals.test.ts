// Many peers that begin large requests and never end them, at both listeners: together they get a budget and no more, those
// that finish theirs are served all the while, and nothing is left when they have gone. No time limit helps here.
import { connect as openSocket, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { buildBlock } from '../../../src/protocol/block.ts'
import { encoding } from '../../../src/protocol/messages.ts'
import { memoryOf } from '../../support/memory.ts'
import { bytes, Harness } from '../sessions/harness.ts'

const mebibyte = 1024 * 1024
const arrivingBytesMax = 12 * mebibyte
const peersCount = 150
/** What they would hold without a budget: 143 MiB. The rest is for what waits, what is in a read, and garbage. */
const budgetBytes = 90 * mebibyte
const declaredBytes = 1_200_000
/** All peers write the same bytes, so that this side of them costs nothing. */
const begun = Buffer.alloc(1_000_000, 'x')

let at: Harness
const sockets = new Set<Socket>()
beforeAll(async () => {
  at = await Harness.start({ requestTimeoutMs: 300_000, connectionsMax: 400, arrivingBytesMax, topicPartitions: 1 })
  await at.createTopic('good')
})
afterAll(() => at.end())

/** Of an honest request. */
const large = 'y'.repeat(600_000)

async function stall(url: string, start: string | Uint8Array): Promise<void> {
  const { hostname, port } = new URL(url)
  const socket = openSocket({ host: hostname, port: Number(port), noDelay: true })
  sockets.add(socket)
  socket.on('error', () => {})
  socket.resume()
  await new Promise<void>((resolve) => {
    socket.once('connect', resolve)
    socket.once('close', () => resolve())
  })
  socket.write(start)
  socket.write(begun)
}

const arriving = (listener: string): Promise<number> => at.metric('trunkline_arriving_bytes', { listener })

afterEach(async () => {
  for (const socket of sockets) socket.destroy()
  sockets.clear()
  for (const listener of ['thrift', 'http'])
    await at.eventually(async () => (await arriving(listener)) === 0, `${listener} gives its places back`)
  await at.eventually(async () => (await at.metric('trunkline_tcp_connections')) === 1, 'connections close')
  expect(await at.metric('trunkline_errors_total', { name: 'INTERNAL' })).toBe(0)
})

describe('requests that never end', () => {
  it('Given unfinished frames on many connections, then a large frame of another client is served all the while', async () => {
    const head = Buffer.alloc(4)
    head.writeUInt32BE(declaredBytes)
    const used = await memoryOf(async () => {
      for (let index = 0; index < peersCount; index++) {
        await stall(at.gateway.thriftUrl, head)
        expect(await arriving('thrift')).toBeLessThanOrEqual(arrivingBytesMax)
        if (index % 50 === 49) {
          await at.publish('good', buildBlock(0, [{ payload: bytes(large) }], encoding.none))
        }
      }
    })
    expect(used).toBeLessThan(budgetBytes)
    expect(await at.metric('trunkline_arrivals_cut_total', { listener: 'thrift' })).toBeGreaterThan(0)
  }, 300_000)

  it('Given unfinished bodies on many connections, then a large body of another client is served all the while', async () => {
    const head = [
      'POST /v1/topics/good/events HTTP/1.1',
      'Host: gateway',
      'Content-Type: application/json',
      `Content-Length: ${declaredBytes}`,
      '',
      '',
    ].join('\r\n')
    const used = await memoryOf(async () => {
      for (let index = 0; index < peersCount; index++) {
        await stall(at.gateway.httpUrl, head)
        expect(await arriving('http')).toBeLessThanOrEqual(arrivingBytesMax)
        if (index % 50 === 49) {
          const answer = await at.postJson('/v1/topics/good/events', { events: [{ payload: { text: large } }] })
          expect([answer.status, await answer.text()]).toEqual([200, expect.any(String)])
        }
      }
    })
    expect(used).toBeLessThan(budgetBytes)
    expect(await at.metric('trunkline_arrivals_cut_total', { listener: 'http' })).toBeGreaterThan(0)
  }, 300_000)
})
