// The keys of a provider: found, refreshed, rotated, kept over an outage, and what callers hear meanwhile.
import { beforeAll, describe, expect, it } from 'vitest'
import type { Fetched } from '../../../src/api-tier/auth/provider-http.ts'
import { corp, providerUnderTest, type SigningPair, signed, signingPair } from './provider-world.ts'

let first: SigningPair
let second: SigningPair
beforeAll(async () => {
  first = await signingPair('k1')
  second = await signingPair('k2')
})

const discovery = `${corp}/.well-known/openid-configuration`
const discovery8414 = 'https://login.corp.example/.well-known/oauth-authorization-server/realms/main'
const unavailable = (retryAfterMs: unknown = expect.any(Number)) =>
  expect.objectContaining({ name: 'UNAVAILABLE', details: expect.objectContaining({ provider: 'corp' }), retryAfterMs })
const ok = (content: unknown): Fetched<string> => ({ kind: 'ok', value: JSON.stringify(content) })

async function started() {
  const world = providerUnderTest()
  world.provider.publish([first.jwk])
  world.keys.start()
  await world.clock.settle()
  return world
}

describe('where keys come from', () => {
  it('given an issuer, then its metadata says it', async () => {
    const { provider, verifier } = await started()
    await verifier.verify(await signed(first))
    expect(provider.asked).toEqual([discovery, `${corp}/keys`])
  })

  it('given metadata by RFC 8414 only, then that says it', async () => {
    const { provider, keys, verifier } = providerUnderTest()
    provider.publish([first.jwk])
    provider.documents.set(discovery, { kind: 'http-status' })
    provider.documents.set(discovery8414, ok({ issuer: corp, jwks_uri: `${corp}/keys` }))
    keys.start()
    await verifier.verify(await signed(first))
    expect(provider.asked).toEqual([discovery, discovery8414, `${corp}/keys`])
  })

  it('given a configured URL, then nothing else is asked', async () => {
    const { provider, keys, verifier } = providerUnderTest({ keys: { jwksUrl: 'https://keys.example/' } })
    provider.publish([first.jwk], 'https://keys.example/')
    keys.start()
    await verifier.verify(await signed(first))
    expect(provider.asked).toEqual(['https://keys.example/'])
  })

  it.each<[string, Fetched<string>, string]>([
    ['speaks for another issuer', ok({ issuer: `${corp}/`, jwks_uri: `${corp}/keys` }), 'other-issuer'],
    ['names no keys', ok({ issuer: corp }), 'malformed'],
    ['names keys by http', ok({ issuer: corp, jwks_uri: 'http://127.0.0.1/keys' }), 'malformed'],
    ['names keys by file', ok({ issuer: corp, jwks_uri: 'file:///keys' }), 'malformed'],
    ['is not JSON', { kind: 'ok', value: 'CANARY' }, 'malformed'],
    ['is away', { kind: 'unreachable' }, 'unreachable'],
    ['is elsewhere', { kind: 'redirect' }, 'redirect'],
  ])('given metadata that %s, then there are none, and it is not asked on', async (_name, document, outcome) => {
    const { provider, keys, verifier, outcomes } = providerUnderTest()
    provider.publish([first.jwk])
    provider.documents.set(discovery, document)
    keys.start()
    await expect(verifier.verify(await signed(first))).rejects.toEqual(unavailable())
    expect(outcomes).toEqual([outcome])
    expect(provider.asked).toEqual([discovery])
  })

  it.each<[string, unknown]>([
    ['no list', {}],
    ['none', { keys: [] }],
    ['a shared secret', { keys: [{ kty: 'oct', k: 'AAAA', kid: 'k1', alg: 'HS256' }] }],
    ['one for encryption', { keys: [{ kty: 'EC', crv: 'P-256', use: 'enc', kid: 'k1' }] }],
    ['too many', { keys: Array.from({ length: 101 }, (_, n) => ({ kty: 'RSA', kid: String(n), n: 'AA', e: 'AQAB' })) }],
  ])('given a key set with %s, then it is malformed and changes nothing', async (_name, content) => {
    const { provider, clock, verifier, outcomes } = await started()
    provider.documents.set(`${corp}/keys`, ok(content))
    await clock.advance(12 * 60_000)
    expect(outcomes.slice(0, 2)).toEqual(['ok', 'malformed'])
    expect((await verifier.verify(await signed(first))).principal.subject).toBe('corp:alice')
  })
})

describe('rotation', () => {
  it('given a new key, then the first token that names it brings one fetch for all who wait', async () => {
    const { provider, verifier, outcomes } = await started()
    provider.publish([first.jwk, second.jwk])
    const tokens = await Promise.all([1, 2, 3].map((n) => signed(second, { claims: { jti: String(n) } })))
    await Promise.all(tokens.map((token) => verifier.verify(token)))
    expect(outcomes).toEqual(['ok', 'ok'])
  })

  it('given ids that nobody has, then one fetch, and the next not before the pause is over', async () => {
    const { provider, clock, verifier, outcomes } = await started()
    const bogus = (kid: string) => signed(first, { header: { kid } })
    await expect(verifier.verify(await bogus('no-1'))).rejects.toMatchObject({ name: 'UNAUTHENTICATED' })
    expect(outcomes).toHaveLength(2)
    // In the pause: the one that was asked for is known to be wrong, another may be new.
    await clock.advance(10_000)
    await expect(verifier.verify(await bogus('no-1'))).rejects.toMatchObject({ name: 'UNAUTHENTICATED' })
    await expect(verifier.verify(await bogus('no-2'))).rejects.toEqual(unavailable(20_000))
    expect(outcomes).toHaveLength(2)
    // Known keys do not care.
    await verifier.verify(await signed(first))
    await clock.advance(20_000)
    provider.publish([first.jwk, second.jwk])
    await verifier.verify(await signed(second))
    expect(outcomes).toHaveLength(3)
  })

  it('given a key that is gone, then tokens of it are refused, remembered ones too', async () => {
    const { provider, clock, verifier } = await started()
    const token = await signed(first)
    await verifier.verify(token)
    provider.publish([second.jwk])
    await clock.advance(11 * 60_000)
    await expect(verifier.verify(token)).rejects.toMatchObject({ name: 'UNAUTHENTICATED' })
    await verifier.verify(await signed(second))
  })

  it('given a token without a key id, then no fetch is spent on it', async () => {
    const { provider, verifier, outcomes } = await started()
    expect((await verifier.verify(await signed(first, { header: { kid: undefined } }))).issuer).toBe(corp)
    const odd = await signingPair('x', 'RS256')
    for (const kid of [undefined, 7, 'x'.repeat(257)])
      await expect(verifier.verify(await signed(odd, { header: { kid } }))).rejects.toMatchObject({
        name: 'UNAUTHENTICATED',
      })
    expect([outcomes, provider.asked.length]).toEqual([['ok'], 2])
  })
})

describe('an outage', () => {
  it('given a provider that was never reached, then callers are told to come again, until it is there', async () => {
    const { provider, keys, clock, verifier, outcomes } = providerUnderTest()
    keys.start()
    await clock.settle()
    const token = await signed(first)
    await expect(verifier.verify(token)).rejects.toEqual(unavailable())
    await clock.advance(30_000)
    // 1, 2, 4, 8, 16 s, a tenth more or less.
    expect(outcomes.length).toBeGreaterThanOrEqual(5)
    expect(outcomes.length).toBeLessThanOrEqual(6)
    provider.publish([first.jwk])
    await clock.advance(40_000)
    expect((await verifier.verify(token)).principal.subject).toBe('corp:alice')
    expect(outcomes.at(-1)).toBe('ok')
  })

  it('given callers while the first fetch runs, then they wait for it', async () => {
    const { provider, keys, verifier, outcomes } = providerUnderTest()
    provider.publish([first.jwk])
    const { promise, resolve } = gate()
    provider.gate = promise
    keys.start()
    const waiting = [verifier.verify(await signed(first)), verifier.verify(await signed(first))]
    resolve()
    await Promise.all(waiting)
    expect(outcomes).toEqual(['ok'])
  })

  it('given known keys, then they count for a day, a new one is retryable, and then nobody is let in', async () => {
    const { provider, clock, verifier } = await started()
    provider.away()
    const claims = { exp: 1_700_000_000 + 400_000 }
    const known = await signed(first, { claims })
    await clock.advance(86_000_000)
    expect((await verifier.verify(known)).principal.subject).toBe('corp:alice')
    await expect(verifier.verify(await signed(second, { claims }))).rejects.toEqual(unavailable())
    await clock.advance(500_000)
    // Remembered or not.
    for (const token of [known, await signed(first, { claims: { ...claims, jti: 'new' } })])
      await expect(verifier.verify(token)).rejects.toEqual(unavailable())
    provider.publish([first.jwk])
    await clock.advance(70_000)
    expect((await verifier.verify(known)).principal.subject).toBe('corp:alice')
  })

  it('given close, then nothing is asked any more', async () => {
    const { keys, clock, provider } = await started()
    keys.close()
    const { length } = provider.asked
    await clock.advance(60 * 60_000)
    expect(provider.asked).toHaveLength(length)
  })
})

function gate(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {}
  const promise = new Promise<void>((done) => {
    resolve = done
  })
  return { promise, resolve }
}
