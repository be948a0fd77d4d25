// Proves that /openapi.json is a complete OpenAPI 3.1 document and that real answers fit it.
import { Value } from 'typebox/value'
import { beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { nullApiMetrics } from '../../../src/api-tier/api-metrics.ts'
import { ClientRegistry } from '../../../src/api-tier/auth/client-registry.ts'
import { generateSigningJwk } from '../../../src/api-tier/auth/signing-key.ts'
import { TokenIssuer } from '../../../src/api-tier/auth/token-issuer.ts'
import { buildHttpApp } from '../../../src/api-tier/http/app.ts'
import { ThriftDispatcher } from '../../../src/api-tier/thrift/dispatcher.ts'
import { type Answer, httpApp, type Json } from './http-support.ts'
import { gatewayCalls, random, silentLogger } from './support.ts'

interface Operation {
  readonly operationId?: string
  readonly summary?: string
  readonly tags?: readonly string[]
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly required?: boolean }[]
  readonly requestBody?: { readonly content: Readonly<Record<string, Json>> }
  readonly responses: Readonly<Record<string, { description?: string; content?: Readonly<Record<string, Json>> }>>
  readonly security?: readonly Json[]
}

interface Document {
  readonly openapi: string
  readonly info: Json
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Json>>; readonly securitySchemes: Json }
  readonly security: readonly Json[]
}

let document: Document
let operations: (readonly [string, string, Operation])[]

beforeAll(async () => {
  const { calls } = gatewayCalls(() => ({ kind: 'unroutable' }))
  const key = await generateSigningJwk(random)
  const app = await buildHttpApp({
    calls,
    dispatcher: new ThriftDispatcher({ calls, metrics: nullApiMetrics }),
    oauth: {
      issuer: new TokenIssuer({ key, issuer: 'i', audience: 'a', clock: systemClock, random }),
      clients: new ClientRegistry([]),
    },
    clock: systemClock,
    random,
    metrics: nullApiMetrics,
    logger: silentLogger,
    version: '1.2.3',
  })
  document = (await app.inject('/openapi.json')).json<Document>()
  operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => [path, method, operation] as const),
  )
})

function refsIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, member]) =>
    name === '$ref' && typeof member === 'string' ? [member] : refsIn(member),
  )
}

/** A schema of the document with its components inside, for a check by TypeBox. */
function fits(schema: unknown, value: unknown): boolean {
  const inline = (part: unknown): unknown => {
    if (Array.isArray(part)) return part.map(inline)
    if (typeof part !== 'object' || part === null) return part
    const ref = (part as Json)['$ref']
    if (typeof ref === 'string') return inline(document.components.schemas[ref.split('/').at(-1) ?? ''])
    return Object.fromEntries(Object.entries(part).map(([name, member]) => [name, inline(member)]))
  }
  return Value.Check(inline(schema) as Parameters<typeof Value.Check>[0], value)
}

describe('/openapi.json', () => {
  it('is OpenAPI 3.1 with its version and a bearer scheme for everything but the exceptions', () => {
    expect(document.openapi).toBe('3.1.0')
    expect(document.info['version']).toBe('1.2.3')
    expect(document.security).toEqual([{ bearer: [] }])
    expect(document.components.securitySchemes).toHaveProperty('bearer')
  })

  it('has every route', () => {
    expect(operations.map(([path, method]) => `${method.toUpperCase()} ${path}`).sort()).toEqual([
      'DELETE /v1/sessions/{id}',
      'DELETE /v1/topics/{topic}',
      'GET /.well-known/jwks.json',
      'GET /v1/topics',
      'GET /v1/topics/{topic}',
      'GET /v1/topics/{topic}/events',
      'POST /oauth/token',
      'POST /thrift',
      'POST /v1/sessions',
      'POST /v1/sessions/{id}/ack',
      'POST /v1/sessions/{id}/extend',
      'POST /v1/sessions/{id}/nack',
      'POST /v1/sessions/{id}/read',
      'POST /v1/sessions/{id}/write',
      'POST /v1/topics',
      'POST /v1/topics/{topic}/events',
    ])
  })

  it('names, sums up and tags each operation', () => {
    const ids = operations.map(([, , operation]) => operation.operationId)
    expect(new Set(ids).size).toBe(ids.length)
    for (const [path, method, { operationId, summary, tags }] of operations)
      expect([path, method, !operationId, !summary, tags?.length]).toEqual([path, method, false, false, 1])
  })

  it('declares every parameter of a path', () => {
    for (const [path, , operation] of operations) {
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
      const declared = (operation.parameters ?? []).filter(
        (parameter) => parameter.in === 'path' && parameter.required === true,
      )
      expect(declared.map(({ name }) => name)).toEqual(inPath)
    }
  })

  it('resolves every reference', () => {
    const known = Object.keys(document.components.schemas).map((name) => `#/components/schemas/${name}`)
    const refs = refsIn(document)
    expect(refs.length).toBeGreaterThan(20)
    for (const ref of refs) expect(known).toContain(ref)
  })

  it('describes success, and errors as problem+json, on every route of /v1', () => {
    for (const [path, , operation] of operations) {
      const { responses } = operation
      const statuses = Object.keys(responses)
      expect(statuses.some((status) => status.startsWith('2'))).toBe(true)
      for (const response of Object.values(responses)) expect(typeof response.description).toBe('string')
      if (!path.startsWith('/v1')) continue
      for (const status of ['400', '401', '500', '503'])
        expect(responses[status]?.content?.['application/problem+json']).toEqual({
          schema: { $ref: '#/components/schemas/Problem' },
        })
    }
  })

  it('gives an example for each JSON body, and the examples fit', () => {
    for (const [path, , operation] of operations) {
      const media = operation.requestBody?.content['application/json']
      if (media === undefined) continue
      expect([path, typeof media['example']]).toEqual([path, 'object'])
      expect([path, fits(media['schema'], media['example'])]).toEqual([path, true])
    }
    for (const name of ['Problem', 'EventIn', 'EventOut', 'Topic']) {
      const schema = document.components.schemas[name]
      const example = schema?.['example'] ?? (schema?.['examples'] as unknown[] | undefined)?.[0]
      expect([name, fits(schema, example)]).toEqual([name, true])
    }
  })
})

describe('real answers', () => {
  const fitsOperation = (path: string, method: string, answer: Answer): boolean => {
    const content = document.paths[path]?.[method]?.responses[String(answer.status)]?.content ?? {}
    const media = content[answer.status >= 400 ? 'application/problem+json' : 'application/json']
    return media !== undefined && fits(media['schema'], answer.json)
  }

  it('fit the document', async () => {
    const { ask } = await httpApp()
    const events = '/v1/topics/{topic}/events'
    const published = await ask('POST', '/v1/topics/quakes/events', {
      payload: { key: 'a', payload: { json: { b: [1] } }, headers: { c: 'd' } },
    })
    expect([published.status, fitsOperation(events, 'post', published)]).toEqual([200, true])
    const read = await ask('GET', '/v1/topics/quakes/events')
    expect([read.status, fitsOperation(events, 'get', read)]).toEqual([200, true])
    const refused = await ask('GET', '/v1/topics/none/events')
    expect([refused.status, fitsOperation(events, 'get', refused)]).toEqual([404, true])
    const created = await ask('POST', '/v1/topics', { payload: { name: 'n' } })
    expect([created.status, fitsOperation('/v1/topics', 'post', created)]).toEqual([201, true])
    const listed = await ask('GET', '/v1/topics')
    expect([listed.status, fitsOperation('/v1/topics', 'get', listed)]).toEqual([200, true])
    const session = await ask('POST', '/v1/sessions', { payload: { topic: 'quakes', mode: 'read' } })
    expect([session.status, fitsOperation('/v1/sessions', 'post', session)]).toEqual([201, true])
    const wrong: Answer = { ...read, json: { ...read.json, cursor: 5 } }
    expect(fitsOperation(events, 'get', wrong)).toBe(false)
  })
})
