// The walk of `keys rewrap` through a data folder: it lets signals in, adds keys on its way, and ends where adding fails.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { pauseEvery } from '../../../src/adapters/embedded/walk.ts'
import { FoundKeys } from '../../../src/main/rewrap.ts'
import { folderWalk } from '../../../src/main/rewrap-walks.ts'
import { at, openReal, openWriter, topic } from '../embedded/temp-dir.ts'

const pauses = 3
let dir: string

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'trunkline-folder-walk-'))
  const log = await openReal(join(dir, 'log'))
  await log.createTopic({ name: topic, partitions: 1, format: 'sealed', retentionMs: 3_600_000 })
  const records = Array.from({ length: pauses * pauseEvery + 1 }, () => ({
    key: null,
    value: new Uint8Array(1),
    header: null,
  }))
  await (await openWriter(log)).append(at, records)
  await log.close()
})
afterEach(async () => rm(dir, { recursive: true }))

/** How often keys could be added. */
async function walked(flush: (flushes: number) => Promise<void>, signal = new AbortController().signal) {
  let flushes = 0
  const unread = await folderWalk(dir)(
    new FoundKeys({ isCurrent: () => false }),
    async () => await flush(++flushes),
    signal,
  )
  return { flushes, unread }
}

describe('a walk through a data folder', () => {
  it('given many records, then keys are added on the way, in turns of the loop of their own', async () => {
    let turns = 0
    const turn = (): unknown => setImmediate(() => (turns += 1))
    turn()
    expect(await walked(async () => void turn())).toEqual({ flushes: pauses, unread: [] })
    expect(turns).toBeGreaterThanOrEqual(pauses)
  })

  it('given a signal on the way, then it ends at the next pause, and nothing is called unread', async () => {
    const stop = new AbortController()
    expect(await walked(async () => stop.abort(), stop.signal)).toEqual({ flushes: 1, unread: [] })
  })

  it('given that adding fails, then it ends there with that error', async () => {
    let last = 0
    const failing = walked(async (flushes) => {
      last = flushes
      if (flushes === 2) throw new Error('the file is full')
    })
    await expect(failing).rejects.toThrow('the file is full')
    expect(last).toBe(2)
  })
})
