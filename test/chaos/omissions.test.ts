// The walk is able to fail: each of the nine omissions that break exactly-once publishing, done to the real code
// (test/mutants.json), is found by it, and the same seeds are green without it.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { scale } from '../support/scale.ts'
import { type Omission, omissions } from '../support/simulation/omissions.ts'
import type { SeedReport } from '../support/simulation/run-seeds.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const walkTimeoutMs = 10 * 60_000
/** Fresh seeds, so that the proof does not hang on known ones. Red ones are about one in ten for the rarest. */
const freshSeedCount = 200

function walkSeeds(
  profile: string,
  seeds: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<readonly SeedReport[]> {
  const loaders = ['--import', './test/support/mutant-loader.mjs', '--import', 'tsx']
  const args = [...loaders, 'test/support/simulation/run-seeds.ts', profile, ...seeds]
  return new Promise((resolve, reject) => {
    const options = {
      cwd: root,
      env: { ...process.env, TRUNKLINE_MUTANT: '', ...env },
      timeout: walkTimeoutMs,
      maxBuffer: 64 * 1024 * 1024,
    }
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      if (error !== null) reject(new Error(`the walk of ${profile} ended by itself:\n${stderr}`, { cause: error }))
      else
        resolve(
          stdout
            .trimEnd()
            .split('\n')
            .map((line) => JSON.parse(line) as SeedReport),
        )
    })
  })
}

async function walkUntilRed(
  { mutant, profile, kind }: Omission,
  seeds: readonly string[],
): Promise<readonly SeedReport[]> {
  const reports = await walkSeeds(profile, seeds, { TRUNKLINE_MUTANT: mutant, UNTIL: kind })
  const red = reports.at(-1)
  const found = red?.defects.find((defect) => defect.kind === kind)
  const kinds = [...new Set(reports.flatMap(({ defects }) => defects.map((defect) => defect.kind)))]
  expect(
    found,
    `${mutant}: no ${kind} in ${reports.length} seeds of ${profile}, only ${kinds.join(', ')}`,
  ).toBeDefined()
  console.log(
    `${mutant}: seed ${red?.seed} of ${profile}, number ${reports.length} that was walked: ${kind} ${found?.text}`,
  )
  return reports
}

describe('the random walk', () => {
  /** By profile: what was walked with a mutant. */
  const walked = new Map<string, Set<string>>()

  it.each(omissions)('finds $mutant as $kind', async (omission) => {
    const reports = await walkUntilRed(omission, omission.seeds)
    const seeds = walked.get(omission.profile) ?? new Set()
    walked.set(omission.profile, seeds)
    for (const { seed } of reports) seeds.add(seed)
  })

  it('is green with the same seeds without an omission', async () => {
    expect(walked.size).toBeGreaterThan(0)
    for (const [profile, seeds] of walked) {
      const reports = await walkSeeds(profile, [...seeds], {})
      expect(reports).toHaveLength(seeds.size)
      expect(
        reports.filter(({ defects }) => defects.length > 0).map(({ seed, defects }) => ({ seed, defects })),
      ).toEqual([])
    }
  })

  if (scale(false, true)) {
    it.each(omissions)('finds $mutant with fresh seeds, too', async (omission) => {
      const base = Math.floor(Math.random() * 1_000_000_000)
      await walkUntilRed(
        omission,
        Array.from({ length: freshSeedCount }, (_, index) => String(base + index)),
      )
    })
  }
})
