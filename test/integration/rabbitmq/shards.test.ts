// Owns: what the RabbitMQ switchboard does when brokers die, freeze, run short of memory or come back.
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Stack } from '../../../scripts/stack/stack.ts'
import type { CallOutcome } from '../../../src/ports/switchboard.ts'
import { type Incarnation, makeIncarnation } from '../../../src/protocol/ids.ts'
import { bytes, echo, HeldHandler } from '../../conformance/switchboard-suite.ts'
import { privateStack, stackRequirement, stackStartMs } from '../../support/stack.ts'
import { startLoad } from './load.ts'
import { Parties, type Party, pass, until, within } from './parties.ts'
import { rabbitTool } from './rabbitmqctl.ts'

const key = makeIncarnation('node-a', 'e1')
const patient = { deadlineMs: 60_000 }

stackRequirement.describe('RabbitMQ shards', () => {
  let stack: Stack
  let parties: Parties
  beforeAll(async () => {
    stack = await privateStack({ kafka: 0, rabbit: 2 })
  }, stackStartMs)
  afterAll(() => stack.stop())
  beforeEach(async () => {
    await stack.startAll()
    parties = new Parties(stack.rabbitUrls)
  })
  afterEach(() => parties.close())

  const states = (party: Party): string[] => party.switchboard.shardStates().map(({ state }) => state)
  const bothUp = (...all: readonly Party[]): boolean => all.every((party) => states(party).join() === 'up,up')

  /** A node is preferred where it is seen: before that, cookies decide nothing. */
  const seenOnBoth = (api: Party, which: Incarnation): Promise<void> =>
    until('the node is seen', 2_000, () =>
      api.switchboard.presence().some((seen) => seen.key === which && seen.shards.length === 2),
    )

  /** Cookies that prefer the first and the second shard. */
  async function cookies(api: Party, node: Party): Promise<readonly [string, string]> {
    await seenOnBoth(api, key)
    const found: [string?, string?] = []
    for (let index = 0; found[0] === undefined || found[1] === undefined; index += 1) {
      const cookie = `cookie-${index}`
      const before = node.proxies.map(({ receivedBytes }) => receivedBytes)
      const body = new Uint8Array(10_000)
      expect((await api.switchboard.call(key, body, { ...patient, cookie })).kind).toBe('answered')
      const grown = node.proxies.findIndex(({ receivedBytes }, at) => receivedBytes - (before[at] ?? 0) > 10_000)
      if (grown === 0 || grown === 1) found[grown] ??= cookie
    }
    return [found[0], found[1]]
  }

  test('given calls out on a shard, when it is killed, then they are lost soon, the other serves, and it comes back', async () => {
    const api = await parties.open()
    const node = await parties.open()
    await until('both shards are up', 5_000, () => bothUp(api, node))
    const held = new HeldHandler()
    await node.switchboard.serve(key, echo)
    const [first] = await cookies(api, node)
    const slow = makeIncarnation('slow', 'e1')
    await node.switchboard.serve(slow, { ...echo, call: held.handle })
    await seenOnBoth(api, slow)
    const out = Array.from({ length: 64 }, () => api.switchboard.call(slow, bytes(1), { ...patient, cookie: first }))
    await within(2_000, held.began(64))
    const heard = startLoad(16, (index) => api.switchboard.call(key, bytes(1), { ...patient, cookie: `c${index}` }))

    await stack.kill('rabbit-1')
    const answers = await within(1_000, Promise.all(out))
    expect(new Set(answers.map(({ kind }) => kind))).toEqual(new Set(['lost']))
    const before = heard.counts.answered
    await until('the other shard serves', 5_000, () => heard.counts.answered > before + 500)
    expect(heard.counts.unroutable).toBe(0)
    // At most what was out when it died.
    expect(heard.counts.lost).toBeLessThanOrEqual(16)
    expect(heard.tookMsMax).toBeLessThan(10_000)
    expect(api.switchboard.presence()).toEqual(expect.arrayContaining([{ key, shards: ['b'] }]))
    // A cookie that prefers the dead shard is served too.
    expect((await within(500, api.switchboard.call(key, bytes(1), { ...patient, cookie: first }))).kind).toBe(
      'answered',
    )
    expect((await within(500, api.switchboard.allocate(bytes(1), { ...patient, cookie: first }))).kind).toBe('answered')

    await stack.start('rabbit-1')
    await until('it is back', 15_000, () => bothUp(api, node))
    await until('the node is back on it', 5_000, () =>
      api.switchboard.presence().every(({ shards }) => shards.length === 2),
    )
    await heard.stop()
    expect(heard.counts.timeout).toBe(0)
    const [again] = await cookies(api, node)
    expect(again).toBe(first)
  })

  test('given a shard that freezes, then it is left within seconds, what was out is lost, and it is used again afterwards', async () => {
    const api = await parties.open()
    const node = await parties.open()
    await until('both shards are up', 5_000, () => bothUp(api, node))
    await node.switchboard.serve(key, echo)
    const [first] = await cookies(api, node)
    await stack.pause('rabbit-1')
    try {
      const lost = await within(4_000, api.switchboard.call(key, bytes(1), { ...patient, cookie: first }))
      expect(lost).toEqual({ kind: 'lost' })
      expect(states(api)).toEqual(['down', 'up'])
      const next = await within(500, api.switchboard.call(key, bytes(1), { ...patient, cookie: first }))
      expect(next.kind).toBe('answered')
    } finally {
      await stack.resume('rabbit-1')
    }
    await until('it is used again', 5_000, () => bothUp(api))
    expect((await within(500, api.switchboard.call(key, bytes(1), { ...patient, cookie: first }))).kind).toBe(
      'answered',
    )
  })

  test('given the only shard freezes while a party opens, serves and closes, then nothing hangs', async () => {
    const api = await parties.open({ on: [0] })
    await stack.pause('rabbit-1')
    try {
      const opening = parties.open({ on: [0], settings: { connectTimeoutMs: 1_000 } })
      await expect(within(5_000, opening)).rejects.toMatchObject({ name: 'UNAVAILABLE' })
      const outcome: CallOutcome = await within(4_000, api.switchboard.call(key, bytes(1), patient))
      expect(outcome).toEqual({ kind: 'lost' })
      await within(5_000, api.switchboard.close())
    } finally {
      await stack.resume('rabbit-1')
    }
  })

  test('given a quiet shard and a call that waits long, then the shard is not suspected', async () => {
    const settings = { probeIntervalMs: 50, suspectAfterMs: 300 }
    const api = await parties.open({ on: [0], settings })
    const node = await parties.open({ on: [0] })
    const held = new HeldHandler()
    await node.switchboard.serve(key, { ...echo, call: held.handle })
    const waiting = api.switchboard.call(key, bytes(1), patient)
    await within(2_000, held.began(1))
    await pass(1_500)
    expect(states(api)).toEqual(['up'])
    held.answer(0, bytes(2))
    expect(await within(500, waiting)).toEqual({ kind: 'answered', body: bytes(2) })
  })

  test.each([
    [
      'memory',
      ['set_vm_memory_high_watermark', 'absolute', '1MB'],
      ['set_vm_memory_high_watermark', 'absolute', '768MB'],
    ],
    ['disk', ['set_disk_free_limit', '100000GB'], ['set_disk_free_limit', '1MB']],
  ])(
    'given a broker short of %s, then the shard is blocked, the other serves, and it is used again afterwards',
    async (_, alarm, calm) => {
      const api = await parties.open()
      const node = await parties.open()
      await until('both shards are up', 5_000, () => bothUp(api, node))
      await node.switchboard.serve(key, echo)
      const [first] = await cookies(api, node)
      await rabbitTool(stack, 'rabbit-1', 'rabbitmqctl', ...alarm)
      try {
        await until('it is blocked', 10_000, () => states(api)[0] === 'blocked' && states(node)[0] === 'blocked')
        for (let index = 0; index < 20; index += 1) {
          const cookie = index % 2 === 0 ? first : `c${index}`
          expect((await within(500, api.switchboard.call(key, bytes(1), { ...patient, cookie }))).kind).toBe('answered')
          expect((await within(500, api.switchboard.allocate(bytes(1), { ...patient, cookie }))).kind).toBe('answered')
        }
      } finally {
        await rabbitTool(stack, 'rabbit-1', 'rabbitmqctl', ...calm)
      }
      await until('it is used again', 10_000, () => bothUp(api, node))
      expect((await within(500, api.switchboard.call(key, bytes(1), { ...patient, cookie: first }))).kind).toBe(
        'answered',
      )
    },
  )

  test('given a node whose connections are cut, then the same key is served again without being served anew', async () => {
    const api = await parties.open({ on: [0] })
    const node = await parties.open({ on: [0] })
    const serving = await node.switchboard.serve(key, echo)
    for (let round = 0; round < 3; round += 1) {
      for (const proxy of node.proxies) proxy.cut()
      await until('it is noticed', 2_000, () => states(node)[0] === 'down')
      await until('it is there again', 5_000, () => api.switchboard.presence().length === 1 && states(node)[0] === 'up')
      expect((await within(1_000, api.switchboard.call(key, bytes(round), patient))).kind).toBe('answered')
      expect((await within(1_000, api.switchboard.allocate(bytes(round), patient))).kind).toBe('answered')
    }
    await serving.close()
    expect((await within(1_000, api.switchboard.call(key, bytes(1), patient))).kind).toBe('unroutable')
  })

  test('given a call to a node that reconnects just then, then it waits a moment instead of failing', async () => {
    // How long is the settings' affair: a busy machine takes its time to connect.
    const api = await parties.open({ on: [0], settings: { unroutableRetryMs: [50, 100, 200, 400, 800, 1_600] } })
    const node = await parties.open({ on: [0], settings: { reconnectMinMs: 10, reconnectMaxMs: 20 } })
    await node.switchboard.serve(key, echo)
    await until('it is seen', 5_000, () => api.switchboard.presence().length === 1)
    for (const proxy of node.proxies) proxy.cut()
    await until('its queue is gone', 5_000, () => api.switchboard.presence().length === 0)
    expect((await within(5_000, api.switchboard.call(key, bytes(1), patient))).kind).toBe('answered')
  })

  test('given a shard that is not connected for the first time yet, when its node is called, then it waits a moment instead of failing', async () => {
    const node = await parties.open({ on: [1] })
    await node.switchboard.serve(key, echo)
    const settings = { unroutableRetryMs: [50, 100, 200, 400, 800, 1_600] }
    const api = await parties.open({ settings, stalled: [1] })
    expect(states(api)).toEqual(['up', 'connecting'])
    const outcome = api.switchboard.call(key, bytes(1), patient)
    api.proxies[1]?.resume()
    expect((await within(5_000, outcome)).kind).toBe('answered')
  })

  test('given a broker that does not tell of deleted queues, then it is said once, and silence tells in the end', async () => {
    await rabbitTool(stack, 'rabbit-2', 'rabbitmq-plugins', 'disable', 'rabbitmq_event_exchange')
    try {
      const quick = { presenceIntervalMs: 200, presenceTtlMs: 1_000, probeIntervalMs: 100 }
      const api = await parties.open({ on: [1], settings: quick })
      const node = await parties.open({ on: [1], settings: quick })
      const held = new HeldHandler()
      await node.switchboard.serve(key, { ...echo, call: held.handle })
      const outcome = api.switchboard.call(key, bytes(1), patient)
      await within(2_000, held.began(1))
      node.kill()
      expect(await within(3_000, outcome)).toEqual({ kind: 'lost' })
      expect(api.switchboard.presence()).toEqual([])
      for (const proxy of api.proxies) proxy.cut()
      await until('it is there again', 5_000, () => states(api)[0] === 'up')
      expect(api.problems.filter((problem) => (problem as Error).name === 'BAD_CONFIG').length).toBe(1)
    } finally {
      await rabbitTool(stack, 'rabbit-2', 'rabbitmq-plugins', 'enable', 'rabbitmq_event_exchange')
    }
  })
})
