// A real guesser of secrets and tokens: soon refused unheard, with the time to wait, while everybody else logs in, and the
// very client that is guessed at does so from elsewhere.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { mode } from '../../../src/protocol/messages.ts'
import { RawClient, RawSession } from '../../support/raw-client.ts'
import { refused } from '../sessions/harness.ts'
import { ask, counted, manyAddresses } from './attacker.ts'
import { AccessWorld } from './harness.ts'

const everything = [{ allow: ['publish', 'read', 'admin'], topics: ['*'], to: [{ everyone: true }], tenant: '*' }]
const [attacker, neighbour, elsewhere] = ['127.0.0.2', '127.0.0.2', '127.0.0.3'] as const
const perMinute = 5
/** How many more a slow machine lets through: one every twelve seconds. */
const laterMax = 9
const guardMs = 120_000

manyAddresses.describe('failed logins', () => {
  let world: AccessWorld
  beforeAll(async () => {
    world = await AccessWorld.start(
      [{ clientId: 'victim' }, { clientId: 'neighbour' }, { clientId: 'app' }],
      everything,
      { sharedAddresses: ['127.0.0.1'], failedLoginsPerMinute: perMinute },
    )
  })
  afterAll(() => world.close())

  const logIn = (from: string, clientId: string, secret: string) =>
    ask(`${world.gateway.httpUrl}/oauth/token`, from, {
      form: { grant_type: 'client_credentials', client_id: clientId, client_secret: secret },
    })
  const secretOf = 'a-secret-for-tests'
  const slowed = 'trunkline_quota_refusals_total{limit="failed logins"}'

  it(
    'Given somebody who guesses a client’s secret, many at once, then he is soon answered 429 with Retry-After, also for the right one; the client logs in from elsewhere, and others from his address',
    async () => {
      const guesses = await Promise.all(
        Array.from({ length: 60 }, (_, index) => logIn(attacker, 'victim', `guess-${index}`)),
      )
      const heard = guesses.filter(({ status }) => status === 401).length
      expect(heard).toBeGreaterThanOrEqual(perMinute)
      expect(heard).toBeLessThanOrEqual(perMinute + laterMax)
      const unheard = guesses.filter(({ status }) => status === 429)
      expect(unheard).toHaveLength(60 - heard)
      expect(Number(unheard[0]?.retryAfter)).toBeGreaterThan(0)
      expect(unheard[0]?.body).toEqual({ error: 'temporarily_unavailable' })
      expect(await counted(world, 'trunkline_logins_total{outcome="wrong_secret"}')).toBe(heard)
      expect(await counted(world, 'trunkline_logins_total{outcome="slowed"}')).toBe(60 - heard)
      expect(await counted(world, slowed)).toBe(60 - heard)
      expect((await logIn(elsewhere, 'victim', secretOf)).status).toBe(200)
      expect((await logIn(neighbour, 'neighbour', secretOf)).status).toBe(200)
    },
    guardMs,
  )

  it(
    'Given client ids that are made up without end, then the address is slowed all the same, and elsewhere nobody is',
    async () => {
      let heard = 0
      let unheard = 0
      for (let index = 0; unheard < 20 && index < 500; index++) {
        const { status } = await logIn('127.0.0.4', `made-up-${index}`, 'x')
        if (status === 401) heard += 1
        else if (status === 429) unheard += 1
      }
      expect(unheard).toBe(20)
      expect(heard).toBeGreaterThanOrEqual(15 + perMinute)
      expect((await logIn(elsewhere, 'victim', secretOf)).status).toBe(200)
    },
    guardMs,
  )

  it(
    'Given forged bearers at allocate and in JSON, then they are soon refused typed; a bearer that is known here, a session and other addresses go on',
    async () => {
      const { thriftUrl, httpUrl } = world.gateway
      const from = '127.0.0.5'
      const good = await world.token('app')
      const session = await RawSession.open(await RawClient.open(thriftUrl, from), good, {
        topic: 'orders',
        mode: mode.write,
      })
      const forger = await RawClient.open(thriftUrl, from)
      // Of our issuer, with signatures of nobody.
      const forged = (index: number): string =>
        `${good.slice(0, good.lastIndexOf('.'))}.${Buffer.from(`${index}`.padStart(64, 'x')).toString('base64url')}`
      const names: string[] = []
      for (let index = 0; index < 200 && names.at(-1) !== 'TOO_MANY_REQUESTS'; index++) {
        const call = forger.call('allocate', { topic: 'orders', mode: mode.write, proof: { bearer: forged(index) } })
        names.push((await refused(call, 'UNAUTHENTICATED', 'TOO_MANY_REQUESTS')).name)
      }
      expect(names.at(-1)).toBe('TOO_MANY_REQUESTS')
      expect(names.length).toBeGreaterThan(15)
      const error = await refused(
        forger.call('allocate', { topic: 'orders', mode: mode.write, proof: { bearer: forged(1_000) } }),
        'TOO_MANY_REQUESTS',
        'UNAUTHENTICATED',
      )
      if (error.name === 'TOO_MANY_REQUESTS') {
        expect(error.details).toEqual({ limit: 'failed logins' })
        expect(error.retryAfterMs).toBeGreaterThan(0)
      }
      let json = await ask(`${httpUrl}/v1/topics`, from, { bearer: forged(1_001) })
      for (let index = 1_002; json.status === 401 && index < 1_100; index++)
        json = await ask(`${httpUrl}/v1/topics`, from, { bearer: forged(index) })
      expect([json.status, json.body['name'], Number(json.retryAfter) > 0]).toEqual([429, 'TOO_MANY_REQUESTS', true])
      expect((await ask(`${httpUrl}/v1/topics`, from, { bearer: good })).status).toBe(200)
      await session.call('extend', {}, 1)
      const { status } = await ask(`${httpUrl}/v1/topics`, elsewhere, { bearer: forged(2_000) })
      expect(status).toBe(401)
    },
    guardMs,
  )
})
