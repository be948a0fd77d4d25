// Proves login: the token endpoint's RFC 6749 behaviour and the checks of bearers, with real keys and tokens.
import { exportJWK, generateKeyPair, importJWK, SignJWT } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../src/adapters/clock/simulated-clock.ts'
import { type ApiMetrics, nullApiMetrics } from '../../../src/api-tier/api-metrics.ts'
import { ClientRegistry, hashClientSecret } from '../../../src/api-tier/auth/client-registry.ts'
import { ownIssuerVerifier } from '../../../src/api-tier/auth/jwt-verifier.ts'
import {
  generateSigningJwk,
  parseSigningJwk,
  publicJwk,
  type SigningJwk,
} from '../../../src/api-tier/auth/signing-key.ts'
import { TokenIssuer } from '../../../src/api-tier/auth/token-issuer.ts'
import { buildHttpApp } from '../../../src/api-tier/http/app.ts'
import { ThriftDispatcher } from '../../../src/api-tier/thrift/dispatcher.ts'
import type { LogFields, Logger } from '../../../src/observability/log.ts'
import { gatewayCalls, random, replied, silentLogger, turn } from './support.ts'

const start = 1_700_000_000_000
const issuerName = 'http://localhost/'
const audience = 'trunkline'
const form = { 'content-type': 'application/x-www-form-urlencoded' }

let key: SigningJwk
beforeAll(async () => {
  key = await generateSigningJwk(random)
})

async function login() {
  const clock = new SimulatedClock(start)
  const issuer = new TokenIssuer({ key, issuer: issuerName, audience, clock, random })
  const verifier = ownIssuerVerifier({ jwks: issuer.jwks, issuer: issuerName, audience, clock })
  const lines: (LogFields & { message: string })[] = []
  const logins: string[] = []
  const logger: Logger = { ...silentLogger, warn: (fields, message) => void lines.push({ ...fields, message }) }
  const metrics: ApiMetrics = { ...nullApiMetrics, login: (outcome) => void logins.push(outcome) }
  const { calls } = gatewayCalls(() => replied('extend', { turn, expiresAtMs: 1 }))
  const app = await buildHttpApp({
    calls,
    dispatcher: new ThriftDispatcher({ calls, metrics: nullApiMetrics }),
    oauth: {
      issuer,
      clients: new ClientRegistry([
        { clientId: 'app', secretHash: hashClientSecret('s3cret +%'), subject: 'alice', tenant: 'blue' },
      ]),
    },
    clock,
    random,
    metrics,
    logger,
    version: '0.0.0',
  })
  const post = (payload: string, headers: Record<string, string> = {}) =>
    app.inject({ method: 'POST', url: '/oauth/token', headers: { ...form, ...headers }, payload })
  return { app, clock, verifier, post, lines, logins }
}

const basic = (id: string, secret: string): string =>
  `Basic ${Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString('base64')}`

describe('POST /oauth/token', () => {
  it('gives a token for the secret in the form, which the verifier accepts', async () => {
    const { post, verifier } = await login()
    const answer = await post('grant_type=client_credentials&client_id=app&client_secret=s3cret%20%2B%25')
    expect(answer.statusCode).toBe(200)
    expect(answer.headers['cache-control']).toBe('no-store')
    const body: { access_token: string; token_type: string; expires_in: number } = answer.json()
    expect([body.token_type, body.expires_in]).toEqual(['Bearer', 3600])
    expect(await verifier.verify(body.access_token)).toEqual({
      principal: { subject: 'alice', clientId: 'app', tenant: 'blue', expiresAtMs: start + 3_600_000 },
      issuer: issuerName,
      scopes: [],
      roles: [],
    })
  })

  it('gives a token for Basic', async () => {
    const { post } = await login()
    const answer = await post('grant_type=client_credentials', { authorization: basic('app', 's3cret +%') })
    expect(answer.statusCode).toBe(200)
  })

  it.each([
    ['a wrong secret', 'grant_type=client_credentials&client_id=app&client_secret=no', {}, 401, 'invalid_client'],
    ['an unknown client', 'grant_type=client_credentials&client_id=nobody&client_secret=no', {}, 401, 'invalid_client'],
    ['no credentials', 'grant_type=client_credentials', {}, 401, 'invalid_client'],
    ['a wrong Basic', 'grant_type=client_credentials', { authorization: basic('app', 'no') }, 401, 'invalid_client'],
    ['another scheme', 'grant_type=client_credentials', { authorization: 'Digest x' }, 401, 'invalid_client'],
    [
      'both ways at once',
      'grant_type=client_credentials&client_secret=x',
      { authorization: basic('app', 'x') },
      400,
      'invalid_request',
    ],
    [
      'Basic of one client and the id of another in the form',
      'grant_type=client_credentials&client_id=other',
      { authorization: basic('app', 's3cret +%') },
      400,
      'invalid_request',
    ],
    ['no grant type', 'client_id=app&client_secret=x', {}, 400, 'invalid_request'],
    ['another grant type', 'grant_type=password&client_id=app&client_secret=x', {}, 400, 'unsupported_grant_type'],
    ['a parameter twice', 'grant_type=a&grant_type=b', {}, 400, 'invalid_request'],
    ['JSON', '{}', { 'content-type': 'application/json' }, 400, 'invalid_request'],
    ['a form that is too long', `grant_type=${'x'.repeat(20_000)}`, {}, 400, 'invalid_request'],
  ])('refuses %s in the words of RFC 6749', async (_name, payload, headers, status, error) => {
    const { post } = await login()
    const answer = await post(payload, headers as Record<string, string>)
    expect([answer.statusCode, answer.json<{ error: string }>().error]).toEqual([status, error])
    if (status === 401) expect(answer.headers['www-authenticate']).toContain('Basic')
  })

  it('takes the same id in the form beside Basic: a name, not a second way', async () => {
    const { post } = await login()
    const answer = await post('grant_type=client_credentials&client_id=app', {
      authorization: basic('app', 's3cret +%'),
    })
    expect(answer.statusCode).toBe(200)
  })

  it('counts every attempt by how it ended', async () => {
    const { post, logins } = await login()
    const asked = 'grant_type=client_credentials'
    await post(asked, { authorization: basic('app', 's3cret +%') })
    await post(`${asked}&client_id=app&client_secret=no`)
    await post(`${asked}&client_id=nobody&client_secret=no`)
    await post(asked)
    await post('{}', { 'content-type': 'application/json' })
    expect(logins).toEqual(['ok', 'wrong_secret', 'unknown_client', 'bad_request', 'bad_request'])
  })

  it('tells of a failed login which client it was when there is such a client, and nothing that a stranger wrote', async () => {
    const { post, lines } = await login()
    await post('grant_type=client_credentials&client_id=app&client_secret=wr0ng')
    await post('grant_type=client_credentials&client_id=n0body&client_secret=wr0ng')
    expect(lines.map(({ message, clientId }) => [message, clientId])).toEqual([
      ['a client failed to log in', 'app'],
      ['a client failed to log in', undefined],
    ])
    expect(JSON.stringify(lines)).not.toMatch(/n0body|wr0ng/)
  })

  it('tells of a flood of failed logins in few lines, and how many it left out', async () => {
    const { app, post, lines, logins, clock } = await login()
    const flood = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) await post('grant_type=client_credentials&client_id=app&client_secret=no')
    }
    await flood(100)
    expect(lines).toHaveLength(20)
    await clock.advance(1_000)
    expect(lines.at(-1)).toMatchObject({ count: 80 })
    await flood(23)
    expect(lines).toHaveLength(41)
    await app.close()
    expect(lines.at(-1)).toMatchObject({ count: 3 })
    expect(logins).toHaveLength(123)
  })

  it('publishes the public key only', async () => {
    const { app } = await login()
    const jwks = (await app.inject('/.well-known/jwks.json')).json<{ keys: Record<string, unknown>[] }>()
    expect(jwks.keys).toHaveLength(1)
    expect(jwks.keys[0]).not.toHaveProperty('d')
    expect(jwks.keys[0]?.['kid']).toBe(key.kid)
  })
})

describe('the bearer verifier', () => {
  const claims = { client_id: 'app', tenant: 'blue' }
  interface Over {
    readonly typ?: string
    readonly iss?: string
    readonly aud?: string
    readonly drop?: string
    readonly kid?: string
    readonly claims?: object
    readonly header?: object
  }
  const sign = (over: Over = {}) => {
    const all = {
      iss: over.iss ?? issuerName,
      aud: over.aud ?? audience,
      sub: 'alice',
      jti: 'x',
      iat: start / 1000,
      exp: start / 1000 + 60,
      ...claims,
      ...over.claims,
    }
    const kept = Object.fromEntries(Object.entries(all).filter(([name]) => name !== over.drop))
    const header = over.header ?? { kid: over.kid ?? key.kid }
    return new SignJWT(kept).setProtectedHeader({ alg: 'ES256', typ: over.typ ?? 'at+jwt', ...header })
  }
  const signed = async (over: Over = {}) => {
    return await sign(over).sign(await importJWK({ ...key }, 'ES256'))
  }

  const refusals: readonly (readonly [string, Over])[] = [
    ['another type', { typ: 'JWT' }],
    ['another issuer', { iss: 'http://evil/' }],
    ['another audience', { aud: 'else' }],
    ['an unknown key id', { kid: 'other' }],
    ['a subject that is no text', { claims: { sub: 5 } }],
    ['an endless client id', { claims: { client_id: 'x'.repeat(1000) } }],
    ...['exp', 'iat', 'jti', 'sub', 'client_id', 'aud', 'iss'].map((drop) => [`no ${drop}`, { drop }] as const),
  ]
  it.each(refusals)('refuses %s', async (_name, over) => {
    const { verifier } = await login()
    await expect(verifier.verify(await signed(over))).rejects.toMatchObject({ name: 'UNAUTHENTICATED' })
  })

  it('accepts what it should (the cases above differ in one thing each)', async () => {
    const { verifier } = await login()
    expect(await verifier.verify(await signed())).toMatchObject({ principal: { subject: 'alice' } })
  })

  it('refuses a signature of another key, no signature, a shared-secret one, and a key that the token brings', async () => {
    const { verifier } = await login()
    const stranger = await generateKeyPair('ES256', { extractable: true })
    const none = `${Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url')}.${Buffer.from('{}').toString('base64url')}.`
    const mac = await sign({ header: { alg: 'HS256' } }).sign(Buffer.from(JSON.stringify(publicJwk(key))))
    const jwk = await exportJWK(stranger.publicKey)
    const brought = await sign({ header: { jwk } }).sign(stranger.privateKey)
    for (const token of [await sign().sign(stranger.privateKey), none, mac, brought, 'x', `${'x'.repeat(9000)}`])
      await expect(verifier.verify(token)).rejects.toMatchObject({ name: 'UNAUTHENTICATED' })
  })

  it('says TOKEN_EXPIRED once the time is over, for a remembered token too', async () => {
    const { verifier, clock } = await login()
    const token = await signed()
    await verifier.verify(token)
    clock.jumpWall(61_000)
    await expect(verifier.verify(token)).rejects.toMatchObject({ name: 'TOKEN_EXPIRED' })
    clock.jumpWall(10_000)
    await expect(verifier.verify(token)).rejects.toMatchObject({ name: 'TOKEN_EXPIRED' })
  })
})

describe('the signing key', () => {
  it('comes back from its text', async () => {
    expect(await parseSigningJwk(JSON.stringify(key))).toEqual(key)
  })

  it.each(['', '[]', '{}', 'null', '{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}', '{"kty":"RSA"}'])(
    'refuses %j as unreadable',
    async (text) => {
      await expect(parseSigningJwk(text)).rejects.toMatchObject({ name: 'KEYRING_UNREADABLE' })
    },
  )
})
