// Owns: walking seeds in a process of its own, perhaps with a mutant (TRUNKLINE_MUTANT, through mutant-loader.mjs):
//   node --import ./test/support/mutant-loader.mjs --import tsx test/support/simulation/run-seeds.ts PROFILE SEED…
// One line of JSON per seed (SeedReport). UNTIL=KIND ends at the first seed with a defect of that kind; TRACE=n prints
// the last n lines of each trace on stderr.
import { findProfile } from './profiles.ts'
import { type WalkResult, walk } from './walk.ts'

export interface SeedReport extends Omit<WalkResult, 'lastLines'> {
  readonly realMs: number
}

const [profileName = 'walk', ...seeds] = process.argv.slice(2)
const traceLinesMax = Number(process.env['TRACE'] ?? '0')
const until = process.env['UNTIL']
for (const seed of seeds) {
  const startedMs = performance.now()
  const { lastLines, ...result } = await walk(seed, { profile: findProfile(profileName), traceLinesMax })
  const report: SeedReport = { ...result, realMs: Math.round(performance.now() - startedMs) }
  process.stdout.write(`${JSON.stringify(report)}\n`)
  if (traceLinesMax > 0) process.stderr.write(`${lastLines.join('\n')}\n`)
  if (result.defects.some(({ kind }) => kind === until)) break
}
