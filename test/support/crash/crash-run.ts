// Owns: one crash run: eight writers and eight readers on one gateway that is killed again and again, then everything
// that must hold.
// 1. A kill comes at a random instant of the start, right after an allocation, or while writes are in flight after a
//    random amount of progress: a run in which nothing works ends with an error, not in silence.
// 2. Whatever happens, the gateway is dead and its folder is gone when `crashRun` settles.
import { join } from 'node:path'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { drainTopic, traceFrom } from './drain.ts'
import { freePorts, type GatewayAccess, GatewayLives, type Life, residentBytes } from './gateway-lives.ts'
import { Ledger } from './ledger.ts'
import { type CallCounts, newCounts } from './observed-client.ts'
import { AppReader, type ReaderHabits, type SavedCursor } from './reader.ts'
import { judgeReader, judgeTopic, TopicIndex, type Violation } from './verdict.ts'
import { workFolder } from './work-folder.ts'
import { publishFirst, Writer } from './writer.ts'

export type KillMoment = 'start' | 'allocation' | 'work'

export interface CrashRunOptions {
  readonly seed: string
  /** Of gateway-bundle.ts. */
  readonly entry: string
  readonly kills: number
  /** Default: all three. */
  readonly moments?: readonly KillMoment[]
  /** Called when the gateway has stopped at the end, with its data folder. */
  readonly onEnd?: (dataDir: string) => Promise<void> | void
}

export interface CrashReport {
  readonly violations: readonly Violation[]
  /** Publishes that were refused though the client lived, and messages that a state did not expect. */
  readonly surprises: readonly string[]
  readonly killsBy: Readonly<Record<KillMoment, number>>
  readonly attempted: number
  readonly acked: number
  /** Of clients that died first. */
  readonly unknown: number
  readonly unknownStored: number
  readonly stored: number
  readonly batchesRead: number
  readonly cursorsSaved: number
  readonly counts: CallCounts
  readonly residentBytes: number
  readonly sessionsOpen: number
  readonly killMs: number
  readonly checkMs: number
}

const topic = 'crash'
const progressMs = 30_000
const startMsMax = 700

const always: ReaderHabits = { prefixes: 0, nacks: 0, ignores: 0, reopens: 0, from: 'own' }
const habits: readonly ReaderHabits[] = [
  always,
  always,
  { ...always, prefixes: 0.5 },
  { ...always, nacks: 0.3 },
  { ...always, ignores: 0.7 },
  { ...always, reopens: 0.05 },
  { ...always, prefixes: 0.1, reopens: 0.05 },
  { prefixes: 0.2, nacks: 0.1, ignores: 0.2, reopens: 0.03, from: 'any' },
]
const writersMax = 8
const cursorsTried = 25

export async function crashRun(options: CrashRunOptions): Promise<CrashReport> {
  const random = new SeededRandom(options.seed)
  const { dir, remove } = workFolder('crash')
  const dataDir = join(dir, 'data')
  const ports = await freePorts(random.fork(`ports ${process.pid}`))
  const lives = new GatewayLives({ entry: options.entry, dir, dataDir, ports })
  try {
    await lives.startReady()
    const apps = await startApps(random, lives)
    try {
      const startedMs = performance.now()
      const killsBy = await killAgainAndAgain(options, random.fork('kills'), lives, apps)
      const killedMs = performance.now()
      const report = await judge(lives, apps, random.fork('end'))
      await lives.current?.kill('SIGTERM')
      await options.onEnd?.(dataDir)
      return { ...report, killsBy, killMs: killedMs - startedMs, checkMs: performance.now() - killedMs }
    } finally {
      await apps.abandon()
    }
  } finally {
    await lives.end()
    remove()
  }
}

interface Apps {
  readonly ledger: Ledger
  readonly counts: CallCounts
  readonly pool: SavedCursor[]
  readonly writers: readonly Writer[]
  readonly readers: readonly AppReader[]
  /** Rejects when a reader ends by itself: nothing that comes later would say why. */
  readonly broken: Promise<never>
  readonly batchesRead: () => number
  readonly abandon: () => Promise<void>
}

async function startApps(random: SeededRandom, lives: GatewayLives): Promise<Apps> {
  const ledger = new Ledger()
  const counts = newCounts()
  const pool: SavedCursor[] = []
  const access = lives.access()
  await publishFirst(access, topic, ledger)
  const shared = { topic, access, ledger, counts }
  const writers = Array.from(
    { length: writersMax },
    (_, i) => new Writer({ ...shared, name: `w${i}`, random: random.fork(`writer ${i}`) }),
  )
  const readers = habits.map(
    (ofReader, i) =>
      new AppReader({ ...shared, name: `r${i}`, pool, habits: ofReader, random: random.fork(`reader ${i}`) }),
  )
  const broken = new Promise<never>((_, reject) => {
    for (const reader of readers) reader.start(reject)
  })
  // Heard between two kills; afterwards the reader's trace tells.
  broken.catch(() => undefined)
  for (const writer of writers) writer.start()
  return {
    broken,
    ledger,
    counts,
    pool,
    writers,
    readers,
    batchesRead: () => readers.reduce((sum, { batches }) => sum + batches, 0),
    abandon: async () => {
      await Promise.all([...writers, ...readers].map((app) => app.abandon()))
    },
  }
}

/** Every life but the first begins with the kill of the one before; the last one is left running. */
async function killAgainAndAgain(
  { kills, moments = ['start', 'allocation', 'work', 'work'] }: CrashRunOptions,
  random: SeededRandom,
  lives: GatewayLives,
  apps: Apps,
): Promise<CrashReport['killsBy']> {
  const killsBy = { start: 0, allocation: 0, work: 0 }
  // Everybody is at work before the first kill.
  let moment: KillMoment = 'work'
  let life: Life | undefined = lives.current
  for (let kill = 0; kill < kills; kill++) {
    life ??= lives.start()
    await Promise.race([untilMoment(moment, random, life, apps), apps.broken])
    await life.kill()
    killsBy[moment] += 1
    if (random.chance(0.3)) await random.pick(apps.writers).die()
    moment = random.pick(moments)
    life = undefined
  }
  await lives.startReady()
  return killsBy
}

async function untilMoment(
  moment: KillMoment,
  random: SeededRandom,
  life: Life,
  { ledger, counts, batchesRead }: Apps,
): Promise<void> {
  switch (moment) {
    case 'start':
      // A moment is a time here: what a starting process has done by then is nowhere to be seen.
      return pause(random.below(startMsMax))
    case 'allocation': {
      await life.ready
      const from = counts.allocates
      const wanted = 1 + random.below(writersMax)
      return ledger.until(`${wanted} allocations`, () => counts.allocates >= from + wanted, progressMs)
    }
    case 'work': {
      await life.ready
      const { acked, batches } = { acked: ledger.acked, batches: batchesRead() }
      const wanted = 1 + random.below(150)
      const holds = (): boolean => ledger.acked >= acked + wanted && batchesRead() > batches
      await ledger.until(`${wanted} acked events and a batch read`, holds, progressMs)
      return pause(random.below(12))
    }
  }
}

async function judge(
  lives: GatewayLives,
  { ledger, counts, pool, writers, readers, batchesRead }: Apps,
  random: SeededRandom,
): Promise<Omit<CrashReport, 'killsBy' | 'killMs' | 'checkMs'>> {
  await Promise.all(writers.map((writer) => writer.stop()))
  await ledger.until('every publish is answered', () => ledger.pending === 0, progressMs)
  const access = lives.access()
  const { stored, faults } = await drainTopic(access, topic, ledger)
  await Promise.all(readers.map((reader) => reader.finish()))
  await Promise.all(writers.map((writer) => writer.close()))
  const index = new TopicIndex(stored)
  const violations: Violation[] = [
    ...faults.map((what): Violation => ({ kind: 'event', what })),
    ...judgeTopic(ledger.attempts, stored),
    ...readers.flatMap(({ trace }) => judgeReader(trace, index)),
  ]
  for (const saved of random.shuffle(pool).slice(0, cursorsTried)) {
    violations.push(...judgeReader(await traceFrom(access, topic, saved, 'a saved cursor'), index))
  }
  const ids = new Set(stored.map(({ id }) => id))
  const unknownStored = [...ledger.attempts.values()].filter(({ id, outcome }) => outcome === 'unknown' && ids.has(id))
  return {
    violations,
    surprises: [...counts.defects, ...writers.flatMap(({ refusals }) => refusals)],
    attempted: ledger.attempts.size,
    acked: ledger.acked,
    unknown: ledger.unknown,
    unknownStored: unknownStored.length,
    stored: stored.length,
    batchesRead: batchesRead(),
    cursorsSaved: pool.length,
    counts,
    residentBytes: residentBytes(lives.current?.pid ?? 0),
    sessionsOpen: await openSessions(access),
  }
}

/** The node's own count. */
async function openSessions({ adminUrl }: GatewayAccess): Promise<number> {
  const text = await (await fetch(`${adminUrl}/metrics`)).text()
  const gauges = [...text.matchAll(/^trunkline_sessions\{[^}]*\} (\d+)$/gm)]
  if (gauges.length === 0) throw new Error('the metrics do not tell how many sessions are open')
  return gauges.reduce((sum, [, value]) => sum + Number(value), 0)
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
