// Tenants behind the core: what reaches a node, and what comes back to a caller.
import { beforeEach, describe, expect, test } from 'vitest'
import { SimulatedClock } from '../../../../src/adapters/clock/simulated-clock.ts'
import { nullApiMetrics } from '../../../../src/api-tier/api-metrics.ts'
import { Authorizer, nullAccessMetrics } from '../../../../src/api-tier/authorize/authorizer.ts'
import { openPolicy } from '../../../../src/api-tier/authorize/policy.ts'
import { parsePolicy } from '../../../../src/api-tier/authorize/policy-file.ts'
import { GatewayCalls } from '../../../../src/api-tier/gateway-calls.ts'
import { TopicCalls } from '../../../../src/api-tier/topic-calls.ts'
import { TrunklineError } from '../../../../src/protocol/errors.ts'
import { idToBytes, parseTopicId } from '../../../../src/protocol/ids.ts'
import { defaultLimits } from '../../../../src/protocol/limits.ts'
import { mode } from '../../../../src/protocol/messages.ts'
import { decodeStruct } from '../../../../src/protocol/thrift/codec.ts'
import { methodSchemas } from '../../../../src/protocol/thrift/schemas.ts'
import { topicListMax } from '../../../../src/protocol/topic-admin.ts'
import { ScriptedNode } from '../scripted-node.ts'
import { keys, refused, ScriptedSwitchboard, silentLogger } from '../support.ts'

const clock = new SimulatedClock()
let node: ScriptedNode
let board: ScriptedSwitchboard
let authorizer: Authorizer
let calls: GatewayCalls
let topics: TopicCalls

/** A bearer is `client@tenant`. */
const as = (bearer: string) => ({ requestId: 'r', bearer })

beforeEach(() => {
  node = new ScriptedNode()
  board = new ScriptedSwitchboard(node.answer)
  authorizer = new Authorizer({
    policy: openPolicy,
    issuer: 'urn:test',
    clients: [],
    clock,
    logger: silentLogger,
    metrics: nullAccessMetrics,
  })
  calls = new GatewayCalls({
    switchboard: board,
    gatewayKeys: keys,
    tokens: {
      verify: async (bearer) => {
        const [client = '', tenant = ''] = bearer.split('@')
        const principal = { subject: client, clientId: client, tenant, expiresAtMs: 4e12 }
        return { principal, issuer: 'urn:test', scopes: [], roles: [] }
      },
    },
    authorizer,
    clock,
    metrics: nullApiMetrics,
    logger: silentLogger,
    limits: defaultLimits,
  })
  topics = new TopicCalls({ calls, clock })
})

function add(...names: string[]): void {
  for (const name of names)
    node.topics.set(name, { name, topicId: idToBytes(parseTopicId('1'.repeat(32))), partitions: 1, format: 'sealed' })
}

async function errorOf(call: Promise<unknown>): Promise<TrunklineError> {
  try {
    await call
  } catch (thrown) {
    if (thrown instanceof TrunklineError) return thrown
    throw thrown
  }
  throw new Error('there is an error')
}

async function pagesOf(bearer: string, limit: number): Promise<string[][]> {
  const pages: string[][] = []
  let after: string | undefined
  for (;;) {
    const page = await topics.list({ after, limit }, as(bearer))
    pages.push(page.topics.map(({ name }) => name))
    after = page.topics.at(-1)?.name
    if (!page.more) return pages
  }
}

describe('topics of two tenants', () => {
  test('given the same name, then each reaches its own topic and sees its own name', async () => {
    add('orders', 'tl-acme.orders')
    for (const [bearer, logName] of [
      ['a@default', 'orders'],
      ['a@acme', 'tl-acme.orders'],
    ] as const) {
      await calls.call('allocate', { topic: 'orders', mode: mode.read, proof: { bearer } }, as(bearer))
      const sent = board.seen.at(-1)?.envelope.body ?? new Uint8Array()
      expect(decodeStruct(methodSchemas.allocate.request, sent).topic).toBe(logName)
      expect((await topics.describe('orders', as(bearer))).topic?.name).toBe('orders')
    }
    const request = { topic: 'orders', proof: { bearer: 'a@acme' } }
    const answered = await calls.callSigned('describe', request, as('a@acme'))
    const encoded = Buffer.concat('reply' in answered ? answered.reply : [])
    expect(decodeStruct(methodSchemas.describe.reply, encoded).topic?.name).toBe('orders')
    expect(Buffer.from(encoded).includes('tl-acme')).toBe(false)
  })

  test('given a topic that is made and deleted, then answers and errors hold the caller’s name', async () => {
    expect((await topics.create({ name: 'a' }, as('x@acme'))).topic.name).toBe('a')
    expect([...node.topics.keys()]).toEqual(['tl-acme.a'])
    await topics.delete('a', as('x@acme'))
    expect(node.topics.size).toBe(0)
    board.answer = () => refused(new TrunklineError('UNKNOWN_TOPIC', { details: { topic: 'tl-acme.a' } }))
    const asked = [
      topics.delete('a', as('x@acme')),
      topics.describe('a', as('x@acme')),
      calls.call('allocate', { topic: 'a', mode: mode.write }, as('x@acme')),
    ]
    for (const call of asked) expect((await errorOf(call)).details).toEqual({ topic: 'a' })
  })

  test('given a reserved name, then the answer is one, whether or not the topic is there, and no node is asked', async () => {
    add('tl-acme.orders')
    for (const bearer of ['x@default', 'x@acme', 'x@other']) {
      for (const name of ['tl-acme.orders', 'tl-acme.none', 'tl-x']) {
        const asked = [
          topics.describe(name, as(bearer)),
          topics.create({ name }, as(bearer)),
          topics.delete(name, as(bearer)),
          calls.call('allocate', { topic: name, mode: mode.read }, as(bearer)),
        ]
        for (const call of asked)
          expect(await errorOf(call)).toMatchObject({ name: 'FORBIDDEN', details: { topic: name } })
      }
    }
    expect(board.seen).toHaveLength(0)
  })

  test.each(['Acme', 'a.b', '', 'tl_', 'a'.repeat(33)])('the tenant %j is nobody', async (tenant) => {
    expect((await errorOf(calls.call('describe', {}, as(`x@${tenant}`)))).name).toBe('UNAUTHENTICATED')
  })
})

describe('a list', () => {
  test('given topics of many tenants between, then pages are full and end with the caller’s own last topic', async () => {
    add('a', 'b', 'c', 'u', 'z')
    for (let at = 0; at < 2_500; at++) add(`tl-acme.t${String(at).padStart(4, '0')}`, `tl-b.x${at}`)
    add('tl-acmf.a', 'tl-acme-b.a', 'tl-odd', 'zz')
    expect(await pagesOf('x@default', 2)).toEqual([
      ['a', 'b'],
      ['c', 'u'],
      ['z', 'zz'],
    ])
    expect(await pagesOf('x@default', 4)).toEqual([
      ['a', 'b', 'c', 'u'],
      ['z', 'zz'],
    ])
    const acme = await pagesOf('x@acme', topicListMax)
    expect(acme.map(({ length }) => length)).toEqual([1_000, 1_000, 500])
    expect(acme.flat().every((name) => /^t\d{4}$/.test(name))).toBe(true)
    expect(await pagesOf('x@acme-b', 5)).toEqual([['a']])
    expect(await pagesOf('x@nobody', 5)).toEqual([[]])
  })

  test('given a policy, then only topics that the caller may do something with are there, and count', async () => {
    const rule = { allow: ['publish'], topics: ['p.*'], to: [{ client: 'x' }] }
    const parsed = parsePolicy(JSON.stringify({ version: 1, rules: [rule] }))
    if ('policy' in parsed) authorizer.replace(parsed.policy)
    for (let at = 0; at < 1_200; at++) add(`a${at}`)
    add('p.1', 'p.2', 'p.3', 'q')
    expect(await pagesOf('x@default', 2)).toEqual([['p.1', 'p.2'], ['p.3']])
    expect(await pagesOf('y@default', 2)).toEqual([[]])
  })

  test('given any text as the place to go on from, then nothing of another tenant is there', async () => {
    add('b', 'tl-acme.orders', 'tl-acme.z', 'tl-b.orders', 'z')
    for (const after of ['', 'tl-', 'tl-acme.', 'tl-acme.a', '../', '~', 'tl-b.']) {
      const seen = async (bearer: string) =>
        (await topics.list({ after, limit: 10 }, as(bearer))).topics.map(({ name }) => name)
      for (const name of await seen('x@default')) expect(['b', 'z']).toContain(name)
      for (const name of await seen('x@acme')) expect(['orders', 'z']).toContain(name)
      for (const name of await seen('x@b')) expect(['orders']).toContain(name)
    }
  })
})
