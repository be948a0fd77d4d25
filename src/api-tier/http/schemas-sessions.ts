// Owns: schemas of the session routes.
import { type Static, Type } from 'typebox'
import { eventInRef, eventOutRef } from './event-json.ts'
import { bytesText, int64In, int64Out } from './json-values.ts'
import { partResultSchema, positionSchema } from './schemas-common.ts'

const strict = { additionalProperties: false } as const

const unansweredSchema = Type.Object(
  {
    n: int64In,
    partitions: Type.Array(Type.Integer({ minimum: 0 }), {
      maxItems: 256,
      description: 'partitions[i] is that of part i.',
    }),
  },
  strict,
)

export const allocateBody = Type.Object(
  {
    topic: Type.String(),
    mode: Type.Union([Type.Literal('read'), Type.Literal('write')]),
    from: Type.Optional(
      Type.String({ description: 'earliest, latest, or a time (RFC 3339 or ms since 1970). Default earliest.' }),
    ),
    cursor: Type.Optional(bytesText),
    resume: Type.Optional(
      Type.Object(
        {
          session: bytesText,
          writeCursor: bytesText,
          nextN: int64In,
          writes: Type.Optional(Type.Array(unansweredSchema, { maxItems: 64 })),
        },
        { ...strict, description: 'Takes the producer of a lost write session along.' },
      ),
    ),
    macAlgorithm: Type.Optional(
      Type.Union([Type.Literal('hmac-sha256'), Type.Literal('hmac-md5')], {
        description:
          'How the session is signed, when it is. Default hmac-sha256; hmac-md5 where the operator allows it.',
      }),
    ),
    group: Type.Optional(Type.String({ description: 'Reserved: answers UNSUPPORTED.' })),
    producerName: Type.Optional(Type.String({ description: 'Reserved: answers UNSUPPORTED.' })),
    ackLevel: Type.Optional(Type.String({ description: 'published; others answer UNSUPPORTED.' })),
    tenant: Type.Optional(Type.String({ description: 'Reserved: answers UNSUPPORTED.' })),
  },
  { ...strict, examples: [{ topic: 'quakes', mode: 'read', from: 'earliest' }] },
)
export type AllocateBody = Static<typeof allocateBody>

export const allocatedSchema = Type.Object({
  sessionId: Type.String(),
  session: Type.String({ description: 'Sealed session token, base64url: the header Trunkline-Session.' }),
  secret: Type.String({ description: 'base64url; for signed requests.' }),
  topic: Type.String(),
  mode: Type.Union([Type.Literal('read'), Type.Literal('write')]),
  partitions: Type.Integer(),
  packing: Type.Optional(Type.Integer()),
  macAlgorithm: Type.Optional(Type.String({ description: 'Absent: hmac-sha256.' })),
  limits: Type.Record(Type.String(), Type.Integer()),
  expiresAtMs: int64Out,
  cursor: Type.Optional(bytesText),
  writeCursor: Type.Optional(bytesText),
  nextN: Type.Optional(int64Out),
  outcomes: Type.Optional(Type.Array(Type.Object({ n: int64Out, parts: Type.Array(partResultSchema) }))),
})

export const sessionParams = Type.Object({ id: Type.String({ description: 'sessionId of the allocation.' }) })

export const sessionHeaders = Type.Object({
  'trunkline-session': Type.String({ description: 'Sealed session token.' }),
  'trunkline-seq': Type.String({ pattern: '^\\d{1,16}$', description: 'Counts the requests of a slot, from 1.' }),
  'trunkline-slot': Type.Optional(Type.String({ pattern: '^[01]$', description: '0 data (default), 1 control.' })),
  'trunkline-challenge': Type.Optional(Type.String({ description: 'Trunkline-Next-Challenge of an answer before.' })),
  'trunkline-mac': Type.Optional(
    Type.String({ description: 'MAC of this request (docs/formats.md “Signed HTTP”); the answer then has one too.' }),
  ),
})

export const readBody = Type.Object(
  {
    n: int64In,
    ackOf: Type.Optional(int64In),
    maxEvents: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000 })),
    maxBytes: Type.Optional(Type.Integer({ minimum: 1 })),
    minBytes: Type.Optional(Type.Integer({ minimum: 0 })),
    waitMs: Type.Optional(Type.Integer({ minimum: 0, maximum: 30_000 })),
  },
  { ...strict, examples: [{ n: '1', maxEvents: 100, waitMs: 5_000 }] },
)

export const batchSchema = Type.Object({
  n: int64Out,
  count: Type.Integer(),
  cursor: bytesText,
  atEnd: Type.Optional(Type.Boolean()),
  events: Type.Array(eventOutRef),
})

export const ackBody = Type.Object(
  { n: int64In, count: Type.Optional(Type.Integer({ minimum: 1, description: 'Acks a prefix of the batch.' })) },
  { ...strict, examples: [{ n: '1' }] },
)

export const ackedSchema = Type.Object({
  n: int64Out,
  cursor: Type.Optional(bytesText),
  writeCursor: Type.Optional(bytesText),
  parts: Type.Optional(Type.Array(partResultSchema)),
})

export const nackBody = Type.Object(
  { n: int64In, delayMs: Type.Optional(Type.Integer({ minimum: 0 })), deadLetter: Type.Optional(Type.Boolean()) },
  { ...strict, examples: [{ n: '1', delayMs: 1_000 }] },
)

export const nackedSchema = Type.Object({ n: int64Out, cursor: bytesText, deliveries: Type.Integer() })

export const extendedSchema = Type.Object({ expiresAtMs: int64Out, writeCursor: Type.Optional(bytesText) })

export const writeBody = Type.Object(
  {
    n: int64In,
    events: Type.Array(eventInRef, { minItems: 1, maxItems: 60_000 }),
    commit: Type.Optional(Type.Boolean({ description: 'Publish at once; otherwise ack(n) does.' })),
  },
  { ...strict, examples: [{ n: '1', commit: true, events: [{ key: 'us', payload: { json: { mag: 4.6 } } }] }] },
)

export const writtenSchema = Type.Object({
  n: int64Out,
  published: Type.Boolean(),
  writeCursor: Type.Optional(bytesText),
  parts: Type.Optional(Type.Array(partResultSchema)),
  positions: Type.Optional(Type.Array(positionSchema, { description: 'One per event, when published.' })),
})

export const disposedSchema = Type.Object({ cursor: Type.Optional(bytesText), writeCursor: Type.Optional(bytesText) })
