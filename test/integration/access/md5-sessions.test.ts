// HMAC-MD5 over JSON, with the MACs of openssl: what such a client may do, what an operator sees of it, and what ends it.
import { spawnSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { deriveMacKeys } from '../../../src/protocol/signed-bytes.ts'
import { httpReplyBytes, httpRequestBytes } from '../../../src/protocol/signed-http.ts'
import { requirement } from '../../support/requirement.ts'
import { AccessWorld } from './harness.ts'

const openssl = requirement(
  'openssl with MD5',
  () => opensslMac(new Uint8Array(16), new Uint8Array(1)) !== '' || 'none',
)

/** base64url. */
function opensslMac(key: Uint8Array, bytes: Uint8Array): string {
  const hexKey = Buffer.from(key).toString('hex')
  const args = ['dgst', '-md5', '-mac', 'HMAC', '-macopt', `hexkey:${hexKey}`, '-binary']
  return spawnSync('openssl', args, { input: bytes }).stdout?.toString('base64url') ?? ''
}

const fromText = (text: string): Uint8Array => Buffer.from(text, 'base64url')
const everything = [
  { allow: ['publish', 'read', 'admin'], topics: ['*'], to: [{ client: 'old' }, { client: 'other' }] },
]
const clients = [{ clientId: 'old', allowHmacMd5: true }, { clientId: 'other' }]

describe('a client that is allowed HMAC-MD5', () => {
  let world: AccessWorld
  beforeAll(async () => {
    world = await AccessWorld.start(clients, everything, { allowHmacMd5: true })
  })
  afterAll(() => world.close())

  const open = async (macAlgorithm: string) =>
    await world.json('old', 'POST', '/v1/sessions', { topic: 'bills', mode: 'write', macAlgorithm })

  openssl.it(
    'given a write over JSON, when openssl signs it, then it runs, and openssl finds the answer signed',
    async () => {
      const { status, json, headers } = await open('hmac-md5')
      expect([status, json]).toMatchObject([201, { macAlgorithm: 'hmac-md5' }])
      const { session, secret, sessionId, expiresAtMs } = json as unknown as Record<string, string>
      if (session === undefined || secret === undefined) throw new Error('no session')
      expect(Number(expiresAtMs)).toBeLessThanOrEqual(Date.now() + 15 * 60_000)
      const keys = deriveMacKeys(fromText(secret), 'hmac-md5')
      const [seq, challenge] = ['trunkline-next-seq', 'trunkline-next-challenge'].map((name) => headers.get(name) ?? '')
      const body = { n: '1', commit: true, events: [{ key: 'k', payload: { text: 'from json' } }] }
      const path = `/v1/sessions/${sessionId}/write`
      const proof = { slot: 0, seq: Number(seq), challenge: fromText(challenge ?? '') }
      const contentType = 'application/json'
      const bodyBytes = Buffer.from(JSON.stringify(body))
      const message = { method: 'POST', path, contentType, body: bodyBytes, session: fromText(session), proof }
      const mac = opensslMac(keys.c2s, httpRequestBytes(message))
      const sent = { 'trunkline-session': session, 'trunkline-seq': seq, 'trunkline-challenge': challenge }
      const answer = await world.json('old', 'POST', path, body, { ...sent, 'trunkline-mac': mac })
      expect(answer.status).toBe(200)
      const turn = {
        nextSeq: Number(answer.headers.get('trunkline-next-seq')),
        challenge: fromText(answer.headers.get('trunkline-next-challenge') ?? ''),
        leaseMs: Number(answer.headers.get('trunkline-lease-ms')),
      }
      const answered = httpReplyBytes(
        { ...proof, mac: fromText(mac) },
        { status: 200, body: Buffer.from(answer.text), turn },
      )
      expect(answer.headers.get('trunkline-mac')).toBe(opensslMac(keys.s2c, answered))
      const forged = await world.json('old', 'POST', path, body, {
        ...sent,
        'trunkline-mac': mac.replace(/^./, (first) => (first === 'A' ? 'B' : 'A')),
      })
      expect([forged.status, forged.json]).toMatchObject([401, { name: 'BAD_PROOF' }])
      expect(await world.textsOf('old', 'bills')).toEqual(['from json'])
    },
  )

  it('given an allocation, then the audit tells it, it is counted, and the start told how many clients may', async () => {
    const before = world.lines.filter(({ action }) => action === 'hmac-md5').length
    expect((await open('hmac-md5')).status).toBe(201)
    expect((await open('hmac-sha256')).status).toBe(201)
    const told = world.lines.filter(({ action }) => action === 'hmac-md5').slice(before)
    expect(told).toMatchObject([{ event: 'audit', clientId: 'old', topic: 'bills', outcome: 'allowed' }])
    const page = await (await fetch(`${world.gateway.adminUrl}/metrics`)).text()
    expect(page).toMatch(/^trunkline_access_decisions_total\{action="hmac-md5",outcome="allowed"\} [1-9]/m)
    expect(world.lines).toContainEqual(
      expect.objectContaining({ count: 1, message: expect.stringContaining('HMAC-MD5') }),
    )
  })

  it('given a policy that gives it everything, then it makes and deletes no topic all the same', async () => {
    for (const [method, path, body] of [
      ['POST', '/v1/topics', { name: 'made' }],
      ['DELETE', '/v1/topics/bills', undefined],
    ] as const) {
      const { status, json } = await world.json('old', method, path, body)
      expect([status, json]).toMatchObject([403, { name: 'FORBIDDEN' }])
    }
    expect((await world.json('other', 'POST', '/v1/topics', { name: 'made' })).status).toBe(201)
  })

  it('given a client without the switch, or a name that is no algorithm, then it is refused and told what to do', async () => {
    const asked = { topic: 'bills', mode: 'write', macAlgorithm: 'hmac-md5' }
    const { status, json } = await world.json('other', 'POST', '/v1/sessions', asked)
    expect([status, json]).toMatchObject([
      403,
      { name: 'WEAK_MAC_REFUSED', advice: expect.stringContaining('HMAC-SHA256') },
    ])
    expect((await open('none')).json).toMatchObject({ name: 'BAD_REQUEST' })
  })
})

describe('a gateway that is not told to allow HMAC-MD5', () => {
  it('given a client whose entry allows it, then it is refused, and may administer', async () => {
    const world = await AccessWorld.start(clients, everything)
    try {
      const asked = { topic: 'bills', mode: 'write', macAlgorithm: 'hmac-md5' }
      const { status, json } = await world.json('old', 'POST', '/v1/sessions', asked)
      expect([status, json]).toMatchObject([403, { name: 'WEAK_MAC_REFUSED' }])
      expect((await world.json('old', 'POST', '/v1/topics', { name: 'made' })).status).toBe(201)
    } finally {
      await world.close()
    }
  })
})
