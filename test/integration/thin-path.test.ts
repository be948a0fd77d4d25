// The thin path, through every layer, over a real socket and a real folder.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect } from '../../sdk/typescript/src/index.ts'
import { type Gateway, startGateway } from '../../src/main/gateway.ts'
import { nullLogger } from '../../src/observability/log.ts'
import { buildBlock, readBlock } from '../../src/protocol/block.ts'
import { encoding, partState } from '../../src/protocol/messages.ts'
import { fetchToken, RawClient, RawSession } from '../support/raw-client.ts'

const text = (value: string): Uint8Array => new TextEncoder().encode(value)

describe('allocate, write, ack, read, ack, dispose over Thrift', () => {
  let dir: string
  let gateway: Gateway
  let client: RawClient
  let bearer: string

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'trunkline-'))
    gateway = await startGateway({ dataDir: dir, httpPort: 0, thriftPort: 0, adminPort: 0, logger: nullLogger })
    client = await RawClient.open(gateway.thriftUrl)
    bearer = await fetchToken(gateway.httpUrl, gateway.clientId, gateway.clientSecret)
  })
  afterAll(async () => {
    client.close()
    await gateway.close()
    await rm(dir, { recursive: true })
  })

  it('brings every event of a two-phase write to a reader, once and in order', async () => {
    const writer = await RawSession.write(client, bearer, 'quakes')
    const block = buildBlock(
      3,
      [
        { payload: text('one'), id: 'a' },
        { payload: text('two'), id: 'b' },
      ],
      encoding.none,
    )
    const staged = await writer.call('write', { n: 1, blocks: [block] })
    expect(staged.published).toBe(false)

    const reader = await RawSession.read(client, bearer, 'quakes', { earliest: true })
    const nothing = await reader.call('read', { n: 1 })
    expect(nothing.count).toBe(0)

    const published = await writer.call('ack', { n: 1 })
    expect(published.parts).toEqual([{ part: 0, partition: 3, state: partState.landed, offset: 0 }])

    const batch = await reader.call('read', { n: 2, waitMs: 1_000 })
    const events = (batch.blocks ?? []).flatMap((found) => readBlock(found))
    expect(events.map(({ id }) => id)).toEqual(['a', 'b'])
    expect(events.map(({ payload }) => new TextDecoder().decode(payload))).toEqual(['one', 'two'])

    await reader.call('ack', { n: 2 })
    const end = await reader.call('dispose', {}, 1)
    const again = await RawSession.read(client, bearer, 'quakes', { cursor: end.cursor })
    expect((await again.call('read', { n: 1 })).count).toBe(0)
    await writer.call('dispose', {}, 1)
  })

  it('serves the SDK: what one producer publishes, a reader gets once, in order, and acks', async () => {
    const tokenUrl = `${gateway.httpUrl}/oauth/token`
    const sdk = connect(gateway.thriftUrl, {
      clientId: gateway.clientId,
      clientSecret: gateway.clientSecret,
      tokenUrl,
    })
    const producer = sdk.producer('sdk')
    const sent = Array.from({ length: 250 }, (_, i) => ({
      key: text(`k${i % 5}`),
      id: `e${i}`,
      payload: text(String(i)),
    }))
    const positions = await Promise.all(sent.map((event) => producer.publish(event)))
    expect(new Set(positions.flat().map(String)).size).toBe(sent.length)

    const got: string[] = []
    const reader = sdk.reader('sdk', { from: 'earliest', batch: { maxEvents: 40 }, waitMs: 1_000 })
    for await (const batch of reader) {
      got.push(...batch.events.map(({ id }) => String(id)))
      await batch.ack()
      if (got.length >= sent.length) break
    }
    expect([...got].sort()).toEqual(sent.map(({ id }) => id).sort())
    for (let key = 0; key < 5; key++) {
      const ofKey = got.filter((id) => Number(id.slice(1)) % 5 === key)
      expect(ofKey).toEqual(sent.map(({ id }) => id).filter((_, i) => i % 5 === key))
    }
    await reader.close()
    await producer.close()
    await sdk.close()
  })
})
