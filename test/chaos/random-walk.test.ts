// The seeded random walk: the real SDK, gateway core, stream nodes and log core over simulated links, switchboard and
// brokers that lose, double, delay and reorder, with nodes and clients that die, stand still and come back.
// Each run takes fresh seeds (CI always the same ones) and prints the first: TRUNKLINE_SEED=PROFILE:SEED replays one. Seeds that were once red stand
// in seeds.json and run first.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { scale } from '../support/scale.ts'
import { walkProfile } from '../support/simulation/profile.ts'
import { findProfile } from '../support/simulation/profiles.ts'
import { type WalkResult, walk } from '../support/simulation/walk.ts'
import { formatSummary, summaryOf } from '../support/simulation/walk-summary.ts'

interface Seed {
  readonly profile: string
  readonly seed: string
}

interface KnownSeed extends Seed {
  /** What it found. */
  readonly why: string
}

/** By profile. `fury` is everything at once; `plain` shares its topics with strangers. */
const seedCounts = { walk: scale(45, 300), fury: scale(15, 120), plain: scale(10, 90) } as const
/** Fewer over a whole run would mean that little was proven. */
const ackedPerSeedMin = 100

function knownSeeds(): readonly KnownSeed[] {
  const text = readFileSync(new URL('seeds.json', import.meta.url), 'utf8')
  return JSON.parse(text) as readonly KnownSeed[]
}

function freshSeeds(): readonly Seed[] {
  // A merge is not held up by a seed that nobody has seen before: CI walks the same ones, everybody else fresh ones.
  const base = process.env['CI'] === 'true' ? 1 : Math.floor(Math.random() * 1_000_000_000)
  return Object.entries(seedCounts).flatMap(([profile, count]) =>
    Array.from({ length: count }, (_, index) => ({ profile, seed: String(base + index) })),
  )
}

function parseSeed(text: string): Seed {
  const [profile, seed] = text.includes(':') ? text.split(':', 2) : [walkProfile.name, text]
  if (profile === undefined || seed === undefined) throw new Error('TRUNKLINE_SEED is PROFILE:SEED')
  return { profile, seed }
}

function expectGreen(result: WalkResult): void {
  const { seed, profile, defects } = result
  const text = defects.map((defect) => `${defect.kind} ${defect.text}`).join('\n')
  const replay = `TRUNKLINE_SEED=${profile}:${seed}, or, with the trace: TRACE=100000 npx tsx test/support/simulation/run-seeds.ts ${profile} ${seed}`
  expect(defects, `seed ${seed} of ${profile} is red:\n${text}\nreplay: ${replay}`).toEqual([])
}

describe('a random walk', () => {
  it.each(knownSeeds())(
    'keeps the exactly-once rule with $profile seed $seed, which once found: $why',
    async (known) => {
      expectGreen(await walk(known.seed, { profile: findProfile(known.profile) }))
    },
  )

  it('keeps the exactly-once rule under fresh seeds, and meets every fault', async () => {
    const replayed = process.env['TRUNKLINE_SEED']
    const seeds = replayed === undefined ? freshSeeds() : [parseSeed(replayed)]
    console.log(
      `random walk: ${seeds.length} seeds from ${seeds[0]?.seed}; replay one with TRUNKLINE_SEED=PROFILE:SEED`,
    )
    const startedMs = performance.now()
    const results: WalkResult[] = []
    for (const { profile, seed } of seeds) {
      const result = await walk(seed, { profile: findProfile(profile) })
      expectGreen(result)
      results.push(result)
    }
    const summary = summaryOf(results)
    console.log(formatSummary(summary, performance.now() - startedMs))
    if (replayed !== undefined) return
    // A run in which nothing happened proves nothing.
    expect(summary.ackedEvents).toBeGreaterThan(ackedPerSeedMin * seeds.length)
    for (const kind of Object.keys(walkProfile.faults).filter((kind) => !brokerFaults.has(kind))) {
      expect(summary.faults[kind] ?? 0, `the fault ${kind} never came`).toBeGreaterThan(0)
    }
    for (const sign of signsOfBrokerFaults) expect(summary.counts[sign] ?? 0, `no ${sign}`).toBeGreaterThan(0)
  })

  it('is the same walk, byte for byte, when a seed is walked again', async () => {
    const [first, second] = [
      await walk('again', { profile: walkProfile }),
      await walk('again', { profile: walkProfile }),
    ]
    expect(first.ackedEvents).toBeGreaterThan(0)
    expect(second.traceHash).toBe(first.traceHash)
    expect(second.counts).toEqual(first.counts)
    const other = await walk('another', { profile: walkProfile })
    expect(other.traceHash).not.toBe(first.traceHash)
  })
})

/** These are rates, not moments: what comes of them is counted. */
const brokerFaults: ReadonlySet<string> = new Set(['air', 'append', 'coordinator', 'fetch', 'slowReplicas'])
const signsOfBrokerFaults = [
  'appends unanswered',
  'appends NOT_LEADER_OR_FOLLOWER',
  'appends INVALID_PRODUCER_EPOCH',
  'coordinator failures',
  'take-overs released',
  'take-overs fenced',
  'node ends: fenced',
  'link requests doubled',
  'link replies late',
  'link connects refused',
  'link calls into silence',
  'link calls to a draining node',
  'acked in two phases',
  'stagings refused',
  'readers from a cursor',
  'records of strangers',
  'holes',
  'transactions of strangers',
]
