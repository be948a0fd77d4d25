// Owns: /v1/sessions: the two-phase protocol as JSON, one route per method of the Thrift service.
// 1. The sealed token travels in Trunkline-Session; the id in the path must be the one that it holds.
// 2. Every route needs a bearer; it must be the one of the caller who allocated.
// 3. Events of a write get their source from the bearer's client: the same in every repeat, as the principal is.
import { TrunklineError } from '../../protocol/errors.ts'
import { type Event, mode, type Proof } from '../../protocol/messages.ts'
import type { PackedWrite } from '../../protocol/partitioning.ts'
import type { CallContext } from '../call-context.ts'
import { packForSession, positionsOf } from '../event-blocks.ts'
import type { GatewayCalls } from '../gateway-calls.ts'
import { type EventIn, eventOfJson, eventToJson } from './event-json.ts'
import type { HttpApp } from './http-app.ts'
import { httpContext } from './http-context.ts'
import { defined, numberOf, optionalBytesText, optionalNumber } from './json-values.ts'
import { answer, problems, turnHeaders } from './schemas-common.ts'
import {
  ackBody,
  ackedSchema,
  allocateBody,
  allocatedSchema,
  batchSchema,
  disposedSchema,
  extendedSchema,
  nackBody,
  nackedSchema,
  readBody,
  sessionHeaders,
  sessionParams,
  writeBody,
  writtenSchema,
} from './schemas-sessions.ts'
import {
  base64url,
  type HeaderValues,
  readSessionHeaders,
  refuseProducerHeaders,
  writeTurn,
} from './session-headers.ts'
import { allocatedJson, allocateRequestOf, partsJson } from './session-json.ts'
import { signRequests } from './signed-requests.ts'

const shared = { tags: ['sessions'], params: sessionParams, headers: sessionHeaders } as const

export function sessionRoutes(app: HttpApp, deps: { readonly calls: GatewayCalls }): void {
  const { calls } = deps
  signRequests(app, calls.proofs)

  /** The session's part of a request. Errors: BAD_SESSION_TOKEN (another session than the path's), BAD_REQUEST. */
  const openSession = (id: string, headers: HeaderValues): { session: Uint8Array; proof: Proof } => {
    const opened = readSessionHeaders(headers)
    if (calls.openToken(opened.session).sessionId !== id) throw new TrunklineError('BAD_SESSION_TOKEN')
    return opened
  }

  app.post(
    '/v1/sessions',
    {
      schema: {
        summary: 'Allocate a session',
        operationId: 'allocate',
        tags: ['sessions'],
        body: allocateBody,
        response: {
          201: answer('Allocated.', allocatedSchema, {
            ...turnHeaders,
            location: { type: 'string', description: 'Path of the session.' },
            'trunkline-session': {
              type: 'string',
              description: 'Sealed session token for the requests of the session.',
            },
          }),
          ...problems(404, 409, 410, 422),
        },
      },
    },
    async (request, reply) => {
      const allocated = await calls.call('allocate', allocateRequestOf(request.body), httpContext(request, reply))
      writeTurn(reply, allocated.turn)
      reply.header('location', `/v1/sessions/${allocated.sessionId}`)
      reply.header('trunkline-session', base64url(allocated.session))
      return await reply.code(201).send(allocatedJson(allocated, request.body))
    },
  )

  app.post(
    '/v1/sessions/:id/read',
    {
      schema: {
        ...shared,
        summary: 'Read the next batch, or the same one again until it is acked',
        operationId: 'read',
        body: readBody,
        response: {
          200: answer('A batch, perhaps empty.', batchSchema, turnHeaders),
          ...problems(404, 409, 410, 413, 422),
        },
      },
    },
    async (request, reply) => {
      const { body } = request
      const opened = openSession(request.params.id, request.headers)
      const batch = await calls.call(
        'read',
        {
          ...opened,
          n: numberOf(body.n, 'n'),
          ackOf: optionalNumber(body.ackOf, 'ackOf'),
          maxEvents: body.maxEvents,
          maxBytes: body.maxBytes,
          minBytes: body.minBytes,
          waitMs: body.waitMs,
          asEvents: true,
        },
        bearing(httpContext(request, reply)),
      )
      writeTurn(reply, batch.turn)
      return defined({
        n: String(batch.n),
        count: batch.count,
        cursor: base64url(batch.cursor),
        atEnd: batch.atEnd,
        events: (batch.events ?? []).map(eventToJson),
      })
    },
  )

  app.post(
    '/v1/sessions/:id/ack',
    {
      schema: {
        ...shared,
        summary: 'Ack a batch, or publish a staged write',
        operationId: 'ack',
        body: ackBody,
        response: { 200: answer('Acked.', ackedSchema, turnHeaders), ...problems(409, 410, 422) },
      },
    },
    async (request, reply) => {
      const opened = openSession(request.params.id, request.headers)
      const { n, count } = request.body
      const acked = await calls.call(
        'ack',
        { ...opened, n: numberOf(n, 'n'), count },
        bearing(httpContext(request, reply)),
      )
      writeTurn(reply, acked.turn)
      return defined({
        n: String(acked.n),
        cursor: optionalBytesText(acked.cursor),
        writeCursor: optionalBytesText(acked.writeCursor),
        parts: partsJson(acked.parts),
      })
    },
  )

  app.post(
    '/v1/sessions/:id/nack',
    {
      schema: {
        ...shared,
        summary: 'Give a batch back',
        operationId: 'nack',
        body: nackBody,
        response: { 200: answer('Given back.', nackedSchema, turnHeaders), ...problems(409, 410, 422) },
      },
    },
    async (request, reply) => {
      const opened = openSession(request.params.id, request.headers)
      const { n, delayMs, deadLetter } = request.body
      const context = bearing(httpContext(request, reply))
      const nacked = await calls.call('nack', { ...opened, n: numberOf(n, 'n'), delayMs, deadLetter }, context)
      writeTurn(reply, nacked.turn)
      return { n: String(nacked.n), cursor: base64url(nacked.cursor), deliveries: nacked.deliveries }
    },
  )

  app.post(
    '/v1/sessions/:id/extend',
    {
      schema: {
        ...shared,
        summary: 'Renew the lease; the bearer of this request becomes the one of the session',
        operationId: 'extend',
        response: { 200: answer('Extended.', extendedSchema, turnHeaders), ...problems(409, 410) },
      },
    },
    async (request, reply) => {
      const opened = openSession(request.params.id, request.headers)
      const extended = await calls.call('extend', opened, bearing(httpContext(request, reply)))
      writeTurn(reply, extended.turn)
      return defined({
        expiresAtMs: String(extended.expiresAtMs),
        writeCursor: optionalBytesText(extended.writeCursor),
      })
    },
  )

  app.post(
    '/v1/sessions/:id/write',
    {
      schema: {
        ...shared,
        summary: 'Stage write n, or publish it at once with commit',
        operationId: 'write',
        body: writeBody,
        response: {
          200: answer('Staged or published.', writtenSchema, turnHeaders),
          ...problems(404, 409, 410, 413, 422, 429),
        },
      },
    },
    async (request, reply) => {
      refuseProducerHeaders(request.headers)
      const { body } = request
      const opened = openSession(request.params.id, request.headers)
      const context = bearing(httpContext(request, reply))
      const n = numberOf(body.n, 'n')
      const events = (body.events as readonly EventIn[]).map((event, index) => eventOfJson(event, `events.${index}`))
      const packed = await packWrite(calls, opened.session, n, events, context)
      const written = await calls.call('write', { ...opened, n, blocks: packed.blocks, commit: body.commit }, context)
      writeTurn(reply, written.turn)
      return defined({
        n: String(written.n),
        published: written.published,
        writeCursor: optionalBytesText(written.writeCursor),
        parts: partsJson(written.parts),
        positions: written.published && written.parts !== undefined ? positionsOf(packed, written.parts) : undefined,
      })
    },
  )

  app.delete(
    '/v1/sessions/:id',
    {
      schema: {
        ...shared,
        summary: 'Dispose a session',
        operationId: 'dispose',
        response: { 200: answer('Disposed; the final cursors.', disposedSchema, turnHeaders), ...problems(409, 410) },
      },
    },
    async (request, reply) => {
      const opened = openSession(request.params.id, request.headers)
      const disposed = await calls.call('dispose', opened, bearing(httpContext(request, reply)))
      writeTurn(reply, disposed.turn)
      return defined({
        cursor: optionalBytesText(disposed.cursor),
        writeCursor: optionalBytesText(disposed.writeCursor),
      })
    },
  )
}

/** Invariant 2: GatewayCalls checks a bearer only when there is one. */
function bearing(context: CallContext): CallContext {
  if (context.bearer === undefined) throw new TrunklineError('UNAUTHENTICATED', { details: { why: 'no bearer' } })
  return context
}

/** Invariant 3; packed here, not in the core, because the answer lists positions. */
async function packWrite(
  calls: GatewayCalls,
  session: Uint8Array,
  n: number,
  events: readonly Event[],
  context: CallContext,
): Promise<PackedWrite> {
  const token = calls.openToken(session)
  if (token.mode !== mode.write || token.producerId === undefined) throw new TrunklineError('WRONG_MODE')
  const { clientId } = await calls.authenticate(context)
  const sourced = events.map((event) => ({ ...event, source: event.source ?? `/clients/${clientId}` }))
  return packForSession(sourced, token.partitions, { producerId: token.producerId, n })
}
