// The JSON API driven by curl alone against a real gateway: log in, topics, one-shot, a reading and a writing session.
import { execFile, spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Gateway, startGateway } from '../../../src/main/gateway.ts'
import { nullLogger } from '../../../src/observability/log.ts'
import { requirement } from '../../support/requirement.ts'

const run = promisify(execFile)
const curlHere = requirement('curl', () => spawnSync('curl', ['--version']).status === 0)

type Json = Readonly<Record<string, unknown>>

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly json: Json
}

let dir: string
let gateway: Gateway
let token: string

/** curl with the headers of the answer before its body. */
async function curl(...args: readonly string[]): Promise<Answer> {
  const { stdout } = await run('curl', ['-s', '-i', '--max-time', '40', ...args], { maxBuffer: 8 * 1024 * 1024 })
  const split = stdout.indexOf('\r\n\r\n')
  const [statusLine = '', ...lines] = stdout.slice(0, split).split('\r\n')
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  )
  const body = stdout.slice(split + 4)
  return { status: Number(statusLine.split(' ')[1]), headers, json: body === '' ? {} : (JSON.parse(body) as Json) }
}

const api = (path: string): string => `${gateway.httpUrl}${path}`
const bearer = (): string[] => ['-H', `Authorization: Bearer ${token}`]
const asJson = (body: unknown): string[] => ['-H', 'Content-Type: application/json', '-d', JSON.stringify(body)]

class CurlSession {
  readonly path: string
  readonly token: string
  #seq: string
  #challenge: string

  constructor(allocated: Answer) {
    this.path = String(allocated.headers['location'])
    this.token = String(allocated.headers['trunkline-session'])
    this.#seq = String(allocated.headers['trunkline-next-seq'])
    this.#challenge = String(allocated.headers['trunkline-next-challenge'])
  }

  async call(step: string, body?: unknown): Promise<Answer> {
    const answer = await this.raw(step, this.#seq, this.#challenge, body)
    this.#seq = answer.headers['trunkline-next-seq'] ?? this.#seq
    this.#challenge = answer.headers['trunkline-next-challenge'] ?? this.#challenge
    return answer
  }

  async raw(step: string, seq: string, challenge: string, body?: unknown): Promise<Answer> {
    const method = step === 'dispose' ? ['-X', 'DELETE'] : ['-X', 'POST']
    const path = step === 'dispose' ? this.path : `${this.path}/${step}`
    const turn = [
      '-H',
      `Trunkline-Session: ${this.token}`,
      '-H',
      `Trunkline-Seq: ${seq}`,
      '-H',
      `Trunkline-Challenge: ${challenge}`,
    ]
    return await curl(...method, ...bearer(), ...turn, ...(body === undefined ? [] : asJson(body)), api(path))
  }

  get turn(): { seq: string; challenge: string } {
    return { seq: this.#seq, challenge: this.#challenge }
  }
}

async function open(body: unknown): Promise<CurlSession> {
  const allocated = await curl('-X', 'POST', ...bearer(), ...asJson(body), api('/v1/sessions'))
  expect(allocated.status).toBe(201)
  return new CurlSession(allocated)
}

curlHere.describe('the JSON API by curl alone', () => {
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'trunkline-'))
    gateway = await startGateway({ dataDir: dir, httpPort: 0, thriftPort: 0, adminPort: 0, logger: nullLogger })
    const login = await curl(
      '-u',
      `${gateway.clientId}:${gateway.clientSecret}`,
      '-d',
      'grant_type=client_credentials',
      api('/oauth/token'),
    )
    expect(login.status).toBe(200)
    token = String(login.json['access_token'])
  })
  afterAll(async () => {
    await gateway?.close()
    if (dir !== undefined) await rm(dir, { recursive: true })
  })

  it('creates, describes, lists and deletes topics', async () => {
    const created = await curl(
      '-X',
      'POST',
      ...bearer(),
      ...asJson({ name: 'plates', partitions: 2 }),
      api('/v1/topics'),
    )
    expect([created.status, created.headers['location'], created.json['partitions']]).toEqual([
      201,
      '/v1/topics/plates',
      2,
    ])
    expect((await curl(...bearer(), api('/v1/topics/plates'))).json).toMatchObject({
      earliest: ['0', '0'],
      latest: ['0', '0'],
    })
    expect((await curl(...bearer(), api('/v1/topics'))).json['topics']).toMatchObject([{ name: 'plates' }])
    expect((await curl('-X', 'DELETE', ...bearer(), api('/v1/topics/plates'))).status).toBe(204)
    expect((await curl(...bearer(), api('/v1/topics/plates'))).json['name']).toBe('UNKNOWN_TOPIC')
  })

  it('publishes in one call and reads back in one call, page by page by cursor', async () => {
    await curl('-X', 'POST', ...bearer(), ...asJson({ name: 'shots', partitions: 3 }), api('/v1/topics'))
    const one = await curl(
      '-X',
      'POST',
      ...bearer(),
      ...asJson({ key: 'us', payload: { json: { mag: 4.5 } } }),
      api('/v1/topics/shots/events'),
    )
    expect([one.status, (one.json['positions'] as string[]).length]).toEqual([200, 1])
    const many = { events: Array.from({ length: 20 }, (_, i) => ({ key: `k${i % 4}`, payload: { text: `t${i}` } })) }
    const all = await curl('-X', 'POST', ...bearer(), ...asJson(many), api('/v1/topics/shots/events'))
    const positions = all.json['positions'] as string[]
    expect(new Set(positions).size).toBe(20)
    await curl(
      '-X',
      'POST',
      ...bearer(),
      '-H',
      'Content-Type: application/octet-stream',
      '-H',
      'ce-id: raw-1',
      '--data-binary',
      'raw bytes',
      api('/v1/topics/shots/events'),
    )

    const found: Json[] = []
    let query = 'from=earliest'
    for (let page = 0; page < 30; page++) {
      const read = await curl(...bearer(), api(`/v1/topics/shots/events?${query}&maxEvents=5`))
      expect(read.status).toBe(200)
      const events = read.json['events'] as Json[]
      found.push(...events)
      query = `cursor=${String(read.json['cursor'])}`
      if (events.length === 0 && read.json['atEnd'] === true) break
    }
    expect(found).toHaveLength(22)
    const texts = new Map(found.map((event) => [event['position'], (event['payload'] as Json)['text']]))
    expect(positions.map((position) => texts.get(position))).toEqual(Array.from({ length: 20 }, (_, i) => `t${i}`))
    expect(found.find((event) => event['id'] === 'raw-1')?.['payload']).toEqual({ text: 'raw bytes' })
    expect(found.find((event) => event['key'] === 'us')?.['payload']).toEqual({ json: { mag: 4.5 } })
    const latest = await curl(...bearer(), api('/v1/topics/shots/events?from=latest'))
    expect(latest.json).toMatchObject({ events: [], atEnd: true })
  })

  it('writes and reads in two phases, repeats what it repeats, and loses nothing to errors', async () => {
    await curl('-X', 'POST', ...bearer(), ...asJson({ name: 'steps', partitions: 2 }), api('/v1/topics'))
    const writer = await open({ topic: 'steps', mode: 'write' })
    const before = writer.turn
    const write = {
      n: '1',
      events: [
        { key: 'a', payload: { text: 'first' } },
        { key: 'a', payload: { text: 'second' } },
      ],
    }
    const staged = await writer.call('write', write)
    expect([staged.status, staged.json['published']]).toEqual([200, false])
    const repeated = await writer.raw('write', before.seq, before.challenge, write)
    expect(repeated.json).toEqual(staged.json)
    const changed = await writer.raw('write', before.seq, before.challenge, {
      n: '1',
      events: [{ payload: { text: 'other' } }],
    })
    expect(changed.json['name']).toBe('WRITE_CHANGED')
    const acked = await writer.call('ack', { n: '1' })
    expect(acked.json['parts']).toMatchObject([{ part: 0, state: 'landed', offset: '0' }])
    const second = await writer.call('write', {
      n: '2',
      commit: true,
      events: [{ key: 'a', payload: { text: 'third' } }],
    })
    expect([second.json['published'], (second.json['positions'] as string[]).length]).toEqual([true, 1])
    expect((await writer.call('dispose')).status).toBe(200)

    const reader = await open({ topic: 'steps', mode: 'read', from: 'earliest' })
    const turn = reader.turn
    const batch = await reader.call('read', { n: '1', waitMs: 1_000 })
    expect((batch.json['events'] as Json[]).map((event) => (event['payload'] as Json)['text'])).toEqual([
      'first',
      'second',
      'third',
    ])
    const again = await reader.raw('read', turn.seq, turn.challenge, { n: '1', waitMs: 1_000 })
    expect(again.json).toEqual(batch.json)
    const early = await reader.raw('ack', '99', turn.challenge, { n: '1' })
    expect([early.status, early.json['name'], early.json['expected']]).toEqual([
      409,
      'SEQUENCE_MISMATCH',
      reader.turn.seq,
    ])
    const never = await reader.call('ack', { n: '5' })
    expect(never.status).toBe(409)
    const prefix = await reader.call('ack', { n: '1', count: 2 })
    expect(prefix.status).toBe(200)
    const rest = await reader.call('read', { n: '2', waitMs: 1_000 })
    expect((rest.json['events'] as Json[]).map((event) => (event['payload'] as Json)['text'])).toEqual(['third'])
    expect((await reader.call('nack', { n: '2' })).json['deliveries']).toBe(1)
    const disposed = await reader.call('dispose')
    const resumed = await curl(...bearer(), api(`/v1/topics/steps/events?cursor=${String(disposed.json['cursor'])}`))
    expect((resumed.json['events'] as Json[]).map((event) => (event['payload'] as Json)['text'])).toEqual(['third'])
    expect((await reader.call('read', { n: '3' })).status).toBe(410)
  })

  it('answers bad input as typed problems', async () => {
    const cases: readonly (readonly [string, readonly string[], number, string])[] = [
      ['no bearer', [api('/v1/topics')], 401, 'UNAUTHENTICATED'],
      [
        'a forged bearer',
        ['-H', `Authorization: Bearer ${token.slice(0, -4)}AAAA`, api('/v1/topics')],
        401,
        'UNAUTHENTICATED',
      ],
      ['an unknown topic', [...bearer(), api('/v1/topics/none/events')], 404, 'UNKNOWN_TOPIC'],
      ['a forged cursor', [...bearer(), api('/v1/topics/shots/events?cursor=AQAA')], 400, 'BAD_CURSOR'],
      ['an unknown path', [...bearer(), api('/v2')], 404, 'UNKNOWN_METHOD'],
      ['a form', [...bearer(), '-d', 'a=b', api('/v1/topics')], 415, 'UNSUPPORTED_MEDIA'],
      [
        'another partition',
        [...bearer(), ...asJson({ partition: 99 }), api('/v1/topics/shots/events')],
        404,
        'UNKNOWN_PARTITION',
      ],
      [
        'a reserved option',
        [...bearer(), ...asJson({ topic: 'shots', mode: 'read', group: 'g' }), api('/v1/sessions')],
        422,
        'UNSUPPORTED',
      ],
    ]
    for (const [what, args, status, name] of cases) {
      const answer = await curl(...args)
      expect([what, answer.status, answer.json['name']]).toEqual([what, status, name])
    }
  })

  it('refuses a cursor of another topic as foreign', async () => {
    await curl('-X', 'POST', ...bearer(), ...asJson({ name: 'others' }), api('/v1/topics'))
    const read = await curl(...bearer(), api('/v1/topics/others/events'))
    const foreign = await curl(...bearer(), api(`/v1/topics/shots/events?cursor=${String(read.json['cursor'])}`))
    expect([foreign.status, foreign.json['name']]).toEqual([400, 'CURSOR_FOREIGN'])
  })

  it('serves its own description', async () => {
    const description = await curl(api('/openapi.json'))
    expect([description.status, description.json['openapi']]).toEqual([200, '3.1.0'])
  })
})
