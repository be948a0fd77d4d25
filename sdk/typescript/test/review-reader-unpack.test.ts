// A block that the gateway handed over and that does not unpack here: nothing beside it is lost.
import { describe, expect, test } from 'vitest'
import { buildBlock } from '../../../src/protocol/block.ts'
import type { Block } from '../../../src/protocol/messages.ts'
import type { ReaderOptions } from '../src/client.ts'
import type { Batch, Reader } from '../src/reader.ts'
import { FakeGateway } from './support/fake-gateway.ts'

const block = (...texts: readonly string[]): Block =>
  buildBlock(
    0,
    texts.map((text) => ({ payload: new TextEncoder().encode(text) })),
    0,
  )

/** Declares two events and holds none. */
const broken = (): Block => {
  const whole = block('x', 'y')
  return { ...whole, data: new Uint8Array(whole.data.length).fill(0xff) }
}

function readerOf(gateway: FakeGateway, options: ReaderOptions): Reader {
  return gateway.client().reader('t', { from: 'earliest', waitMs: 0, ...options })
}

async function moved<T>(gateway: FakeGateway, work: Promise<T>): Promise<T> {
  work.catch(() => undefined)
  await gateway.clock.advance(100)
  return work
}

const textsOf = (batch: Batch | undefined): string[] => (batch?.events ?? []).map((event) => event.text())

describe('a block that does not unpack', () => {
  function gatewayWith(...blocks: readonly Block[]): FakeGateway {
    const gateway = new FakeGateway({ partitions: 1 })
    for (const one of blocks) gateway.append(one)
    return gateway
  }

  test("Given onDamaged 'throw', then every pull says where it is, and what stands beside it is not passed over", async () => {
    const gateway = gatewayWith(block('a'), broken(), block('b'))
    const reader = readerOf(gateway, { onDamaged: 'throw' })
    for (let i = 0; i < 3; i++)
      await expect(moved(gateway, reader.pull())).rejects.toMatchObject({
        name: 'BLOCK_DAMAGED',
        details: { at: '0:1' },
      })
    const other = readerOf(gateway, { onDamaged: 'skip', from: { cursor: reader.cursor ?? '' } })
    expect(textsOf(await moved(gateway, other.pull()))).toEqual(['a', 'b'])
  })

  test("Given onDamaged 'skip', then the rest of its batch is handed out, once, also after an ack in the middle", async () => {
    const gateway = gatewayWith(block('a', 'b'), broken(), block('c', 'd'))
    const reader = readerOf(gateway, { onDamaged: 'skip' })
    const first = await moved(gateway, reader.pull())
    expect(textsOf(first)).toEqual(['a', 'b', 'c', 'd'])
    expect(reader.skippedCount).toBe(1)
    await moved(gateway, first?.ack(3) ?? Promise.resolve())
    const rest = await moved(gateway, reader.pull())
    expect(textsOf(rest)).toEqual(['d'])
    await rest?.ack()
    expect(await moved(gateway, reader.pull())).toBeUndefined()
  })

  test('Given a batch of nothing else behind one that is not acked, then that one still comes again', async () => {
    const gateway = gatewayWith(block('a', 'b'), broken(), block('c', 'd'))
    const reader = readerOf(gateway, { onDamaged: 'skip', batch: { maxEvents: 2 } })
    expect(textsOf(await moved(gateway, reader.pull()))).toEqual(['a', 'b'])
    expect(textsOf(await moved(gateway, reader.pull()))).toEqual(['c', 'd'])
    const other = readerOf(gateway, { onDamaged: 'skip', from: { cursor: reader.cursor ?? '' } })
    expect(textsOf(await moved(gateway, other.pull()))).toEqual(['a', 'b', 'c', 'd'])
  })
})
