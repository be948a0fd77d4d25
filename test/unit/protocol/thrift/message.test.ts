import { describe, expect, it } from 'vitest'
import { errorFromStruct, errorToStruct } from '../../../../src/protocol/error-struct.ts'
import { TrunklineError } from '../../../../src/protocol/errors.ts'
import { type ErrorName, errorCatalog } from '../../../../src/protocol/generated/errors.ts'
import { frameBytesMax } from '../../../../src/protocol/limits.ts'
import type { MethodName } from '../../../../src/protocol/messages.ts'
import {
  applicationException,
  decodeCall,
  decodeReply,
  decodeRequest,
  encodeApplicationException,
  encodeCall,
  encodeErrorReply,
  encodeReply,
  peekSeqid,
} from '../../../../src/protocol/thrift/message.ts'
import type { StructSchema } from '../../../../src/protocol/thrift/schema.ts'
import { isMethodName, methodSchemas, schemas } from '../../../../src/protocol/thrift/schemas.ts'
import { bytesToHex, fromJson, hexToBytes, type Json, readVectors } from '../support/json-values.ts'
import { errorOf } from '../support/thrown.ts'

interface Case {
  readonly method: MethodName
  readonly seqid: number
  readonly request: Json
  readonly callFrame: string
  readonly reply: Json
  readonly replyFrame: string
  readonly error: Json
  readonly errorFrame: string
}

const session = new Uint8Array(3)
const turn = { nextSeq: 1, challenge: new Uint8Array(2), leaseMs: 3 }

describe('frames', () => {
  it('Given the vectors, When calls, replies and errors are framed and read, Then they are as drawn', () => {
    const { cases } = readVectors<{ cases: readonly Case[] }>('messages')
    expect(new Set(cases.map((each) => each.method))).toEqual(new Set(Object.keys(methodSchemas)))
    for (const { method, seqid, ...each } of cases) {
      const pair = methodSchemas[method] as { request: StructSchema<never>; reply: StructSchema<never> }
      const request = fromJson(pair.request, each.request)
      const reply = fromJson(pair.reply, each.reply)
      const error = fromJson(schemas.TrunklineError, each.error)
      expect(bytesToHex(encodeCall(method, seqid, request))).toBe(each.callFrame)
      const call = decodeCall(hexToBytes(each.callFrame))
      expect(decodeRequest(method, call.body)).toEqual(request)
      expect(bytesToHex(encodeReply(method, seqid, reply))).toBe(each.replyFrame)
      expect(decodeReply(method, hexToBytes(each.replyFrame))).toEqual({ seqid, reply })
      const answer = decodeReply(method, hexToBytes(each.errorFrame))
      expect(answer).toMatchObject({ seqid, struct: error, error: { name: 'SEQUENCE_MISMATCH', expected: 9 } })
      expect(peekSeqid(hexToBytes(each.callFrame))).toBe(seqid)
    }
  })

  it('Given a name that the IDL does not have, When it is asked for, Then it is no method', () => {
    expect(isMethodName('read')).toBe(true)
    for (const name of ['__proto__', 'constructor', 'toString', '', 'Read']) expect(isMethodName(name)).toBe(false)
  })

  it('Given an unknown method, When its call is decoded, Then the header is there for the dispatcher', () => {
    const frame = encodeApplicationException('nonsense', 5, 1, 'x')
    frame[3] = 1
    expect(decodeCall(frame)).toMatchObject({ method: 'nonsense', seqid: 5 })
  })
})

describe('what is not a call is refused', () => {
  const call = encodeCall('extend', 9, { session })
  const changed = (at: number, byte: number) => {
    const frame = call.slice()
    frame[at] = byte
    return errorOf(() => decodeCall(frame)).name
  }

  it('Given another version, an old-style message or another type, When decoded, Then MALFORMED_FRAME', () => {
    expect(changed(0, 0)).toBe('MALFORMED_FRAME')
    expect(changed(1, 2)).toBe('MALFORMED_FRAME')
    expect(changed(2, 1)).toBe('MALFORMED_FRAME')
    for (const type of [0, 2, 3, 4, 5]) expect(changed(3, type)).toBe('MALFORMED_FRAME')
  })

  it('Given a name of 65 letters, When decoded, Then MALFORMED_FRAME', () => {
    const frame = encodeApplicationException('a'.repeat(65), 1, 1, 'x')
    frame[3] = 1
    expect(errorOf(() => decodeCall(frame)).details).toEqual({ why: 'method name too long' })
    expect(peekSeqid(frame)).toBeUndefined()
  })

  it('Given args without a request or with bytes behind them, When decoded, Then MALFORMED_FRAME', () => {
    expect(errorOf(() => decodeRequest('extend', Uint8Array.of(0))).details).toEqual({
      field: 'extend_args.request',
      why: 'required field is missing',
    })
    const { body } = decodeCall(call)
    const longer = new Uint8Array([...body, 0])
    expect(errorOf(() => decodeRequest('extend', longer)).name).toBe('MALFORMED_FRAME')
  })

  it('Given a request above the frame limit, When encoded, Then FRAME_TOO_LARGE', () => {
    const events = [{ payload: new Uint8Array(frameBytesMax) }]
    expect(errorOf(() => encodeCall('write', 1, { session, n: 1, events })).name).toBe('FRAME_TOO_LARGE')
  })
})

describe('replies', () => {
  it('Given a reply of another method or a call, When decoded as a reply, Then MALFORMED_FRAME', () => {
    const reply = encodeReply('dispose', 1, { turn })
    const error = encodeErrorReply('dispose', 1, new TrunklineError('PENDING'))
    expect(errorOf(() => decodeReply('extend', error)).details).toEqual({ why: 'reply of another method' })
    expect(errorOf(() => decodeReply('extend', reply)).name).toBe('MALFORMED_FRAME')
    expect(errorOf(() => decodeReply('extend', encodeCall('extend', 1, { session }))).name).toBe('MALFORMED_FRAME')
  })

  it('Given a result with neither success nor error, When decoded, Then MALFORMED_FRAME', () => {
    const reply = encodeReply('dispose', 1, { turn })
    const empty = new Uint8Array([...reply.subarray(0, 12 + 'dispose'.length), 0])
    expect(errorOf(() => decodeReply('dispose', empty)).name).toBe('MALFORMED_FRAME')
  })

  it('Given a TApplicationException, When decoded, Then it is a typed error that holds none of its text', () => {
    const answers = [
      [applicationException.unknownMethod, 'UNKNOWN_METHOD'],
      [applicationException.protocolError, 'MALFORMED_FRAME'],
      [applicationException.invalidMessageType, 'MALFORMED_FRAME'],
      [applicationException.internalError, 'INTERNAL'],
      [99, 'INTERNAL'],
    ] as const
    for (const [type, name] of answers) {
      const answer = decodeReply('read', encodeApplicationException('read', 4, type, 'java.lang.Whatever'))
      expect(answer).toMatchObject({ seqid: 4, error: { name } })
      expect(JSON.stringify(answer)).not.toContain('Whatever')
    }
  })
})

describe('errors on the wire', () => {
  it('Given every error of the catalogue, When it travels, Then it arrives as it was', () => {
    for (const name of Object.keys(errorCatalog) as ErrorName[]) {
      const error = new TrunklineError(name, {
        details: { field: 'x', ['__proto__']: 'y' },
        expected: 4,
        cursor: Uint8Array.of(1, 2),
        retryAfterMs: 77,
        turn: { ...turn, mac: Uint8Array.of(9) },
        cause: new Error('library text'),
      })
      const frame = encodeErrorReply('read', 6, error)
      expect(Buffer.from(frame).includes('library text')).toBe(false)
      const answer = decodeReply('read', frame)
      if (!('error' in answer)) throw new Error('not an error')
      expect(errorToStruct(answer.error)).toEqual(errorToStruct(error))
      expect(Object.keys(answer.error.details)).toEqual(['field', '__proto__'])
    }
  })

  it('Given an error that keeps nothing of its frame, When the frame is overwritten, Then the error stays', () => {
    const frame = encodeErrorReply(
      'read',
      6,
      new TrunklineError('CURSOR_OUT_OF_RANGE', { cursor: Uint8Array.of(1), turn }),
    )
    const answer = decodeReply('read', frame)
    frame.fill(0xff)
    if (!('error' in answer)) throw new Error('not an error')
    expect(answer.error.cursor).toEqual(Uint8Array.of(1))
    expect(answer.error.turn?.challenge).toEqual(new Uint8Array(2))
  })

  it('Given the code of a newer server, When it arrives, Then it is INTERNAL with the number in its details', () => {
    expect(errorFromStruct({ code: 4242, name: 'NEW' })).toMatchObject({ name: 'INTERNAL', details: { code: '4242' } })
  })
})
