// Owns: the embedded log under power cuts. A file system in an image is copied while it is mounted and in use: the copy
// holds what was flushed and nothing else, as a disk does whose machine lost power.
// 1. What was answered before the cut is in the copy. Taking out the flush (store.ts, noSync) must make this fail.
import { execFileSync } from 'node:child_process'
import { closeSync, copyFileSync, mkdirSync, openSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { expect } from 'vitest'
import { walkDataDir } from '../../../src/adapters/embedded/walk.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { requirement } from '../../support/requirement.ts'
import { scale } from '../../support/scale.ts'
import { startAppending } from './crashing.ts'
import { openReal, readTexts, tempDir, topic } from './temp-dir.ts'

const seed = process.env['TRUNKLINE_SEED'] ?? String(Date.now())
const cuts = scale(4, 50)
const imageBytes = 256 * 1024 * 1024

const loopDevices = requirement('root, mkfs.ext4 and loop devices', () => {
  if (process.getuid?.() !== 0) return 'not root'
  const { dir, remove } = tempDir()
  try {
    makeImage(join(dir, 'image'), 16 * 1024 * 1024)
    mkdirSync(join(dir, 'mounted'))
    mount(join(dir, 'image'), join(dir, 'mounted'))
    run('umount', join(dir, 'mounted'))
    return true
  } finally {
    remove()
  }
})

loopDevices.it(
  `Given ${cuts} power cuts, then every append answered before is there, once, in order, at its offset (seed ${seed})`,
  async () => {
    const random = new SeededRandom(seed)
    let told = 0
    for (let cut = 0; cut < cuts; cut++) told += await cutOnce(random)
    expect(told).toBeGreaterThan(cuts)
  },
  scale(120_000, 1_800_000),
)

/** Answers how many appends had been answered. */
async function cutOnce(random: SeededRandom): Promise<number> {
  const { dir, remove } = tempDir()
  const [image, copy, live, after] = ['image', 'copy', 'live', 'after'].map((name) => join(dir, name))
  if (image === undefined || copy === undefined || live === undefined || after === undefined) throw new Error('paths')
  mkdirSync(live)
  mkdirSync(after)
  makeImage(image, imageBytes)
  mount(image, live)
  const appending = startAppending(join(live, 'data'), 0)
  try {
    await appending.opened
    await wait(50 + random.fraction() * 400)
    // The cut: from here on nothing is answered, and what lies in memory only is lost.
    appending.child.kill('SIGSTOP')
    await untilQuiet(() => appending.landed().length)
    const landed = appending.landed()
    copyFileSync(image, copy)
    expect(statSync(copy).size).toBe(imageBytes)

    mount(copy, after)
    try {
      const data = join(after, 'data')
      expect((await walkDataDir(data)).findings).toEqual([])
      const log = await openReal(data)
      for (let partition = 0; partition < 3; partition++) {
        const numbers = (await readTexts(log, { topic, partition })).map(Number)
        expect(numbers).toEqual(Array.from(numbers, (_, index) => index))
        for (const one of landed) if (one.partition === partition) expect(numbers[one.offset]).toBe(one.n)
      }
      await log.close()
    } finally {
      run('umount', '-l', after)
    }
    return landed.length
  } finally {
    appending.child.kill('SIGKILL')
    await appending.ended
    run('umount', '-l', live)
    remove()
  }
}

/** The pipe still holds lines of a process that has just been stopped. */
async function untilQuiet(count: () => number): Promise<void> {
  for (let last = -1; last !== count(); ) {
    last = count()
    await wait(30)
  }
}

function makeImage(path: string, bytes: number): void {
  closeSync(openSync(path, 'w'))
  truncateSync(path, bytes)
  run('mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=0', path)
}

/** With a journal that is written every 5 min only: what nobody flushed stays in memory. */
function mount(image: string, at: string): void {
  run('mount', '-o', 'loop,commit=300', image, at)
}

function run(program: string, ...args: readonly string[]): void {
  execFileSync(program, args, { stdio: 'pipe' })
}
