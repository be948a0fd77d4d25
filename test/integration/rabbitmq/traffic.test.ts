// Owns: what the RabbitMQ switchboard does with traffic beyond the port's suite: strangers' messages, late work, draining
// under load, bounds.
import { connect } from 'amqplib'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Stack } from '../../../scripts/stack/stack.ts'
import { noRabbitMetrics, type RabbitMetrics } from '../../../src/adapters/rabbitmq/metrics.ts'
import { propertiesOf, topologyOf } from '../../../src/adapters/rabbitmq/wire.ts'
import { makeIncarnation } from '../../../src/protocol/ids.ts'
import { bytes, echo, HeldHandler } from '../../conformance/switchboard-suite.ts'
import { sharedStack, stackRequirement, stackStartMs } from '../../support/stack.ts'
import { startLoad } from './load.ts'
import { Parties, pass, until, within } from './parties.ts'

const keyA = makeIncarnation('node-a', 'e1')
const keyB = makeIncarnation('node-b', 'e1')
const patient = { deadlineMs: 60_000 }

stackRequirement.describe('RabbitMQ traffic', () => {
  let stack: Stack
  let parties: Parties
  beforeAll(async () => {
    stack = await sharedStack({ kafka: 0, rabbit: 2 })
  }, stackStartMs)
  afterAll(() => stack.stop())
  beforeEach(() => {
    parties = new Parties(stack.rabbitUrls.slice(0, 2))
  })
  afterEach(() => parties.close())

  /** A stranger on the first broker. */
  async function stranger(): Promise<{
    send(exchange: string, routingKey: string, properties: object): void
    answers: { readonly appId: unknown; readonly type: unknown; readonly id: unknown }[]
    readonly queue: string
    close(): Promise<void>
  }> {
    const connection = await connect(stack.rabbitUrls[0] ?? '', { noDelay: true, timeout: 3_000 })
    connection.on('error', () => undefined)
    const channel = await connection.createChannel()
    const { queue } = await channel.assertQueue('', { exclusive: true })
    const answers: { appId: unknown; type: unknown; id: unknown }[] = []
    await channel.consume(
      queue,
      (message) => {
        const { appId, type, correlationId } = message?.properties ?? {}
        answers.push({ appId, type, id: correlationId })
      },
      { noAck: true },
    )
    return {
      send: (exchange, routingKey, properties) => {
        channel.publish(exchange, routingKey, Buffer.from('whatever'), properties)
      },
      answers,
      queue,
      close: () => connection.close(),
    }
  }

  test('given messages of strangers and of other versions, then they are counted, none runs, and all goes on', async () => {
    const ignored: Record<string, number> = {}
    const metrics: RabbitMetrics = {
      ...noRabbitMetrics,
      ignored: (_, why) => {
        ignored[why] = (ignored[why] ?? 0) + 1
      },
    }
    const node = await parties.open({ on: [0], metrics })
    const held = new HeldHandler()
    await node.switchboard.serve(keyA, { allocate: held.handle, call: held.handle })
    const { sessExchange, allocExchange, presenceExchange } = topologyOf(parties.namePrefix)
    const other = await stranger()
    const replyTo = other.queue
    for (const [exchange, routingKey] of [
      [sessExchange, keyA],
      [allocExchange, other.queue],
      [presenceExchange, ''],
    ] as const) {
      other.send(exchange, routingKey, {})
      other.send(exchange, routingKey, { appId: 'a stranger', type: 'call', correlationId: '1', replyTo })
      other.send(exchange, routingKey, { appId: 'trunkline/999', type: 'call', correlationId: '2', replyTo })
      other.send(exchange, routingKey, { appId: 'trunkline/1', type: 'nothing we know', correlationId: '3', replyTo })
      other.send(exchange, routingKey, { ...propertiesOf('answer', '4'), replyTo })
      other.send(exchange, routingKey, { ...propertiesOf('call', '5', { leftMs: Number.NaN }), replyTo })
      other.send(exchange, routingKey, { ...propertiesOf('here', '', { key: 'no incarnation', queue: 'q' }), replyTo })
    }
    await until('all were looked at', 5_000, () => Object.values(ignored).reduce((sum, count) => sum + count, 0) === 20)
    expect(ignored).toEqual({ foreign: 6, version: 3, malformed: 11 })
    // Requests of another version are answered under that version, so that their callers need not wait.
    await until('answers came', 2_000, () => other.answers.length >= 2)
    expect(other.answers).toEqual([
      { appId: 'trunkline/999', type: 'lost', id: '2' },
      { appId: 'trunkline/999', type: 'lost', id: '2' },
    ])
    expect(held.bodies).toEqual([])
    expect(node.switchboard.presence().map(({ key }) => key)).toEqual([keyA])
    const running = node.switchboard.call(keyA, bytes(1), patient)
    await within(1_000, held.began(1))
    held.answer(0, bytes(2))
    expect(await within(1_000, running)).toEqual({ kind: 'answered', body: bytes(2) })
    const allocating = node.switchboard.allocate(bytes(3), patient)
    await within(1_000, held.began(2))
    held.answer(1, bytes(4))
    expect(await within(1_000, allocating)).toEqual({ kind: 'answered', body: bytes(4) })
    await other.close()
  })

  test('given a node that reads nothing for a while, when it reads again, then work that is too late does not run', async () => {
    let expired = 0
    const metrics: RabbitMetrics = { ...noRabbitMetrics, expired: () => (expired += 1) }
    const api = await parties.open({ on: [0] })
    const node = await parties.open({ on: [0], metrics })
    const ran: number[] = []
    const note = (body: Uint8Array): Promise<Uint8Array> => {
      ran.push(body[0] ?? 0)
      return Promise.resolve(body)
    }
    await node.switchboard.serve(keyA, { ...echo, call: note })
    expect((await api.switchboard.call(keyA, bytes(1), patient)).kind).toBe('answered')
    for (const proxy of node.proxies) proxy.stall()
    const late = Array.from({ length: 8 }, () => api.switchboard.call(keyA, bytes(2), { deadlineMs: 300 }))
    const inTime = api.switchboard.call(keyA, bytes(3), { deadlineMs: 20_000 })
    expect(new Set((await Promise.all(late)).map(({ kind }) => kind))).toEqual(new Set(['timeout']))
    await pass(200)
    for (const proxy of node.proxies) proxy.resume()
    expect((await within(2_000, inTime)).kind).toBe('answered')
    expect(ran).toEqual([1, 3])
    // The broker itself forgets what has not left its queue.
    expect(expired).toBeLessThanOrEqual(8)
  })

  test('given load, when nodes drain and close one after the other, then no call is lost and none waits in vain', async () => {
    const api = await parties.open()
    const keys = [0, 1, 2, 3].map((index) => makeIncarnation(`node-${index}`, 'e1'))
    const slowly = async (body: Uint8Array): Promise<Uint8Array> => {
      // Some still run when everything else of closing is done.
      await pass(body[0] === 0 ? 60 : 3)
      return body
    }
    const servings = []
    for (const key of keys) {
      const node = await parties.open()
      servings.push(await node.switchboard.serve(key, { ...echo, call: slowly }))
    }
    const options = { deadlineMs: 20_000 }
    const heard = startLoad(32, async (index) => {
      // As a client does that finds its session gone: on to the next node.
      for (const key of [...keys.slice(index % 4), ...keys]) {
        const outcome = await api.switchboard.call(key, bytes(index % 8), { ...options, cookie: `c${index}` })
        if (outcome.kind !== 'unroutable') return outcome
      }
      return { kind: 'unroutable' }
    })
    for (const serving of servings.slice(0, 3)) {
      const before = heard.counts.answered
      await until('calls are answered', 20_000, () => heard.counts.answered > before + 300)
      serving.drain()
      await within(15_000, serving.close())
    }
    const before = heard.counts.answered
    await until('the last one serves', 20_000, () => heard.counts.answered > before + 300)
    await heard.stop()
    const { answered, ...others } = heard.counts
    expect(others).toEqual({ unroutable: 0, lost: 0, timeout: 0 })
    expect(api.problems).toEqual([])
    expect(answered).toBeGreaterThan(1_200)
  })

  test('given large answers and a caller that stops reading, then no more than the bound is sent, and all come in the end', async () => {
    const megabyte = 1024 * 1024
    let outstandingMax = 0
    const metrics: RabbitMetrics = {
      ...noRabbitMetrics,
      outstandingReplyBytes: (_, count) => {
        outstandingMax = Math.max(outstandingMax, count)
      },
    }
    const api = await parties.open({ on: [0], metrics, settings: { replyBytesMax: 4 * megabyte } })
    const node = await parties.open({ on: [0] })
    const held = new HeldHandler()
    await node.switchboard.serve(keyA, { ...echo, call: held.handle })
    const out = Array.from({ length: 32 }, (_, index) => api.switchboard.call(keyA, bytes(index), patient))
    await within(2_000, held.began(32))
    const sent = (): number => node.proxies.reduce((sum, { sentBytes }) => sum + sentBytes, 0)
    const before = sent()
    // Half of the granted answers are on their way when it stops.
    for (let index = 0; index < 4; index += 1) held.answer(index, new Uint8Array(megabyte).fill(index))
    await until('the first are sent', 2_000, () => sent() - before > megabyte)
    for (const proxy of api.proxies) proxy.stall()
    for (let index = 4; index < 32; index += 1) held.answer(index, new Uint8Array(megabyte).fill(index))
    await pass(500)
    // Four that were read or granted before, four granted meanwhile, and small things.
    expect(sent() - before).toBeLessThan(8.5 * megabyte)
    for (const proxy of api.proxies) proxy.resume()
    const answers = await within(10_000, Promise.all(out))
    answers.forEach((answer, index) => {
      if (answer.kind !== 'answered') throw new Error(`${index}: ${answer.kind}`)
      expect([answer.body.length, answer.body[0], answer.body.at(-1)]).toEqual([megabyte, index, index])
    })
    expect(outstandingMax).toBe(4 * megabyte)
  })

  test('given large answers that their callers gave up, then their nodes do not keep them', async () => {
    const api = await parties.open({ on: [0] })
    // Room for one.
    const node = await parties.open({ on: [0], settings: { heldReplyBytesMax: 150_000 } })
    const held = new HeldHandler()
    await node.switchboard.serve(keyA, { ...echo, call: held.handle })
    for (let index = 0; index < 3; index += 1) {
      const abort = new AbortController()
      const outcome = api.switchboard.call(keyA, bytes(1), { ...patient, signal: abort.signal })
      await within(1_000, held.began(2 * index + 1))
      abort.abort()
      expect(await outcome).toEqual({ kind: 'timeout' })
      held.answer(2 * index, new Uint8Array(100_000))
      await pass(50)
      const next = api.switchboard.call(keyA, bytes(1), patient)
      await within(1_000, held.began(2 * index + 2))
      held.answer(2 * index + 1, new Uint8Array(100_000))
      expect((await within(1_000, next)).kind).toBe('answered')
    }
  })

  test('given more than a party may have out or a node may run, then the rest is lost and does not run', async () => {
    const api = await parties.open({ on: [0], settings: { callsMax: 4 } })
    const other = await parties.open({ on: [0] })
    const node = await parties.open({ on: [0], settings: { servedMax: 6 } })
    const held = new HeldHandler()
    await node.switchboard.serve(keyA, { ...echo, call: held.handle })
    const out = Array.from({ length: 6 }, (_, index) => api.switchboard.call(keyA, bytes(index), patient))
    expect(await within(500, Promise.all(out.slice(4)))).toEqual([{ kind: 'lost' }, { kind: 'lost' }])
    await within(1_000, held.began(4))
    const more = Array.from({ length: 4 }, (_, index) => other.switchboard.call(keyA, bytes(index), patient))
    expect(await within(1_000, Promise.all(more.slice(2)))).toEqual([{ kind: 'lost' }, { kind: 'lost' }])
    expect(held.bodies.length).toBe(6)
  })

  test('given a node on two shards, then its places are counted over both, and a free place is found from each', async () => {
    const api = await parties.open()
    const node = await parties.open()
    await until('both shards are up', 5_000, () =>
      [api, node].every(({ switchboard }) => switchboard.shardStates().every(({ state }) => state === 'up')),
    )
    let running = 0
    let runningMax = 0
    const serving = await node.switchboard.serve(keyB, {
      ...echo,
      allocate: async (body) => {
        running += 1
        runningMax = Math.max(runningMax, running)
        await pass(10)
        running -= 1
        return body
      },
    })
    serving.setCapacity(3)
    const kinds: Record<string, number> = {}
    const workers = Array.from({ length: 8 }, async (_, worker) => {
      for (let index = 0; index < 25; index += 1) {
        const { kind } = await api.switchboard.allocate(bytes(1), { ...patient, cookie: `${worker}/${index}` })
        kinds[kind] = (kinds[kind] ?? 0) + 1
      }
    })
    await within(20_000, Promise.all(workers))
    expect(runningMax).toBe(3)
    // On a busy machine one may wait for longer than it is let.
    expect(kinds).toEqual({ answered: 200 - (kinds['no-capacity'] ?? 0), ...kinds })
    expect(kinds['answered']).toBeGreaterThan(150)
  })

  test('given a handler that rejects, then its caller hears lost, and the defect is reported', async () => {
    const node = await parties.open({ on: [0] })
    const failure = new Error('a defect')
    await node.switchboard.serve(keyA, {
      allocate: () => Promise.reject(failure),
      call: () => {
        throw failure
      },
    })
    expect(await within(1_000, node.switchboard.call(keyA, bytes(), patient))).toEqual({ kind: 'lost' })
    expect(await within(1_000, node.switchboard.allocate(bytes(), patient))).toEqual({ kind: 'lost' })
    expect(node.problems).toEqual([failure, failure])
  })

  test.each(['deleted', 'unbound'])('given the queue of allocations was %s, then that is mended', async (how) => {
    const node = await parties.open({ on: [0] })
    await node.switchboard.serve(keyA, echo)
    const connection = await connect(stack.rabbitUrls[0] ?? '', { noDelay: true, timeout: 3_000 })
    const channel = await connection.createChannel()
    const { allocQueue, allocExchange } = topologyOf(parties.namePrefix)
    if (how === 'deleted') await channel.deleteQueue(allocQueue)
    else await channel.unbindQueue(allocQueue, allocExchange, '')
    await connection.close()
    await until('it allocates again', 5_000, () => node.switchboard.shardStates()[0]?.state === 'up')
    let kind = ''
    for (let attempt = 0; attempt < 50 && kind !== 'answered'; attempt += 1) {
      kind = (await within(2_000, node.switchboard.allocate(bytes(1), patient))).kind
      if (kind !== 'answered') await pass(50)
    }
    expect(kind).toBe('answered')
  })
})
