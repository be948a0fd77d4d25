import { describe, expect, it } from 'vitest'
import type { ErrorStruct, MethodName, Proof } from '../../../src/protocol/messages.ts'
import {
  deriveMacKeys,
  errorMac,
  errorSignedBytes,
  replyMac,
  replySignedBytes,
  requestMac,
  requestSignedBytes,
  verifyError,
  verifyReply,
  verifyRequest,
} from '../../../src/protocol/signed-bytes.ts'
import type { StructSchema } from '../../../src/protocol/thrift/schema.ts'
import { methodSchemas, schemas } from '../../../src/protocol/thrift/schemas.ts'
import { scale } from '../../support/scale.ts'
import { anyValueOf } from './support/arbitraries.ts'
import { bytesToHex, fromJson, hexToBytes, type Json, readVectors } from './support/json-values.ts'
import { forAll } from './support/seed.ts'

interface Case {
  readonly method: MethodName
  readonly request: Json
  readonly requestBytes: string
  readonly requestMac: string
  readonly reply: Json
  readonly replyBytes: string
  readonly replyMac: string
  readonly error: Json
  readonly errorBytes: string
  readonly errorMac: string
}

interface Vectors {
  readonly secret: string
  readonly c2s: string
  readonly s2c: string
  readonly cases: readonly Case[]
  readonly errorsWithoutTurn: readonly {
    readonly method: MethodName
    readonly proof: Json
    readonly error: Json
    readonly errorBytes: string
    readonly errorMac: string
  }[]
}

type Signed = { readonly proof?: Proof | undefined }

const vectors = readVectors<Vectors>('signed-bytes')
const keys = deriveMacKeys(hexToBytes(vectors.secret))
const pairOf = (method: MethodName) =>
  methodSchemas[method] as { request: StructSchema<never>; reply: StructSchema<never> }

describe('signed bytes', () => {
  it('Given the secret of the vectors, When keys are derived, Then they are as drawn', () => {
    expect({ c2s: bytesToHex(keys.c2s), s2c: bytesToHex(keys.s2c) }).toEqual({ c2s: vectors.c2s, s2c: vectors.s2c })
  })

  it('Given the vectors of every method, When signed, Then bytes and MACs are as drawn', () => {
    expect(new Set(vectors.cases.map((each) => each.method))).toEqual(new Set(Object.keys(methodSchemas)))
    for (const { method, ...each } of vectors.cases) {
      const request = fromJson(pairOf(method).request, each.request)
      const reply = fromJson(pairOf(method).reply, each.reply)
      const error = fromJson(schemas.TrunklineError, each.error)
      const { proof } = request as Signed
      expect(bytesToHex(requestSignedBytes(method, request))).toBe(each.requestBytes)
      expect(bytesToHex(requestMac(keys, method, request))).toBe(each.requestMac)
      expect(bytesToHex(replySignedBytes(method, proof, reply))).toBe(each.replyBytes)
      expect(bytesToHex(replyMac(keys, method, proof, reply))).toBe(each.replyMac)
      expect(bytesToHex(errorSignedBytes(method, proof, error))).toBe(each.errorBytes)
      expect(bytesToHex(errorMac(keys, method, proof, error))).toBe(each.errorMac)
    }
  })

  it('Given the vectors of errors without a turn, When signed, Then bytes and MACs are as drawn, and the own mac is left out', () => {
    expect(vectors.errorsWithoutTurn.length).toBeGreaterThan(0)
    for (const { method, ...each } of vectors.errorsWithoutTurn) {
      const { proof } = fromJson(methodSchemas.ack.request, { session: '00', n: 1, proof: each.proof })
      const error = fromJson(schemas.TrunklineError, each.error)
      expect(bytesToHex(errorSignedBytes(method, proof, error))).toBe(each.errorBytes)
      expect(verifyError(keys, method, proof, { ...error, mac: hexToBytes(each.errorMac) })).toBe(true)
      expect(verifyError(keys, method, proof, error)).toBe(false)
    }
  })

  it('Given bearer and mac, When they change, Then the signed bytes stay', () => {
    const session = Uint8Array.of(1)
    const bare = requestSignedBytes('extend', { session, proof: { seq: 1 } })
    expect(requestSignedBytes('extend', { session, proof: { seq: 1, bearer: 'x', mac: Uint8Array.of(1) } })).toEqual(
      bare,
    )
    expect(requestSignedBytes('extend', { session, proof: { seq: 1, keyId: '' } })).not.toEqual(bare)
  })

  it('Given any two reads that differ, When signed, Then their bytes differ', () => {
    const seen = new Map<string, string>()
    forAll(scale(500, 20_000), anyValueOf(schemas.ReadReply), (reply) => {
      const covered = { ...reply, turn: { ...reply.turn, mac: undefined } }
      const bytes = bytesToHex(replySignedBytes('read', undefined, reply))
      const text = JSON.stringify(covered, (_, item: unknown) => canonical(item))
      expect(seen.get(bytes) ?? text).toBe(text)
      seen.set(bytes, text)
    })
    expect(seen.size).toBeGreaterThan(100)
  })
})

describe('verify', () => {
  const session = Uint8Array.of(1, 2)
  const proof: Proof = { slot: 0, seq: 4, challenge: Uint8Array.of(7, 7) }
  const turn = { nextSeq: 5, challenge: Uint8Array.of(8), leaseMs: 60_000 }

  it('Given a signed request, When verified, Then only it is right: no other field, method, key or MAC', () => {
    const request = { session, n: 3, proof }
    const mac = requestMac(keys, 'read', request)
    const signed = { ...request, proof: { ...proof, mac } }
    expect(verifyRequest(keys, 'read', signed)).toBe(true)
    expect(verifyRequest(keys, 'read', { ...signed, n: 4 })).toBe(false)
    expect(verifyRequest(keys, 'read', { ...signed, asEvents: false })).toBe(false)
    expect(verifyRequest(keys, 'read', { ...signed, proof: { ...signed.proof, seq: 5 } })).toBe(false)
    expect(verifyRequest(keys, 'ack', signed)).toBe(false)
    expect(verifyRequest(deriveMacKeys(new Uint8Array(32)), 'read', signed)).toBe(false)
    expect(verifyRequest({ c2s: keys.s2c, s2c: keys.c2s }, 'read', signed)).toBe(false)
    expect(verifyRequest(keys, 'read', request)).toBe(false)
    for (const wrong of [mac.slice(0, 16), new Uint8Array(0), mac.map((byte) => byte ^ 1)]) {
      expect(verifyRequest(keys, 'read', { ...request, proof: { ...proof, mac: wrong } })).toBe(false)
    }
  })

  it('Given a signed write, When a byte of a block changes, Then it is refused', () => {
    const block = { partition: 0, packing: 1, count: 1, encoding: 0, rawSize: 24, data: new Uint8Array(24) }
    const request = { session, n: 3, proof, blocks: [block] }
    const mac = requestMac(keys, 'write', request)
    const changed = { ...block, data: Uint8Array.from(block.data, (byte, at) => (at === 23 ? 1 : byte)) }
    expect(verifyRequest(keys, 'write', { ...request, proof: { ...proof, mac } })).toBe(true)
    expect(verifyRequest(keys, 'write', { ...request, blocks: [changed], proof: { ...proof, mac } })).toBe(false)
  })

  it('Given a signed reply, When it stands in for the answer of another request, Then it is refused', () => {
    const reply = { turn, n: 3, cursor: Uint8Array.of(1) }
    const signed = { ...reply, turn: { ...turn, mac: replyMac(keys, 'ack', proof, reply) } }
    expect(verifyReply(keys, 'ack', proof, signed)).toBe(true)
    expect(verifyReply(keys, 'ack', { ...proof, seq: 5 }, signed)).toBe(false)
    expect(verifyReply(keys, 'ack', { ...proof, slot: 1 }, signed)).toBe(false)
    expect(verifyReply(keys, 'ack', { ...proof, challenge: Uint8Array.of(1) }, signed)).toBe(false)
    expect(verifyReply(keys, 'ack', proof, reply)).toBe(false)
  })

  it('Given a signed error, When verified, Then it is right, and no reply', () => {
    const error: ErrorStruct = { code: 1303, name: 'SEQUENCE_MISMATCH', expected: 9, turn }
    const signed = { ...error, turn: { ...turn, mac: errorMac(keys, 'ack', proof, error) } }
    expect(verifyError(keys, 'ack', proof, signed)).toBe(true)
    expect(verifyError(keys, 'ack', proof, { ...signed, expected: 8 })).toBe(false)
    expect(verifyError(keys, 'ack', proof, error)).toBe(false)
    expect(verifyError(keys, 'ack', proof, { code: 1303, name: 'SEQUENCE_MISMATCH' })).toBe(false)
  })

  it("Given describe's reply, which has no turn, When verified, Then it is not", () => {
    const limits = fromJson(schemas.Limits, Object.fromEntries(schemas.Limits.fields.map((field) => [field.name, 1])))
    expect(verifyReply(keys, 'describe', proof, { version: '1', limits, features: [] })).toBe(false)
  })
})

/** JSON with bytes as hex and maps in one order, as the signed bytes see them. */
function canonical(item: unknown): unknown {
  if (item instanceof Uint8Array) return bytesToHex(item)
  if (item instanceof Map)
    return [...item].sort(([a], [b]) => Buffer.compare(Buffer.from(String(a)), Buffer.from(String(b))))
  return item
}
