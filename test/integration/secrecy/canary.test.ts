// Nothing of an event leaves the gateway but to its readers, and no secret at all: canaries in every part of an event, and
// the real secrets, are looked for in every file, log line, metric and error. The mutant `nosealing` turns this red.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect } from '../../../sdk/typescript/src/index.ts'
import { systemClock } from '../../../src/adapters/clock/system-clock.ts'
import { openLmdbBroker } from '../../../src/adapters/embedded/open.ts'
import { openKeyring } from '../../../src/adapters/keyring/keyring-provider.ts'
import { systemRandom } from '../../../src/adapters/random/system-random.ts'
import { readSealedHeader } from '../../../src/crypto/block-opener.ts'
import { createLogger } from '../../../src/observability/log.ts'
import { buildBlock } from '../../../src/protocol/block.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { parseTopicName } from '../../../src/protocol/ids.ts'
import { type Event, encoding, mode } from '../../../src/protocol/messages.ts'
import { deriveMacKeys } from '../../../src/protocol/signed-bytes.ts'
import { encodeCall } from '../../../src/protocol/thrift/message.ts'
import { startGatewayProcess } from '../../support/gateway-process.ts'
import { canaries, canary, leaked } from '../../support/leaks.ts'
import { OtlpCollector } from '../../support/otlp-collector.ts'
import { fetchToken, RawClient, type RawSession } from '../../support/raw-client.ts'
import { bytes, Harness } from '../sessions/harness.ts'

const event: Event = {
  key: bytes(canary.key),
  payload: bytes(canary.payload),
  headers: new Map([[canary.headerName, canary.headerValue]]),
  id: canary.id,
  type: canary.type,
  source: canary.source,
}

async function filesUnder(dir: string): Promise<{ path: string; content: Buffer }[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return await Promise.all(paths.map(async (path) => ({ path, content: await readFile(path) })))
}

const lines: string[] = []
/** Bodies, headers and frames of every error that a client was sent. */
const errors: Buffer[] = []
const secrets: Record<string, Uint8Array> = {}
let at: Harness
let metrics = ''
let collector: OtlpCollector

beforeAll(async () => {
  const logger = createLogger({
    level: 'debug',
    format: 'json',
    nowMs: () => systemClock.nowMs(),
    sink: { write: (line) => void lines.push(line) },
  })
  collector = await OtlpCollector.start()
  at = await Harness.start({ logger, logLevel: 'debug', otlpEndpoint: collector.endpoint })
  const reader = await publishEverywhere()
  await provoke(reader)
  await damage()
  metrics = await at.metricsText()
  noteSecrets(reader)
  await noteKeys()
})
afterAll(async () => {
  await at.end()
  await collector.close()
})

/** Publishes over every front, and reads it back: what is looked for really was there. */
async function publishEverywhere(): Promise<RawSession> {
  await at.publish('canaries', buildBlock(0, [event], encoding.none))
  const writer = await at.writer('canaries')
  await writer.call('write', { n: 1, events: [event], commit: true })
  await writer.call('write', { n: 2, blocks: [buildBlock(1, [event, event], encoding.none)] })
  await using sdk = connect(at.gateway.thriftUrl, { token: at.bearer })
  await sdk.producer('canaries', { encoding: 'none' }).publish({ ...event, partition: 2 })
  const posted = await at.postJson('/v1/topics/canaries/events', {
    key: canary.key,
    payload: { text: canary.payload },
    headers: { [canary.headerName]: canary.headerValue },
    id: canary.id,
    type: canary.type,
    source: canary.source,
  })
  expect(posted.status).toBe(200)
  const reader = await at.reader('canaries')
  const batch = await reader.call('read', { n: 1, asEvents: true })
  expect(batch.events?.length).toBe(4)
  for (const found of batch.events ?? []) {
    expect(Buffer.from(found.payload ?? []).toString()).toBe(canary.payload)
    expect([...(found.headers ?? [])]).toContainEqual([canary.headerName, canary.headerValue])
    expect([found.id, found.type, found.source]).toEqual([canary.id, canary.type, canary.source])
  }
  return reader
}

/** Every kind of error, with canaries wherever a client can put them. */
async function provoke(reader: RawSession): Promise<void> {
  const json = (path: string, body: string, headers: Record<string, string> = {}): Promise<void> =>
    noteResponse(at.http(path, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } }))
  const events = '/v1/topics/canaries/events'
  await json(events, `{"payload":{"text":"${canary.payload}"`)
  await json(events, `{"payload":{"text":"${canary.payload}"}} ${canary.key}`)
  await json(events, `{"payload":{"text":"x"},"timestampMs":"${canary.payload}"}`)
  await json(events, `{"payload":{"text":"x"},"partition":"${canary.payload}"}`)
  await json(events, `{"payload":{"base64":"${canary.payload}!"}}`)
  await json(events, `{"payload":"${canary.payload}"}`)
  await json(events, `{"key":{"base64":"!${canary.key}"},"payload":{"text":"x"}}`)
  await json(events, `{"id":"${canary.id.repeat(200)}","payload":{"text":"x"}}`)
  await json(events, `{"type":["${canary.type}"],"payload":{"text":"x"}}`)
  await json(
    events,
    `{"headers":{"${canary.headerName}":"${canary.headerValue.repeat(1_000)}"},"payload":{"text":"x"}}`,
  )
  await json(events, `{"headers":{"${canary.headerName}":{"deep":"${canary.headerValue}"}},"payload":{"text":"x"}}`)
  await json(events, `{"payload":{"text":"${canary.payload.repeat(45_000)}"},"id":"${canary.id}"}`)
  await json(events, `{"events":[{"payload":{"text":"x"}},{"payload":{"json":"${canary.payload}"},"partition":99}]}`)
  await json(events, canary.payload, { 'content-type': `text/${canary.payload}` })
  await json(events, canary.payload, {
    'content-type': 'application/octet-stream',
    'ce-id': canary.id,
    'ce-type': canary.type,
    'ce-time': canary.payload,
    'ce-source': canary.source,
    'ce-specversion': '9.9',
  })
  const known = { headers: { [canary.headerName]: canary.headerValue } }
  await noteResponse(at.http('/v1/topics/nobody-made-this/events?from=earliest', known))
  await json('/v1/sessions', `{"topic":"canaries","mode":"${canary.payload}"}`)
  await json('/v1/sessions/AAAAAAAAAAAA/write', `{"n":"1","events":[{"payload":{"text":"${canary.payload}"}}]}`, {
    'trunkline-session': Buffer.from(canary.payload).toString('base64url'),
    'trunkline-seq': '1',
  })
  const thrift = { method: 'POST', body: canary.payload, headers: { 'content-type': 'application/x-thrift' } }
  // Thrift has its errors inside of a 200.
  errors.push(Buffer.from(await (await at.http('/thrift', thrift)).arrayBuffer()))
  await noteResponse(at.http(`${events}?cursor=${Buffer.from(canary.payload).toString('base64url')}`))
  await noteResponse(at.http(`${events}?from=${canary.payload}`))
  await noteResponse(at.http('/v1/topics', {}, canary.payload))
  await noteResponse(at.http('/v1/topics', {}, `${at.bearer}x`))
  const form = { grant_type: 'client_credentials', client_id: canary.key, client_secret: canary.payload }
  await noteResponse(fetch(`${at.gateway.httpUrl}/oauth/token`, { method: 'POST', body: new URLSearchParams(form) }))

  const calls = await at.connect()
  const writer = await at.writer('canaries')
  const write = (request: object): Promise<void> => noteCall(writer.call('write', { n: 1, ...request }))
  const block = buildBlock(0, [event], encoding.none)
  await write({ events: [{ ...event, partition: 99 }] })
  await write({ events: [{ ...event, payload: new Uint8Array(896 * 1024) }] })
  await write({ events: [{ ...event, headers: new Map([[canary.headerName, canary.headerValue.repeat(1_000)]]) }] })
  await write({ events: [{ ...event, timestampMs: 2 ** 53 - 1, headers: new Map([['', canary.headerValue]]) }] })
  await write({ blocks: [{ ...block, count: 9 }] })
  await write({ blocks: [{ ...block, encoding: encoding.gzip }] })
  await write({ blocks: [{ ...block, partition: 99 }] })
  await write({ blocks: [block] })
  await write({ blocks: [buildBlock(0, [{ ...event, id: 'other' }], encoding.none)] })
  await noteCall(reader.call('ack', { n: 1, count: 99 }))
  await noteCall(reader.call('ack', { n: 77 }))
  await noteCall(calls.call('allocate', { topic: 'canaries', mode: mode.read, proof: { bearer: canary.payload } }))
  await noteCall(
    calls.call('read', { n: 1, session: bytes(canary.payload), proof: { seq: 1, challenge: bytes(canary.key) } }),
  )
  await noteCall(
    calls.call('allocate', {
      topic: 'canaries',
      mode: mode.read,
      startAt: { cursor: bytes(canary.payload) },
      proof: { bearer: at.bearer },
    }),
  )
  const message = Buffer.from(encodeCall('write', 3, { n: 1, session: reader.allocated.session, blocks: [block] }))
  errors.push(Buffer.from(await calls.frame(3, message.subarray(0, message.length - 20))))
  calls.close()
}

/** A block that is damaged on disk, read over both fronts. */
async function damage(): Promise<void> {
  await at.restart(async () => {
    const path = join(at.dir, 'log', 'data.mdb')
    const block = await firstBlock()
    const file = await readFile(path)
    for (let place = file.indexOf(block); place >= 0; place = file.indexOf(block, place + 1))
      file[place + block.length - 18] = (file[place + block.length - 18] ?? 0) ^ 1
    await writeFile(path, file)
  })
  const reader = await at.reader('canaries')
  for (let n = 1; n <= 2; n++) await noteCall(reader.call('read', { n }).then(() => reader.call('ack', { n })))
  const answer = await at.http('/v1/topics/canaries/events?from=earliest')
  if (answer.status !== 200) errors.push(Buffer.from(await answer.text()))
}

async function firstBlock(): Promise<Buffer> {
  const broker = await openLmdbBroker({ dir: join(at.dir, 'log'), clock: systemClock, random: systemRandom })
  const where = [{ topic: parseTopicName('canaries'), partition: 0, offset: 0 }]
  const [answer] = await broker.fetch(where, { lane: 'catchup', waitMs: 0, bytesMax: 1 })
  const block = Buffer.from(answer?.records[0]?.value ?? [])
  await broker.close()
  return block
}

function noteSecrets(reader: RawSession): void {
  Object.assign(secrets, {
    'client secret': bytes(at.gateway.clientSecret),
    bearer: bytes(at.bearer),
    'signature of the bearer': bytes(at.bearer.split('.')[2] ?? ''),
    'session secret': reader.allocated.secret,
    'key of requests': deriveMacKeys(reader.allocated.secret).c2s,
    'key of answers': deriveMacKeys(reader.allocated.secret).s2c,
    'session token': reader.allocated.session,
    cursor: reader.allocated.cursor ?? new Uint8Array(),
  })
}

/** The data key of a block and the key that wraps it, out of the folder as an owner of the keyring may. */
async function noteKeys(): Promise<void> {
  await at.close()
  const path = join(at.dir, 'keyring.json')
  const options = { create: false, clock: systemClock, random: systemRandom }
  const ring = await openKeyring(path, options)
  const { kekId, wrapped, topicId } = readSealedHeader(await firstBlock())
  secrets['data key'] = await ring.unwrap(kekId, wrapped, { topicId, tenant: 'default' })
  await ring.close()
  const { keks } = JSON.parse(await readFile(path, 'utf8')) as { keks: { key: string }[] }
  secrets['key-encryption key'] = Buffer.from(keks[0]?.key ?? '', 'base64')
  const gatewayKeys = JSON.parse(await readFile(join(at.dir, 'gateway-keys.json'), 'utf8')) as {
    keys: { secret: string }[]
  }
  secrets['gateway key'] = Buffer.from(gatewayKeys.keys[0]?.secret ?? '', 'base64')
  const signing = JSON.parse(await readFile(join(at.dir, 'signing-key.json'), 'utf8')) as { d: string }
  secrets['signing key'] = Buffer.from(signing.d, 'base64url')
  for (const secret of Object.values(secrets)) expect(secret.length).toBeGreaterThanOrEqual(16)
}

async function noteResponse(call: Promise<Response>): Promise<void> {
  const answer = await call
  expect(answer.status).toBeGreaterThanOrEqual(400)
  errors.push(Buffer.from(`${JSON.stringify([...answer.headers])}\n${await answer.text()}`))
}

/** What the client got, whole: name, advice, details, cursor. */
async function noteCall(call: Promise<unknown>): Promise<void> {
  try {
    await call
  } catch (thrown) {
    if (!(thrown instanceof TrunklineError)) throw thrown
    const { name, message, details, cursor = new Uint8Array() } = thrown
    errors.push(Buffer.concat([Buffer.from(JSON.stringify({ name, message, details })), cursor]))
  }
}

describe('an event', () => {
  it('Given canaries in every part of it, then no file under the data folder holds one', async () => {
    const files = await filesUnder(at.dir)
    expect(files.some(({ path }) => path.endsWith('data.mdb'))).toBe(true)
    for (const { path, content } of files) expect([path, leaked(content, canaries)]).toEqual([path, []])
  })

  it('Given the log at debug level, then no line holds one', () => {
    expect(lines.length).toBeGreaterThan(5)
    expect(leaked(Buffer.from(lines.join('')), canaries)).toEqual([])
  })

  it('Given the metrics, then none holds one', () => {
    expect(metrics).toContain('trunkline_events_published_total')
    expect(leaked(Buffer.from(metrics), canaries)).toEqual([])
  })

  it('Given every trace that was exported, then none holds one', () => {
    const names = collector.spans.map(({ name }) => name)
    for (const part of ['POST /v1/topics/:topic/events', 'request write', 'node read', 'append write', 'batch log'])
      expect(names).toContain(part)
    expect(leaked(Buffer.from(collector.bodies.join('\n')), canaries)).toEqual([])
  })

  it('Given every error that was provoked with them, then none tells one', () => {
    expect(errors.length).toBeGreaterThan(30)
    expect(errors.filter((error) => error.includes('BLOCK_DAMAGED')).length).toBeGreaterThanOrEqual(2)
    for (const error of errors)
      expect([error.toString('utf8').slice(0, 300), leaked(error, canaries)]).toEqual([
        error.toString('utf8').slice(0, 300),
        [],
      ])
  })
})

describe('secrets', () => {
  it('Given client secret, session secret, token, bearer and keys, then no log line, metric, trace or error holds one', () => {
    for (const text of [lines.join(''), metrics, collector.bodies.join('\n')])
      expect(leaked(Buffer.from(text), secrets)).toEqual([])
    // A reader's own cursor comes with an error on purpose.
    const { cursor: _, ...others } = secrets
    expect(leaked(Buffer.concat(errors), others)).toEqual([])
  })

  it('Given the files, then each secret lies in its own file at most, and the log holds none', async () => {
    const own: Record<string, string> = {
      'dev-client.json': 'client secret',
      'keyring.json': 'key-encryption key',
      'gateway-keys.json': 'gateway key',
      'signing-key.json': 'signing key',
    }
    for (const { path, content } of await filesUnder(at.dir)) {
      const name = path.split('/').at(-1) ?? ''
      const found = leaked(content, secrets)
      expect([name, found]).toEqual([name, own[name] === undefined ? [] : [own[name]]])
    }
  })

  it('Given all of it, then the search finds what it looks for', () => {
    const all = { ...canaries, ...secrets }
    for (const [name, secret] of Object.entries(all)) {
      for (const shape of ['utf8', 'hex', 'base64', 'base64url'] as const) {
        const text = shape === 'utf8' ? Buffer.from(secret) : Buffer.from(Buffer.from(secret).toString(shape))
        const hay = Buffer.concat([Buffer.from('before'), text, Buffer.from('after')])
        expect([name, shape, leaked(hay, all).includes(name)]).toEqual([name, shape, true])
      }
    }
  })
})

describe('a gateway process', () => {
  it('Given dev at debug level, then its output, dev.json and files hold no canary, and its output no secret', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'trunkline-'))
    const gateway = await startGatewayProcess({ dir, env: { TRUNKLINE_LOG_LEVEL: 'debug' } })
    try {
      const { clientId, clientSecret } = gateway.credentials
      const bearer = await fetchToken(gateway.urls.http, clientId, clientSecret)
      await using sdk = connect(gateway.urls.thrift, { token: bearer })
      await sdk.producer('canaries', { encoding: 'none' }).publish(event)
      const client = await RawClient.open(gateway.urls.thrift)
      await noteCall(client.call('allocate', { topic: 'canaries', mode: 9, proof: { bearer } }))
      await noteCall(client.call('read', { n: 1, session: bytes(canary.payload), proof: { seq: 1 } }))
      client.close()
      await sdk.close()
      const whileRunning = await filesUnder(dir)
      expect(whileRunning.some(({ path }) => path.endsWith('dev.json'))).toBe(true)
      await gateway.stop()
      const output = Buffer.from(gateway.output())
      expect(output.length).toBeGreaterThan(0)
      for (const { path, content } of [
        ...whileRunning,
        ...(await filesUnder(dir)),
        { path: 'output', content: output },
      ])
        expect([path, leaked(content, canaries)]).toEqual([path, []])
      expect(leaked(output, { bearer: bytes(bearer) })).toEqual([])
      // `dev` may show how to log in to the one who started it, but never in its log lines.
      const logLines = gateway
        .output()
        .split('\n')
        .filter((line) => line.startsWith('{'))
      expect(leaked(Buffer.from(logLines.join('\n')), { 'client secret': bytes(clientSecret) })).toEqual([])
    } finally {
      await gateway.stop()
      await rm(dir, { recursive: true })
    }
  })
})
