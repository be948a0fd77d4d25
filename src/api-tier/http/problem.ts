// Owns: errors → RFC 9457 problem+json, the same members for every error of the HTTP API.
// 1. Text is the catalogue's; of an error that is not ours nothing is told but INTERNAL and the request id.
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import type { ErrorName } from '../../protocol/errors.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { writeTurn } from './session-headers.ts'
import { noteError } from './signed-requests.ts'

export interface Problem {
  /** `urn:trunkline:error:<NAME>`. */
  readonly type: string
  readonly title: string
  readonly status: number
  readonly code: number
  readonly name: ErrorName
  readonly retryable: boolean
  readonly retryAfterMs?: number
  readonly advice: string
  readonly requestId: string
  readonly details?: Readonly<Record<string, string>>
  /** int64 as a decimal string. */
  readonly expected?: string
  /** base64url. */
  readonly cursor?: string
}

export function problemOf(error: TrunklineError, requestId: string): Problem {
  return {
    type: `urn:trunkline:error:${error.name}`,
    title: titleOf(error.name),
    status: error.http,
    code: error.code,
    name: error.name,
    retryable: error.retryable,
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
    advice: error.message,
    requestId,
    ...(Object.keys(error.details).length === 0 ? {} : { details: error.details }),
    ...(error.expected === undefined ? {} : { expected: String(error.expected) }),
    ...(error.cursor === undefined ? {} : { cursor: Buffer.from(error.cursor).toString('base64url') }),
  }
}

export function sendProblem(error: TrunklineError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (error.retryAfterMs !== undefined) reply.header('retry-after', String(Math.ceil(error.retryAfterMs / 1_000)))
  if (error.http === 401) reply.header('www-authenticate', challengeOf(error.name))
  if (error.turn !== undefined) writeTurn(reply, error.turn)
  noteError(reply, error)
  return reply
    .code(error.http)
    .type('application/problem+json')
    .send(JSON.stringify(problemOf(error, request.id)))
}

/** Anything thrown in a handler or by the framework. */
export function errorOf(thrown: unknown): TrunklineError {
  if (thrown instanceof TrunklineError) return thrown
  if (!(thrown instanceof Error)) return TrunklineError.from(thrown)
  const error = thrown as Partial<FastifyError> & Error
  if (error.validation !== undefined) return validationError(error)
  switch (error.code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new TrunklineError('UNSUPPORTED_MEDIA')
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new TrunklineError('FRAME_TOO_LARGE')
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return new TrunklineError('BAD_REQUEST', { details: { field: 'body', why: 'json' } })
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new TrunklineError('BAD_REQUEST', { details: { field: 'content-length' } })
    case 'FST_ERR_BAD_URL':
      return new TrunklineError('BAD_REQUEST', { details: { field: 'url' } })
    default:
      // A client fault the framework found (4xx) stays the client's; everything else is ours.
      return typeof error.statusCode === 'number' && error.statusCode >= 400 && error.statusCode < 500
        ? new TrunklineError('BAD_REQUEST', { cause: thrown })
        : TrunklineError.from(thrown)
  }
}

const fieldBytesMax = 200
/** Names of an event's headers are the caller's data, not names of fields. */
const eventHeaderName = /(\.headers)\..*/s

/**
 * What does not fit the schema; names of fields, never values. Of several forms that a body may have, the one that fits
 * best was meant: its fault lies deepest.
 */
function validationError(error: Partial<FastifyError>): TrunklineError {
  const depth = (path: string): number => path.split('/').length
  const first = error.validation?.reduce((best, other) =>
    depth(other.instancePath) > depth(best.instancePath) ? other : best,
  )
  const context = error.validationContext ?? 'body'
  const params = first?.params ?? {}
  const named = params['additionalProperty'] ?? params['missingProperty']
  const path = `${context}${(first?.instancePath ?? '').replaceAll('/', '.').replace(eventHeaderName, '$1')}${typeof named === 'string' ? `.${named}` : ''}`
  return new TrunklineError('BAD_REQUEST', {
    details: { field: path.slice(0, fieldBytesMax), why: first?.keyword ?? 'schema' },
  })
}

function titleOf(name: ErrorName): string {
  const words = name.toLowerCase().replaceAll('_', ' ')
  return words.charAt(0).toUpperCase() + words.slice(1)
}

function challengeOf(name: ErrorName): string {
  return name === 'TOKEN_EXPIRED' || name === 'UNAUTHENTICATED'
    ? 'Bearer realm="trunkline", error="invalid_token"'
    : 'Bearer realm="trunkline"'
}
