// Owns: one gateway through many lives: processes that are started on the same folder and ports, and may be killed at any
// moment, also before they are ready. (test/support/gateway-process.ts waits until a gateway is ready.)
// 1. At most one life runs at a time, and none outlives this process.
// 2. The ports lie below those that the system gives to outgoing connections: a client that dials while nothing listens
//    could be connected to itself otherwise, and hold the port.
import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import { childEnv } from '../child-env.ts'
import { made, undone } from './janitor.ts'
import type { ClientAccess } from './observed-client.ts'

/** dev.json. */
export interface GatewayAccess extends ClientAccess {
  readonly httpUrl: string
  readonly thriftUrl: string
  readonly adminUrl: string
}

export interface Life {
  readonly pid: number
  /** Rejects with what it wrote when it ends before. */
  readonly ready: Promise<void>
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
  readonly hasEnded: boolean
  /** The last 32 KiB that it wrote. */
  output(): string
  signal(name: NodeJS.Signals): void
  /** SIGKILL by default; resolves when it has ended. */
  kill(name?: NodeJS.Signals): Promise<void>
}

export interface GatewayLivesOptions {
  readonly entry: string
  /** Working folder: dev.json is written here. It exists. */
  readonly dir: string
  readonly dataDir: string
  readonly ports: readonly [http: number, thrift: number, admin: number]
  readonly env?: Readonly<Record<string, string>>
}

const outputBytesMax = 32 * 1024
const readyMsMax = 30_000

export class GatewayLives {
  readonly #options: GatewayLivesOptions
  #current: Life | undefined

  constructor(options: GatewayLivesOptions) {
    this.#options = options
  }

  get current(): Life | undefined {
    return this.#current
  }

  /** Of the last life that was ready. */
  access(): GatewayAccess {
    const file = join(this.#options.dir, '.trunkline', 'dev.json')
    return JSON.parse(readFileSync(file, 'utf8')) as GatewayAccess
  }

  start(): Life {
    if (this.#current?.hasEnded === false) throw new Error('one life at a time')
    const { entry, dir, dataDir, ports, env } = this.#options
    const [http, thrift, admin] = ports.map(String) as [string, string, string]
    const args = ['--data-dir', dataDir, '--port', http, '--thrift-port', thrift, '--admin-port', admin]
    const child = spawn(process.execPath, [entry, 'dev', ...args], {
      cwd: dir,
      env: childEnv(env),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#current = lifeOf(child)
    return this.#current
  }

  /** Starts it and waits until it is ready. */
  async startReady(): Promise<Life> {
    const life = this.start()
    await life.ready
    return life
  }

  async end(): Promise<void> {
    await this.#current?.kill()
  }
}

function lifeOf(child: ChildProcess): Life {
  if (child.pid !== undefined) made('pid', child.pid)
  let output = ''
  let ended = false
  let settleReady: (problem?: string) => void = () => {}
  const ready = new Promise<void>((resolve, reject) => {
    settleReady = (problem) => {
      clearTimeout(timer)
      if (problem === undefined) resolve()
      else reject(new Error(`the gateway ${problem}:\n${output}`))
    }
  })
  const timer = setTimeout(() => settleReady('was not ready in time'), readyMsMax)
  // A life that is killed while it starts has nobody who waits for it.
  ready.catch(() => undefined)
  const exited: Life['exited'] = new Promise((resolve) => {
    const end = (code: number | null, signal: NodeJS.Signals | null, why: string): void => {
      ended = true
      if (child.pid !== undefined) undone('pid', child.pid)
      settleReady(why)
      resolve({ code, signal })
    }
    child.once('error', (error) => end(null, null, `could not be started: ${error.message}`))
    child.once('close', (code, signal) => end(code, signal, `ended (${signal ?? `code ${code}`}) before it was ready`))
  })
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      output = (output + chunk).slice(-outputBytesMax)
      if (/^Trunkline is ready/m.test(output)) settleReady()
    })
  }
  return {
    pid: child.pid ?? 0,
    ready,
    exited,
    get hasEnded() {
      return ended
    },
    output: () => output,
    signal: (name) => {
      child.kill(name)
    },
    kill: async (name = 'SIGKILL') => {
      child.kill(name)
      await exited
    },
  }
}

/** Resolves when every thread of a process that got SIGSTOP stands still: no call into the system is under way. */
export async function standsStill(pid: number): Promise<void> {
  const untilMs = performance.now() + 10_000
  for (;;) {
    const states = readdirSync(`/proc/${pid}/task`).map((task) => {
      const stat = readFileSync(`/proc/${pid}/task/${task}/stat`, 'utf8')
      return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3)
    })
    if (states.every((state) => state === 'T')) return
    if (performance.now() > untilMs) throw new Error(`process ${pid} does not stop: ${states.join('')}`)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

/** Resident memory, bytes. */
export function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kilobytes) * 1_024
}

/** Three ports that nobody listens on now (invariant 2). */
export async function freePorts(random: SeededRandom): Promise<[number, number, number]> {
  const found = new Set<number>()
  for (let tries = 0; tries < 1_000; tries++) {
    const port = 12_000 + random.below(16_000)
    if (!(await isFree(port))) continue
    found.add(port)
    const [http, thrift, admin] = found
    if (http !== undefined && thrift !== undefined && admin !== undefined) return [http, thrift, admin]
  }
  throw new Error('no free ports')
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
