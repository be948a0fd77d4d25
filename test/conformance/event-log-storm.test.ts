// Owns: the seeded random runs of log-core over the simulated cluster: takeovers under lost, late and doubled requests
// and leader failovers. Replay one with TRUNKLINE_SEED=<seed>.
import { describe, expect, it } from 'vitest'
import { scale } from '../support/scale.ts'
import { runStorm } from '../support/sim-log/storm.ts'

const given = process.env['TRUNKLINE_SEED']
const runs = scale(40, 1_500)

describe('log-core in a storm', () => {
  it(
    `Given takeovers, failovers and a bad network, then every write lands once, in order (${given ?? `seeds 1-${runs}`})`,
    async () => {
      const seeds = given === undefined ? Array.from({ length: runs }, (_, index) => String(index + 1)) : [given]
      let takeovers = 0
      let refused = 0
      for (const seed of seeds) {
        // Every third run: writers that give up in the middle of a doubt, or while there is no leader.
        const impatient = { appendDeadlineMs: 150, takeoverMeanMs: 3_000, faults: { electionMs: 450 } }
        const options = {
          seed,
          writes: 60,
          partitions: 2,
          takeoverMeanMs: 400,
          ...(Number(seed) % 3 === 0 ? impatient : {}),
        }
        const result = await runStorm(options)
        expect({ seed, violations: result.violations }).toEqual({ seed, violations: [] })
        expect(result.acked + result.refused).toBe(options.writes)
        refused += result.refused
        takeovers += result.takeovers
      }
      // A storm that never takes over would prove nothing.
      if (given === undefined) {
        expect(takeovers).toBeGreaterThan(seeds.length)
        expect(refused).toBeGreaterThan(0)
      }
    },
    scale(60_000, 1_200_000),
  )

  it('Given the same seed, then the run is the same', async () => {
    const options = { seed: 'replay', writes: 40, partitions: 2, takeoverMeanMs: 400 }
    expect(await runStorm(options)).toEqual(await runStorm(options))
  })
})
