// What the first users met: each case was a report.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Gateway, startGateway } from '../../../src/main/gateway.ts'
import { nullLogger } from '../../../src/observability/log.ts'
import { buildBlock } from '../../../src/protocol/block.ts'
import { encoding } from '../../../src/protocol/messages.ts'
import { fetchToken, RawClient, RawSession } from '../../support/raw-client.ts'

describe('a first hour with the gateway', () => {
  let dir: string
  let gateway: Gateway
  let bearer: string

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'trunkline-'))
    gateway = await startGateway({ dataDir: dir, httpPort: 0, thriftPort: 0, adminPort: 0, logger: nullLogger })
    bearer = await fetchToken(gateway.httpUrl, gateway.clientId, gateway.clientSecret)
  })
  afterAll(async () => {
    await gateway.close()
    await rm(dir, { recursive: true })
  })

  const call = (method: string, path: string, headers: Record<string, string>, body?: string): Promise<Response> =>
    fetch(`${gateway.httpUrl}${path}`, {
      method,
      headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json', ...headers },
      ...(body === undefined ? {} : { body }),
    })

  it('takes an empty body that is called JSON as none', async () => {
    const opened = await call('POST', '/v1/sessions', {}, JSON.stringify({ topic: 'hour', mode: 'write' }))
    expect(opened.status).toBe(201)
    const location = opened.headers.get('location') ?? ''
    const headers = {
      'trunkline-session': opened.headers.get('trunkline-session') ?? '',
      'trunkline-seq': '1',
      'trunkline-slot': '1',
      'trunkline-challenge': opened.headers.get('trunkline-next-challenge') ?? '',
    }
    expect((await call('DELETE', location, headers, '')).status).toBeLessThan(300)
  })

  it('says of a bad event what is wrong with it, not that it is no batch', async () => {
    const answer = await call('POST', '/v1/topics/hour/events', {}, '{"payload":"text without its form"}')
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({ name: 'BAD_REQUEST', details: { field: 'body.payload' } })
  })

  it('says of a body that is no JSON that it is none', async () => {
    const answer = await call('POST', '/v1/topics/hour/events', {}, '{"payload":')
    expect(await answer.json()).toMatchObject({ name: 'BAD_REQUEST', details: { field: 'body', why: 'json' } })
  })

  it('refuses a block that no reader could unpack, and the partition stays readable', async () => {
    const client = await RawClient.open(gateway.thriftUrl)
    const writer = await RawSession.write(client, bearer, 'blocks')
    const good = buildBlock(0, [{ payload: new TextEncoder().encode('good') }], encoding.none)
    const cut = { ...good, data: good.data.subarray(0, -2), rawSize: good.rawSize - 2 }
    const noGzip = { ...good, encoding: encoding.gzip }
    for (const bad of [cut, noGzip, { ...good, count: 2 }]) {
      await expect(writer.call('write', { n: 1, blocks: [bad], commit: true })).rejects.toMatchObject({
        name: 'BAD_BLOCK',
      })
    }
    await writer.call('write', { n: 1, blocks: [good], commit: true })
    const reader = await RawSession.read(client, bearer, 'blocks', { earliest: true })
    const batch = await reader.call('read', { n: 1, asEvents: true })
    expect(batch.events?.map(({ payload }) => new TextDecoder().decode(payload))).toEqual(['good'])
    client.close()
  })

  it('starts a reader that says nothing at the earliest event', async () => {
    const client = await RawClient.open(gateway.thriftUrl)
    const reader = await RawSession.read(client, bearer, 'blocks', undefined)
    expect((await reader.call('read', { n: 1 })).count).toBe(1)
    client.close()
  })
})
