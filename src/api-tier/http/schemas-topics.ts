// Owns: schemas of the topic routes and of the one-shot routes.
import { Type } from 'typebox'
import { eventInRef, eventInSchema, eventOutRef } from './event-json.ts'
import { bytesText, int64In, int64Out } from './json-values.ts'
import { positionSchema } from './schemas-common.ts'

export const topicBody = Type.Object(
  {
    name: Type.String({ description: "Kafka's rules: 1 to 249 of a-z A-Z 0-9 . _ -" }),
    partitions: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_024, description: 'Default 8.' })),
    format: Type.Optional(Type.String({ description: 'sealed (default) or plain.' })),
    retentionMs: Type.Optional(int64In),
    retentionBytes: Type.Optional(int64In),
  },
  { additionalProperties: false, examples: [{ name: 'quakes', partitions: 8 }] },
)

export const topicSchema = Type.Object(
  {
    name: Type.String(),
    topicId: Type.String({ description: '32 hex digits; another one means another topic of the same name.' }),
    partitions: Type.Integer(),
    format: Type.String(),
    retentionMs: Type.Optional(int64Out),
    retentionBytes: Type.Optional(int64Out),
    createdAtMs: Type.Optional(int64Out),
    earliest: Type.Optional(Type.Array(int64Out, { description: 'First kept offset by partition.' })),
    latest: Type.Optional(Type.Array(int64Out, { description: 'Next offset by partition.' })),
  },
  {
    $id: 'Topic',
    examples: [
      {
        name: 'quakes',
        topicId: '0123456789abcdef0123456789abcdef',
        partitions: 8,
        format: 'sealed',
        createdAtMs: '1700000000000',
      },
    ],
  },
)

export const topicListQuery = Type.Object(
  {
    pageSize: Type.Optional(Type.String({ pattern: '^\\d{1,4}$', description: '1 to 1000, default 100.' })),
    pageToken: Type.Optional(Type.String({ maxLength: 400, description: 'nextPageToken of the page before.' })),
  },
  { additionalProperties: false },
)

export const topicListSchema = Type.Object({
  topics: Type.Array(Type.Ref('Topic#')),
  nextPageToken: Type.Optional(Type.String({ description: 'Absent on the last page.' })),
})

export const publishBody = Type.Union(
  [
    Type.Object(
      { events: Type.Array(eventInRef, { minItems: 1, maxItems: 60_000 }) },
      { additionalProperties: false, description: 'Many events.' },
    ),
    Type.Object({ ...eventInSchema.properties }, { additionalProperties: false, description: 'One event.' }),
  ],
  { examples: [{ key: 'us', payload: { json: { mag: 4.6 } } }] },
)

export const publishedSchema = Type.Object(
  { positions: Type.Array(positionSchema, { description: 'One per event, in order.' }) },
  { examples: [{ positions: ['3:1042:0'] }] },
)

export const eventsQuery = Type.Object(
  {
    from: Type.Optional(
      Type.String({ maxLength: 40, description: 'earliest (default), latest, or a time: RFC 3339 or ms since 1970.' }),
    ),
    cursor: Type.Optional(bytesText),
    maxEvents: Type.Optional(Type.String({ pattern: '^\\d{1,5}$', description: '1 to 10000, default 1000.' })),
    waitMs: Type.Optional(
      Type.String({
        pattern: '^\\d{1,5}$',
        description: 'How long to wait when there is nothing: 0 (default) to 30000.',
      }),
    ),
  },
  { additionalProperties: false },
)

export const eventsSchema = Type.Object({
  events: Type.Array(eventOutRef),
  cursor: Type.String({ description: 'Goes on behind the last event; store it beside the effect.' }),
  atEnd: Type.Boolean({ description: 'There was nothing more at that moment.' }),
})
