// Owns: /v1/topics/{topic}/events: publish and read in one call.
// 1. Publishing here is at least once; what would promise more (`Producer-*` headers) is refused, never ignored.
// 2. A body is our JSON, one event's raw bytes (application/octet-stream), or a CloudEvent in binary mode, whose content
//    type is its own.
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { TrunklineError } from '../../protocol/errors.ts'
import { parseTopicName } from '../../protocol/ids.ts'
import type { Event } from '../../protocol/messages.ts'
import { decodeUtf8 } from '../../protocol/utf8.ts'
import type { OneShot } from '../one-shot.ts'
import { eventOfHeaders, isCloudEvent } from './cloud-events.ts'
import { type EventIn, eventOfJson, eventToJson } from './event-json.ts'
import type { HttpApp } from './http-app.ts'
import { httpContext } from './http-context.ts'
import { badField } from './json-values.ts'
import { answer, problems, topicParams } from './schemas-common.ts'
import { eventsQuery, eventsSchema, publishBody, publishedSchema } from './schemas-topics.ts'
import { base64url, type HeaderValues, refuseProducerHeaders } from './session-headers.ts'
import { startAtOf } from './start-at.ts'

const jsonType = 'application/json'
const rawType = 'application/octet-stream'
/** OpenAPI 3.1: the content type says it all. */
const rawBody = Type.Any({ description: 'The payload of one event, any bytes.' })
const maxEventsLimit = 10_000

export function eventRoutes(app: HttpApp, deps: { readonly oneShot: OneShot; readonly waitMsMax: number }): void {
  const { oneShot, waitMsMax } = deps
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<Buffer>('*', { parseAs: 'buffer' }, async (request: FastifyRequest, body: Buffer) => {
    if (isRaw(request.headers)) return { payload: { base64: body.toString('base64') } } satisfies EventIn
    if (mediaType(request.headers) !== jsonType) throw new TrunklineError('UNSUPPORTED_MEDIA')
    return parseJson(body)
  })

  app.post(
    '/v1/topics/:topic/events',
    {
      schema: {
        tags: ['events'],
        summary: 'Publish one event or many (at least once)',
        description:
          'At least once: when an answer is lost inside, an event may be there twice, with the same id. Exactly once needs a ' +
          'session. As application/octet-stream the body is one payload; ce-* headers make it a CloudEvent in binary mode.',
        operationId: 'publish',
        params: topicParams,
        body: { content: { [jsonType]: { schema: publishBody }, [rawType]: { schema: rawBody } } },
        response: { 200: answer('Published.', publishedSchema), ...problems(404, 409, 413, 415, 422) },
      },
    },
    async (request, reply) => {
      refuseProducerHeaders(request.headers) // invariant 1
      const topic = parseTopicName(request.params.topic)
      return { positions: await oneShot.publish(topic, eventsOf(request), httpContext(request, reply)) }
    },
  )

  app.get(
    '/v1/topics/:topic/events',
    {
      schema: {
        tags: ['events'],
        summary: 'Read events from a start or a cursor',
        operationId: 'readEvents',
        params: topicParams,
        querystring: eventsQuery,
        response: {
          200: answer('Events, perhaps none, and where to go on.', eventsSchema),
          ...problems(404, 410, 422),
        },
      },
    },
    async (request, reply) => {
      const { from, cursor, maxEvents, waitMs } = request.query
      const batch = await oneShot.read(
        parseTopicName(request.params.topic),
        {
          startAt: startAtOf(from, cursor),
          maxEvents: numberIn(maxEvents, 'maxEvents', 1, maxEventsLimit),
          waitMs: numberIn(waitMs, 'waitMs', 0, waitMsMax),
        },
        httpContext(request, reply),
      )
      return { events: batch.events.map(eventToJson), cursor: base64url(batch.cursor), atEnd: batch.atEnd }
    },
  )
}

function eventsOf({ body, headers }: { readonly body: unknown; readonly headers: HeaderValues }): Event[] {
  const json = body as EventIn | { readonly events: readonly EventIn[] }
  if ('events' in json) return json.events.map((event, index) => eventOfJson(event, `events.${index}`))
  const event = eventOfJson(json, 'event')
  return [isRaw(headers) ? { ...event, ...eventOfHeaders(headers) } : event]
}

/** Invariant 2: the body is one payload, and the headers say the rest. */
function isRaw(headers: HeaderValues): boolean {
  return isCloudEvent(headers) || mediaType(headers) === rawType
}

function mediaType(headers: HeaderValues): string {
  const value = headers['content-type']
  return (typeof value === 'string' ? value : '').split(';', 1)[0]?.trim().toLowerCase() ?? ''
}

function noJson(): TrunklineError {
  return new TrunklineError('BAD_REQUEST', { details: { field: 'body', why: 'json' } })
}

function parseJson(body: Buffer): unknown {
  const text = decodeUtf8(body, 0, body.length)
  if (text === undefined) throw noJson()
  try {
    return JSON.parse(text) as unknown
  } catch {
    // The parser's text quotes the body: it stays here.
    throw noJson()
  }
}

function numberIn(text: string | undefined, field: string, min: number, max: number): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (value < min || value > max) throw badField(field, `${min} to ${max}`)
  return value
}
