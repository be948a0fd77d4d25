// Providers that rotate, die, or publish keys in a way that must not count: what callers notice of it, over real TLS.
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeProtectedHeader } from 'jose'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connect } from '../../../sdk/typescript/src/index.ts'
import { type BadKeys, startBadKeys } from '../../support/oidc/bad-keys.ts'
import { askTopics, loginOf, metricOf, type OidcWorld, oidcWorld, tokenOf } from '../../support/oidc/oidc-world.ts'
import { startTestProvider, type TestProvider } from '../../support/oidc/test-provider.ts'

let world: OidcWorld
let provider: TestProvider
beforeEach(async () => {
  world = oidcWorld()
  provider = await startTestProvider(world.files)
})
afterEach(async () => {
  await world.close()
  await provider.close()
})

const allocatesInVain = 'trunkline_requests_total{method="allocate",outcome="UNAVAILABLE"}'
const okFetches = 'trunkline_provider_fetches_total{provider="oidc",outcome="ok"}'

describe('a provider that rotates its key', () => {
  it('Given clients that go on, When tokens come under a new key, Then they count, and the former ones as long as it is published', async () => {
    const gateway = await world.gateway({ oidcIssuer: provider.issuer })
    await using early = connect(gateway.thriftUrl, loginOf(world, provider))
    await using producer = early.producer('rotation')
    await producer.publish({ payload: 'before' })
    const former = await tokenOf(world, provider)

    const keyId = await provider.rotate('kept')
    const fresh = await Promise.all([1, 2, 3].map(() => tokenOf(world, provider)))
    expect(decodeProtectedHeader(fresh[0] ?? '').kid).toBe(keyId)
    const answers = await Promise.all(fresh.map((token) => askTopics(gateway, token)))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
    // One at the start, one for all three.
    expect(await metricOf(gateway, okFetches)).toBe(2)
    expect((await askTopics(gateway, former)).status).toBe(200)
    await producer.publish({ payload: 'after' })
    await using late = connect(gateway.thriftUrl, loginOf(world, provider))
    await using reader = late.reader('rotation', { from: 'earliest', waitMs: 5_000 })
    const batch = await reader.pull()
    expect(batch?.events.length).toBeGreaterThan(0)
  })
})

describe('a provider that dies', () => {
  it('Given sessions and known keys, Then those go on, and a gateway without keys answers as retryable until it is back', async () => {
    const gateway = await world.gateway({ oidcIssuer: provider.issuer })
    await using client = connect(gateway.thriftUrl, loginOf(world, provider))
    await using producer = client.producer('outage')
    await producer.publish({ payload: 'before' })
    const token = await tokenOf(world, provider)
    await provider.kill()

    // The live session, a new one of the same client, and a token that was never seen.
    await producer.publish({ payload: 'during' })
    await using reader = client.reader('outage', { from: 'earliest', waitMs: 5_000 })
    expect((await reader.pull())?.events.length).toBeGreaterThan(0)
    expect((await askTopics(gateway, token)).status).toBe(200)
    expect((await askTopics(gateway, `${token.slice(0, -6)}AAAAAA`)).name).toBe('UNAUTHENTICATED')

    const strangers = await world.gateway({ oidcIssuer: provider.issuer })
    const refused = await askTopics(strangers, token)
    expect([refused.status, refused.name, refused.content['retryable']]).toEqual([503, 'UNAVAILABLE', true])
    expect(Number(refused.retryAfter)).toBeGreaterThan(0)
    expect(refused.content['details']).toMatchObject({ provider: 'oidc' })
    // Its own clients do not care.
    await using own = connect(strangers.httpUrl, { clientId: strangers.clientId, clientSecret: strangers.clientSecret })
    await own.describe()

    // A client with a good token waits, and goes on by itself.
    await using early = connect(strangers.thriftUrl, { token })
    const publishing = early.producer('outage').publish({ payload: 'as soon as it is back' })
    await until(async () => ((await metricOf(strangers, allocatesInVain)) ?? 0) > 0)

    await provider.revive()
    expect(await publishing).toHaveLength(1)
    await until(async () => (await askTopics(strangers, token)).status === 200)
  })
})

describe('keys that must not count', () => {
  let bad: BadKeys
  let expired: BadKeys
  beforeEach(async () => {
    bad = await startBadKeys(world.files)
    expired = await startBadKeys(world.files, world.files.expiredServer)
  })
  afterEach(async () => {
    await bad?.close()
    await expired?.close()
  })

  it('Given each of them, Then it is not fetched, the metrics say why, its callers may come again, and others are not kept waiting', async () => {
    const caFile = world.files.ca
    const places = {
      moved: [`${bad.url}/moved`, 'redirect'],
      endless: [`${bad.url}/endless`, 'too-large'],
      silent: [`${bad.url}/silent`, 'timeout'],
      dripping: [`${bad.url}/dripping`, 'timeout'],
      refusing: [`${bad.url}/refusing`, 'http-status'],
      page: [`${bad.url}/page`, 'malformed'],
      expired: [`${expired.url}/page`, 'certificate'],
      away: ['https://localhost:1/keys', 'unreachable'],
    } as const
    const entries = Object.entries(places).map(([name, [jwksUrl]]) => ({
      name,
      issuer: `https://${name}.example`,
      jwksUrl,
      caFile,
    }))
    // The authority is not one that Node knows.
    const untrusted = { name: 'untrusted', issuer: 'https://untrusted.example', jwksUrl: `${bad.url}/page` }
    const gateway = await world.gatewayOf([...entries, untrusted], { oidcIssuer: provider.issuer })
    expect((await askTopics(gateway, await tokenOf(world, provider))).status).toBe(200)
    const outcomes = {
      ...Object.fromEntries(Object.entries(places).map(([name, [, why]]) => [name, why])),
      untrusted: 'certificate',
    }
    const series = (name: string, why: string): string =>
      `trunkline_provider_fetches_total{provider="${name}",outcome="${why}"}`
    for (const [name, why] of Object.entries(outcomes)) {
      await until(async () => ((await metricOf(gateway, series(name, why))) ?? 0) > 0)
      const claimed = await askTopics(gateway, `${head}.${part({ iss: `https://${name}.example` })}.AAAA`)
      expect([name, claimed.status, claimed.name]).toEqual([name, 503, 'UNAVAILABLE'])
    }
    expect(bad.asked).toContain('/moved')
    expect(bad.asked).not.toContain('/there')
  })
})

function part(content: object): string {
  return Buffer.from(JSON.stringify(content)).toString('base64url')
}
const head = part({ alg: 'ES256', typ: 'at+jwt', kid: 'x' })

/** The test's own limit of time ends it. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(200)
}
