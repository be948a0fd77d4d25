// Proves: SIGKILL of the gateway, at whatever moment, loses nothing, doubles nothing, reorders nothing and spoils no
// cursor, for eight writers and eight readers that work all the time; and that this proof fails when the take-over is
// taken out. TRUNKLINE_SEED replays what is done, in which order.
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SeededRandom } from '../../src/adapters/random/seeded-random.ts'
import { checkFolder } from '../support/crash/check-folder.ts'
import { type CrashReport, crashRun } from '../support/crash/crash-run.ts'
import { drainTopic } from '../support/crash/drain.ts'
import { bundleGateway, type GatewayBundle } from '../support/crash/gateway-bundle.ts'
import { freePorts, GatewayLives } from '../support/crash/gateway-lives.ts'
import { Ledger } from '../support/crash/ledger.ts'
import { chooseSeed } from '../support/crash/run-seed.ts'
import { describeViolations, judgeTopic } from '../support/crash/verdict.ts'
import { workFolder } from '../support/crash/work-folder.ts'
import { publishFirst } from '../support/crash/writer.ts'
import { scale } from '../support/scale.ts'

const kills = scale(20, 200)
const firstStarts = scale(10, 100)
/** A take-over that is missing shows at the first kill that takes an answer with it. */
const mutantKills = 8

function summary({ killsBy, killMs, checkMs, violations, surprises, counts, ...rest }: CrashReport): string {
  const total = killsBy.start + killsBy.allocation + killsBy.work
  const { defects, ...calls } = counts
  const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`
  return `${total} kills ${JSON.stringify(killsBy)} in ${seconds(killMs)} (${Math.round((60_000 * total) / killMs)} a minute), judged in ${seconds(checkMs)}
  ${JSON.stringify({ violations: violations.length, surprises: surprises.length + defects.length, ...rest, ...calls })}
`
}

describe('a gateway that is killed again and again', () => {
  let bundle: GatewayBundle
  beforeAll(async () => {
    bundle = await bundleGateway()
  })
  afterAll(() => bundle.remove())

  it(`keeps every promise to eight writers and eight readers over ${kills} kills`, async () => {
    let damage = 'not looked at'
    const report = await crashRun({
      seed: chooseSeed('crash'),
      entry: bundle.entry,
      kills,
      onEnd: async (dataDir) => {
        damage = await checkFolder(dataDir)
      },
    })
    process.stdout.write(summary(report))
    expect(describeViolations(report.violations)).toBe('')
    expect(report.surprises).toEqual([])
    expect(damage).toBe('')
    // A run in which little happened proves little.
    expect(report.acked).toBeGreaterThan(20 * kills)
    expect(report.batchesRead).toBeGreaterThan(5 * kills)
    expect(report.counts.resumes).toBeGreaterThan(kills)
    expect(report.counts.foundLanded).toBeGreaterThan(0)
    expect(report.counts.foundMissing).toBeGreaterThan(0)
    expect(report.cursorsSaved).toBeGreaterThan(0)
    // Those that died without a word keep their session until its lease ends; all others have closed theirs.
    expect(report.sessionsOpen).toBeLessThanOrEqual(16)
    expect(report.residentBytes).toBeLessThan(512 * 1024 * 1024)
  })

  it(`starts from whatever ${firstStarts} kills during the first start left behind`, async () => {
    const seed = chooseSeed('first start')
    const random = new SeededRandom(seed)
    const ports = await freePorts(random.fork(`ports ${process.pid}`))
    for (let round = 0; round < firstStarts; round++) {
      const { dir, remove } = workFolder('crash')
      const lives = new GatewayLives({ entry: bundle.entry, dir, dataDir: join(dir, 'data'), ports })
      try {
        const first = lives.start()
        // The folder is made in the last part of the start.
        await new Promise((resolve) => setTimeout(resolve, 150 + random.below(500)))
        await first.kill()
        await lives.startReady()
        const ledger = new Ledger()
        await publishFirst(lives.access(), 'first', ledger)
        const { stored, faults } = await drainTopic(lives.access(), 'first', ledger)
        expect(faults).toEqual([])
        expect(describeViolations(judgeTopic(ledger.attempts, stored))).toBe('')
      } finally {
        await lives.end()
        remove()
      }
    }
  })
})

describe('a gateway without take-over (mutant no-takeover)', () => {
  it('is found out: acked events are there twice', async () => {
    const bundle = await bundleGateway('no-takeover')
    try {
      const seed = chooseSeed('crash of the mutant')
      const report = await crashRun({ seed, entry: bundle.entry, kills: mutantKills, moments: ['work'] })
      process.stdout.write(summary(report))
      expect(report.violations.map(({ kind }) => kind)).toContain('duplicate')
    } finally {
      bundle.remove()
    }
  })
})
