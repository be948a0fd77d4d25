import { describe, expect, it } from 'vitest'
import type { Proof } from '../../../src/protocol/messages.ts'
import { httpReplyBytes, httpReplyMac, httpRequestBytes, httpRequestMac } from '../../../src/protocol/signed-http.ts'
import { bytesToHex, hexToBytes, readVectors } from './support/json-values.ts'

interface Case {
  readonly about: string
  readonly method: string
  readonly path: string
  readonly contentType: string
  readonly body: string
  readonly session: string
  readonly proof: { readonly slot: number; readonly seq: number; readonly challenge: string }
  readonly requestBytes: string
  readonly requestMac: string
  readonly status: number
  readonly replyBody: string
  readonly turn: { readonly nextSeq: number; readonly challenge: string; readonly leaseMs: number } | null
  readonly replyBytes: string
  readonly replyMac: string
}

const vectors = readVectors<{ readonly c2s: string; readonly s2c: string; readonly cases: readonly Case[] }>(
  'signed-http',
)
const keys = { c2s: hexToBytes(vectors.c2s), s2c: hexToBytes(vectors.s2c) }

describe('signed HTTP', () => {
  it.each(vectors.cases)('Given $about, When signed, Then bytes and MACs are as drawn', (each) => {
    const proof: Proof = { ...each.proof, challenge: hexToBytes(each.proof.challenge) }
    const { method, path, contentType, status } = each
    const request = {
      method,
      path,
      contentType,
      body: Buffer.from(each.body),
      session: hexToBytes(each.session),
      proof,
    }
    const turn = each.turn === null ? undefined : { ...each.turn, challenge: hexToBytes(each.turn.challenge) }
    const reply = { status, body: Buffer.from(each.replyBody), turn }
    expect(bytesToHex(httpRequestBytes(request))).toBe(each.requestBytes)
    expect(bytesToHex(httpRequestMac(keys, request))).toBe(each.requestMac)
    const answered = { ...proof, mac: hexToBytes(each.requestMac) }
    expect(bytesToHex(httpReplyBytes(answered, reply))).toBe(each.replyBytes)
    expect(bytesToHex(httpReplyMac(keys, answered, reply))).toBe(each.replyMac)
  })
})
