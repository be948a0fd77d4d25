// Owns: walking seeds in a process of its own, perhaps with a mutant (TRUNKLINE_MUTANT, through mutant-loader.mjs):
//   node --import ./test/support/mutant-loader.mjs --import tsx test/support/simulation/run-seeds.ts PROFILE SEED…
// One line of JSON per seed. With UNTIL_RED=1 it ends at the first seed with a defect; TRACE=n prints its last n lines.
import { findProfile } from './profiles.ts'
import { walk } from './walk.ts'

const [profileName = 'walk', ...seeds] = process.argv.slice(2)
const traceLinesMax = Number(process.env['TRACE'] ?? '0')
for (const seed of seeds) {
  const startedMs = performance.now()
  const { lastLines, ...result } = await walk(seed, { profile: findProfile(profileName), traceLinesMax })
  const realMs = Math.round(performance.now() - startedMs)
  process.stdout.write(`${JSON.stringify({ ...result, realMs })}\n`)
  if (traceLinesMax > 0) process.stderr.write(`${lastLines.join('\n')}\n`)
  if (process.env['UNTIL_RED'] === '1' && result.defects.length > 0) break
}
