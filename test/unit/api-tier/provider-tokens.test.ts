// Access tokens of a provider: what each has to say, every refusal, and whose token is judged by whom.
import { exportJWK, generateKeyPair } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { IssuerVerifiers } from '../../../src/api-tier/auth/issuer-verifiers.ts'
import type { TokenProfile } from '../../../src/api-tier/auth/token-profile.ts'
import {
  corp,
  corpProfile,
  type Over,
  providerUnderTest,
  type SigningPair,
  signed,
  signingPair,
  startMs,
} from './provider-world.ts'
import { alice } from './support.ts'

let pair: SigningPair
beforeAll(async () => {
  pair = await signingPair('k1')
})

async function verified(over: Over, profile: Partial<TokenProfile> = {}) {
  const world = providerUnderTest({ profile })
  world.provider.publish([pair.jwk])
  world.keys.start()
  return await world.verifier.verify(await signed(pair, over))
}

async function refusalOf(over: Over, profile: Partial<TokenProfile> = {}): Promise<unknown> {
  return await verified(over, profile).then(
    () => 'accepted',
    (error: { name: string }) => error.name,
  )
}

describe('an access token of a provider', () => {
  it('proves its caller, whose subject carries the name of the provider', async () => {
    expect(await verified({ claims: { scope: 'read write' } })).toEqual({
      principal: {
        subject: 'corp:alice',
        clientId: 'app',
        tenant: 'default',
        expiresAtMs: startMs + 3_600_000,
      },
      issuer: corp,
      scopes: ['read', 'write'],
      roles: [],
    })
  })

  it.each(['RS256', 'PS256', 'ES256', 'EdDSA'])('counts when it is signed by %s', async (alg) => {
    const own = await signingPair('k1', alg)
    const { provider, keys, verifier } = providerUnderTest()
    provider.publish([own.jwk])
    keys.start()
    expect((await verifier.verify(await signed(own))).principal.subject).toBe('corp:alice')
  })

  it.each<[string, Over]>([
    ['another type', { header: { typ: 'JWT' } }],
    ['no type', { header: { typ: undefined } }],
    ['another issuer', { claims: { iss: `${corp}/` } }],
    ['another audience', { claims: { aud: ['else', 'trunkline2'] } }],
    ['a time to come', { claims: { nbf: startMs / 1000 + 60 } }],
    ['a key that it is bound to', { claims: { cnf: { jkt: 'x' } } }],
    ['a subject that is no text', { claims: { sub: 5 } }],
    ['an empty subject', { claims: { sub: '' } }],
    ['a subject that is too long', { claims: { sub: 'x'.repeat(252) } }],
    ['a subject with a line end', { claims: { sub: 'a\nb' } }],
    ['a subject that is no UTF-16', { claims: { sub: 'a\ud800' } }],
    ['a client id that is no text', { claims: { client_id: ['app'] } }],
    ['more scopes than anyone has', { claims: { scope: 'x '.repeat(201) } }],
    ['scopes that are no texts', { claims: { scp: [1] } }],
    ['an extension that nobody knows', { header: { crit: ['x'], x: 1 } }],
    ...['exp', 'iat', 'jti', 'sub', 'client_id', 'aud', 'iss'].map((drop): [string, Over] => [`no ${drop}`, { drop }]),
  ])('is refused with %s', async (_name, over) => {
    expect(await refusalOf(over)).toBe('UNAUTHENTICATED')
  })

  it('is refused with an algorithm that the provider may not use, and with ones that nobody may', async () => {
    expect(await refusalOf({}, { algorithms: ['RS256'] })).toBe('UNAUTHENTICATED')
    const { provider, keys, verifier, refusals } = providerUnderTest()
    provider.publish([pair.jwk])
    keys.start()
    const [, payload = ''] = (await signed(pair)).split('.')
    const head = (header: object): string => Buffer.from(JSON.stringify(header)).toString('base64url')
    const none = `${head({ alg: 'none', typ: 'at+jwt' })}.${payload}.`
    const secret = { ...pair, alg: 'HS256', privateKey: Buffer.from(JSON.stringify(pair.jwk)) }
    const mac = await signed(secret as unknown as SigningPair)
    for (const token of [none, mac, 'x', 'x'.repeat(9_000), ''])
      await expect(verifier.verify(token)).rejects.toMatchObject({ name: 'UNAUTHENTICATED' })
    expect(refusals).toEqual(['ERR_JOSE_ALG_NOT_ALLOWED', 'ERR_JOSE_ALG_NOT_ALLOWED', 'ERR_JWS_INVALID'])
  })

  it('never brings its own key: not by jwk, jku, x5u or x5c, and nothing is asked where it says', async () => {
    const { provider, keys, verifier } = providerUnderTest()
    provider.publish([pair.jwk])
    keys.start()
    const stranger = await generateKeyPair('ES256', { extractable: true })
    const jwk = await exportJWK(stranger.publicKey)
    const evil = 'https://evil.example/keys'
    for (const header of [{ jwk }, { jku: evil }, { x5u: evil }, { x5c: ['AAAA'] }, { jwk, kid: undefined }]) {
      const token = await signed({ ...pair, privateKey: stranger.privateKey }, { header })
      await expect(verifier.verify(token)).rejects.toMatchObject({ name: 'UNAUTHENTICATED' })
    }
    expect(provider.asked.filter((url) => url.includes('evil'))).toEqual([])
  })

  it('is TOKEN_EXPIRED when its time is over, remembered or not', async () => {
    const { provider, keys, verifier, clock } = providerUnderTest()
    provider.publish([pair.jwk])
    keys.start()
    const [one, two] = [await signed(pair), await signed(pair, { claims: { jti: 'two' } })]
    await verifier.verify(one)
    clock.jumpWall(3_700_000)
    for (const token of [one, two])
      await expect(verifier.verify(token)).rejects.toMatchObject({ name: 'TOKEN_EXPIRED' })
  })
})

describe('claims of other shapes', () => {
  it('are read where the provider keeps them', async () => {
    const claims = {
      azp: 'worker',
      scp: ['a', 'b'],
      realm_access: { roles: ['admin', 'ops'] },
      'https://corp.example/tenant': 'blue',
    }
    const profile = {
      clientIdClaim: 'azp',
      rolesClaim: 'realm_access.roles',
      tenantClaim: 'https://corp.example/tenant',
    }
    const caller = await verified({ claims, drop: 'client_id' }, profile)
    expect([caller.principal.clientId, caller.principal.tenant]).toEqual(['worker', 'blue'])
    expect([caller.scopes, caller.roles]).toEqual([
      ['a', 'b'],
      ['admin', 'ops'],
    ])
  })

  it('give no tenant that is not configured, and none by default where one is', async () => {
    expect((await verified({ claims: { tenant: 'blue' } })).principal.tenant).toBe('default')
    expect(await refusalOf({}, { tenantClaim: 'tenant' })).toBe('UNAUTHENTICATED')
  })

  it.each([
    ['that are too many', Array.from({ length: 201 }, () => 'r')],
    ['of which one is too long', ['r'.repeat(257)]],
    ['that are an object', { admin: true }],
  ])('are refused with roles %s', async (_name, roles) => {
    expect(await refusalOf({ claims: { roles } }, { rolesClaim: 'roles' })).toBe('UNAUTHENTICATED')
  })

  it('are not looked for in what an object inherits', async () => {
    expect((await verified({}, { rolesClaim: 'constructor.name' })).roles).toEqual([])
  })

  it('count with typ JWT where it is allowed, without a jti, and never as an ID token', async () => {
    const types = ['at+jwt', 'JWT'] as const
    const jwt: Over = { header: { typ: 'JWT' }, drop: 'jti' }
    expect((await verified(jwt, { types })).principal.subject).toBe('corp:alice')
    expect((await verified({ header: { typ: 'application/AT+JWT' } }, { types })).principal.subject).toBe('corp:alice')
    expect(await refusalOf({ drop: 'jti' }, { types })).toBe('UNAUTHENTICATED')
    for (const mark of ['nonce', 'at_hash', 'c_hash'])
      expect(await refusalOf({ ...jwt, claims: { [mark]: 'x' } }, { types })).toBe('UNAUTHENTICATED')
  })
})

describe('several issuers', () => {
  const other = 'https://login.other.example'

  async function world() {
    const one = providerUnderTest()
    const two = providerUnderTest({
      profile: { issuer: other, subjectPrefix: 'other:' },
      keys: { jwksUrl: `${other}/k` },
    })
    const otherPair = await signingPair('k1')
    one.provider.publish([pair.jwk])
    two.provider.publish([otherPair.jwk], `${other}/k`)
    for (const { keys, clock } of [one, two]) {
      keys.start()
      await clock.settle()
    }
    const own = {
      verify: async (bearer: string) => ({
        principal: { ...alice, subject: bearer.endsWith('.odd') ? 'corp:alice' : 'alice' },
        issuer: 'urn:own',
        scopes: [],
        roles: [],
      }),
    }
    const verifiers = new IssuerVerifiers({ issuer: 'urn:own', verifier: own }, [
      { ...corpProfile, verifier: one.verifier },
      { issuer: other, subjectPrefix: 'other:', verifier: two.verifier },
    ])
    return { verifiers, one, two, otherPair }
  }

  it('are each judged by themselves, and one subject is two callers', async () => {
    const { verifiers, otherPair } = await world()
    const mine = await verifiers.verify(await signed(pair))
    const theirs = await verifiers.verify(await signed(otherPair, { claims: { iss: other } }))
    expect([mine.principal.subject, theirs.principal.subject]).toEqual(['corp:alice', 'other:alice'])
    expect([mine.issuer, theirs.issuer]).toEqual([corp, other])
  })

  it('refuse a token of one that claims to be of the other', async () => {
    const { verifiers, otherPair } = await world()
    const forged = [await signed(otherPair), await signed(pair, { claims: { iss: other } })]
    for (const token of forged) await expect(verifiers.verify(token)).rejects.toMatchObject({ name: 'UNAUTHENTICATED' })
  })

  it('ask nobody for a token of an issuer that is not configured, or that is none', async () => {
    const { verifiers, one, two } = await world()
    const asked = [one.provider.asked.length, two.provider.asked.length]
    const stranger = await signed(await signingPair('zz'), { claims: { iss: 'https://evil.example' } })
    for (const token of [stranger, await signed(pair, { drop: 'iss' }), 'x.y.z', '', 'x'.repeat(9_000)])
      await expect(verifiers.verify(token)).rejects.toMatchObject({ name: 'UNAUTHENTICATED' })
    expect([one.provider.asked.length, two.provider.asked.length]).toEqual(asked)
  })

  it('take no subject of the own issuer that reads like one of a provider', async () => {
    const { verifiers } = await world()
    const ownToken = (tail: string): string =>
      `${Buffer.from('{"alg":"ES256"}').toString('base64url')}.${Buffer.from('{"iss":"urn:own"}').toString('base64url')}.${tail}`
    expect((await verifiers.verify(ownToken('sig'))).principal.subject).toBe('alice')
    await expect(verifiers.verify(ownToken('odd'))).rejects.toMatchObject({ name: 'UNAUTHENTICATED' })
  })
})
