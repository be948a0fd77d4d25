// Proves the core: who may call, where a call goes, what each outcome of the switchboard means, packing and unpacking.
import { describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { type ApiMetrics, nullApiMetrics } from '../../../src/api-tier/api-metrics.ts'
import { sessionBoundPrincipal } from '../../../src/api-tier/gateway-calls.ts'
import { GatewayKeys } from '../../../src/crypto/gateway-keys.ts'
import { sealSessionToken } from '../../../src/crypto/session-token.ts'
import type { AllocateOutcome } from '../../../src/ports/switchboard.ts'
import { blockOfRaw, buildBlock } from '../../../src/protocol/block.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { parseIncarnation } from '../../../src/protocol/ids.ts'
import { defaultLimits } from '../../../src/protocol/limits.ts'
import { encoding, mode, type RequestOf } from '../../../src/protocol/messages.ts'
import { decodeStruct } from '../../../src/protocol/thrift/codec.ts'
import { methodSchemas } from '../../../src/protocol/thrift/schemas.ts'
import {
  alice,
  context,
  gatewayCalls,
  keys,
  node,
  random,
  refused,
  replied,
  type SeenCall,
  tokenOf,
  turn,
  writeToken,
} from './support.ts'

const described = () => replied('describe', { version: '1', limits: defaultLimits, features: [] })
const extended = () => replied('extend', { turn, expiresAtMs: 1 })
const written = () => replied('write', { turn, n: 1, published: true })

async function nameOf(call: Promise<unknown>): Promise<string> {
  try {
    await call
    return 'no error'
  } catch (thrown) {
    return thrown instanceof TrunklineError ? thrown.name : 'not ours'
  }
}

function writeIn(seen: SeenCall | undefined): RequestOf<'write'> {
  return decodeStruct(methodSchemas.write.request, seen?.envelope.body ?? new Uint8Array())
}

describe('who may call', () => {
  it('needs a bearer for a call without a session, and strips it', async () => {
    const { calls, board } = gatewayCalls(described)
    expect(await nameOf(calls.call('describe', {}, context))).toBe('UNAUTHENTICATED')
    await calls.call('describe', { proof: { bearer: 'alice', slot: 1 } }, context)
    const sent = decodeStruct(methodSchemas.describe.request, board.seen[0]?.envelope.body ?? new Uint8Array())
    expect(sent.proof).toEqual({ slot: 1 })
    expect(board.seen[0]?.envelope.principal).toEqual(alice)
  })

  it('refuses a bearer above 8 KiB unread', async () => {
    const { calls } = gatewayCalls(described)
    expect(await nameOf(calls.call('describe', { proof: { bearer: 'x'.repeat(8_193) } }, context))).toBe(
      'UNAUTHENTICATED',
    )
  })

  it('lets the sealed token speak for a session call without a bearer', async () => {
    const { calls, board } = gatewayCalls(extended)
    await calls.call('extend', { session: tokenOf() }, context)
    expect(board.seen[0]).toMatchObject({
      route: 'call',
      key: node,
      envelope: { sessionId: 'session-0001', principal: sessionBoundPrincipal },
      options: { cookie: 'session-0001' },
    })
    expect(board.seen[0]?.envelope.refreshed).toBeUndefined()
  })

  it('refuses the session of another principal, also to resume', async () => {
    const { calls, board } = gatewayCalls(extended)
    expect(await nameOf(calls.call('extend', { session: tokenOf(), proof: { bearer: 'bob' } }, context))).toBe(
      'BAD_SESSION_TOKEN',
    )
    const resume = { session: writeToken(), writeCursor: new Uint8Array(1), nextN: 1 }
    const allocate = { topic: 'quakes', mode: mode.write, resume, proof: { bearer: 'bob' } }
    expect(await nameOf(calls.call('allocate', allocate, context))).toBe('BAD_SESSION_TOKEN')
    expect(board.seen).toHaveLength(0)
  })

  it('marks an extend with a bearer as a refresh', async () => {
    const { calls, board } = gatewayCalls(extended)
    await calls.call('extend', { session: tokenOf(), proof: { bearer: 'alice' } }, context)
    expect(board.seen[0]?.envelope).toMatchObject({ refreshed: true, principal: alice })
  })

  it('refuses every damaged, foreign, endless or empty token as the same error', async () => {
    const { calls, board } = gatewayCalls(extended)
    const good = tokenOf()
    const foreign = sealSessionToken(
      GatewayKeys.generate(new SeededRandom(99), systemClock),
      calls.openToken(good),
      random,
    )
    const damaged = Array.from(good, (_, at) => good.map((byte, index) => (index === at ? byte ^ 1 : byte)))
    const old = good.map((byte, index) => (index === 0 ? 0 : byte))
    for (const session of [...damaged, foreign, old, good.subarray(0, 40), new Uint8Array(0), new Uint8Array(5_000)])
      expect(await nameOf(calls.call('extend', { session }, context))).toBe('BAD_SESSION_TOKEN')
    expect(board.seen).toHaveLength(0)
    expect(keys.ids).toHaveLength(1)
  })
})

describe('where a call goes and what comes of it', () => {
  it.each([
    ['read', { session: tokenOf(), n: 1, waitMs: 12_000 }, 17_000],
    ['read', { session: tokenOf(), n: 1, waitMs: 1e9 }, 35_000],
    ['read', { session: tokenOf(), n: 1 }, 5_000],
    ['ack', { session: tokenOf(), n: 1 }, 35_000],
    ['write', { session: writeToken(), n: 1, commit: true, blocks: [] }, 35_000],
    ['write', { session: writeToken(), n: 1, blocks: [] }, 10_000],
    ['dispose', { session: tokenOf() }, 10_000],
  ] as const)('gives %s of %j its deadline', async (method, request, deadlineMs) => {
    const { calls, board } = gatewayCalls(() => ({ kind: 'timeout' }), { clock: new SimulatedClock() })
    expect(await nameOf(calls.call(method, request as RequestOf<typeof method>, context))).toBe('DEADLINE')
    expect(board.seen[0]?.options.deadlineMs).toBe(deadlineMs)
  })

  const outcomes: readonly (readonly [AllocateOutcome['kind'], string, string])[] = [
    ['lost', 'UNAVAILABLE', 'UNAVAILABLE'],
    ['timeout', 'DEADLINE', 'DEADLINE'],
  ]
  it.each(outcomes)('says of %s: %s, and tries it once: it may have run', async (kind, ofSession, ofAllocate) => {
    const { calls, board } = gatewayCalls(() => ({ kind }) as AllocateOutcome)
    expect(await nameOf(calls.call('extend', { session: tokenOf() }, context))).toBe(ofSession)
    expect(await nameOf(calls.call('describe', { proof: { bearer: 'alice' } }, context))).toBe(ofAllocate)
    expect(board.seen).toHaveLength(2)
  })

  it('says SESSION_GONE of an unroutable call at once: the switchboard has been patient', async () => {
    const { calls, board } = gatewayCalls(() => ({ kind: 'unroutable' }))
    expect(await nameOf(calls.call('extend', { session: tokenOf() }, context))).toBe('SESSION_GONE')
    expect(board.seen).toHaveLength(1)
  })

  it('finds a node that begins to serve in between', async () => {
    const clock = new SimulatedClock()
    let count = 0
    const { calls } = gatewayCalls(() => (count++ === 0 ? { kind: 'unroutable' } : described()), { clock })
    const reply = calls.call('describe', { proof: { bearer: 'alice' } }, context)
    await clock.advance(100)
    expect((await reply).version).toBe('1')
  })

  it('says NO_CAPACITY when every node is full, UNAVAILABLE when there is none', async () => {
    const clock = new SimulatedClock()
    const full = gatewayCalls(() => ({ kind: 'no-capacity' }))
    expect(await nameOf(full.calls.call('describe', { proof: { bearer: 'alice' } }, context))).toBe('NO_CAPACITY')
    const none = gatewayCalls(() => ({ kind: 'unroutable' }), { clock })
    const name = nameOf(none.calls.call('describe', { proof: { bearer: 'alice' } }, context))
    await clock.advance(1_000)
    expect(await name).toBe('UNAVAILABLE')
  })

  it('passes an error of the node on with all that it carries, and counts it by name', async () => {
    const counted: string[] = []
    const metrics: ApiMetrics = { ...nullApiMetrics, call: (method, outcome) => counted.push(`${method} ${outcome}`) }
    const error = new TrunklineError('SEQUENCE_MISMATCH', { expected: 7, turn, cursor: Uint8Array.of(1) })
    const { calls } = gatewayCalls(() => refused(error), { metrics })
    await expect(calls.call('extend', { session: tokenOf() }, context)).rejects.toMatchObject({
      name: 'SEQUENCE_MISMATCH',
      expected: 7,
      turn,
      cursor: Uint8Array.of(1),
    })
    expect(counted).toEqual(['extend SEQUENCE_MISMATCH'])
  })

  it('makes INTERNAL of anything else', async () => {
    const { calls } = gatewayCalls(() => {
      throw new Error('secret')
    })
    await expect(calls.call('extend', { session: tokenOf() }, context)).rejects.toMatchObject({
      name: 'INTERNAL',
      details: {},
    })
  })

  it('asks only the incarnation that the token names', async () => {
    const { calls, board } = gatewayCalls(extended)
    await calls.call('extend', { session: tokenOf({ incarnation: parseIncarnation('node-2.e9') }) }, context)
    expect(board.seen[0]?.key).toBe('node-2.e9')
  })
})

describe('callers without an SDK', () => {
  const events = [
    { payload: Uint8Array.of(1) },
    { key: Uint8Array.of(2), payload: Uint8Array.of(3) },
    { payload: Uint8Array.of(4) },
  ]

  it('packs events: the same blocks for the same write, others for another', async () => {
    const { calls, board } = gatewayCalls(written)
    const bytes = async (session: Uint8Array, n: number): Promise<string> => {
      await calls.call('write', { session, n, events }, context)
      const sent = writeIn(board.seen.at(-1))
      expect(sent.events).toBeUndefined()
      return JSON.stringify(sent.blocks?.map((block) => [block.partition, Buffer.from(block.data).toString('hex')]))
    }
    const first = await bytes(writeToken(), 5)
    // Another session of the same producer, after a take-over.
    expect(await bytes(writeToken({ incarnation: parseIncarnation('node-2.e1') }), 5)).toBe(first)
    expect(await bytes(writeToken(), 6)).not.toBe(first)
  })

  it('sends keyless events to partition n mod partitions', async () => {
    const { calls, board } = gatewayCalls(written)
    for (const n of [1, 2, 3, 4])
      await calls.call('write', { session: writeToken(), n, events: [{ payload: Uint8Array.of(1) }] }, context)
    expect(board.seen.map((seen) => writeIn(seen).blocks?.[0]?.partition)).toEqual([1, 2, 3, 0])
  })

  it.each([
    ['blocks and events', { session: writeToken(), n: 1, events, blocks: [] }, 'BAD_REQUEST'],
    ['no event', { session: writeToken(), n: 1, events: [] }, 'EMPTY_BATCH'],
    ['a number below 1', { session: writeToken(), n: 0, events }, 'BAD_REQUEST'],
    ['a reading session', { session: tokenOf(), n: 1, events }, 'WRONG_MODE'],
  ])('refuses %s', async (_name, request, name) => {
    const { calls, board } = gatewayCalls(written)
    expect(await nameOf(calls.call('write', request, context))).toBe(name)
    expect(board.seen).toHaveLength(0)
  })

  it('passes blocks through untouched when blocks are asked for, and unpacks them when events are', async () => {
    const block = { ...buildBlock(2, events, encoding.gzip), offset: 10, first: 1, take: 1, appendTimeMs: 99 }
    const { calls } = gatewayCalls(() =>
      replied('read', { turn, n: 1, count: 1, cursor: new Uint8Array(1), blocks: [block] }),
    )
    const asBlocks = await calls.call('read', { session: tokenOf(), n: 1 }, context)
    expect(asBlocks.blocks?.[0]).toMatchObject({ partition: 2, offset: 10, first: 1, take: 1 })
    const asEvents = await calls.call('read', { session: tokenOf(), n: 1, asEvents: true }, context)
    expect(asEvents.blocks).toBeUndefined()
    expect(asEvents.events).toMatchObject([
      { key: Uint8Array.of(2), payload: Uint8Array.of(3), partition: 2, offset: 10, index: 1, timestampMs: 99 },
    ])
  })

  it('refuses to unpack a batch that declares too much, before it inflates anything', async () => {
    const bomb = blockOfRaw(0, new Uint8Array(4_000_000), 1, encoding.gzip)
    const { calls } = gatewayCalls(() =>
      replied('read', { turn, n: 1, count: 3, cursor: new Uint8Array(1), blocks: [bomb, bomb, bomb] }),
    )
    expect(await nameOf(calls.call('read', { session: tokenOf(), n: 1, asEvents: true }, context))).toBe(
      'BATCH_TOO_LARGE',
    )
  })
})
