import { describe, expect, it } from 'vitest'
import type { EventInput, Position } from '../../../../sdk/typescript/src/index.ts'
import { PublishBatches } from '../../../../src/main/cli/publish-batches.ts'
import { TrunklineError } from '../../../../src/protocol/errors.ts'

interface Sent {
  readonly events: readonly EventInput[]
  land(): Promise<void>
  fail(error: TrunklineError): Promise<void>
}

function publisher(): { sent: Sent[]; publish(events: readonly EventInput[]): Promise<readonly Position[]> } {
  const sent: Sent[] = []
  return {
    sent,
    publish: (events) =>
      new Promise((resolve, reject) => {
        sent.push({
          events,
          land: async () => {
            resolve([])
            await settled()
          },
          fail: async (error) => {
            reject(error)
            await settled()
          },
        })
      }),
  }
}

/** A turn of the event loop: every promise that can go on has gone on. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const bounds = { eventsMax: 3, bytesMax: 100, outMax: 2 }

describe('batches of publish', () => {
  it('given an idle gateway, sends at the first pause and joins what comes meanwhile', async () => {
    const target = publisher()
    const batches = new PublishBatches(target, bounds)
    await batches.add({ payload: 'a' }, 10, 1)
    expect(target.sent).toHaveLength(0)
    batches.pause()
    await batches.add({ payload: 'b' }, 10, 2)
    await batches.add({ payload: 'c' }, 10, 3)
    batches.pause()
    expect(target.sent.map(({ events }) => events.length)).toEqual([1])
    await target.sent[0]?.land()
    expect(target.sent.map(({ events }) => events.length)).toEqual([1, 2])
    expect(batches).toMatchObject({ eventCount: 1, byteCount: 10, publishedThrough: 1 })
  })

  it('given full batches, sends them without a pause and takes no more than may be out', async () => {
    const target = publisher()
    const batches = new PublishBatches(target, bounds)
    let taken = 0
    const adding = (async () => {
      for (let line = 1; line <= 12; line += 1) {
        await batches.add({}, 10, line)
        taken = line
      }
    })()
    await settled()
    expect(target.sent).toHaveLength(2)
    // The third batch is full and waits.
    expect(taken).toBe(8)
    await target.sent[0]?.land()
    expect(target.sent).toHaveLength(3)
    for (const index of [1, 2, 3]) await target.sent[index]?.land()
    await adding
    await batches.finish()
    expect(batches).toMatchObject({ eventCount: 12, publishedThrough: 12 })
  })

  it('given bytes above the bound, splits there, and sends a larger event alone', async () => {
    const target = publisher()
    const batches = new PublishBatches(target, { ...bounds, outMax: 8 })
    await batches.add({}, 60, 1)
    await batches.add({}, 60, 2)
    await batches.add({}, 500, 3)
    await batches.add({}, 1, 4)
    const finished = batches.finish()
    await settled()
    expect(target.sent.map(({ events }) => events.length)).toEqual([1, 1, 1, 1])
    for (const one of target.sent) await one.land()
    await finished
  })

  it('given answers out of order, knows the lines that are published without a gap', async () => {
    const target = publisher()
    const batches = new PublishBatches(target, { ...bounds, eventsMax: 1, outMax: 3 })
    for (const line of [2, 5, 9]) await batches.add({}, 1, line)
    await target.sent[1]?.land()
    expect(batches).toMatchObject({ eventCount: 1, publishedThrough: 0 })
    await target.sent[0]?.land()
    expect(batches.publishedThrough).toBe(5)
    await target.sent[2]?.land()
    expect(batches.publishedThrough).toBe(9)
  })

  it('given a batch that fails, sends nothing more, waits for what is out and names the first lines that failed', async () => {
    const target = publisher()
    const batches = new PublishBatches(target, { ...bounds, eventsMax: 1 })
    await batches.add({}, 1, 1)
    await batches.add({}, 1, 2)
    const refused = new TrunklineError('FORBIDDEN')
    await target.sent[1]?.fail(refused)
    await batches.add({}, 1, 3)
    let finished = false
    const finishing = batches.finish().then(() => {
      finished = true
    })
    await settled()
    expect(finished).toBe(false)
    await target.sent[0]?.land()
    await finishing
    expect(target.sent).toHaveLength(2)
    expect(batches).toMatchObject({
      eventCount: 1,
      publishedThrough: 1,
      failed: { error: refused, firstLine: 2, lastLine: 2 },
    })
  })

  it('given an unknown failure of the publisher, is a failure of ours', async () => {
    const target = { publish: () => Promise.reject(new Error('x')) }
    const batches = new PublishBatches(target, bounds)
    await batches.add({}, 1, 1)
    await batches.finish()
    expect(batches.failed?.error.name).toBe('INTERNAL')
  })
})
