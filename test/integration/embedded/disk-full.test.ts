// Owns: a disk without space: refused by name, nothing lost, nothing left open, and on again once there is space.
import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, vi } from 'vitest'
import { parseTopicName } from '../../../src/protocol/ids.ts'
import { requirement } from '../../support/requirement.ts'
import { at, openReal, openWriter, put, readTexts, tempDir, topic } from './temp-dir.ts'

const tmpfs = requirement('root, to mount a small tmpfs', () => {
  if (process.getuid?.() !== 0) return 'not root'
  const { dir, remove } = tempDir()
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', dir], { stdio: 'pipe' })
    execFileSync('umount', [dir], { stdio: 'pipe' })
    return true
  } finally {
    remove()
  }
})

tmpfs.describe('a full disk', () => {
  const unhandled: unknown[] = []
  const note = (reason: unknown): void => {
    unhandled.push(reason)
  }
  let dir: string
  let remove: () => void

  beforeEach(() => {
    const temp = tempDir()
    dir = temp.dir
    remove = temp.remove
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', dir])
    unhandled.length = 0
    process.on('unhandledRejection', note)
    // LMDB prints the failure of a commit by itself.
    vi.spyOn(console, 'error').mockImplementation(() => {})
  })
  afterEach(() => {
    process.off('unhandledRejection', note)
    vi.restoreAllMocks()
    execFileSync('umount', ['-l', dir])
    remove()
  })

  tmpfs.it('Given appends until there is no space, then STORAGE_FULL, and all that landed can be read', async () => {
    const log = await openReal(join(dir, 'data'))
    await log.createTopic({ name: topic, partitions: 2, format: 'sealed' })
    const writer = await openWriter(log)
    writeFileSync(join(dir, 'filler'), Buffer.alloc(2 * 1024 * 1024))
    const landed: string[] = []
    let refused: unknown
    for (let n = 0; refused === undefined && n < 200; n++) {
      const outcome = await put(writer, String(n), 50_000)
      if (outcome.kind === 'landed') landed.push(String(n))
      else refused = outcome
    }
    expect(refused).toEqual({ kind: 'refused', error: 'STORAGE_FULL' })
    expect(landed.length).toBeGreaterThan(5)
    expect(await readTexts(log)).toEqual(landed)
    await expect(
      log.createTopic({ name: parseTopicName('more'), partitions: 1_000, format: 'sealed' }).then(() => {
        throw new Error('there was space')
      }),
    ).rejects.toSatisfy((error: Error) => ['STORAGE_FULL', 'Error'].includes(error.name))

    rmSync(join(dir, 'filler'))
    for (let n = 0; n < 5; n++) {
      const outcome = await put(writer, `after ${n}`, 50_000)
      expect(outcome).toMatchObject({ kind: 'landed', baseOffset: landed.length })
      landed.push(`after ${n}`)
    }
    expect(await readTexts(log)).toEqual(landed)
    await log.close()

    const again = await openReal(join(dir, 'data'))
    expect(await readTexts(again)).toEqual(landed)
    await again.close()
    expect(unhandled).toEqual([])
  })

  tmpfs.it(
    'Given many appends at once on a full disk, then each is answered, and none is there that was refused',
    async () => {
      const log = await openReal(join(dir, 'data'))
      await log.createTopic({ name: topic, partitions: 16, format: 'sealed' })
      const writer = await openWriter(log)
      const outcomes: string[][] = []
      for (let round = 0; round < 12; round++) {
        outcomes.push(
          await Promise.all(
            Array.from({ length: 16 }, async (_, partition) => {
              const outcome = await put(writer, String(round), 60_000, { topic, partition })
              return outcome.kind === 'refused' ? outcome.error : outcome.kind
            }),
          ),
        )
      }
      const kinds = new Set(outcomes.flat())
      expect(kinds).toEqual(new Set(['landed', 'STORAGE_FULL']))
      for (let partition = 0; partition < 16; partition++) {
        const landed = outcomes.flatMap((round, n) => (round[partition] === 'landed' ? [String(n)] : []))
        expect(await readTexts(log, { topic, partition })).toEqual(landed)
      }
      await log.close()
      expect(unhandled).toEqual([])
    },
  )

  tmpfs.it('Given a deleted topic on a disk that was full, then its space serves the next one', async () => {
    const log = await openReal(join(dir, 'data'))
    await log.createTopic({ name: topic, partitions: 1, format: 'sealed' })
    const writer = await openWriter(log)
    for (let n = 0; n < 45; n++) await put(writer, String(n), 50_000)
    await log.deleteTopic(topic)
    await log.createTopic({ name: topic, partitions: 1, format: 'sealed' })
    let landed = 0
    for (let n = 0; n < 40; n++) if ((await put(writer, String(n), 50_000, at)).kind === 'landed') landed++
    expect(landed).toBe(40)
    await log.close()
  })
})
