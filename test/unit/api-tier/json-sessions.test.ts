// Proves the JSON form of the two-phase protocol: headers, bodies, errors, for readers and writers.
import { beforeEach, describe, expect, it } from 'vitest'
import { readBlock } from '../../../src/protocol/block.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { decodeStruct } from '../../../src/protocol/thrift/codec.ts'
import { methodSchemas } from '../../../src/protocol/thrift/schemas.ts'
import { type Answer, type Ask, type HttpUnderTest, httpApp, type Json } from './http-support.ts'
import { tokenOf } from './support.ts'

let at: HttpUnderTest
beforeEach(async () => {
  at = await httpApp()
})

/** A session of its own: follows the turns as a client does. */
class Session {
  readonly id: string
  readonly token: string
  headers: Record<string, string>

  constructor(allocated: Answer) {
    this.id = String(allocated.json['sessionId'])
    this.token = String(allocated.headers['trunkline-session'])
    this.headers = nextHeaders(this.token, allocated)
  }

  async call(step: string, payload?: object, over: Record<string, string> = {}): Promise<Answer> {
    const ask: Ask = { headers: { ...this.headers, ...over }, ...(payload === undefined ? {} : { payload }) }
    const answer =
      step === 'dispose'
        ? await at.ask('DELETE', `/v1/sessions/${this.id}`, ask)
        : await at.ask('POST', `/v1/sessions/${this.id}/${step}`, ask)
    if (answer.status === 200) this.headers = nextHeaders(this.token, answer)
    return answer
  }
}

function nextHeaders(token: string, answer: Answer): Record<string, string> {
  return {
    'trunkline-session': token,
    'trunkline-seq': String(answer.headers['trunkline-next-seq']),
    'trunkline-challenge': String(answer.headers['trunkline-next-challenge']),
  }
}

async function allocated(body: object): Promise<Session> {
  const answer = await at.ask('POST', '/v1/sessions', { payload: body })
  expect(answer.status).toBe(201)
  return new Session(answer)
}

describe('POST /v1/sessions', () => {
  it('answers 201 with the path, the token in header and body, and the first turn', async () => {
    const answer = await at.ask('POST', '/v1/sessions', {
      payload: { topic: 'quakes', mode: 'read', from: 'earliest' },
    })
    expect(answer.status).toBe(201)
    expect(answer.headers['location']).toBe(`/v1/sessions/${String(answer.json['sessionId'])}`)
    expect(answer.headers['trunkline-session']).toBe(answer.json['session'])
    expect(answer.headers['cache-control']).toBe('no-store')
    expect([answer.headers['trunkline-next-seq'], answer.headers['trunkline-next-challenge']]).toEqual(['1', 'AQID'])
    expect(answer.json).toMatchObject({
      topic: 'quakes',
      mode: 'read',
      partitions: 4,
      expiresAtMs: '4000000000000',
      cursor: 'Bg',
    })
  })

  it.each([
    ['earliest', { from: 'earliest' }, { earliest: true }],
    ['nothing', {}, { earliest: true }],
    ['latest', { from: 'latest' }, { latest: true }],
    ['an RFC 3339 time', { from: '2023-11-14T22:13:20Z' }, { timestampMs: 1_700_000_000_000 }],
    ['a time in ms', { from: '1700000000000' }, { timestampMs: 1_700_000_000_000 }],
    ['a cursor', { cursor: 'AQI' }, { cursor: Uint8Array.of(1, 2) }],
  ])('starts a reader at %s', async (_name, start, expected) => {
    await allocated({ topic: 'quakes', mode: 'read', ...start })
    const sent = decodeStruct(methodSchemas.allocate.request, at.board.seen[0]?.envelope.body ?? new Uint8Array())
    expect(JSON.stringify(sent.startAt)).toBe(JSON.stringify(expected))
    expect(at.board.seen[0]?.envelope.principal.subject).toBe('alice')
  })

  it.each([
    ['an unknown topic', { topic: 'nothing', mode: 'read' }, 404, 'UNKNOWN_TOPIC'],
    ['an unknown mode', { topic: 'quakes', mode: 'both' }, 400, 'BAD_REQUEST'],
    ['an unknown member', { topic: 'quakes', mode: 'read', colour: 'red' }, 400, 'BAD_REQUEST'],
    ['a start that is no time', { topic: 'quakes', mode: 'read', from: 'yesterday' }, 400, 'BAD_REQUEST'],
    ['two starts', { topic: 'quakes', mode: 'read', from: 'earliest', cursor: 'AQ' }, 400, 'BAD_REQUEST'],
    ['a reserved option', { topic: 'quakes', mode: 'read', group: 'g' }, 422, 'UNSUPPORTED'],
    [
      'a foreign token to resume',
      { topic: 'quakes', mode: 'write', resume: { session: 'AQ', writeCursor: 'AQ', nextN: '1' } },
      400,
      'BAD_SESSION_TOKEN',
    ],
  ])('refuses %s', async (_name, payload, status, name) => {
    const answer = await at.ask('POST', '/v1/sessions', { payload })
    expect([answer.status, answer.json['name']]).toEqual([status, name])
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/)
  })
})

describe('a reading session', () => {
  it('reads, acks, gives back, extends and disposes', async () => {
    const published = await at.ask('POST', '/v1/topics/quakes/events', {
      payload: { key: 'us', payload: { json: { mag: 1 } } },
    })
    const session = await allocated({ topic: 'quakes', mode: 'read', from: 'earliest' })
    const batch = await session.call('read', { n: '1', maxEvents: 10 })
    expect(batch.status).toBe(200)
    expect(batch.json).toMatchObject({ n: '1', count: 1, atEnd: true })
    const [event] = batch.json['events'] as Json[]
    expect(event).toMatchObject({
      position: (published.json['positions'] as string[])[0],
      key: 'us',
      payload: { json: { mag: 1 } },
      type: 'event',
      source: '/clients/app',
      appendTimeMs: '1700000000123',
    })
    expect((await session.call('ack', { n: '1' })).json).toEqual({ n: '1', cursor: 'Ag' })
    expect((await session.call('nack', { n: 2, delayMs: 10 })).json).toEqual({ n: '2', cursor: 'BA', deliveries: 1 })
    expect((await session.call('extend')).json).toEqual({ expiresAtMs: '4000000000000' })
    expect((await session.call('dispose')).json).toEqual({ cursor: 'BQ' })
    expect((await session.call('read', { n: '2' })).json).toMatchObject({ name: 'SESSION_GONE', retryable: true })
  })

  it('answers a sequence out of turn with what the next request must carry', async () => {
    const session = await allocated({ topic: 'quakes', mode: 'read' })
    const answer = await session.call('read', { n: '1' }, { 'trunkline-seq': '9' })
    expect(answer.status).toBe(409)
    expect(answer.json).toMatchObject({ name: 'SEQUENCE_MISMATCH', expected: '1', code: 1303 })
    expect([answer.headers['trunkline-next-seq'], answer.headers['trunkline-next-challenge']]).toEqual(['1', 'AQID'])
  })

  it('refuses a wrong challenge as 401 without asking for another bearer scheme', async () => {
    const session = await allocated({ topic: 'quakes', mode: 'read' })
    const answer = await session.call('read', { n: '1' }, { 'trunkline-challenge': 'AAAA' })
    expect([answer.status, answer.json['name']]).toEqual([401, 'BAD_CHALLENGE'])
  })

  it.each([
    ['no token', { 'trunkline-session': undefined }, 400, 'BAD_REQUEST'],
    ['a forged token', { 'trunkline-session': 'AAAA' }, 400, 'BAD_SESSION_TOKEN'],
    ['a token with other letters', { 'trunkline-session': '***' }, 400, 'BAD_REQUEST'],
    [
      'the token of another session',
      { 'trunkline-session': Buffer.from(tokenOf()).toString('base64url') },
      400,
      'BAD_SESSION_TOKEN',
    ],
    ['no sequence', { 'trunkline-seq': undefined }, 400, 'BAD_REQUEST'],
    ['a sequence that is no number', { 'trunkline-seq': 'x' }, 400, 'BAD_REQUEST'],
    ['another slot', { 'trunkline-slot': '7' }, 400, 'BAD_REQUEST'],
    ['a slot beyond 32 bits', { 'trunkline-slot': '2147483648' }, 400, 'BAD_REQUEST'],
    [
      'a slot beyond 32 bits in a signed request',
      { 'trunkline-slot': '2147483648', 'trunkline-mac': Buffer.alloc(32).toString('base64url') },
      400,
      'BAD_REQUEST',
    ],
    ['a sequence beyond 2^53', { 'trunkline-seq': '9007199254740992' }, 400, 'BAD_REQUEST'],
    ['another caller', { authorization: 'Bearer bob' }, 400, 'BAD_SESSION_TOKEN'],
    ['no bearer', { authorization: '' }, 401, 'UNAUTHENTICATED'],
    ['an expired bearer', { authorization: 'Bearer expired' }, 401, 'TOKEN_EXPIRED'],
  ])('refuses %s, and loses nothing', async (name, over, status, error) => {
    await allocated({ topic: 'quakes', mode: 'read' })
    const session = await allocated({ topic: 'quakes', mode: 'read' })
    const good = session.headers
    const headers: Record<string, string> = { authorization: 'Bearer alice', ...good }
    for (const [header, value] of Object.entries(over)) {
      if (value === undefined) delete headers[header]
      else headers[header] = value
    }
    const id = name === 'the token of another session' ? 'session-0002' : session.id
    const answer = await at.ask('POST', `/v1/sessions/${id}/read`, { headers, payload: { n: '1' } })
    expect([answer.status, answer.json['name']]).toEqual([status, error])
    expect((await session.call('read', { n: '1' })).status).toBe(200)
  })

  it.each([
    [{ n: '1', maxEvents: 0 }],
    [{ n: '1', waitMs: 31_000 }],
    [{ n: -1 }],
    [{ n: '99999999999999999999' }],
    [{ n: '9999999999999999' }],
    [{}],
    [{ n: '1', surprise: 1 }],
  ])('refuses the body %j', async (payload) => {
    const session = await allocated({ topic: 'quakes', mode: 'read' })
    const answer = await session.call('read', payload)
    expect([answer.status, answer.json['name']]).toEqual([400, 'BAD_REQUEST'])
  })
})

describe('a writing session', () => {
  const events = [
    { key: 'us', payload: { json: { a: 1 } } },
    { key: 'ci', payload: { text: 'hello' } },
    { payload: { base64: 'AAE=' } },
    { key: 'us', payload: { text: 'last' }, id: 'mine', headers: { ['__proto__']: 'plain' } },
  ]

  it('publishes with commit and lists a position for each event', async () => {
    const session = await allocated({ topic: 'quakes', mode: 'write' })
    const answer = await session.call('write', { n: '1', commit: true, events })
    expect(answer.status).toBe(200)
    expect(answer.json).toMatchObject({ n: '1', published: true })
    const positions = answer.json['positions'] as string[]
    expect(positions).toHaveLength(4)
    const stored = at.node.log.flatMap((block) => readBlock(block))
    const byPosition = new Map(stored.map((event) => [`${event.partition}:${event.offset}:${event.index}`, event]))
    expect(positions.map((position) => Buffer.from(byPosition.get(position)?.payload ?? []).toString())).toEqual([
      '{"a":1}',
      'hello',
      '\u0000\u0001',
      'last',
    ])
    const last = byPosition.get(positions[3] ?? '')
    expect(last).toMatchObject({ id: 'mine', type: 'event', source: '/clients/app' })
    expect(last?.headers?.get('__proto__')).toBe('plain')
  })

  it('gives the same blocks for a repeat of the same write, by any node', async () => {
    const first = await allocated({ topic: 'quakes', mode: 'write' })
    await first.call('write', { n: '1', commit: true, events: events.slice(0, 3) })
    const before = at.node.log.splice(0)
    const second = await allocated({ topic: 'quakes', mode: 'write' })
    await second.call('write', { n: '1', commit: true, events: events.slice(0, 3) })
    const strip = (blocks: typeof before): unknown =>
      blocks.map(({ partition, data }) => [partition, Buffer.from(data).toString('hex')])
    expect(strip(at.node.log)).toEqual(strip(before))
    await second.call('write', { n: '2', commit: true, events: events.slice(0, 3) })
    expect(strip(at.node.log.slice(before.length))).not.toEqual(strip(before))
  })

  it('refuses producer headers: what they would promise is not built', async () => {
    const session = await allocated({ topic: 'quakes', mode: 'write' })
    const write = { n: '1', commit: true, events: [{ payload: { text: 'x' } }] }
    const refused = await session.call('write', write, { 'producer-id': 'p' })
    expect([refused.status, refused.json['name']]).toEqual([422, 'UNSUPPORTED'])
    expect(refused.json['details']).toEqual({ field: 'producer-id' })
    expect((await session.call('write', write)).status).toBe(200)
  })

  it('stages without commit and publishes with ack', async () => {
    const session = await allocated({ topic: 'quakes', mode: 'write' })
    const staged = await session.call('write', { n: '1', events: [{ payload: { text: 'x' } }] })
    expect(staged.json).toEqual({ n: '1', published: false })
    expect(at.node.log).toHaveLength(0)
    const acked = await session.call('ack', { n: '1' })
    expect(acked.json['parts']).toEqual([{ part: 0, partition: 1, state: 'landed', offset: '0' }])
  })

  it.each([
    ['no events', { n: '1', events: [] }, 400, 'BAD_REQUEST'],
    ['an unknown partition', { n: '1', events: [{ partition: 9 }] }, 404, 'UNKNOWN_PARTITION'],
    ['two payloads in one', { n: '1', events: [{ payload: { text: 'a', json: 1 } }] }, 400, 'BAD_REQUEST'],
    ['a payload that is no form', { n: '1', events: [{ payload: 'a' }] }, 400, 'BAD_REQUEST'],
    [
      'an event above the limit',
      { n: '1', events: [{ payload: { text: 'x'.repeat(920_000) } }] },
      413,
      'EVENT_TOO_LARGE',
    ],
    [
      'too many headers',
      { n: '1', events: [{ headers: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`h${i}`, 'v'])) }] },
      413,
      'HEADERS_TOO_LARGE',
    ],
  ])('refuses %s before anything is sent', async (_name, body, status, name) => {
    const session = await allocated({ topic: 'quakes', mode: 'write' })
    const before = at.board.seen.length
    const answer = await session.call('write', body)
    expect([answer.status, answer.json['name']]).toEqual([status, name])
    expect(at.board.seen).toHaveLength(before)
  })

  it('refuses events in a reading session', async () => {
    const session = await allocated({ topic: 'quakes', mode: 'read' })
    const answer = await session.call('write', { n: '1', events: [{}] })
    expect([answer.status, answer.json['name']]).toEqual([409, 'WRONG_MODE'])
  })

  it('passes a retryable error on with the time to wait', async () => {
    const session = await allocated({ topic: 'quakes', mode: 'write' })
    at.node.failures.push({ method: 'write', error: new TrunklineError('STORAGE_FULL') })
    const answer = await session.call('write', { n: '1', events: [{}] })
    expect([answer.status, answer.json['retryAfterMs'], answer.headers['retry-after']]).toEqual([503, 5_000, '5'])
  })
})
