// Proves that a client of a signed session believes nobody but the gateway: whatever somebody on the way answers in its
// place, no event is lost, doubled or taken for published, and no batch is taken for real.
import { describe, expect, test } from 'vitest'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import type { ReadReply, WriteReply } from '../../../src/protocol/messages.ts'
import { FakeGateway, type Fault } from './support/fake-gateway.ts'

const decoder = new TextDecoder()
const turn = { nextSeq: 99, challenge: new Uint8Array(12), leaseMs: 60_000 }

function textsOf(gateway: FakeGateway): string[] {
  return gateway.events().map(({ payload }) => decoder.decode(payload))
}

function once(gateway: FakeGateway, method: 'write' | 'read' | 'ack', fault: Fault): void {
  gateway.fault = (call) => (call.method === method && call.countOfMethod === 1 ? fault : { kind: 'pass' })
}

async function publishThrough(fault: Fault): Promise<{ gateway: FakeGateway; outcome: unknown }> {
  const gateway = new FakeGateway()
  once(gateway, 'write', fault)
  const published = gateway.client().producer('t').publish({ key: 'k', payload: 'only' })
  const outcome = published.then(
    // All of one key are in one partition, whichever that is.
    ([position]) => String(position).replace(/^\d+/, 'p'),
    (thrown: unknown) => thrown,
  )
  await gateway.clock.advance(20_000)
  return { gateway, outcome: await outcome }
}

const forgedAck = (): WriteReply => ({
  turn: { ...turn, mac: new Uint8Array(32) },
  n: 1,
  published: true,
  parts: [{ part: 0, partition: 0, state: 1, offset: 5 }],
})

describe('a write', () => {
  test.each<[string, Fault]>([
    ['an ack of a write that never arrived', { kind: 'forge', runs: false, answer: forgedAck }],
    ['an ack without a MAC', { kind: 'forge', runs: false, answer: () => ({ ...forgedAck(), turn }) }],
    [
      'an answer whose offset was changed',
      {
        kind: 'forge',
        runs: true,
        answer: (reply) => ({ ...reply, parts: [{ part: 0, partition: 0, state: 1, offset: 7_000 }] }),
      },
    ],
    ...(
      [
        'EVENT_TOO_LARGE',
        'BAD_BLOCK',
        'OUTCOME_UNKNOWN',
        'WRITE_CHANGED',
        'SEQUENCE_MISMATCH',
        'BAD_CHALLENGE',
        'STORAGE_FULL',
        'SESSION_GONE',
        'BAD_PROOF',
        'FORBIDDEN',
        'TOKEN_EXPIRED',
        'UNAVAILABLE',
        'INTERNAL',
        'PRODUCER_FENCED',
      ] as const
    ).flatMap((name): [string, Fault][] =>
      [true, false].flatMap((runs): [string, Fault][] => [
        [
          `${name}, ${runs ? 'although it landed' : 'of a write that never arrived'}`,
          { kind: 'forge', runs, answer: () => new TrunklineError(name) },
        ],
        [
          `${name} with a turn, ${runs ? 'although it landed' : 'of a write that never arrived'}`,
          { kind: 'forge', runs, answer: () => new TrunklineError(name, { turn, expected: 1 }) },
        ],
      ]),
    ),
  ])('given %s, then it is published once all the same', async (_, fault) => {
    const { gateway, outcome } = await publishThrough(fault)
    expect(outcome).toBe('p:0:0')
    expect(textsOf(gateway)).toEqual(['only'])
    expect(gateway.defects).toEqual([])
  })
})

describe('a read', () => {
  test.each<[string, (reply: ReadReply) => ReadReply]>([
    ['events of somebody else', (reply) => ({ ...reply, blocks: [], count: 0, atEnd: true })],
    ['another cursor', (reply) => ({ ...reply, cursor: new Uint8Array(40) })],
    ['a batch without a MAC', (reply) => ({ ...reply, turn })],
  ])('given %s, then the real batch is read', async (_, forge) => {
    const gateway = new FakeGateway()
    const producer = gateway.client().producer('t')
    const published = producer.publish({ key: 'k', payload: 'real' })
    await gateway.clock.advance(1_000)
    await published
    let tampered = 0
    gateway.fault = ({ method }) =>
      method === 'read' && tampered++ === 0
        ? { kind: 'forge', runs: true, answer: (reply) => forge(reply as ReadReply) }
        : { kind: 'pass' }
    const reader = gateway.client().reader('t', { waitMs: 100 })
    const batch = reader.pull()
    await gateway.clock.advance(20_000)
    expect((await batch)?.events.map(({ payload }) => decoder.decode(payload))).toEqual(['real'])
    expect(tampered).toBeGreaterThan(1)
  })
})
