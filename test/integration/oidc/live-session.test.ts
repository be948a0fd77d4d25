// Tokens of a real provider on sessions that live: renewed by the same caller only, and what their end means.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connect } from '../../../sdk/typescript/src/index.ts'
import type { Gateway } from '../../../src/main/gateway.ts'
import { type ExtendReply, mode } from '../../../src/protocol/messages.ts'
import { loginOf, metricOf, type OidcWorld, oidcWorld, tokenOf } from '../../support/oidc/oidc-world.ts'
import { startTestProvider, type TestProvider } from '../../support/oidc/test-provider.ts'
import { fetchToken, RawClient, RawSession } from '../../support/raw-client.ts'

const brief = 'https://brief.test/'

let world: OidcWorld
let provider: TestProvider
let other: TestProvider
let gateway: Gateway
let raw: RawClient
beforeEach(async () => {
  world = oidcWorld()
  provider = await startTestProvider(world.files)
  other = await startTestProvider(world.files)
  const entry = { name: 'other', issuer: other.issuer, caFile: world.files.ca }
  gateway = await world.gatewayOf([entry], { oidcIssuer: provider.issuer, keepAliveMs: 500 })
  raw = await RawClient.open(gateway.thriftUrl)
})
afterEach(async () => {
  raw.close()
  await world.close()
  await provider.close()
  await other.close()
})

async function extended(session: RawSession, bearer: string): Promise<ExtendReply> {
  const proof = { ...session.proof(1), bearer }
  const reply = await raw.call('extend', { proof, session: session.allocated.session })
  session.turns[1] = reply.turn
  return reply
}

describe('a token on a live session', () => {
  it('Given a fresh one of the same caller, Then the session lives as long as that; one of anybody else is refused', async () => {
    const session = await RawSession.write(raw, await tokenOf(world, provider, 'orders', brief), 'live')
    const fresh = await tokenOf(world, provider)
    const { expiresAtMs } = await extended(session, fresh)
    expect(expiresAtMs).toBe(expiryOf(fresh))
    const strangers = [
      await tokenOf(world, provider, 'billing'),
      // The same `sub` and client id, of another provider.
      await tokenOf(world, other),
      await fetchToken(gateway.httpUrl, gateway.clientId, gateway.clientSecret),
    ]
    for (const token of strangers) {
      await expect(extended(session, token)).rejects.toMatchObject({ name: 'BAD_SESSION_TOKEN' })
      const { session: sealed, writeCursor = new Uint8Array() } = session.allocated
      const resume = { session: sealed, writeCursor, nextN: 1 }
      const taken = raw.call('allocate', { topic: 'live', mode: mode.write, resume, proof: { bearer: token } })
      await expect(taken).rejects.toMatchObject({ name: 'BAD_SESSION_TOKEN' })
    }
    expect((await extended(session, fresh)).expiresAtMs).toBe(expiresAtMs)
  })

  it('Given one that ends, Then the session is refused with it, and a fresh one brings it back', async () => {
    // The topic is made by its first writer.
    await RawSession.write(raw, await tokenOf(world, provider), 'live')
    const token = await tokenOf(world, provider, 'orders', brief)
    const session = await RawSession.read(raw, token, 'live', { earliest: true })
    let n = 0
    const step = async (): Promise<string> => {
      n += 1
      try {
        await session.call('read', { n })
        await session.call('ack', { n })
        return 'ok'
      } catch (thrown) {
        n -= 1
        return (thrown as { name: string }).name
      }
    }
    let outcome = await step()
    expect(outcome).not.toBe('TOKEN_EXPIRED')
    while (outcome !== 'TOKEN_EXPIRED') {
      await sleep(200)
      outcome = await step()
      expect(['ok', 'NOTHING_TO_ACK', 'TOKEN_EXPIRED']).toContain(outcome)
    }
    await extended(session, await tokenOf(world, provider))
    expect(await step()).not.toBe('TOKEN_EXPIRED')
  })
})

const writeSessions = 'trunkline_sessions_opened_total{mode="write"}'

describe('the SDK with tokens that live for seconds', () => {
  it('Given a producer, When its tokens are renewed, Then it keeps its session', async () => {
    await using client = connect(gateway.thriftUrl, loginOf(world, provider, 'orders', brief))
    await using producer = client.producer('renewal')
    await producer.publish({ payload: 'first' })
    while (provider.issuedCount < 3) {
      await producer.publish({ payload: 'more' })
      await sleep(200)
    }
    await producer.publish({ payload: 'last' })
    expect(await metricOf(gateway, writeSessions)).toBe(1)
  })

  it('Given a provider that is away when a token ends, Then publishing waits, and goes on when it is back', async () => {
    await using client = connect(gateway.thriftUrl, loginOf(world, provider, 'orders', brief))
    await using producer = client.producer('renewal')
    await producer.publish({ payload: 'first' })
    await provider.kill()
    const expired = 'trunkline_errors_total{name="TOKEN_EXPIRED"}'
    const waiting: Promise<unknown>[] = []
    let sent = 1
    while (((await metricOf(gateway, expired)) ?? 0) === 0) {
      sent += 1
      waiting.push(producer.publish({ payload: String(sent) }))
      await sleep(500)
    }
    await provider.revive()
    await Promise.all(waiting)
    await using reader = client.reader('renewal', { from: 'earliest', waitMs: 1_000 })
    const got: string[] = []
    for await (const batch of reader) {
      got.push(...batch.events.map((event) => event.text()))
      await batch.ack()
      if (got.length >= sent) break
    }
    expect(new Set(got).size).toBe(sent)
    expect(got).toHaveLength(sent)
  })
})

function expiryOf(token: string): number {
  const { exp } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { exp: number }
  return exp * 1_000
}
