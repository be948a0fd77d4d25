// Proves when a token is asked for, on a clock of its own: once for all, again before it ends, and not for nothing.
import { createServer, type Server, type ServerResponse } from 'node:http'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../../../src/adapters/clock/simulated-clock.ts'
import { type OauthClient, OauthTokens } from '../../../../src/adapters/kafka/oauth-tokens.ts'

let server: Server
let client: OauthClient
let clock: SimulatedClock
let tokens: OauthTokens
let asked = 0
let answer: (response: ServerResponse) => void

const lives = (seconds?: number) => (response: ServerResponse) =>
  response.end(JSON.stringify({ access_token: `t${asked}`, ...(seconds === undefined ? {} : { expires_in: seconds }) }))
const fails = (status: number) => (response: ServerResponse) => response.writeHead(status).end('secret text')

beforeEach(async () => {
  asked = 0
  answer = lives(3_600)
  server = createServer((request, response) => {
    asked += 1
    request.resume()
    request.on('end', () => answer(response))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  client = {
    tokenUrl: `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/`,
    clientId: 'c',
    clientSecret: 's',
  }
  clock = new SimulatedClock()
  tokens = new OauthTokens(clock)
})
afterEach(() => {
  server.closeAllConnections()
  server.close()
})

describe('tokens for Kafka', () => {
  it('given many connections at once, then one token is asked for, and again only shortly before it ends', async () => {
    expect(await Promise.all([tokens.get(client), tokens.get(client)])).toEqual(['t1', 't1'])
    await clock.advance(3_600_000 - 60_001)
    expect(await tokens.get(client)).toBe('t1')
    await clock.advance(1)
    expect(await tokens.get(client)).toBe('t2')
  })

  it('given a token that lives short or does not say how long, then it is renewed at a fifth of it, or of a minute', async () => {
    answer = lives(10)
    await tokens.get(client)
    await clock.advance(7_999)
    expect(await tokens.get(client)).toBe('t1')
    answer = lives()
    await clock.advance(1)
    expect(await tokens.get(client)).toBe('t2')
    await clock.advance(47_999)
    expect(await tokens.get(client)).toBe('t2')
    await clock.advance(1)
    expect(await tokens.get(client)).toBe('t3')
  })

  it('given an issuer that fails, then the old token is used as long as it lives, and then it is an error', async () => {
    await tokens.get(client)
    answer = fails(500)
    await clock.advance(3_599_999)
    expect(await tokens.get(client)).toBe('t1')
    await clock.advance(1)
    await expect(tokens.get(client)).rejects.toMatchObject({ failure: 'unreachable' })
  })

  it('given another secret, then another token is asked for', async () => {
    await tokens.get(client)
    expect(await tokens.get({ ...client, clientSecret: 'rotated' })).toBe('t2')
  })

  it.each([
    ['401', fails(401), 'refused'],
    ['503', fails(503), 'unreachable'],
    ['a redirection', (response: ServerResponse) => response.writeHead(302, { location: '/x' }).end(), 'unreachable'],
    ['what is no JSON', (response: ServerResponse) => response.end('secret text'), 'unreachable'],
    ['no token', (response: ServerResponse) => response.end('{"access_token":""}'), 'unreachable'],
    ['no end', (response: ServerResponse) => response.end(Buffer.alloc(100_000)), 'unreachable'],
    ['nothing', (response: ServerResponse) => response.destroy(), 'unreachable'],
  ] as const)('given %s, then it fails as %s without a word of it', async (_, answers, failure) => {
    answer = answers
    const thrown: unknown = await tokens.get(client).catch((error: unknown) => error)
    expect(thrown).toMatchObject({ failure })
    expect(String(thrown)).not.toContain('secret')
    expect(asked).toBe(1)
  })

  it('given no answer, when the time is over, then it fails', async () => {
    answer = () => undefined
    const asking = expect(tokens.get(client)).rejects.toMatchObject({ failure: 'unreachable' })
    while (asked === 0) await new Promise((resolve) => setImmediate(resolve))
    await clock.advance(10_000)
    await asking
  })
})
