// Owns: the gateway under measurement: a process of its own, from the build, on a temporary folder.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type TrunklineClient } from '../sdk/typescript/src/index.ts'
import { type GatewayProcess, startGatewayProcess } from '../test/support/gateway-process.ts'

export interface Bench {
  readonly gateway: GatewayProcess
  client(over: 'tcp' | 'http'): TrunklineClient
  /** Resident bytes of the gateway's process. */
  rss(): number
  /** CPU milliseconds that the gateway's process has used. */
  cpuMs(): number
  stop(): Promise<void>
}

/** Sources run through a compiler at start; a build is what an operator runs. */
export function build(): void {
  execFileSync('npm', ['run', '--silent', 'build'], { stdio: ['ignore', 'ignore', 'inherit'] })
}

export async function startBench(): Promise<Bench> {
  const dir = mkdtempSync(join(tmpdir(), 'trunkline-bench-'))
  const gateway = await startGatewayProcess({
    dir,
    env: { TRUNKLINE_LOG_LEVEL: 'error', TRUNKLINE_SESSIONS_MAX: '20000' },
  })
  const { urls, credentials } = gateway
  return {
    gateway,
    client: (over) => connect(over === 'tcp' ? urls.thrift : urls.http, { ...credentials, tokenUrl: urls.token }),
    rss: () => kibibytesOf('VmRSS', gateway.pid) * 1024,
    cpuMs: () => cpuTicks(gateway.pid) * 10,
    stop: async () => {
      await gateway.stop()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

function kibibytesOf(field: string, pid: number): number {
  const line = readFileSync(`/proc/${pid}/status`, 'utf8')
    .split('\n')
    .find((text) => text.startsWith(`${field}:`))
  return Number(line?.match(/\d+/)?.[0] ?? Number.NaN)
}

/** utime + stime of proc(5), in ticks of 10 ms. */
function cpuTicks(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return Number(fields[11]) + Number(fields[12])
}
