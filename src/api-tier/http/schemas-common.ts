// Owns: schemas that many routes share: problems, start positions, part results.
import { type TSchema, Type } from 'typebox'
import { int64Out } from './json-values.ts'

export const problemSchema = Type.Object(
  {
    type: Type.String({ description: 'urn:trunkline:error:<name>' }),
    title: Type.String(),
    status: Type.Integer(),
    code: Type.Integer({ description: 'Stable number of idl/errors.json.' }),
    name: Type.String({ description: 'Stable name of idl/errors.json.' }),
    retryable: Type.Boolean({ description: 'A repeat can succeed with nothing changed by the application.' }),
    retryAfterMs: Type.Optional(Type.Integer()),
    advice: Type.String({ description: 'What to do next.' }),
    requestId: Type.String(),
    details: Type.Optional(Type.Record(Type.String(), Type.String())),
    expected: Type.Optional(int64Out),
    cursor: Type.Optional(Type.String({ description: 'base64url: where to go on.' })),
  },
  {
    $id: 'Problem',
    description: 'RFC 9457 problem details.',
    examples: [
      {
        type: 'urn:trunkline:error:SEQUENCE_MISMATCH',
        title: 'Sequence mismatch',
        status: 409,
        code: 1303,
        name: 'SEQUENCE_MISMATCH',
        retryable: false,
        advice:
          'Go on with the sequence number in expected; a step that was already answered is repeated with its own number.',
        requestId: '5f2c9a1e77b0d3c4-1',
        expected: '4',
      },
    ],
  },
)

type ProblemStatus = 400 | 401 | 403 | 404 | 409 | 410 | 413 | 415 | 422 | 429 | 500 | 503

const meanings: Readonly<Record<ProblemStatus, string>> = {
  400: 'The request is malformed: details name the field.',
  401: 'No bearer, a wrong one, or one that expired; in a session also a wrong challenge.',
  403: 'The caller may not do this, whether or not the topic is there.',
  404: 'There is no such topic, partition or path.',
  409: 'It does not fit the present state: sequence, mode, name.',
  410: 'The session or the events are gone.',
  413: 'Too large.',
  415: 'The content type is not one of this path.',
  422: 'Refused as it is: an option that is not there, or a block that does not open.',
  429: 'Too many at once.',
  500: 'A defect of the gateway.',
  503: 'Not now: repeat after Retry-After.',
}

/** Error responses of a route, besides those that every route can give (400, 401, 403, 500, 503). */
export function problems(...statuses: ProblemStatus[]): Record<number, object> {
  const all: ProblemStatus[] = [400, 401, 403, ...statuses, 500, 503]
  return Object.fromEntries(
    all.map((status) => [
      status,
      {
        description: meanings[status],
        content: { 'application/problem+json': { schema: { $ref: 'Problem#' } } },
        ...(status === 503 || status === 429
          ? { headers: { 'retry-after': { type: 'string', description: 'Seconds.' } } }
          : {}),
      },
    ]),
  )
}

/** A schema as a response with a description and headers. */
export function answer(description: string, schema: TSchema, headers: Readonly<Record<string, object>> = {}): object {
  return { ...schema, description, ...(Object.keys(headers).length === 0 ? {} : { headers }) }
}

export const turnHeaders = {
  'trunkline-next-seq': { type: 'string', description: 'Trunkline-Seq of the next request of this slot.' },
  'trunkline-next-challenge': { type: 'string', description: 'Trunkline-Challenge of the next request.' },
  'trunkline-mac': { type: 'string', description: 'MAC of this answer; there when the request had one.' },
  'trunkline-lease-ms': { type: 'string', description: 'The session ends so long after the last request.' },
} as const

export const topicParams = Type.Object({
  topic: Type.String({ description: 'Name of the topic.', examples: ['quakes'] }),
})

export const partResultSchema = Type.Object({
  part: Type.Integer(),
  partition: Type.Integer(),
  state: Type.Union([Type.Literal('landed'), Type.Literal('missing'), Type.Literal('unknown')]),
  offset: Type.Optional(int64Out),
  perEvent: Type.Optional(
    Type.Boolean({ description: 'Plain topics: event i of the part lies at offset + i, index 0.' }),
  ),
})

export const positionSchema = Type.String({
  pattern: '^\\d+:\\d+:\\d+$',
  description: 'partition:offset:index',
  examples: ['3:1042:0'],
})
