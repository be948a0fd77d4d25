// Owns: `npm run bench [-- --quick]`: runs everything alone on the machine, prints the figures beside limits of the same
// minute, and says which goals were reached. Nothing is asserted. With `--cluster` that of
// cluster/run.ts, with `--overload` that of overload.ts, with `--signing` that of signing-steps.ts.
import { execFileSync } from 'node:child_process'
import { cpus } from 'node:os'
import { runCluster } from './cluster/run.ts'
import { type Bench, build, startBench } from './gateway.ts'
import { EchoServer, lmdbPuts } from './limits.ts'
import { machineCost } from './machine.ts'
import { count, fixed, medianOf, megabytes, printTable, rate } from './measure.ts'
import { runOverload } from './overload.ts'
import { publishRun, readRun, type Shape } from './publish.ts'
import { runSigningSteps } from './signing-steps.ts'
import { deliverLatency, idleTails } from './tails.ts'

const quick = process.argv.includes('--quick')
const runs = quick ? 1 : 3
const durationMs = quick ? 1_000 : 3_000
const say = (text: string): void => void process.stdout.write(`${text}\n`)

function header(): void {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  const dirty =
    execFileSync('git', ['status', '--porcelain'], { encoding: 'utf8' }).trim() === '' ? '' : ' + uncommitted changes'
  say(
    `Trunkline bench, commit ${commit}${dirty}, Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`,
  )
  say(
    'Load generator, gateway and limit runs share the machine; medians of ' +
      `${runs} runs of ${durationMs / 1_000} s.`,
  )
}

const label = ({ over, eventBytes, batch, sessions }: Shape): string =>
  `${over} ${batch} × ${eventBytes} B, ${sessions} sessions`

async function publishing(bench: Bench): Promise<void> {
  const rows: string[][] = []
  for (const over of ['tcp', 'http'] as const) {
    for (const eventBytes of [100, 1_024]) {
      for (const batch of [1, 100]) {
        for (const sessions of quick ? [16] : [1, 16, 64]) {
          const shape = { over, eventBytes, batch, sessions }
          let micros = 0
          const perSecond = await medianOf(runs, async () => {
            const run = await publishRun(bench, shape, `p-${eventBytes}-${batch}`, durationMs)
            micros = run.gatewayMicrosPerEvent
            return run.eventsPerSecond
          })
          rows.push([label(shape), count(perSecond), megabytes(perSecond * eventBytes), fixed(micros, 1)])
        }
      }
    }
  }
  printTable('Publish (acked after the flush, sealed)', ['shape', 'events/s', 'MB/s', 'gateway µs/event'], rows)
}

async function reading(bench: Bench): Promise<void> {
  const rows: string[][] = []
  for (const over of ['tcp', 'http'] as const) {
    for (const eventBytes of [100, 1_024]) {
      for (const batch of [1, 100]) {
        for (const sessions of quick ? [1] : [1, 16]) {
          let micros = 0
          const perSecond = await medianOf(runs, async () => {
            const run = await readRun(bench, { over, sessions }, `p-${eventBytes}-${batch}`, durationMs)
            micros = run.gatewayMicrosPerEvent
            return run.eventsPerSecond
          })
          const shape = label({ over, eventBytes, batch, sessions })
          rows.push([shape, count(perSecond), megabytes(perSecond * eventBytes), fixed(micros, 1)])
        }
      }
    }
  }
  printTable(
    'Read (what those publishes left; ack on the next read)',
    ['shape', 'events/s', 'MB/s', 'gateway µs/event'],
    rows,
  )
}

async function ratios(bench: Bench): Promise<void> {
  const shape: Shape = { over: 'tcp', eventBytes: 1_024, batch: 100, sessions: 16 }
  const bytes = shape.batch * shape.eventBytes
  const echo = await EchoServer.start()
  const up = Buffer.alloc(bytes, 7)
  const none = Buffer.alloc(64, 7)
  const readReply = 256 * 1_024
  try {
    const publish = async (over: Shape['over']): Promise<number> =>
      (await publishRun(bench, { ...shape, over }, 'ratio', durationMs)).eventsPerSecond * shape.eventBytes
    const read = async (over: Shape['over']): Promise<number> =>
      (await readRun(bench, { over, sessions: 4 }, 'ratio', durationMs)).eventsPerSecond * shape.eventBytes
    const tcpPublish = await medianOf(runs, () => publish('tcp'))
    const httpPublish = await medianOf(runs, () => publish('http'))
    const lmdb = await medianOf(runs, () => lmdbPuts(bytes, 2 * shape.sessions, durationMs))
    const echoUp = await medianOf(runs, () =>
      rate(2 * shape.sessions, durationMs, () => echo.exchange(up, 64).then(() => bytes)),
    )
    const tcpRead = await medianOf(runs, () => read('tcp'))
    const httpRead = await medianOf(runs, () => read('http'))
    const echoDown = await medianOf(runs, () => rate(4, durationMs, () => echo.exchange(none, readReply)))
    const limit = Math.min(lmdb, echoUp)
    printTable(
      'Beside the limits of the same minute (100 × 1 KiB)',
      ['what', 'MB/s', 'ratio', 'goal'],
      [
        ['raw lmdb puts, flushed', megabytes(lmdb), fixed(lmdb / limit), ''],
        ['bare fastify, body in', megabytes(echoUp), fixed(echoUp / limit), ''],
        ['publish over TCP, 16 sessions', megabytes(tcpPublish), fixed(tcpPublish / limit), '≥ 0.4'],
        ['publish over HTTP, 16 sessions', megabytes(httpPublish), fixed(httpPublish / limit), '≥ 0.4'],
        ['bare fastify, 256 KiB body out', megabytes(echoDown), fixed(1), ''],
        ['read over TCP, 4 sessions', megabytes(tcpRead), fixed(tcpRead / echoDown), '≥ 0.5'],
        ['read over HTTP, 4 sessions', megabytes(httpRead), fixed(httpRead / echoDown), '≥ 0.5'],
      ],
    )
  } finally {
    echo.stop()
  }
}

async function tails(bench: Bench): Promise<void> {
  const rows: string[][] = []
  const events = quick ? 40 : 200
  let before = 0
  for (const tailing of quick ? [0, 100, 1_000] : [0, 100, 1_000, 5_000]) {
    const idle = await idleTails(bench, 'idle', tailing)
    const { p50Ms, p99Ms } = await deliverLatency(bench, 'latency', 20, events)
    const rss = bench.rss()
    if (tailing === 0) before = rss
    const perTail = tailing === 0 ? '' : fixed((rss - before) / tailing / 1_024, 1)
    rows.push([String(tailing), megabytes(rss), perTail, fixed(p50Ms), fixed(p99Ms)])
    idle.close()
  }
  printTable('Tails (goal ≤ 40 KiB each)', ['idle tails', 'RSS MB', 'KiB per tail', 'deliver p50 ms', 'p99 ms'], rows)
}

function machine(): void {
  const { readMicros, writeMicros, bytesPerSession } = machineCost()
  printTable(
    'Machine alone (goal ≤ 25 µs)',
    ['exchange', 'µs'],
    [
      ['read, ack on the next', fixed(readMicros, 1)],
      ['committed write', fixed(writeMicros, 1)],
    ],
  )
  say(
    `heap of one session's actor: ${(bytesPerSession / 1_024).toFixed(1)} KiB${globalThis.gc === undefined ? ' (rough: no --expose-gc)' : ''}`,
  )
}

async function runEmbedded(): Promise<void> {
  header()
  machine()
  build()
  const fresh = async (work: (bench: Bench) => Promise<void>): Promise<void> => {
    const bench = await startBench()
    try {
      await work(bench)
    } finally {
      await bench.stop()
    }
  }
  await fresh(tails)
  await fresh(ratios)
  await fresh(async (bench) => {
    await publishing(bench)
    await reading(bench)
  })
  say('\nGoals that were not reached are explained in docs/performance.md.')
}

const which = process.argv.includes('--cluster')
  ? runCluster
  : process.argv.includes('--overload')
    ? runOverload
    : process.argv.includes('--signing')
      ? runSigningSteps
      : runEmbedded
await which()
