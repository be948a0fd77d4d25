// Proves that a call of a session needs its MAC, that whatever is changed on the way is refused, and that answers are signed.
import { describe, expect, it } from 'vitest'
import type { ApiMetrics } from '../../../src/api-tier/api-metrics.ts'
import { nullApiMetrics } from '../../../src/api-tier/api-metrics.ts'
import type { Answered } from '../../../src/api-tier/gateway-calls.ts'
import { sessionSecret } from '../../../src/crypto/session-token.ts'
import { encodeAnswer } from '../../../src/protocol/envelope-codec.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import type { ErrorStruct, MethodName, RequestOf } from '../../../src/protocol/messages.ts'
import {
  deriveMacKeys,
  type MacKeys,
  replyMac,
  requestMac,
  verifyError,
  verifyReply,
} from '../../../src/protocol/signed-bytes.ts'
import { decodeStruct, encodeStruct } from '../../../src/protocol/thrift/codec.ts'
import { methodSchemas } from '../../../src/protocol/thrift/schemas.ts'
import { context, gatewayCalls, keys, refused, replied, tokenOf, turn } from './support.ts'

const session = tokenOf()
const macKeys = deriveMacKeys(sessionSecret(keys, session))
const proof = { slot: 0, seq: 1, challenge: Uint8Array.of(1, 2, 3) }
const request: RequestOf<'ack'> = { session, n: 1, proof }

function signed<M extends MethodName>(method: M, unsigned: RequestOf<M>, by: MacKeys = macKeys): RequestOf<M> {
  return { ...unsigned, proof: { ...unsigned.proof, mac: requestMac(by, method, unsigned) } }
}

function errorIn(answered: Answered): ErrorStruct {
  if (!('error' in answered)) throw new Error('it was answered')
  return answered.error
}

function replyIn<M extends MethodName>(method: M, answered: Answered) {
  if (!('reply' in answered)) throw new Error(answered.error.name)
  return decodeStruct(methodSchemas[method].reply, Buffer.concat(answered.reply))
}

const acked = () => replied('ack', { turn, n: 1 })

describe('a request', () => {
  it('runs when it is signed, and its MAC goes no further', async () => {
    const { calls, board } = gatewayCalls(acked, { signatures: 'thrift' })
    expect(replyIn('ack', await calls.callSigned('ack', signed('ack', request), context)).n).toBe(1)
    const body = board.seen[0]?.envelope.body
    expect(decodeStruct(methodSchemas.ack.request, body ?? new Uint8Array()).proof).toEqual(proof)
  })

  const other = tokenOf()
  it.each<[string, RequestOf<'ack'>]>([
    ['no MAC', request],
    ['the MAC of another n', { ...signed('ack', request), n: 2 }],
    ['a field more', { ...signed('ack', request), count: 1 }],
    ['another seq', { ...request, proof: { ...signed('ack', request).proof, seq: 2 } }],
    ['another slot', { ...request, proof: { ...signed('ack', request).proof, slot: 1 } }],
    ['another challenge', { ...request, proof: { ...signed('ack', request).proof, challenge: new Uint8Array(3) } }],
    ['a key id', { ...request, proof: { ...signed('ack', request).proof, keyId: 'x' } }],
    ['the MAC under the keys of another session', signed('ack', request, deriveMacKeys(sessionSecret(keys, other)))],
    ['the MAC under the keys of answers', signed('ack', request, { c2s: macKeys.s2c, s2c: macKeys.c2s })],
    ['the token of another session', { ...signed('ack', request), session: other }],
    ['half a MAC', { ...request, proof: { ...proof, mac: requestMac(macKeys, 'ack', request).slice(0, 16) } }],
    ['an empty MAC', { ...request, proof: { ...proof, mac: new Uint8Array() } }],
  ])('is BAD_PROOF with %s, reaches no node, and the answer is not signed', async (_, bad) => {
    const seen: string[] = []
    const metrics: ApiMetrics = { ...nullApiMetrics, proof: (outcome) => void seen.push(outcome) }
    const { calls, board } = gatewayCalls(acked, { signatures: 'thrift', metrics })
    const error = errorIn(await calls.callSigned('ack', bad, context))
    expect([error.name, error.turn, error.mac]).toEqual(['BAD_PROOF', undefined, undefined])
    expect(board.seen).toEqual([])
    expect(seen).toEqual([bad.proof?.mac === undefined ? 'missing' : 'wrong'])
  })

  it('is BAD_PROOF as another method', async () => {
    const { calls, board } = gatewayCalls(acked, { signatures: 'thrift' })
    const error = errorIn(await calls.callSigned('nack', signed('ack', request), context))
    expect(error.name).toBe('BAD_PROOF')
    expect(board.seen).toEqual([])
  })

  it('is BAD_SESSION_TOKEN with a forged token, whatever its MAC', async () => {
    const forged = session.map((byte, at) => (at === session.length - 1 ? byte ^ 1 : byte))
    const { calls } = gatewayCalls(acked, { signatures: 'thrift' })
    expect(errorIn(await calls.callSigned('ack', { ...signed('ack', request), session: forged }, context)).name).toBe(
      'BAD_SESSION_TOKEN',
    )
  })

  it('may be unsigned where that is allowed, but never wrong', async () => {
    const { calls } = gatewayCalls(acked, { signatures: 'optional' })
    const plain = replyIn('ack', await calls.callSigned('ack', request, context))
    expect(plain.turn.mac).toBeUndefined()
    const wrong = { ...request, proof: { ...proof, mac: new Uint8Array(32) } }
    expect(errorIn(await calls.callSigned('ack', wrong, context)).name).toBe('BAD_PROOF')
  })

  it('needs no MAC to allocate or describe: there is no session yet', async () => {
    const { calls } = gatewayCalls(() => replied('describe', { version: '1', limits: calls.limits, features: [] }), {
      signatures: 'all',
    })
    expect(
      replyIn('describe', await calls.callSigned('describe', { proof: { bearer: 'alice' } }, context)).version,
    ).toBe('1')
  })
})

describe('an answer', () => {
  it('is signed for its request', async () => {
    const { calls } = gatewayCalls(acked, { signatures: 'thrift' })
    const sent = signed('ack', request)
    const reply = replyIn('ack', await calls.callSigned('ack', sent, context))
    expect(verifyReply(macKeys, 'ack', sent.proof, reply)).toBe(true)
    expect(verifyReply(macKeys, 'ack', { ...proof, seq: 2 }, reply)).toBe(false)
    expect(verifyReply(macKeys, 'ack', sent.proof, { ...reply, n: 2 })).toBe(false)
  })

  it('is signed in what the node encoded, byte for byte', async () => {
    const { calls } = gatewayCalls(acked, { signatures: 'thrift' })
    const sent = signed('ack', request)
    const answered = await calls.callSigned('ack', sent, context)
    const mac = replyMac(macKeys, 'ack', sent.proof, { turn, n: 1 })
    const expected = encodeStruct(methodSchemas.ack.reply, { turn: { ...turn, mac }, n: 1 })
    expect(Buffer.concat('reply' in answered ? answered.reply : [])).toEqual(Buffer.from(expected))
  })

  it('leaves out what a newer node says and this process cannot sign', async () => {
    const encoded = encodeStruct(methodSchemas.ack.reply, { turn, n: 1 })
    const unknown = [2, 0, 99, 1]
    const body = Uint8Array.from([...encoded.subarray(0, -1), ...unknown, 0])
    const { calls } = gatewayCalls(() => ({ kind: 'answered', body: encodeAnswer({ body }) }), { signatures: 'thrift' })
    const sent = signed('ack', request)
    const answered = await calls.callSigned('ack', sent, context)
    expect(verifyReply(macKeys, 'ack', sent.proof, replyIn('ack', answered))).toBe(true)
    const whole = Buffer.concat('reply' in answered ? answered.reply : [])
    expect(whole.includes(Buffer.from(unknown))).toBe(false)
  })

  it('has one MAC, ours, whatever stood in the place', async () => {
    const forged = { ...turn, mac: new Uint8Array(32) }
    const { calls } = gatewayCalls(() => replied('ack', { turn: forged, n: 1 }), { signatures: 'thrift' })
    const sent = signed('ack', request)
    const reply = replyIn('ack', await calls.callSigned('ack', sent, context))
    expect(verifyReply(macKeys, 'ack', sent.proof, reply)).toBe(true)
  })

  it('is the same for a repeat', async () => {
    const { calls } = gatewayCalls(acked, { signatures: 'thrift' })
    const sent = signed('ack', request)
    expect(await calls.callSigned('ack', sent, context)).toEqual(await calls.callSigned('ack', sent, context))
  })

  it.each<[string, TrunklineError]>([
    ['of the session', new TrunklineError('NOTHING_TO_ACK', { turn, details: { n: '1' } })],
    ['without a turn', new TrunklineError('SESSION_GONE', { cursor: Uint8Array.of(1) })],
  ])('that is an error %s is signed', async (_, error) => {
    const { calls } = gatewayCalls(() => refused(error), { signatures: 'thrift' })
    const sent = signed('ack', request)
    const struct = errorIn(await calls.callSigned('ack', sent, context))
    expect(struct.name).toBe(error.name)
    expect(verifyError(macKeys, 'ack', sent.proof, struct)).toBe(true)
    expect(verifyError(macKeys, 'ack', sent.proof, { ...struct, code: 1 })).toBe(false)
    expect(verifyError(macKeys, 'ack', sent.proof, { ...struct, expected: 9 })).toBe(false)
  })

  it('does not answer another request, although that has the same slot, seq and challenge', async () => {
    const { calls } = gatewayCalls(() => refused(new TrunklineError('EMPTY_BATCH')), { signatures: 'thrift' })
    const sent = signed('ack', request)
    const struct = errorIn(await calls.callSigned('ack', sent, context))
    expect(verifyError(macKeys, 'ack', sent.proof, struct)).toBe(true)
    expect(verifyError(macKeys, 'ack', signed('ack', { ...request, n: 2 }).proof, struct)).toBe(false)
  })

  it.each(['bob', 'expired', 'junk'])(
    'about the bearer %s, which anybody can put into a signed request, is not signed',
    async (bearer) => {
      const { calls, board } = gatewayCalls(acked, { signatures: 'thrift' })
      const sent = signed('ack', request)
      const struct = errorIn(await calls.callSigned('ack', { ...sent, proof: { ...sent.proof, bearer } }, context))
      expect([struct.mac, struct.turn]).toEqual([undefined, undefined])
      expect(board.seen).toEqual([])
    },
  )

  it('of a lost node is signed too', async () => {
    const { calls } = gatewayCalls(() => ({ kind: 'unroutable' }), { signatures: 'thrift' })
    const sent = signed('ack', request)
    const struct = errorIn(await calls.callSigned('ack', sent, context))
    expect(struct.name).toBe('SESSION_GONE')
    expect(verifyError(macKeys, 'ack', sent.proof, struct)).toBe(true)
  })
})
