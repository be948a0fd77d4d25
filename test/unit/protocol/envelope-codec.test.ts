import { describe, expect, it } from 'vitest'
import type { Envelope } from '../../../src/protocol/envelope.ts'
import {
  decodeAnswer,
  decodeEnvelope,
  decodeReleaseReply,
  decodeReleaseRequest,
  encodeAnswer,
  encodeEnvelope,
  encodeErrorAnswer,
  encodeReleaseReply,
  encodeReleaseRequest,
} from '../../../src/protocol/envelope-codec.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { frameBytesMax } from '../../../src/protocol/limits.ts'
import { errorOf } from './support/thrown.ts'

const envelope: Envelope = {
  version: 1,
  method: 'read',
  requestId: 'r-1',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  principal: { subject: 's', clientId: 'c', tenant: 't', expiresAtMs: 1_790_000_000_000 },
  sessionId: 's-12345678',
  body: new Uint8Array(5),
  refreshed: true,
}

describe('envelopes', () => {
  it('Given an envelope, When it travels, Then it arrives as it was', () => {
    expect(decodeEnvelope(encodeEnvelope(envelope))).toEqual(envelope)
  })

  it('Given an envelope whose body is a full frame, When it travels, Then it arrives', () => {
    const full = { ...envelope, body: new Uint8Array(frameBytesMax) }
    expect(decodeEnvelope(encodeEnvelope(full)).body).toHaveLength(frameBytesMax)
  })

  it('Given another version, When decoded, Then BAD_REQUEST', () => {
    expect(errorOf(() => decodeEnvelope(encodeEnvelope({ ...envelope, version: 2 }))).name).toBe('BAD_REQUEST')
  })

  it('Given bytes that are none, When decoded, Then MALFORMED_FRAME', () => {
    for (const decode of [decodeEnvelope, decodeAnswer, decodeReleaseRequest, decodeReleaseReply]) {
      expect(errorOf(() => decode(Uint8Array.of(1, 2, 3))).name).toBe('MALFORMED_FRAME')
    }
  })
})

describe('answers and releases', () => {
  it('Given a body or an error, When it travels, Then it arrives as it was, and both at once do not travel', () => {
    const body = Uint8Array.of(1)
    expect(decodeAnswer(encodeAnswer({ body }))).toEqual({ body })
    const answer = decodeAnswer(encodeErrorAnswer(new TrunklineError('PENDING', { expected: 3 })))
    expect(answer.error).toMatchObject({ name: 'PENDING', expected: 3, retryAfterMs: 50 })
    expect(errorOf(() => encodeAnswer({ body, error: { code: 1, name: 'x' } })).name).toBe('MALFORMED_FRAME')
    expect(errorOf(() => encodeAnswer({})).name).toBe('MALFORMED_FRAME')
  })

  it('Given a release, When it travels, Then it arrives as it was', () => {
    const request = { producerId: new Uint8Array(16), sessionId: 's-12345678' }
    expect(decodeReleaseRequest(encodeReleaseRequest(request))).toEqual(request)
    expect(decodeReleaseReply(encodeReleaseReply({ released: false }))).toEqual({ released: false })
  })
})
