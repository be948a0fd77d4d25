// Owns: the embedded log under kill -9 at random moments: what was answered is there, once, in order, at its offset.
import { setTimeout as wait } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { walkDataDir } from '../../../src/adapters/embedded/walk.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { scale } from '../../support/scale.ts'
import { type Landed, startAppending } from './crashing.ts'
import { openReal, readTexts, tempDir, topic } from './temp-dir.ts'

const seed = process.env['TRUNKLINE_SEED'] ?? String(Date.now())
const kills = scale(6, 200)

/** Runs a child until it has appended for `runMs`, kills it, and answers what it told. */
async function runAndKill(dir: string, first: number, runMs: number): Promise<readonly Landed[]> {
  const appending = startAppending(dir, first)
  await appending.opened
  await wait(runMs)
  expect(appending.child.exitCode).toBeNull()
  appending.child.kill('SIGKILL')
  await appending.ended
  return appending.landed()
}

it(
  `Given kill -9 at ${kills} random moments, then every answered append is there once, in order, at its offset (seed ${seed})`,
  async () => {
    const { dir, remove } = tempDir()
    const random = new SeededRandom(seed)
    const told: Landed[] = []
    try {
      for (let kill = 0; kill < kills; kill++) {
        const first = kill * 1_000_000
        const news = await runAndKill(dir, first, random.fraction() * 150)
        told.push(...news)
        const report = await walkDataDir(dir)
        expect(report.findings).toEqual([])
        const log = await openReal(dir)
        for (let partition = 0; partition < 3; partition++) {
          if ((await log.topic(topic)) === undefined) continue
          const numbers = (await readTexts(log, { topic, partition })).map(Number)
          expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b))
          for (const landed of told.filter((one) => one.partition === partition)) {
            expect(numbers[landed.offset]).toBe(landed.n)
          }
        }
        await log.close()
      }
      expect(told.length).toBeGreaterThan(kills)
    } finally {
      remove()
    }
  },
  scale(120_000, 1_800_000),
)
