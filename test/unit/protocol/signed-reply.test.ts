// Proves that a MAC put into an encoded reply gives what encoding the reply with its MAC gives.
import { describe, expect, it } from 'vitest'
import type { ReplyOf } from '../../../src/protocol/messages.ts'
import { deriveMacKeys, replyMac, verifyReply } from '../../../src/protocol/signed-bytes.ts'
import { partsWithMac } from '../../../src/protocol/signed-reply.ts'
import { decodeStruct, encodeStruct } from '../../../src/protocol/thrift/codec.ts'
import type { StructSchema } from '../../../src/protocol/thrift/schema.ts'
import { methodSchemas } from '../../../src/protocol/thrift/schemas.ts'
import { scale } from '../../support/scale.ts'
import { anyValueOf } from './support/arbitraries.ts'
import { bytesToHex } from './support/json-values.ts'
import { forAll } from './support/seed.ts'

const sessionMethods = ['read', 'ack', 'nack', 'extend', 'write', 'dispose'] as const
const keys = deriveMacKeys(new Uint8Array(32).fill(4))
const proof = { slot: 0, seq: 3, challenge: Uint8Array.of(1), mac: new Uint8Array(32).fill(9) }

describe('a MAC in an encoded reply', () => {
  it('Given the methods of the IDL, When those without a session are left out, Then these are all', () => {
    expect([...sessionMethods, 'allocate', 'describe'].sort()).toEqual(Object.keys(methodSchemas).sort())
  })

  it.each(sessionMethods)(
    'Given any reply to %s, When it is signed in place, Then it is as if signed and encoded',
    (method) => {
      const schema = methodSchemas[method].reply as StructSchema<ReplyOf<typeof method>>
      forAll(scale(200, 10_000), anyValueOf(schema), (any) => {
        const reply = { ...any, turn: { ...any.turn, mac: undefined } }
        const mac = replyMac(keys, method, proof, reply)
        const whole = Buffer.concat(partsWithMac(encodeStruct(schema, reply), reply.turn, mac))
        expect(bytesToHex(whole)).toBe(bytesToHex(encodeStruct(schema, { ...reply, turn: { ...reply.turn, mac } })))
        expect(verifyReply(keys, method, proof, decodeStruct(schema, whole))).toBe(true)
      })
    },
  )
})
