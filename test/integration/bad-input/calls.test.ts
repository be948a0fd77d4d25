// Calls that a client must not make, and bytes that it must not send: each is typed, changes nothing, and leaves nothing
// open; afterwards the same session works on and a new reader finds everything.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { importJWK, type JWTPayload, SignJWT } from 'jose'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connect } from '../../../sdk/typescript/src/index.ts'
import { buildBlock } from '../../../src/protocol/block.ts'
import { type Event, encoding, mode } from '../../../src/protocol/messages.ts'
import { encodeCall } from '../../../src/protocol/thrift/message.ts'
import type { RawSession } from '../../support/raw-client.ts'
import { blockOf, bytes, decoded, Harness, payloadsOf, rawReply, refused, resumeOf, text } from '../sessions/harness.ts'

let at: Harness
let other: Harness
beforeAll(async () => {
  at = await Harness.start()
  other = await Harness.start()
  await at.publish('good', blockOf(0, 'a', 'b'), blockOf(3, 'c'))
  await other.publish('good', blockOf(0, 'z'))
})
afterAll(async () => {
  await at.end()
  await other.end()
})

let reader: RawSession
let writer: RawSession
beforeEach(async () => {
  reader = await at.reader('good')
  writer = await at.writer('own')
})
/** Nothing was lost or left open: the sessions of the test work on, a new reader finds all, no session is left. */
afterEach(async () => {
  expect(payloadsOf(await reader.call('read', { n: 1 })).sort()).toEqual(['a', 'b', 'c'])
  await reader.call('ack', { n: 1 })
  await reader.call('dispose', {}, 1)
  await writer.call('write', { n: 1, blocks: [blockOf(0, 'fine')], commit: true })
  await writer.call('dispose', {}, 1)
  expect(await at.everything('good')).toEqual(
    new Map([
      [0, ['a', 'b']],
      [3, ['c']],
    ]),
  )
  expect(await at.openSessions()).toBe(0)
  expect(await at.metric('trunkline_unknown_machine_events_total')).toBe(0)
  expect(await at.metric('trunkline_errors_total', { name: 'INTERNAL' })).toBe(0)
})

describe('turns', () => {
  it('Given a seq out of turn, then SEQUENCE_MISMATCH with the one that is due, and nothing is spent', async () => {
    const { session } = reader.allocated
    const good = reader.proof()
    for (const seq of [0, -1, 2, 99, 2 ** 52]) {
      const error = await refused(
        at.client.call('read', { n: 1, session, proof: { ...good, seq } }),
        'SEQUENCE_MISMATCH',
      )
      expect(error.expected).toBe(1)
      expect(error.turn?.nextSeq).toBe(1)
    }
    await refused(at.client.call('read', { n: 1, session, proof: { slot: 0 } }), 'BAD_REQUEST')
    await refused(at.client.call('read', { n: 1, session }), 'BAD_REQUEST')
    await refused(at.client.call('read', { n: 1, session, proof: { ...good, slot: 7 } }), 'BAD_REQUEST')
  })

  it('Given a wrong, an old, an empty or no challenge, then BAD_CHALLENGE with the right one', async () => {
    const { session } = reader.allocated
    const { challenge, ...rest } = reader.proof()
    for (const wrong of [new Uint8Array(12), new Uint8Array(), undefined, challenge?.slice(0, 11)]) {
      const error = await refused(
        at.client.call('read', { n: 1, session, proof: { ...rest, challenge: wrong } }),
        'BAD_CHALLENGE',
      )
      expect(error.turn?.challenge).toEqual(challenge)
    }
    await refused(
      at.client.call('extend', { session, proof: { slot: 1, seq: 1, challenge: new Uint8Array(3) } }),
      'BAD_CHALLENGE',
    )
  })

  it('Given two calls of one step at once, then identical ones get one answer and different ones are typed', async () => {
    const parked = await at.reader('good', { latest: true })
    const request = { n: 1, waitMs: 100, session: parked.allocated.session, proof: parked.proof() }
    const [first, second, third] = await Promise.all([
      rawReply(at.client, 'read', request),
      rawReply(await at.connect(), 'read', request),
      refused((await at.connect()).call('read', { ...request, maxEvents: 3 }), 'SEQUENCE_MISMATCH'),
    ])
    expect(Buffer.compare(first, second)).toBe(0)
    expect(third.expected).toBe(2)
    expect(decoded('read', first).count).toBe(0)
    parked.turns[0] = decoded('read', first).turn
    await parked.call('dispose', {}, 1)
  })

  it('Given another read while one runs, under the next seq, then STEP_BUSY and the first is answered', async () => {
    const parked = await at.reader('good', { latest: true })
    const { session } = parked.allocated
    const proof = parked.proof()
    const first = at.client.call('read', { n: 1, waitMs: 100, session, proof })
    await refused(at.client.call('read', { n: 2, session, proof: { ...proof, seq: 2 } }), 'STEP_BUSY')
    await refused(at.client.call('ack', { n: 1, session, proof: { ...proof, seq: 3 } }), 'NOTHING_TO_ACK')
    expect((await first).count).toBe(0)
    await parked.call('dispose', {}, 1)
  })
})

describe('steps', () => {
  it('Given an ack of what was never read, or of more, then it is typed and the position holds', async () => {
    await refused(reader.call('ack', { n: 1 }), 'NOTHING_TO_ACK')
    await refused(reader.call('nack', { n: 1 }), 'NOTHING_TO_ACK')
    await reader.call('read', { n: 1 })
    await refused(reader.call('ack', { n: 1, count: 4 }), 'ACK_RANGE')
    await refused(reader.call('ack', { n: 1, count: -1 }), 'BAD_REQUEST')
    await refused(reader.call('ack', { n: 2 }), 'NOTHING_TO_ACK')
    await refused(reader.call('nack', { n: 5 }), 'NOTHING_TO_ACK')
  })

  it('Given a read of a step that is not due, then SEQUENCE_MISMATCH of n', async () => {
    for (const n of [2, 100, 2 ** 50]) {
      const error = await refused(reader.call('read', { n }), 'SEQUENCE_MISMATCH')
      expect([error.expected, error.details['of']]).toEqual([1, 'n'])
    }
    await refused(reader.call('read', { n: 0 }), 'BAD_REQUEST')
    await refused(reader.call('read', { n: -3 }), 'BAD_REQUEST')
  })

  it('Given writes and acks of numbers that are not due, then they are typed and nothing is published', async () => {
    await refused(writer.call('ack', { n: 1 }), 'NOTHING_TO_ACK')
    await refused(writer.call('ack', { n: 1, count: 1 }), 'ACK_RANGE')
    for (const n of [2, 2 ** 50])
      expect(
        (await refused(writer.call('write', { n, blocks: [blockOf(0, 'x')] }), 'SEQUENCE_MISMATCH')).expected,
      ).toBe(1)
    await refused(writer.call('write', { n: 0, blocks: [blockOf(0, 'x')] }), 'BAD_REQUEST')
    await refused(writer.call('write', { n: -1, blocks: [blockOf(0, 'x')] }), 'BAD_REQUEST')
  })
})

describe('unknown things', () => {
  it('Given an unknown topic, partition, mode or feature, then it is typed', async () => {
    await refused(at.reader('nobody-made-this'), 'UNKNOWN_TOPIC')
    await refused(at.reader('no/such name'), 'BAD_TOPIC_NAME')
    await refused(at.reader('..'), 'BAD_TOPIC_NAME')
    await refused(
      at.client.call('describe', { topic: 'nobody-made-this', proof: { bearer: at.bearer } }),
      'UNKNOWN_TOPIC',
    )
    await refused(writer.call('write', { n: 1, blocks: [blockOf(8, 'x')] }), 'UNKNOWN_PARTITION')
    await refused(writer.call('write', { n: 1, events: [{ payload: bytes('x'), partition: 8 }] }), 'UNKNOWN_PARTITION')
    const allocate = (request: object): Promise<unknown> =>
      at.client.call('allocate', { topic: 'good', mode: mode.read, ...request, proof: { bearer: at.bearer } })
    await refused(allocate({ mode: 3 }), 'BAD_REQUEST')
    await refused(allocate({ group: 'g' }), 'UNSUPPORTED')
    await refused(allocate({ mode: mode.write, producerName: 'p' }), 'UNSUPPORTED')
    await refused(allocate({ mode: mode.write, ackLevel: 'accepted' }), 'UNSUPPORTED')
    await refused(allocate({ tenant: 'another' }), 'UNSUPPORTED')
    await refused(allocate({ mode: mode.write, startAt: { earliest: true } }), 'BAD_REQUEST')
    await refused(allocate({ resume: resumeOf(writer, undefined, []) }), 'BAD_REQUEST')
  })

  it('Given an unknown method, then the stock answer of Thrift, and the connection goes on', async () => {
    const call = encodeCall('read', 5, { n: 1, session: new Uint8Array(1) })
    const message = Buffer.from(call)
    message.write('beat', 8, 'latin1')
    const answer = Buffer.from(await at.client.frame(5, message))
    expect(answer.readUInt32BE(0)).toBe(0x80010003)
    expect((await at.client.call('describe', { proof: { bearer: at.bearer } })).version).toMatch(/\d/)
  })
})

describe('tokens and cursors', () => {
  it('Given a session token that is forged, cut, of an old version or of another gateway, then BAD_SESSION_TOKEN', async () => {
    const { session } = reader.allocated
    const theirs = await other.reader('good')
    const proof = { ...reader.proof(), mac: new Uint8Array(32) }
    for (const bad of [...variants(session), theirs.allocated.session]) {
      const error = await refused(at.client.call('read', { n: 1, session: bad, proof }), 'BAD_SESSION_TOKEN')
      expect(error.details).toEqual({})
      await refused(
        at.writer('own', { session: bad, writeCursor: writer.allocated.writeCursor ?? bad, nextN: 1 }),
        'BAD_SESSION_TOKEN',
      )
    }
    await theirs.call('dispose', {}, 1)
  })

  it('Given a cursor that is forged, cut, of an old version, of another topic or cluster, or of a writer, then each is named', async () => {
    const { cursor = new Uint8Array() } = reader.allocated
    const { writeCursor = new Uint8Array() } = writer.allocated
    const theirs = (await other.reader('good')).allocated.cursor ?? cursor
    const elsewhere = await at.reader('own')
    const startAt = (bad: Uint8Array): Promise<unknown> => at.reader('good', { cursor: bad })
    for (const bad of variants(cursor)) await refused(startAt(bad), 'BAD_CURSOR', 'CURSOR_FOREIGN', 'CURSOR_VERSION')
    await refused(startAt(Uint8Array.of(0, ...cursor.slice(1))), 'CURSOR_VERSION')
    await refused(startAt(Uint8Array.of(2, ...cursor.slice(1))), 'CURSOR_VERSION')
    await refused(startAt(cursor.slice(0, -1)), 'BAD_CURSOR')
    await refused(startAt(flipped(cursor, cursor.length - 20)), 'BAD_CURSOR')
    await refused(startAt(theirs), 'CURSOR_FOREIGN')
    await refused(startAt(elsewhere.allocated.cursor ?? cursor), 'CURSOR_FOREIGN')
    await refused(startAt(writeCursor), 'CURSOR_FOREIGN')
    const own = await at.writer('good')
    await refused(startAt(own.allocated.writeCursor ?? cursor), 'BAD_CURSOR')
    for (const session of [elsewhere, own]) await session.call('dispose', {}, 1)
  })
})

describe('bearers', () => {
  it('Given no bearer, or one that is unsigned, of another key, audience or issuer, cut or oversized, then UNAUTHENTICATED', async () => {
    const claims = claimsOf(at.bearer)
    const key = JSON.parse(await readFile(join(at.dir, 'signing-key.json'), 'utf8')) as Record<string, string>
    const foreign = JSON.parse(await readFile(join(other.dir, 'signing-key.json'), 'utf8')) as Record<string, string>
    const none = `${base64({ alg: 'none', typ: 'at+jwt' })}.${base64(claims)}.`
    const hmac = `${base64({ alg: 'HS256', typ: 'at+jwt' })}.${base64(claims)}.${'A'.repeat(43)}`
    const bad: Record<string, string> = {
      none,
      hmac,
      foreign: await signed(foreign, claims),
      audience: await signed(key, { ...claims, aud: 'somebody-else' }),
      issuer: await signed(key, { ...claims, iss: 'urn:trunkline:other' }),
      type: await signed(key, claims, 'jwt'),
      subject: await signed(key, { ...claims, sub: '' }),
      theirs: other.bearer,
      cut: at.bearer.slice(0, -4),
      changed: at.bearer.replace(/\.(.)/, (_, c: string) => `.${c === 'e' ? 'f' : 'e'}`),
      oversized: `${at.bearer}${'A'.repeat(9_000)}`,
      garbage: 'garbage',
      empty: '',
    }
    for (const [name, bearer] of Object.entries(bad)) {
      const error = await refused(at.client.call('allocate', { topic: 'good', mode: mode.read, proof: { bearer } }))
      expect([name, error.name]).toEqual([name, 'UNAUTHENTICATED'])
      if (name === 'empty' || name === 'oversized') continue
      expect((await at.http('/v1/topics', {}, bearer)).status).toBe(401)
    }
    await refused(at.client.call('allocate', { topic: 'good', mode: mode.read }), 'UNAUTHENTICATED')
    expect((await at.http('/v1/topics', {}, null)).status).toBe(401)
    expect((await at.http('/v1/topics')).status).toBe(200)
  })

  it('Given a token of another principal, then it opens nothing of this session', async () => {
    const key = JSON.parse(await readFile(join(at.dir, 'signing-key.json'), 'utf8')) as Record<string, string>
    const stranger = await signed(key, { ...claimsOf(at.bearer), sub: 'mallory' })
    const { session } = reader.allocated
    await refused(
      at.client.call('extend', { session, proof: { ...reader.proof(1), bearer: stranger } }),
      'BAD_SESSION_TOKEN',
    )
    await refused(
      at.client.call('read', { n: 1, session, proof: { ...reader.proof(), bearer: stranger } }),
      'BAD_SESSION_TOKEN',
    )
    const resume = resumeOf(writer, undefined, [])
    await refused(
      at.client.call('allocate', { topic: 'own', mode: mode.write, resume, proof: { bearer: stranger } }),
      'BAD_SESSION_TOKEN',
    )
  })

  it('Given a token that expires while its session is open, then TOKEN_EXPIRED spends nothing and extend with a fresh one revives it', async () => {
    const key = JSON.parse(await readFile(join(at.dir, 'signing-key.json'), 'utf8')) as Record<string, string>
    const nowSeconds = Math.floor(Date.now() / 1_000)
    // Allocated inside the clock tolerance of the verifier: expired for the session at once.
    const short = await signed(key, { ...claimsOf(at.bearer), exp: nowSeconds - 1 })
    const allocated = await at.client.call('allocate', {
      topic: 'good',
      mode: mode.read,
      startAt: { earliest: true },
      proof: { bearer: short },
    })
    const { session } = allocated
    const proof = (slot: 0 | 1): object => ({ slot, seq: 1, challenge: allocated.turn.challenge })
    await refused(at.client.call('read', { n: 1, session, proof: proof(0) }), 'TOKEN_EXPIRED')
    await refused(at.client.call('extend', { session, proof: proof(1) }), 'TOKEN_EXPIRED')
    const old = await signed(key, { ...claimsOf(at.bearer), exp: nowSeconds - 60 })
    await refused(at.client.call('extend', { session, proof: { ...proof(1), bearer: old } }), 'TOKEN_EXPIRED')
    const extended = await at.client.call('extend', { session, proof: { ...proof(1), bearer: at.bearer } })
    expect(extended.expiresAtMs).toBe((claimsOf(at.bearer).exp ?? 0) * 1_000)
    expect(payloadsOf(await at.client.call('read', { n: 1, session, proof: proof(0) })).sort()).toEqual(['a', 'b', 'c'])
    await at.client.call('dispose', { session, proof: { slot: 1, seq: 2, challenge: extended.turn.challenge } })
  })
})

describe('events', () => {
  it('Given an event above the limit, then EVENT_TOO_LARGE on every front, and its number is free', async () => {
    const payload = new Uint8Array(896 * 1024)
    await refused(writer.call('write', { n: 1, events: [{ payload }] }), 'EVENT_TOO_LARGE')
    const answer = await at.postJson('/v1/topics/own/events', { payload: { text: 'x'.repeat(896 * 1024) } })
    expect(answer.status).toBe(413)
    expect(((await answer.json()) as { name: string }).name).toBe('EVENT_TOO_LARGE')
    await refused(
      writer.call('write', { n: 1, events: [{ headers: new Map([['h', 'x'.repeat(17_000)]]) }] }),
      'HEADERS_TOO_LARGE',
    )
  })

  it('Given an empty batch, or blocks and events, then it is typed', async () => {
    await refused(writer.call('write', { n: 1, blocks: [] }), 'EMPTY_BATCH')
    await refused(writer.call('write', { n: 1, events: [] }), 'EMPTY_BATCH')
    await refused(writer.call('write', { n: 1 }), 'EMPTY_BATCH')
    await refused(writer.call('write', { n: 1, events: [], blocks: [blockOf(0, 'x')] }), 'BAD_REQUEST')
    expect((await at.postJson('/v1/topics/own/events', { events: [] })).status).toBe(400)
  })

  it('Given a block whose numbers lie, then BAD_BLOCK, whichever field it is', async () => {
    const good = blockOf(0, 'x')
    for (const bad of [
      { ...good, count: -1 },
      { ...good, count: 65_000 },
      { ...good, rawSize: good.rawSize + 1 },
      { ...good, rawSize: -1 },
      { ...good, packing: 2 },
      { ...good, encoding: 7 },
      { ...good, encoding: encoding.gzip },
      { ...good, offset: 3 },
      { ...good, first: 0, take: 1 },
    ])
      await refused(writer.call('write', { n: 1, blocks: [bad] }), 'BAD_BLOCK', 'BLOCK_TOO_LARGE')
  })

  it('Given __proto__ as a header, then it comes back as the name it is, over Thrift, JSON and the SDK', async () => {
    const headers = new Map([
      ['__proto__', 'polluted'],
      ['constructor', 'c'],
      ['toString', 't'],
    ])
    const event: Event = { id: 'thrift', payload: bytes('p'), headers }
    await at.publish('proto', buildBlock(0, [event], encoding.none))
    const asText =
      '{"events":[{"id":"json","payload":{"text":"p"},"partition":0,"headers":{"__proto__":"polluted","constructor":"c","toString":"t"}}]}'
    const posted = await at.http('/v1/topics/proto/events', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: asText,
    })
    expect([posted.status, await posted.clone().text()]).toEqual([200, await posted.text()])
    const sdk = connect(at.gateway.thriftUrl, { token: at.bearer })
    await sdk.producer('proto').publish({ id: 'sdk', payload: 'p', partition: 0, headers })
    const raw = await at.reader('proto')
    const batch = await raw.call('read', { n: 1, asEvents: true })
    expect(batch.events?.map(({ id }) => id)).toEqual(['thrift', 'json', 'sdk'])
    for (const found of batch.events ?? []) expect(found.headers).toEqual(headers)
    const json = await (await at.http('/v1/topics/proto/events?from=earliest')).text()
    expect(json.match(/"__proto__":"polluted"/g)).toHaveLength(3)
    const sdkReader = sdk.reader('proto', { from: 'earliest', waitMs: 10 })
    for await (const found of sdkReader) {
      for (const { headers: got } of found.events) expect(got.get('__proto__')).toBe('polluted')
      break
    }
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
    await sdk.close()
    await raw.call('dispose', {}, 1)
    expect(text(batch.events?.[0]?.payload)).toBe('p')
  })

  it('Given JSON with __proto__ and constructor outside of headers, then it is refused or ignored, and nothing is polluted', async () => {
    for (const body of [
      '{"__proto__":{"polluted":1},"name":"x y"}',
      '{"constructor":{"prototype":{"polluted":1}},"name":"x y"}',
    ]) {
      const answer = await at.http('/v1/topics', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      })
      expect(answer.status).toBe(400)
    }
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })
})

/** A few of every kind: cut, longer, each region with a bit turned, other versions. */
function variants(good: Uint8Array): Uint8Array[] {
  const places = [0, 1, 4, 9, 20, Math.floor(good.length / 2), good.length - 17, good.length - 1]
  return [
    new Uint8Array(),
    good.slice(0, 1),
    good.slice(0, good.length >> 1),
    good.slice(0, -1),
    Uint8Array.of(...good, 0),
    ...places.map((place) => flipped(good, place)),
    crypto.getRandomValues(new Uint8Array(good.length)),
  ]
}

function flipped(good: Uint8Array, place: number): Uint8Array {
  return good.map((byte, index) => (index === place ? byte ^ 1 : byte))
}

const base64 = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

function claimsOf(bearer: string): JWTPayload {
  return JSON.parse(Buffer.from(bearer.split('.')[1] ?? '', 'base64url').toString()) as JWTPayload
}

async function signed(key: Record<string, string>, claims: JWTPayload, typ = 'at+jwt'): Promise<string> {
  const { kid, alg = 'ES256' } = key
  return await new SignJWT(claims)
    .setProtectedHeader({ alg, typ, ...(kid === undefined ? {} : { kid }) })
    .sign(await importJWK(key, alg))
}
