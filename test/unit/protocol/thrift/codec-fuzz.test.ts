// Mutated frames: nothing but MALFORMED_FRAME is thrown, and what decodes is no larger than its frame allows.
import { describe, expect, it } from 'vitest'
import { decodeAnswer, decodeEnvelope, encodeErrorAnswer } from '../../../../src/protocol/envelope-codec.ts'
import { TrunklineError } from '../../../../src/protocol/errors.ts'
import type { MethodName } from '../../../../src/protocol/messages.ts'
import { decodeStruct, encodeStruct } from '../../../../src/protocol/thrift/codec.ts'
import { internalSchemas } from '../../../../src/protocol/thrift/internal-schemas.ts'
import { decodeCall, decodeReply, decodeRequest, peekSeqid } from '../../../../src/protocol/thrift/message.ts'
import { isMethodName, schemas } from '../../../../src/protocol/thrift/schemas.ts'
import { scale } from '../../../support/scale.ts'
import { hexToBytes, readVectors } from '../support/json-values.ts'
import { mutations } from '../support/mutations.ts'
import { runSeed, seededNumbers } from '../support/seed.ts'

const framesMax = scale(20_000, 400_000)

interface Case {
  readonly method: MethodName
  readonly callFrame: string
  readonly replyFrame: string
  readonly errorFrame: string
}

const { below, pick, mutated } = mutations(seededNumbers(runSeed()))

/** How much was decoded: bytes, characters, elements and fields. */
function weightOf(value: unknown): number {
  if (value instanceof Uint8Array) return value.length
  if (typeof value === 'string') return value.length
  if (value instanceof Map)
    return [...value].reduce((sum, [name, item]) => sum + 1 + weightOf(name) + weightOf(item), 0)
  if (Array.isArray(value)) return value.reduce<number>((sum, item) => sum + 1 + weightOf(item), 0)
  if (typeof value === 'object' && value !== null) {
    return Object.values(value).reduce<number>((sum, item) => sum + 1 + weightOf(item), 0)
  }
  return 1
}

/** True when `run` returned, false when it threw MALFORMED_FRAME (or the envelope's BAD_REQUEST); all else fails the test. */
function survives(frame: Uint8Array, run: () => unknown): boolean {
  try {
    expect(weightOf(run())).toBeLessThanOrEqual(frame.length * 2 + 16)
    return true
  } catch (error) {
    if (error instanceof TrunklineError && (error.name === 'MALFORMED_FRAME' || error.name === 'BAD_REQUEST'))
      return false
    throw new Error(`frame ${Buffer.from(frame).toString('hex')}`, { cause: error })
  }
}

function decodeWholeCall(frame: Uint8Array): unknown {
  const { method, body } = decodeCall(frame)
  return isMethodName(method) ? decodeRequest(method, body) : method
}

describe('mutated frames', () => {
  it(`Given ${framesMax} of them, When decoded, Then nothing but a typed error is thrown and nothing grows`, () => {
    const { cases } = readVectors<{ cases: readonly Case[] }>('messages')
    const envelope = encodeStruct(internalSchemas.Envelope, {
      version: 1,
      method: 'read',
      requestId: 'r',
      principal: { subject: 's', clientId: 'c', tenant: 't', expiresAtMs: 1 },
      body: new Uint8Array(20),
    })
    const answer = encodeErrorAnswer(new TrunklineError('PENDING', { details: { a: 'b' }, expected: 4 }))
    let decoded = 0
    for (let count = 0; count < framesMax; count += 1) {
      const each = pick(cases)
      const kind = below(6)
      const original = [each.callFrame, each.replyFrame, each.errorFrame].map(hexToBytes)
      const frame = mutated(original[kind] ?? (kind === 3 ? envelope : kind === 4 ? answer : original[0]) ?? envelope)
      peekSeqid(frame)
      const runs = [
        () => decodeWholeCall(frame),
        () => replyOf(each.method, frame),
        () => replyOf(each.method, frame),
        () => decodeEnvelope(frame),
        () => decodeAnswer(frame),
        () => decodeStruct(pick(Object.values(schemas) as (typeof schemas.Event)[]), frame),
      ]
      if (survives(frame, runs[kind] ?? (() => undefined))) decoded += 1
    }
    // Mutations that only ever break the frame would test the first check alone.
    expect(decoded).toBeGreaterThan(framesMax / 50)
    expect(decoded).toBeLessThan(framesMax * 0.9)
  })
})

function replyOf(method: MethodName, frame: Uint8Array): unknown {
  const answer = decodeReply(method, frame)
  return 'reply' in answer ? answer.reply : answer.struct
}
