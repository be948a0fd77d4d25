// The key service is away under a node that serves: who goes on, who is told, and nobody waits in silence.
import { afterEach, beforeEach, expect, it } from 'vitest'
import { readBlock } from '../../../src/protocol/block.ts'
import { TrunklineError } from '../../../src/protocol/errors.ts'
import { mode } from '../../../src/protocol/messages.ts'
import { NodeClient, NodeWorld, topic } from './node-world.ts'
import { blockOf } from './sessions-world.ts'

const hourMs = 3_600_000
let world: NodeWorld
beforeEach(() => {
  world = new NodeWorld()
})
afterEach(() => world.cluster.stop())

const write = (writer: NodeClient, n: number): Promise<unknown> =>
  world.during(writer.call('write', { n, blocks: [blockOf(0, `e${n}`)], commit: true }))

async function readerFrom(startAt: { earliest: true } | { cursor: Uint8Array }): Promise<NodeClient> {
  return new NodeClient(world, await world.during(world.allocate({ topic, mode: mode.read, startAt })))
}

async function payloadsOf(reader: NodeClient): Promise<readonly string[]> {
  const { blocks = [] } = await world.during(reader.call('read', { n: 1 }))
  return blocks.flatMap((block) => readBlock(block)).map(({ payload }) => new TextDecoder().decode(payload))
}

async function failureOf(call: Promise<unknown>): Promise<TrunklineError> {
  const thrown: unknown = await call.catch((error: unknown) => error)
  if (thrown instanceof TrunklineError) return thrown
  throw new Error('it did not fail')
}

it('given a writer with a data key, then it goes on to twice the key’s age, and then hears why it cannot', async () => {
  await world.start()
  await write(await world.writer(), 1)
  world.keys.fault = 'unavailable'
  // A session each time: between them hours pass.
  for (const ageMs of [0.9 * hourMs, hourMs]) {
    await world.clock.advance(ageMs)
    await write(await world.writer(), 1)
  }
  await world.clock.advance(0.2 * hourMs)
  expect((await failureOf(world.writer())).name).toBe('KEY_UNAVAILABLE')
  world.keys.fault = 'none'
  await world.clock.advance(1_000)
  await write(await world.writer(), 1)
})

it('given readers, then who has the data key reads on, and who has not is told, with a way past it', async () => {
  const first = await world.start()
  await write(await world.writer(), 1)
  expect(await payloadsOf(await readerFrom({ earliest: true }))).toEqual(['e1'])
  world.keys.fault = 'unavailable'
  expect(await payloadsOf(await readerFrom({ earliest: true }))).toEqual(['e1'])

  await world.during(first.drain(), 20_000)
  await world.start('n2')
  const reader = await readerFrom({ earliest: true })
  const told = await failureOf(world.during(reader.call('read', { n: 1, waitMs: 1_000 }), 5_000))
  expect([told.name, told.retryable]).toEqual(['KEY_UNAVAILABLE', true])
  expect(await payloadsOf(await readerFrom({ cursor: told.cursor ?? new Uint8Array() }))).toEqual([])
  world.keys.fault = 'none'
  expect(await payloadsOf(await readerFrom({ earliest: true }))).toEqual(['e1'])
})
