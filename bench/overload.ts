// Owns: `npm run bench -- --overload`: what an embedded gateway does when it is asked for three times what it can do, and
// what a noisy tenant costs a quiet one, without rates and with `tenantRequestsPerSecond` at half of what it can do.
// Gateway and load generator have a core each. Prints; asserts nothing. With `--quick` short.
// 1. Arrivals come by the clock, whether or not earlier ones are answered (open loop); one that finds every connection busy
//    waits for one, and its time counts from its arrival.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hashClientSecret } from '../src/api-tier/auth/client-registry.ts'
import { type GatewayProcess, startGatewayProcess } from '../test/support/gateway-process.ts'
import { fetchToken } from '../test/support/raw-client.ts'
import { LeanWriter } from './cluster/lean-client.ts'
import { blocksOf } from './cluster/work.ts'
import { count, fixed, percentile, printTable } from './measure.ts'

const quick = process.argv.includes('--quick')
const overloadMs = quick ? 8_000 : 60_000
const peakMs = quick ? 3_000 : 10_000
const quietMs = quick ? 6_000 : 30_000
/** Until a flood is at its height. */
const risingMs = 2_000
const samples = 6
const closedSessions = 64
const openSessions = 512
const overload = 3
const quietPerSecond = 40
const quietSessions = 8
const eventBytes = 1_024
const secret = randomBytes(24).toString('base64url')

interface Outcome {
  readonly perSecond: number
  readonly refused: number
  readonly tookMs: readonly number[]
}

/** Nobody but the gateway refuses: a broken connection ends the bench. */
const isRefusal = (thrown: unknown): boolean => thrown instanceof Error && thrown.message.startsWith('a write failed')

async function metric(gateway: GatewayProcess, name: string): Promise<number> {
  const page = await (await fetch(`${gateway.urls.admin}/metrics`)).text()
  const lines = page.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

/** Of its own: without the pages of the log's file, which the kernel gives back when it needs them. */
function mebibytes(gateway: GatewayProcess): number {
  const status = readFileSync(`/proc/${gateway.pid}/status`, 'utf8')
  return Number(/^RssAnon:\s+(\d+)/m.exec(status)?.[1] ?? Number.NaN) / 1_024
}

async function writers(
  gateway: GatewayProcess,
  clientId: string,
  topic: string,
  sessions: number,
): Promise<LeanWriter[]> {
  const bearer = await fetchToken(gateway.urls.http, clientId, secret)
  const where = { thriftUrl: gateway.urls.thrift, bearer }
  const blocks = blocksOf({ eventBytes, batch: 1, sessions })
  const opened: LeanWriter[] = []
  // A few at a time: allocations have places.
  while (opened.length < sessions)
    opened.push(
      ...(await Promise.all(
        Array.from({ length: Math.min(16, sessions - opened.length) }, (_, at) =>
          LeanWriter.open(where, topic, blocks, opened.length + at),
        ),
      )),
    )
  return opened
}

/** As fast as answers come. */
async function closedLoop(all: readonly LeanWriter[], durationMs: number): Promise<Outcome> {
  const tookMs: number[] = []
  const startedMs = performance.now()
  await Promise.all(
    all.map(async (writer) => {
      for (let atMs = performance.now(); atMs - startedMs < durationMs; atMs = performance.now()) {
        await writer.write()
        tookMs.push(performance.now() - atMs)
      }
    }),
  )
  return { perSecond: (tookMs.length * 1_000) / (performance.now() - startedMs), refused: 0, tookMs }
}

/** Invariant 1. */
async function openLoop(all: readonly LeanWriter[], perSecond: number, durationMs: number): Promise<Outcome> {
  const idle = [...all]
  const waiting: number[] = []
  const tookMs: number[] = []
  let refused = 0
  const startedMs = performance.now()
  const out = new Set<Promise<void>>()
  const begin = (writer: LeanWriter, arrivedMs: number): void => {
    const running: Promise<void> = writer
      .write()
      .then(
        () => void tookMs.push(performance.now() - arrivedMs),
        (thrown: unknown) => {
          if (!isRefusal(thrown)) throw thrown
          refused += 1
        },
      )
      .then(() => {
        out.delete(running)
        const next = waiting.shift()
        if (next === undefined) idle.push(writer)
        else begin(writer, next)
      })
    out.add(running)
  }
  for (let sent = 0; performance.now() - startedMs < durationMs; ) {
    const due = Math.floor(((performance.now() - startedMs) * perSecond) / 1_000)
    for (; sent < due; sent++) {
      const writer = idle.pop()
      if (writer !== undefined) begin(writer, performance.now())
      // A queue of one second: who waits longer has gone.
      else if (waiting.length < perSecond) waiting.push(performance.now())
    }
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  const perSecondDone = (tookMs.length * 1_000) / (performance.now() - startedMs)
  waiting.length = 0
  await Promise.all(out)
  return { perSecond: perSecondDone, refused, tookMs }
}

interface Run {
  readonly flood: Outcome
  /** Resident and its own, at even distances over the flood. */
  readonly mebibytes: readonly number[]
  readonly shed: number
  readonly alone: Outcome
  readonly beside: Outcome
}

async function measured(
  gateway: GatewayProcess,
  perSecond: number,
  many: readonly LeanWriter[],
  quiet: readonly LeanWriter[],
): Promise<Run> {
  const resident: number[] = []
  const sampler = setInterval(() => resident.push(mebibytes(gateway)), overloadMs / samples)
  const flood = await openLoop(many, perSecond, overloadMs)
  clearInterval(sampler)
  await openLoop(quiet, quietPerSecond, risingMs)
  const alone = await openLoop(quiet, quietPerSecond, quietMs)
  const noise = openLoop(many, perSecond, risingMs + quietMs)
  await new Promise((resolve) => setTimeout(resolve, risingMs))
  const beside = await openLoop(quiet, quietPerSecond, quietMs - risingMs)
  await noise
  const shed = await metric(gateway, 'trunkline_quota_refusals_total')
  return { flood, mebibytes: resident, shed, alone, beside }
}

function print(what: string, peak: Outcome, run: Run): void {
  const { flood, alone, beside } = run
  printTable(
    `${overload} × the sustainable load for ${overloadMs / 1_000} s, ${what} (1 × ${eventBytes} B, embedded, a core each)`,
    ['load', 'events/s', 'of peak', 'p50 ms', 'p99 ms', 'refused'],
    [
      [`${closedSessions} sessions, closed`, peak, 'peak'] as const,
      [`${openSessions} sessions, open`, flood, fixed(flood.perSecond / peak.perSecond)] as const,
    ].map(([load, one, ofPeak]) => [
      load,
      count(one.perSecond),
      ofPeak,
      fixed(percentile(one.tookMs, 50), 1),
      fixed(percentile(one.tookMs, 99), 1),
      String(one.refused),
    ]),
  )
  process.stdout.write(`\nMiB of its own over the flood: ${run.mebibytes.map((one) => fixed(one, 0)).join(', ')}\n`)
  process.stdout.write(`refused by the gateway in all: ${run.shed}\n`)
  const row = (neighbour: string, one: Outcome): string[] => [
    neighbour,
    ...[50, 90, 99].map((percent) => fixed(percentile(one.tookMs, percent), 1)),
    String(one.tookMs.length),
    String(one.refused),
  ]
  printTable(
    `A quiet tenant, ${quietPerSecond} events/s, ${what}`,
    ['beside it', 'p50 ms', 'p90 ms', 'p99 ms', 'answers', 'refused'],
    [row('nobody', alone), row(`a tenant with ${overload} × the sustainable load`, beside)],
  )
}

export async function runOverload(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'trunkline-overload-'))
  const clientsFile = join(dir, 'clients.json')
  const clients = ['noisy', 'quiet'].map((clientId) => ({
    clientId,
    tenant: clientId,
    secretHash: hashClientSecret(secret),
  }))
  writeFileSync(clientsFile, JSON.stringify({ version: 1, clients }))
  const env = {
    TRUNKLINE_CLIENTS_FILE: clientsFile,
    TRUNKLINE_LOG_LEVEL: 'error',
    TRUNKLINE_SESSIONS_MAX: '20000',
    // Nobody here renews what is idle while others flood.
    TRUNKLINE_SESSION_LEASE_MS: '3600000',
    TRUNKLINE_CONCURRENT_REQUESTS_MAX: '1024',
  }
  const gateway = await startGatewayProcess({ dir, env })
  const pin = (pid: number, core: number): void =>
    void execFileSync('taskset', ['-a', '-cp', String(core), String(pid)], { stdio: 'ignore' })
  const sessions = async (): Promise<{ many: LeanWriter[]; quiet: LeanWriter[] }> => ({
    many: await writers(gateway, 'noisy', 'load', openSessions),
    quiet: await writers(gateway, 'quiet', 'load', quietSessions),
  })
  const close = (all: readonly LeanWriter[]): void => {
    for (const writer of all) writer.close()
  }
  try {
    pin(gateway.pid, 1)
    pin(process.pid, 0)
    const few = await writers(gateway, 'noisy', 'load', closedSessions)
    await closedLoop(few, peakMs / 2)
    const peak = await closedLoop(few, peakMs)
    const perSecond = overload * peak.perSecond
    close(few)
    const first = await sessions()
    print('no rates', peak, await measured(gateway, perSecond, first.many, first.quiet))
    close([...first.many, ...first.quiet])
    const rate = Math.round(peak.perSecond / 2)
    await gateway.restart({ env: { ...env, TRUNKLINE_TENANT_REQUESTS_PER_SECOND: String(rate) } })
    pin(gateway.pid, 1)
    const second = await sessions()
    print(`${count(rate)} requests/s a tenant`, peak, await measured(gateway, perSecond, second.many, second.quiet))
    close([...second.many, ...second.quiet])
  } finally {
    await gateway.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}
