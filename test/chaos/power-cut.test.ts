// Proves: what was acked is on the disk. The gateway's folder lies on an ext4 image of its own; at random instants the
// process is frozen and the image is copied while it is mounted: what was not flushed is not in the copy, as after a power
// cut. A gateway on the recovered copy must have every event that was acked before, once and in order. And: this proof
// fails when the flush is taken out.
// Leaves out: cuts in the middle of one call into the system (the process is frozen between two), and disks that lie.
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { SeededRandom } from '../../src/adapters/random/seeded-random.ts'
import { checkFolder } from '../support/crash/check-folder.ts'
import { drainTopic } from '../support/crash/drain.ts'
import { bundleGateway, type GatewayBundle } from '../support/crash/gateway-bundle.ts'
import { freePorts, GatewayLives, standsStill } from '../support/crash/gateway-lives.ts'
import type { Attempt } from '../support/crash/ledger.ts'
import { Ledger } from '../support/crash/ledger.ts'
import { canMountImages, copyImage, makeImage, mountImage } from '../support/crash/mounts.ts'
import { newCounts } from '../support/crash/observed-client.ts'
import { chooseSeed } from '../support/crash/run-seed.ts'
import { describeViolations, judgeTopic, type Violation } from '../support/crash/verdict.ts'
import { workFolder } from '../support/crash/work-folder.ts'
import { publishFirst, Writer } from '../support/crash/writer.ts'
import { requirement } from '../support/requirement.ts'
import { scale } from '../support/scale.ts'

const instants = scale(5, 40)
/** Every so many instants a new folder: the first minutes of one are the most delicate. */
const instantsPerFolder = 5
const imageBytes = 192 * 1024 * 1024
const writersMax = 4
const topic = 'power'
const progressMs = 30_000

interface Cut {
  readonly violations: readonly Violation[]
  /** Why the copy's gateway did not start or serve; empty when it did. */
  readonly refusal: string
  readonly damage: string
  readonly acked: number
  readonly stored: number
}

/** One folder and gateway, cut `cuts` times; `judgeCut` hears of each and answers whether to go on. */
async function cutAgainAndAgain(
  entry: string,
  random: SeededRandom,
  cuts: number,
  judgeCut: (cut: Cut) => boolean,
): Promise<void> {
  const work = workFolder('power')
  const image = join(work.dir, 'image')
  makeImage(image, imageBytes)
  const mount = mountImage(image, join(work.dir, 'disk'))
  const home = join(work.dir, 'home')
  mkdirSync(home)
  const ports = await freePorts(random.fork(`ports ${process.pid}`))
  const lives = new GatewayLives({ entry, dir: home, dataDir: join(mount.path, 'data'), ports })
  const ledger = new Ledger()
  let writers: Writer[] = []
  try {
    const life = await lives.startReady()
    await publishFirst(lives.access(), topic, ledger)
    const shared = { topic, access: lives.access(), counts: newCounts(), ledger, pauseMsMax: 6 }
    for (let cut = 0; cut < cuts; cut++) {
      // The very first cut comes at once: nothing but the first event has been flushed by then.
      if (cut > 0) {
        if (writers.length === 0) {
          writers = Array.from(
            { length: writersMax },
            (_, i) => new Writer({ ...shared, name: `w${i}`, random: random.fork(`writer ${i}`) }),
          )
          for (const writer of writers) writer.start()
        }
        const from = ledger.acked
        const wanted = 1 + random.below(300)
        await ledger.until(`${wanted} acked events`, () => ledger.acked >= from + wanted, progressMs)
        await new Promise((resolve) => setTimeout(resolve, random.below(10)))
      }
      for (const writer of writers) writer.rest(true)
      life.signal('SIGSTOP')
      await standsStill(life.pid)
      const before = new Map([...ledger.attempts].map(([id, attempt]) => [id, { ...attempt }]))
      const copy = join(work.dir, 'copy')
      copyImage(image, copy)
      life.signal('SIGCONT')
      const judged = await afterTheCut(entry, work.dir, copy, random, before)
      rmSync(copy)
      if (!judgeCut(judged)) return
      for (const writer of writers) writer.rest(false)
    }
  } finally {
    await Promise.all(writers.map((writer) => writer.abandon()))
    await lives.end()
    mount.unmount()
    work.remove()
  }
}

/** The machine comes up again: journal recovery, a gateway on what is there, everything read. */
async function afterTheCut(
  entry: string,
  dir: string,
  copy: string,
  random: SeededRandom,
  attempts: ReadonlyMap<string, Attempt>,
): Promise<Cut> {
  const home = join(dir, 'home-after')
  mkdirSync(home, { recursive: true })
  const mount = mountImage(copy, join(dir, 'disk-after'))
  const dataDir = join(mount.path, 'data')
  const ports = await freePorts(random.fork(`ports after ${process.pid}`))
  const lives = new GatewayLives({ entry, dir: home, dataDir, ports })
  const acked = [...attempts.values()].filter(({ outcome }) => outcome === 'acked').length
  const ledger = new Ledger()
  for (const [id, attempt] of attempts) ledger.attempts.set(id, attempt)
  try {
    try {
      await lives.startReady()
    } catch (thrown) {
      return { violations: [], refusal: String(thrown), damage: '', acked, stored: 0 }
    }
    const { stored, faults } = await drainTopic(lives.access(), topic, ledger)
    const violations = [...faults.map((what): Violation => ({ kind: 'event', what })), ...judgeTopic(attempts, stored)]
    // It goes on from there, too.
    await publishFirst(lives.access(), 'after', new Ledger())
    await lives.current?.kill('SIGTERM')
    return { violations, refusal: '', damage: await checkFolder(dataDir), acked, stored: stored.length }
  } catch (thrown) {
    return { violations: [], refusal: String(thrown), damage: '', acked, stored: 0 }
  } finally {
    await lives.end()
    mount.unmount()
    rmSync(home, { recursive: true, force: true })
  }
}

const root = requirement('root with ext4 loop mounts', canMountImages)

root.describe('a power cut', () => {
  let bundle: GatewayBundle
  beforeAll(async () => {
    bundle = await bundleGateway()
  })
  afterAll(() => bundle.remove())

  it(`takes back nothing that was acked, at ${instants} instants`, async () => {
    const random = new SeededRandom(chooseSeed('power cut'))
    const cuts: Cut[] = []
    for (let done = 0; done < instants; done += instantsPerFolder) {
      await cutAgainAndAgain(
        bundle.entry,
        random.fork(`folder ${done}`),
        Math.min(instantsPerFolder, instants - done),
        (cut) => {
          cuts.push(cut)
          expect(cut.refusal).toBe('')
          expect(describeViolations(cut.violations)).toBe('')
          expect(cut.damage).toBe('')
          return true
        },
      )
    }
    process.stdout.write(
      `acked, stored at each cut: ${cuts.map(({ acked, stored }) => `${acked}, ${stored}`).join('; ')}\n`,
    )
    expect(cuts.length).toBe(instants)
    expect(cuts.at(-1)?.acked).toBeGreaterThan(1)
  })
})

root.describe('a power cut without the flush (mutant no-flush)', () => {
  it('is found out: acked events are gone', async () => {
    const bundle = await bundleGateway('no-flush')
    try {
      const random = new SeededRandom(chooseSeed('power cut of the mutant'))
      let found: string[] = []
      await cutAgainAndAgain(bundle.entry, random, instantsPerFolder, ({ violations, refusal }) => {
        found = refusal === '' ? [...new Set(violations.map(({ kind }) => kind))] : [refusal]
        process.stdout.write(`without the flush: ${found.join(', ') || 'nothing missing'}\n`)
        return found.length === 0
      })
      expect(found).toContain('lost')
    } finally {
      bundle.remove()
    }
  })
})
