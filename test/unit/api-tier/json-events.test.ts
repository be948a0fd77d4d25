// Proves one-shot publish and read, topics, and what every route of the HTTP API shares.
import { beforeEach, describe, expect, it } from 'vitest'
import { blockOfRaw, readBlock } from '../../../src/protocol/block.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import type { Event } from '../../../src/protocol/messages.ts'
import { decodeReply, encodeCall } from '../../../src/protocol/thrift/message.ts'
import { type Answer, type HttpUnderTest, httpApp, type Json, settled } from './http-support.ts'
import { tokenOf } from './support.ts'

let at: HttpUnderTest
beforeEach(async () => {
  at = await httpApp()
})

const json = { 'content-type': 'application/json' }
const raw = { 'content-type': 'application/octet-stream' }
const events = '/v1/topics/quakes/events'

function stored(): Event[] {
  return at.node.log.flatMap((block) => readBlock(block))
}

describe('POST /v1/topics/{topic}/events', () => {
  it('publishes one event, in a session that is disposed', async () => {
    const answer = await at.ask('POST', events, { payload: { key: 'us', payload: { text: 'x' } } })
    expect(answer.status).toBe(200)
    expect(answer.json['positions']).toHaveLength(1)
    expect(stored()[0]).toMatchObject({ type: 'event', source: '/clients/app' })
    expect(stored()[0]?.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    await settled()
    expect(at.node.disposed).toEqual(['session-0001'])
  })

  it('publishes many, in order per key, and lists positions in the order of the events', async () => {
    const many = Array.from({ length: 50 }, (_, i) => ({ key: `k${i % 3}`, payload: { json: i } }))
    const answer = await at.ask('POST', events, { payload: { events: many } })
    const positions = answer.json['positions'] as string[]
    const found = new Map(
      stored().map((event) => [
        `${event.partition}:${event.offset}:${event.index}`,
        String(Buffer.from(event.payload ?? [])),
      ]),
    )
    expect(positions.map((position) => found.get(position))).toEqual(many.map((_, i) => String(i)))
  })

  it('takes raw bytes as one event', async () => {
    const answer = await at.ask('POST', events, { headers: raw, payload: Buffer.from([0xff, 0, 1]) })
    expect(answer.status).toBe(200)
    expect(Buffer.from(stored()[0]?.payload ?? [])).toEqual(Buffer.from([0xff, 0, 1]))
    expect(stored()[0]?.headers).toBeUndefined()
  })

  it('takes an empty payload', async () => {
    const answer = await at.ask('POST', events, { headers: raw, payload: Buffer.alloc(0) })
    expect(answer.status).toBe(200)
  })

  it('takes a CloudEvent in binary mode, of any content type', async () => {
    const answer = await at.ask('POST', events, {
      headers: {
        'content-type': 'application/json',
        'ce-specversion': '1.0',
        'ce-id': 'A-1',
        'ce-type': 'quake',
        'ce-source': '/usgs',
        'ce-time': '2023-11-14T22:13:20Z',
        'ce-partitionkey': 'us',
        'ce-subject': 'caf%C3%A9',
      },
      payload: '{"mag": 1.50}',
    })
    expect(answer.status).toBe(200)
    const [event] = stored()
    expect(event).toMatchObject({ id: 'A-1', type: 'quake', source: '/usgs', timestampMs: 1_700_000_000_000 })
    expect(String(Buffer.from(event?.key ?? []))).toBe('us')
    expect(String(Buffer.from(event?.payload ?? []))).toBe('{"mag": 1.50}')
    expect(event?.headers).toEqual(
      new Map([
        ['content-type', 'application/json'],
        ['subject', 'café'],
      ]),
    )
  })

  it.each([
    ['JSON that is none', json, '{"payload":', 400, 'BAD_REQUEST'],
    ['JSON that is no UTF-8', json, Buffer.from([0x22, 0xff, 0x22]), 400, 'BAD_REQUEST'],
    ['an unknown member', json, '{"colour":1}', 400, 'BAD_REQUEST'],
    ['no events', json, '{"events":[]}', 400, 'BAD_REQUEST'],
    ['an event and events', json, '{"key":"a","events":[{}]}', 400, 'BAD_REQUEST'],
    ['another content type', { 'content-type': 'text/plain' }, 'x', 415, 'UNSUPPORTED_MEDIA'],
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, 'a=b', 415, 'UNSUPPORTED_MEDIA'],
    ['a coded body', { ...json, 'content-encoding': 'gzip' }, 'x', 415, 'UNSUPPORTED_MEDIA'],
    ['a body above the limit', raw, Buffer.alloc(1_400_000), 413, 'FRAME_TOO_LARGE'],
    ['an event above the limit', raw, Buffer.alloc(930_000), 413, 'EVENT_TOO_LARGE'],
    ['producer headers', { ...json, 'producer-id': 'p' }, '{}', 422, 'UNSUPPORTED'],
    ['another CloudEvents version', { ...raw, 'ce-specversion': '2.0' }, 'x', 422, 'UNSUPPORTED'],
    ['a broken attribute', { ...raw, 'ce-specversion': '1.0', 'ce-subject': '%zz' }, 'x', 400, 'BAD_REQUEST'],
    ['a time that is none', { ...raw, 'ce-specversion': '1.0', 'ce-time': 'noon' }, 'x', 400, 'BAD_REQUEST'],
  ])('refuses %s', async (_name, headers, payload, status, name) => {
    const answer = await at.ask('POST', events, { headers: headers as Record<string, string>, payload })
    expect([answer.status, answer.json['name']]).toEqual([status, name])
    expect(at.node.log).toHaveLength(0)
  })

  it.each([
    ['payload.text', '{"payload":{"text":"a\\ud800b"}}'],
    ['key', '{"key":"\\udc00"}'],
    ['headers', '{"headers":{"h":"\\ud800"}}'],
    ['id', '{"id":"\\ud800"}'],
  ])('refuses a lone surrogate in %s: it would be stored as something else', async (field, payload) => {
    const answer = await at.ask('POST', events, { headers: json, payload })
    expect([answer.status, answer.json['name']]).toEqual([400, 'BAD_EVENT'])
    expect(String((answer.json['details'] as Json)['field'])).toContain(field)
    expect(at.node.log).toHaveLength(0)
  })

  it('takes a pair of surrogates, which is one character', async () => {
    const payload = '{"key":"\\ud83d\\ude00","payload":{"text":"\\ud83d\\ude00"}}'
    expect((await at.ask('POST', events, { headers: json, payload })).status).toBe(200)
    expect((await at.ask('GET', events)).json['events']).toMatchObject([{ key: '😀', payload: { text: '😀' } }])
  })

  it('refuses small events that packed would not fit into a frame', async () => {
    const many = Array.from({ length: 20_000 }, () => ({ payload: { text: '' } }))
    const answer = await at.ask('POST', events, { payload: { events: many } })
    expect([answer.status, answer.json['name']]).toEqual([413, 'BATCH_TOO_LARGE'])
  })

  it.each([
    ['needs a bearer', '', 401, 'UNAUTHENTICATED'],
    ['refuses an expired bearer', 'Bearer expired', 401, 'TOKEN_EXPIRED'],
    ['refuses a wrong bearer', 'Bearer mallory', 401, 'UNAUTHENTICATED'],
    ['refuses another scheme', 'Basic YTpi', 401, 'UNAUTHENTICATED'],
  ])('%s', async (_name, authorization, status, name) => {
    const answer = await at.ask('POST', events, { headers: { authorization }, payload: {} })
    expect([answer.status, answer.json['name']]).toEqual([status, name])
    expect(answer.headers['www-authenticate']).toContain('Bearer')
    expect(at.board.seen).toHaveLength(0)
  })

  it('sends the write again, with the same ids, when the session is lost', async () => {
    at.node.failures.push({ method: 'write', error: new TrunklineError('SESSION_GONE') })
    const answer = await at.ask('POST', events, { payload: { payload: { text: 'x' } } })
    expect(answer.status).toBe(200)
    expect(at.board.seen.map(({ envelope }) => envelope.method).slice(0, 4)).toEqual([
      'allocate',
      'write',
      'allocate',
      'write',
    ])
    expect(stored()).toHaveLength(1)
  })

  it('repeats the same call after a retryable error', async () => {
    at.node.failures.push(
      { method: 'write', error: new TrunklineError('STEP_BUSY') },
      { method: 'allocate', error: new TrunklineError('UNAVAILABLE', { retryAfterMs: 1 }) },
    )
    const answer = await at.ask('POST', events, { payload: { payload: { text: 'x' } } })
    expect(answer.status).toBe(200)
    expect(stored()).toHaveLength(1)
  })

  it.each(['DRAINING', 'NO_CAPACITY'] as const)(
    'answers %s at once: a gateway that stops waits for nobody',
    async (name) => {
      at.node.failures.push({ method: 'allocate', error: new TrunklineError(name) })
      const answer = await at.ask('POST', events, { payload: { payload: { text: 'x' } } })
      expect([answer.status, answer.json['name']]).toEqual([503, name])
      expect(stored()).toHaveLength(0)
    },
  )

  it('says UNAVAILABLE after losing its session again and again: its caller knows of no session', async () => {
    for (let i = 0; i < 10; i++) at.node.failures.push({ method: 'write', error: new TrunklineError('SESSION_GONE') })
    const answer = await at.ask('POST', events, { payload: {} })
    expect([answer.status, answer.json['name']]).toEqual([503, 'UNAVAILABLE'])
  })

  it('disposes its session when the write is refused', async () => {
    at.node.failures.push({ method: 'write', error: new TrunklineError('WRITE_REFUSED') })
    expect((await at.ask('POST', events, { payload: {} })).status).toBe(422)
    await settled()
    expect(at.node.disposed).toHaveLength(1)
  })
})

describe('GET /v1/topics/{topic}/events', () => {
  it('answers events, a cursor and whether the end was reached, and disposes', async () => {
    await at.ask('POST', events, { payload: { events: [{ key: 'a', payload: { text: '1' } }] } })
    const answer = await at.ask('GET', `${events}?from=earliest&maxEvents=5&waitMs=10`)
    expect(answer.status).toBe(200)
    expect(answer.json).toMatchObject({ atEnd: true, cursor: 'AQE' })
    expect((answer.json['events'] as Json[])[0]).toMatchObject({ key: 'a', payload: { text: '1' }, offset: '0' })
    await settled()
    expect(at.node.disposed).toHaveLength(2)
  })

  it.each([
    ['JSON exactly as it was', '{"a":1}', 'application/json', { json: { a: 1 } }],
    ['JSON that would change as text', '{"a":1.0}', 'application/json', { text: '{"a":1.0}' }],
    ['large numbers as text', '{"a":12345678901234567890}', 'application/json', { text: '{"a":12345678901234567890}' }],
    ['broken JSON as text', '{"a":', 'application/json', { text: '{"a":' }],
    [
      'JSON of another type',
      '{"__proto__":1}',
      'application/geo+json; charset=utf-8',
      { json: JSON.parse('{"__proto__":1}') as object },
    ],
    ['text', 'plain', undefined, { text: 'plain' }],
    ['bytes', Buffer.from([0xff, 0xfe]), undefined, { base64: '//4=' }],
    ['nothing', '', undefined, { text: '' }],
  ])('gives %s', async (_name, payload, contentType, expected) => {
    const headers: Record<string, string> = {
      'ce-specversion': '1.0',
      'content-type': contentType ?? 'application/octet-stream',
    }
    await at.ask('POST', events, { headers, payload: Buffer.from(payload) })
    const answer = await at.ask('GET', events)
    expect(JSON.stringify((answer.json['events'] as Json[])[0]?.['payload'])).toBe(JSON.stringify(expected))
  })

  it('asks for less when a batch would unpack to too much', async () => {
    const one = blockOfRaw(0, new Uint8Array(4_000_000), 1, 1)
    for (let i = 0; i < 5; i++) at.node.log.push({ ...one, offset: i, appendTimeMs: 1 })
    const answer = await at.ask('GET', `${events}?maxEvents=5`)
    // The scripted block is no packed event: that it was opened at all shows that a smaller batch was asked for.
    expect(answer.json['name']).toBe('BAD_BLOCK')
    const asked = at.board.seen.filter(({ envelope }) => envelope.method === 'read')
    expect(asked).toHaveLength(2)
  })

  it.each([
    ['two starts', '?from=earliest&cursor=AA', 'BAD_REQUEST'],
    ['a start that is no time', '?from=soon', 'BAD_REQUEST'],
    ['too many events', '?maxEvents=10001', 'BAD_REQUEST'],
    ['none', '?maxEvents=0', 'BAD_REQUEST'],
    ['too long a wait', '?waitMs=30001', 'BAD_REQUEST'],
    ['an unknown parameter', '?max=1', 'BAD_REQUEST'],
    ['a parameter twice', '?from=latest&from=earliest', 'BAD_REQUEST'],
  ])('refuses %s', async (_name, query, name) => {
    const answer = await at.ask('GET', `${events}${query}`)
    expect([answer.status, answer.json['name']]).toEqual([400, name])
  })

  it('hands out the cursor that goes on behind a damaged block', async () => {
    at.node.failures.push({
      method: 'read',
      error: new TrunklineError('BLOCK_DAMAGED', { cursor: Uint8Array.of(1, 2), details: { position: '0:5' } }),
    })
    const answer = await at.ask('GET', events)
    expect([answer.status, answer.json['cursor'], answer.json['details']]).toEqual([422, 'AQI', { position: '0:5' }])
  })
})

describe('deeply nested JSON', () => {
  const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels)
  const asJson = { 'content-type': 'application/json' }

  /** How deep JSON.stringify goes before the stack is full. */
  function levelsOfStack(): number {
    let levels = 1_000
    try {
      for (; levels < 100_000; levels += 10) JSON.stringify(JSON.parse(nested(levels)))
    } catch {
      // Full: this is the number.
    }
    return levels
  }

  const publishText = (text: string): Promise<Answer> =>
    at.ask('POST', events, { payload: { payload: { text }, headers: asJson } })

  it('never stops a read, at the edge of what the stack holds', async () => {
    const edge = levelsOfStack()
    for (let levels = edge - 300; levels < edge + 60; levels += 6) {
      at.node.log.length = 0
      expect((await publishText(nested(levels))).status).toBe(200)
      const answer = await at.ask('GET', events)
      expect([levels, answer.status]).toEqual([levels, 200])
    }
  })

  it.each([
    [100, { json: JSON.parse(nested(100)) as object }],
    [101, { text: nested(101) }],
    [4_110, { text: nested(4_110) }],
    [400_000, { text: nested(400_000) }],
  ])('of %d levels comes back unchanged, and so do the events behind it', async (levels, expected) => {
    expect((await publishText(nested(levels))).status).toBe(200)
    await at.ask('POST', events, { payload: { payload: { text: 'behind' } } })
    const answer = await at.ask('GET', events)
    const payloads = (answer.json['events'] as Json[]).map(({ payload }) => payload)
    expect(payloads).toHaveLength(2)
    expect(payloads).toContainEqual(expected)
    expect(payloads).toContainEqual({ text: 'behind' })
  })

  it.each([
    ['arrays', 5_000, nested(5_000), 400],
    ['objects', 5_000, `${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}`, 400],
    ['arrays beside shallow values', 101, `[[1],${nested(100)},{"a":{}}]`, 400],
    ['arrays', 100, nested(100), 200],
  ])('is refused at publish as %s of %d levels, above 100', async (_name, _levels, value, status) => {
    const body = `{"events":[{},{"payload":{"json":${value}}}]}`
    const answer = await at.ask('POST', events, { payload: body, headers: json })
    expect(answer.status).toBe(status)
    if (status !== 200) {
      expect(answer.json).toMatchObject({ name: 'BAD_EVENT', details: { field: 'events.1.payload.json' } })
      expect(JSON.stringify(answer.json['details'])).toContain('100')
      expect(at.node.log).toHaveLength(0)
    }
  })
})

describe('/v1/topics', () => {
  it('creates, describes, lists in pages and deletes', async () => {
    const created = await at.ask('POST', '/v1/topics', { payload: { name: 'a.b', partitions: 2, retentionMs: '1000' } })
    expect([created.status, created.headers['location']]).toEqual([201, '/v1/topics/a.b'])
    expect(created.json).toMatchObject({
      name: 'a.b',
      partitions: 2,
      retentionMs: '1000',
      topicId: `${'0'.repeat(31)}1`,
    })
    expect((await at.ask('POST', '/v1/topics', { payload: { name: 'a.b' } })).json['name']).toBe('TOPIC_EXISTS')
    const first = await at.ask('GET', '/v1/topics?pageSize=1')
    expect((first.json['topics'] as Json[]).map(({ name }) => name)).toEqual(['a.b'])
    const second = await at.ask('GET', `/v1/topics?pageSize=1&pageToken=${String(first.json['nextPageToken'])}`)
    expect((second.json['topics'] as Json[]).map(({ name }) => name)).toEqual(['quakes'])
    expect(second.json['nextPageToken']).toBeUndefined()
    expect((await at.ask('GET', '/v1/topics/quakes')).json).toMatchObject({
      name: 'quakes',
      latest: ['0', '0', '0', '0'],
    })
    const deleted = await at.ask('DELETE', '/v1/topics/a.b')
    expect([deleted.status, deleted.text]).toEqual([204, ''])
    expect((await at.ask('GET', '/v1/topics/a.b')).json['name']).toBe('UNKNOWN_TOPIC')
  })

  it.each([
    ['POST', '/v1/topics', { name: 'a b' }, 400, 'BAD_TOPIC_NAME'],
    ['POST', '/v1/topics', { name: 'a', partitions: 0 }, 400, 'BAD_REQUEST'],
    ['GET', '/v1/topics/..%2f', undefined, 400, 'BAD_TOPIC_NAME'],
    ['GET', `/v1/topics/${'x'.repeat(250)}`, undefined, 400, 'BAD_TOPIC_NAME'],
    ['GET', `/v1/topics/${'x'.repeat(500)}`, undefined, 400, 'BAD_REQUEST'],
    ['GET', '/v1/topics?pageToken=%20', undefined, 400, 'BAD_REQUEST'],
    ['GET', '/v1/topics?pageSize=0', undefined, 400, 'BAD_REQUEST'],
  ] as const)('%s %s with %j is refused', async (method, url, payload, status, name) => {
    const answer = await at.ask(method, url, payload === undefined ? {} : { payload })
    expect([answer.status, answer.json['name']]).toEqual([status, name])
  })
})

describe('every route', () => {
  it.each([
    ['GET', '/'],
    ['PUT', '/v1/topics'],
    ['GET', '/v1/nothing'],
    ['GET', '/__proto__'],
    ['GET', '/v1/topics/%zz'],
  ] as const)('%s %s is a typed problem', async (method, url) => {
    const answer = await at.ask(method, url)
    expect([400, 404]).toContain(answer.status)
    expect(answer.json).toMatchObject({
      retryable: false,
      requestId: answer.headers['x-request-id'] ?? answer.json['requestId'],
    })
    expect(answer.json['type']).toMatch(/^urn:trunkline:error:[A-Z_]+$/)
  })

  it('echoes a sane request id and traceparent, and makes an id when there is none', async () => {
    const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
    const echoed = await at.ask('GET', '/v1/topics', { headers: { 'x-request-id': 'my-1', traceparent } })
    expect([echoed.headers['x-request-id'], echoed.headers['traceparent']]).toEqual(['my-1', traceparent])
    expect(at.board.seen[0]?.envelope).toMatchObject({ requestId: 'my-1', traceparent })
    const made = await at.ask('GET', '/v1/topics', { headers: { 'x-request-id': 'a b\t', traceparent: 'x' } })
    expect(made.headers['x-request-id']).toMatch(/^[0-9a-f]{32}$/)
    expect(made.headers['traceparent']).toBeUndefined()
  })

  it('makes request ids that tell nothing of the requests of others: no part of one comes back in the next', async () => {
    const ids: string[] = []
    for (let i = 0; i < 50; i++) ids.push(String((await at.ask('GET', '/v1/topics')).headers['x-request-id']))
    const chunks = ids.flatMap((id) => [id.slice(0, 8), id.slice(-8)])
    expect(new Set(chunks).size).toBe(chunks.length)
    // A counter would rise.
    expect([...ids].sort()).not.toEqual(ids)
  })

  it('tells nothing of a failure that is not ours', async () => {
    at.board.answer = () => {
      throw new Error('secret text of a library')
    }
    const answer = await at.ask('GET', '/v1/topics')
    expect([answer.status, answer.json['name']]).toEqual([500, 'INTERNAL'])
    expect(answer.text).not.toContain('secret')
  })
})

describe('POST /thrift', () => {
  const thrift = { 'content-type': 'application/x-thrift' }

  it('answers one message with one message', async () => {
    const call = encodeCall('describe', 3, { topic: 'quakes' })
    const response = await at.app.inject({
      method: 'POST',
      url: '/thrift',
      headers: { ...thrift, authorization: 'Bearer alice' },
      payload: Buffer.from(call),
    })
    expect([response.statusCode, response.headers['content-type']]).toEqual([200, 'application/x-thrift'])
    const answer = decodeReply('describe', response.rawPayload)
    expect(answer).toMatchObject({ seqid: 3, reply: { topic: { name: 'quakes', partitions: 4 } } })
  })

  it('takes the bearer from the message too', async () => {
    const call = encodeCall('describe', 3, { proof: { bearer: 'alice' } })
    const response = await at.app.inject({
      method: 'POST',
      url: '/thrift',
      headers: thrift,
      payload: Buffer.from(call),
    })
    expect(decodeReply('describe', response.rawPayload)).toMatchObject({ reply: { version: '1' } })
  })

  it.each([
    ['garbage', Buffer.from('garbage')],
    ['nothing', Buffer.alloc(0)],
    [
      'a frame with its length',
      Buffer.concat([Buffer.from([0, 0, 0, 9]), encodeCall('extend', 1, { session: tokenOf() })]),
    ],
  ])('answers %s with an exception, status 200', async (_name, payload) => {
    const response = await at.app.inject({ method: 'POST', url: '/thrift', headers: thrift, payload })
    expect(response.statusCode).toBe(200)
    const answer = decodeReply('extend', response.rawPayload)
    expect('error' in answer && answer.error.name).toBe('MALFORMED_FRAME')
  })

  it('refuses other content types', async () => {
    const answer = await at.ask('POST', '/thrift', { headers: json, payload: '{}' })
    expect([answer.status, answer.json['name']]).toEqual([415, 'UNSUPPORTED_MEDIA'])
  })
})
