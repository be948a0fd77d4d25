// Owns: `npm run bench -- --overload`: what an embedded gateway does when it is asked for three times what it can do, and
// what a noisy tenant costs a quiet one. Gateway and load generator have a core each. Prints; asserts nothing.
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
const closedSessions = 64
const openSessions = 512
const overload = 3
const quietPerSecond = 40
const eventBytes = 1_024
const secret = randomBytes(24).toString('base64url')

interface Outcome {
  readonly perSecond: number
  readonly refused: number
  readonly tookMs: readonly number[]
}

function mebibytes(gateway: GatewayProcess): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${gateway.pid}/status`, 'utf8'))?.[1] ?? Number.NaN) / 1_024
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
        () => {
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

export async function runOverload(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'trunkline-overload-'))
  const clientsFile = join(dir, 'clients.json')
  const clients = ['noisy', 'quiet'].map((clientId) => ({
    clientId,
    tenant: clientId,
    secretHash: hashClientSecret(secret),
  }))
  writeFileSync(clientsFile, JSON.stringify({ version: 1, clients }))
  const env = { TRUNKLINE_CLIENTS_FILE: clientsFile, TRUNKLINE_LOG_LEVEL: 'error', TRUNKLINE_SESSIONS_MAX: '20000' }
  const gateway = await startGatewayProcess({ dir, env })
  const pin = (pid: number, core: number): void =>
    void execFileSync('taskset', ['-a', '-cp', String(core), String(pid)], { stdio: 'ignore' })
  try {
    pin(gateway.pid, 1)
    pin(process.pid, 0)
    const few = await writers(gateway, 'noisy', 'load', closedSessions)
    await closedLoop(few, peakMs / 2)
    const peak = await closedLoop(few, peakMs)
    const before = mebibytes(gateway)
    const many = await writers(gateway, 'noisy', 'load', openSessions)
    let most = 0
    const sampler = setInterval(() => {
      most = Math.max(most, mebibytes(gateway))
    }, 500)
    const flood = await openLoop(many, overload * peak.perSecond, overloadMs)
    clearInterval(sampler)
    printTable(
      `${overload} × the sustainable load for ${overloadMs / 1_000} s (1 × ${eventBytes} B, embedded, a core each)`,
      ['load', 'events/s', 'of peak', 'p99 ms', 'refused', 'MiB resident'],
      [
        [
          `${closedSessions} sessions, closed`,
          count(peak.perSecond),
          '1',
          fixed(percentile(peak.tookMs, 99), 1),
          '0',
          fixed(before, 0),
        ],
        [
          `${openSessions} sessions, open`,
          count(flood.perSecond),
          fixed(flood.perSecond / peak.perSecond),
          fixed(percentile(flood.tookMs, 99), 1),
          String(flood.refused),
          fixed(most, 0),
        ],
      ],
    )
    const quiet = await writers(gateway, 'quiet', 'load', 8)
    const alone = await openLoop(quiet, quietPerSecond, peakMs)
    const noise = openLoop(many, overload * peak.perSecond, 2 * peakMs)
    await new Promise((resolve) => setTimeout(resolve, peakMs / 2))
    const beside = await openLoop(quiet, quietPerSecond, peakMs)
    await noise
    const row = (what: string, one: Outcome): string[] => [
      what,
      fixed(percentile(one.tookMs, 50), 1),
      fixed(percentile(one.tookMs, 99), 1),
    ]
    printTable(
      `A quiet tenant, ${quietPerSecond} events/s`,
      ['beside it', 'p50 ms', 'p99 ms'],
      [row('nobody', alone), row(`a tenant with ${overload} × the sustainable load`, beside)],
    )
    for (const writer of [...few, ...many, ...quiet]) writer.close()
  } finally {
    await gateway.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}
