import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { MethodName } from '../../../../src/protocol/messages.ts'
import { decodeStruct, encodeStruct } from '../../../../src/protocol/thrift/codec.ts'
import { internalSchemas } from '../../../../src/protocol/thrift/internal-schemas.ts'
import {
  decodeCall,
  decodeReply,
  decodeRequest,
  encodeCall,
  encodeReply,
} from '../../../../src/protocol/thrift/message.ts'
import type { StructSchema } from '../../../../src/protocol/thrift/schema.ts'
import { methodSchemas, schemas } from '../../../../src/protocol/thrift/schemas.ts'
import { scale } from '../../../support/scale.ts'
import { anyValueOf } from '../support/arbitraries.ts'
import { npmDecode, npmDecodeMessage, npmEncode, npmEncodeMessage } from '../support/npm-oracle.ts'
import { forAll } from '../support/seed.ts'

const runs = scale(60, 2_000)
const all: Readonly<Record<string, StructSchema<unknown>>> = { ...schemas, ...internalSchemas }

describe('codec beside npm thrift, for every struct', () => {
  for (const [name, schema] of Object.entries(all)) {
    it(`Given any ${name}, When both encode it, Then the bytes are the same and each reads the other's`, () => {
      forAll(runs, anyValueOf(schema), (value) => {
        const ours = encodeStruct(schema, value)
        const theirs = npmEncode(schema, value)
        expect(Buffer.compare(ours, theirs)).toBe(0)
        expect(decodeStruct(schema, theirs)).toEqual(value)
        expect(npmDecode(schema, ours)).toEqual(value)
      })
    })
  }
})

describe('messages beside npm thrift, for every method', () => {
  for (const method of Object.keys(methodSchemas) as MethodName[]) {
    it(`Given any call and reply of ${method}, When both frame them, Then the bytes are the same`, () => {
      const { request: requestSchema, reply: replySchema } = methodSchemas[method] as {
        request: StructSchema<never>
        reply: StructSchema<never>
      }
      const values = fc.tuple(
        anyValueOf(requestSchema),
        anyValueOf(replySchema),
        fc.integer({ min: -5, max: 2 ** 31 - 1 }),
      )
      forAll(runs, values, ([request, reply, seqid]) => {
        const call = npmEncodeMessage({ name: method, type: 1, seqid }, 1, requestSchema, request)
        expect(Buffer.compare(encodeCall(method, seqid, request), call)).toBe(0)
        const decoded = decodeCall(call)
        expect({ method: decoded.method, seqid: decoded.seqid, type: decoded.type }).toEqual({ method, seqid, type: 1 })
        expect(decodeRequest(method, decoded.body)).toEqual(request)
        const answer = encodeReply(method, seqid, reply)
        expect(npmDecodeMessage(answer, replySchema)).toEqual({
          name: method,
          type: 2,
          seqid,
          fieldId: 0,
          value: reply,
        })
        expect(decodeReply(method, answer)).toEqual({ seqid, reply })
      })
    })
  }
})
