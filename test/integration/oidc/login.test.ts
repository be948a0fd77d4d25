// A service logs in at a real provider over real TLS, and publishes and reads through a gateway that knows it. Whatever else
// a token may be is refused.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { importJWK, type JWTPayload, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect } from '../../../sdk/typescript/src/index.ts'
import type { Gateway } from '../../../src/main/gateway.ts'
import { askTopics, loginOf, metricOf, type OidcWorld, oidcWorld, tokenOf } from '../../support/oidc/oidc-world.ts'
import { startTestProvider, type TestProvider } from '../../support/oidc/test-provider.ts'
import { fetchToken } from '../../support/raw-client.ts'
import { runCli } from '../../support/run-cli.ts'

let world: OidcWorld
let provider: TestProvider
let other: TestProvider
let gateway: Gateway

beforeAll(async () => {
  world = oidcWorld()
  provider = await startTestProvider(world.files)
  other = await startTestProvider(world.files)
  const caFile = world.files.ca
  gateway = await world.gatewayOf(
    [{ name: 'other', issuer: other.issuer, caFile, tenantClaim: 'tenant', rolesClaim: 'realm_access.roles' }],
    { oidcIssuer: provider.issuer },
  )
})
afterAll(async () => {
  await world?.close()
  await provider?.close()
  await other?.close()
})

describe('a service with a client of a provider', () => {
  it('Given its issuer, When it publishes and reads by the SDK, Then it gets what it sent', async () => {
    for (const url of [gateway.thriftUrl, gateway.httpUrl]) {
      await using client = connect(url, loginOf(world, provider))
      await using producer = client.producer('login')
      await producer.publish([{ payload: `one ${url}` }, { payload: `two ${url}` }])
      await using reader = client.reader('login', { from: 'earliest', waitMs: 5_000 })
      const got: string[] = []
      for await (const batch of reader) {
        got.push(...batch.events.map((event) => event.text()))
        await batch.ack()
        if (got.includes(`one ${url}`) && got.includes(`two ${url}`)) break
      }
    }
  })

  it('Given a client that sends its secret in the body, and a token URL instead of an issuer, Then that does as well', async () => {
    const { issuer, ...secret } = loginOf(world, other, 'billing')
    await using client = connect(gateway.thriftUrl, { ...secret, tokenUrl: `${issuer}/token` })
    expect((await client.describe()).version).toBeDefined()
  })

  it('Given a wrong secret, an unknown issuer or authority, Then the SDK says which', async () => {
    const login = loginOf(world, provider)
    const failures: readonly (readonly [object, object])[] = [
      [
        { clientSecret: 'wrong' },
        { name: 'UNAUTHENTICATED', details: { httpStatus: '401', reason: 'invalid_client' } },
      ],
      [{ resource: 'no-url' }, { name: 'UNAUTHENTICATED', details: { httpStatus: '400', reason: 'invalid_target' } }],
      [{ issuer: `${provider.issuer}/` }, { name: 'UNAVAILABLE', details: { why: /another issuer/ } }],
      [
        { caFile: undefined },
        { name: 'TLS_REFUSED', details: { why: 'issuer: its certificate is not of a trusted authority' } },
      ],
      [{ caFile: '/nowhere' }, { name: 'BAD_REQUEST', details: { field: 'caFile' } }],
    ]
    for (const [change, expected] of failures) {
      await using client = connect(gateway.thriftUrl, without({ ...login, ...change }))
      const failure = await client.describe().catch((thrown: unknown) => thrown)
      expect(failure).toMatchObject(matching(expected))
    }
    expect(() => connect(gateway.thriftUrl, { ...login, issuer: 'http://login.example' })).toThrow(/field/)
    expect(() => connect(gateway.thriftUrl, { ...login, tokenUrl: 'https://x' })).toThrow(/field/)
  })

  it('Given the same command line as for the gateway, When an issuer is named, Then its token is printed and counts', async () => {
    const { clientId, clientSecret } = provider.clients.orders
    const secretFile = join(world.dir, 'secret')
    writeFileSync(secretFile, clientSecret, { mode: 0o600 })
    const login = ['--client-id', clientId, '--client-secret-file', secretFile, '--issuer', provider.issuer]
    const where = ['--url', gateway.httpUrl, '--resource', 'https://gateway.test/', '--issuer-ca-file', world.files.ca]
    const { stdout, code } = await runCli(['token', ...where, ...login], { cwd: world.dir })
    expect(code).toBe(0)
    expect((await askTopics(gateway, stdout.trim())).status).toBe(200)
    const listed = await runCli(['topic', 'list', ...where, ...login], { cwd: world.dir })
    expect([listed.code, listed.stdout]).toEqual([0, expect.stringContaining('login')])
  })

  it("Given a client of the gateway's own, Then it logs in as before", async () => {
    const token = await fetchToken(gateway.httpUrl, gateway.clientId, gateway.clientSecret)
    expect((await askTopics(gateway, token)).status).toBe(200)
  })

  it('Given a caller without a token, Then the gateway says where tokens come from', async () => {
    const answer = await fetch(`${gateway.httpUrl}/.well-known/oauth-protected-resource`)
    expect(await answer.json()).toEqual({
      resource: `${gateway.httpUrl}/`,
      authorization_servers: [provider.issuer, other.issuer],
      bearer_methods_supported: ['header'],
    })
  })

  it('Given keys that were fetched, Then the metrics say so, by provider', async () => {
    expect(await metricOf(gateway, 'trunkline_provider_fetches_total{provider="oidc",outcome="ok"}')).toBeGreaterThan(0)
    expect(await metricOf(gateway, 'trunkline_provider_keys_age_seconds{provider="other"}')).toBeGreaterThanOrEqual(0)
  })
})

describe('a token that is not for us', () => {
  const forged = async (change: JWTPayload, header: object = {}, by: TestProvider = provider): Promise<string> => {
    const nowS = Math.floor(Date.now() / 1000)
    const claims = {
      iss: provider.issuer,
      aud: 'trunkline',
      sub: 'orders',
      client_id: 'orders',
      jti: 'j',
      iat: nowS,
      exp: nowS + 600,
      ...change,
    }
    const { kid = '' } = by.signingKey
    return await new SignJWT(claims)
      .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid, ...header })
      .sign(await importJWK({ ...by.signingKey }, 'ES256'))
  }

  it('Given what is forged below with nothing changed, Then it counts', async () => {
    expect((await askTopics(gateway, await forged({}))).status).toBe(200)
  })

  it.each<[string, () => Promise<string>]>([
    [
      'for another audience, from the provider itself',
      () => tokenOf(world, provider, 'orders', 'https://elsewhere.test/'),
    ],
    ['of another issuer', () => forged({ iss: 'https://login.example' })],
    ['of an issuer that differs by a slash', () => forged({ iss: `${provider.issuer}/` })],
    ['of A that claims to be of B', () => forged({ iss: other.issuer })],
    [
      "of A that claims to be of B, under B's key id",
      () => forged({ iss: other.issuer }, { kid: other.signingKey.kid }),
    ],
    ['of B without the tenant that B has to give', () => forged({ iss: other.issuer }, {}, other)],
    ['of another type', () => forged({}, { typ: 'JWT' })],
    ['that is not signed', async () => unsigned(await forged({}))],
    ['signed by a shared secret', async () => shared(await forged({}), JSON.stringify(provider.signingKey))],
    ['changed after it was signed', async () => changed(await forged({}))],
  ])('Given one %s, Then it is UNAUTHENTICATED', async (_name, token) => {
    const { status, name, content } = await askTopics(gateway, await token())
    expect([status, name, content['details']]).toEqual([401, 'UNAUTHENTICATED', undefined])
  })

  it('Given one that is over, Then it is TOKEN_EXPIRED', async () => {
    const nowS = Math.floor(Date.now() / 1000)
    expect((await askTopics(gateway, await forged({ exp: nowS - 60 }))).name).toBe('TOKEN_EXPIRED')
  })
})

function part(content: object): string {
  return Buffer.from(JSON.stringify(content)).toString('base64url')
}

function unsigned(token: string): string {
  return `${part({ alg: 'none', typ: 'at+jwt' })}.${token.split('.')[1]}.`
}

async function shared(token: string, secret: string): Promise<string> {
  const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as JWTPayload
  return await new SignJWT(claims).setProtectedHeader({ alg: 'HS256', typ: 'at+jwt' }).sign(Buffer.from(secret))
}

function changed(token: string): string {
  const [head, payload = '', signature] = token.split('.')
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as JWTPayload
  return `${head}.${part({ ...claims, sub: 'billing' })}.${signature}`
}

function without<T extends object>(given: T): T {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as T
}

function matching(expected: object): object {
  const entries = Object.entries(expected).map(([name, value]) => [
    name,
    value instanceof RegExp ? expect.stringMatching(value) : typeof value === 'object' ? matching(value) : value,
  ])
  return Object.fromEntries(entries) as object
}
