// HMAC-MD5 for old clients: MACs as drawn (made by another implementation, Python's hmac), and no MAC of one algorithm is
// one of the other.
import { describe, expect, it } from 'vitest'
import { parseMacAlgorithm } from '../../../src/protocol/mac-algorithm.ts'
import type { MethodName } from '../../../src/protocol/messages.ts'
import {
  deriveMacKeys,
  errorMac,
  type MacKeys,
  replyMac,
  requestMac,
  verifyRequest,
} from '../../../src/protocol/signed-bytes.ts'
import { httpReplyMac, httpRequestMac } from '../../../src/protocol/signed-http.ts'
import type { StructSchema } from '../../../src/protocol/thrift/schema.ts'
import { methodSchemas, schemas } from '../../../src/protocol/thrift/schemas.ts'
import { bytesToHex, fromJson, hexToBytes, type Json, readVectors } from './support/json-values.ts'

interface Vectors {
  readonly secret: string
  readonly c2s: string
  readonly s2c: string
  readonly thrift: readonly { readonly requestMac: string; readonly replyMac: string; readonly errorMac: string }[]
  readonly http: readonly { readonly requestMac: string; readonly replyMac: string }[]
}
interface ThriftMessages {
  readonly cases: readonly {
    readonly method: MethodName
    readonly request: Json
    readonly reply: Json
    readonly error: Json
  }[]
}
interface HttpMessages {
  readonly cases: readonly {
    readonly method: string
    readonly path: string
    readonly contentType: string
    readonly body: string
    readonly session: string
    readonly proof: { readonly slot: number; readonly seq: number; readonly challenge: string }
    readonly status: number
    readonly replyBody: string
    readonly turn: { readonly nextSeq: number; readonly challenge: string; readonly leaseMs: number } | null
  }[]
}

const vectors = readVectors<Vectors>('signed-md5')
const thrift = readVectors<ThriftMessages>('signed-bytes').cases
const http = readVectors<HttpMessages>('signed-http').cases
const secret = hexToBytes(vectors.secret)
const md5 = deriveMacKeys(secret, 'hmac-md5')
const sha256 = deriveMacKeys(secret)
const pairOf = (method: MethodName) =>
  methodSchemas[method] as { request: StructSchema<never>; reply: StructSchema<never> }

describe('HMAC-MD5', () => {
  it('Given the secret of the vectors, When keys are derived, Then they are as drawn, and not those for HMAC-SHA256', () => {
    expect({ c2s: bytesToHex(md5.c2s), s2c: bytesToHex(md5.s2c) }).toEqual({ c2s: vectors.c2s, s2c: vectors.s2c })
    expect(new Set([md5.c2s, md5.s2c, sha256.c2s, sha256.s2c].map(bytesToHex)).size).toBe(4)
  })

  it('Given the messages of every method, When signed, Then MACs are as drawn', () => {
    expect(vectors.thrift).toHaveLength(thrift.length)
    const made = thrift.map(({ method, ...each }) => {
      const request = fromJson(pairOf(method).request, each.request)
      const { proof } = request as { proof?: never }
      return {
        method,
        requestMac: bytesToHex(requestMac(md5, method, request)),
        replyMac: bytesToHex(replyMac(md5, method, proof, fromJson(pairOf(method).reply, each.reply))),
        errorMac: bytesToHex(errorMac(md5, method, proof, fromJson(schemas.TrunklineError, each.error))),
      }
    })
    expect(made).toEqual(vectors.thrift)
  })

  it('Given calls over JSON, When signed, Then MACs are as drawn, over the SHA-256 of their bodies', () => {
    expect(vectors.http).toHaveLength(http.length)
    for (const [index, { body, replyBody, status, ...each }] of http.entries()) {
      const proof = { ...each.proof, challenge: hexToBytes(each.proof.challenge) }
      const request = { ...each, body: Buffer.from(body), session: hexToBytes(each.session), proof }
      const turn = each.turn === null ? undefined : { ...each.turn, challenge: hexToBytes(each.turn.challenge) }
      const requested = httpRequestMac(md5, request)
      const reply = { status, body: Buffer.from(replyBody), turn }
      expect(bytesToHex(requested)).toBe(vectors.http[index]?.requestMac)
      expect(bytesToHex(httpReplyMac(md5, { ...proof, mac: requested }, reply))).toBe(vectors.http[index]?.replyMac)
    }
  })

  it.each<[string, MacKeys, MacKeys]>([
    ['HMAC-SHA256', sha256, md5],
    ['HMAC-MD5', md5, sha256],
  ])(
    'Given a session of %s, When a request is signed for the other algorithm, Then it is refused',
    (_, right, wrong) => {
      const request = { session: Uint8Array.of(1), n: 1, proof: { seq: 1 } }
      const verified = (bytes: Uint8Array) =>
        verifyRequest(right, 'ack', { ...request, proof: { ...request.proof, mac: bytes } })
      expect(verified(requestMac(right, 'ack', request))).toBe(true)
      expect(verified(requestMac(wrong, 'ack', request))).toBe(false)
      // The right key, the other algorithm; whole, cut, and made longer.
      const { algorithm } = wrong
      const other = requestMac({ ...right, algorithm }, 'ack', request)
      for (const bytes of [
        other,
        other.slice(0, 16),
        Uint8Array.from([...other, ...new Uint8Array(16)]),
        new Uint8Array(),
      ])
        expect(verified(bytes)).toBe(false)
    },
  )

  it('Given names of algorithms, When parsed, Then none is HMAC-SHA256, and what there is not is BAD_REQUEST', () => {
    expect([undefined, 'hmac-sha256', 'hmac-md5'].map(parseMacAlgorithm)).toEqual([
      'hmac-sha256',
      'hmac-sha256',
      'hmac-md5',
    ])
    for (const name of ['', 'md5', 'HMAC-MD5', 'hmac-sha1', 'none'])
      expect(() => parseMacAlgorithm(name)).toThrow(
        expect.objectContaining({ name: 'BAD_REQUEST', details: { field: 'macAlgorithm' } }),
      )
  })
})
