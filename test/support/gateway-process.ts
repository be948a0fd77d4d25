// Owns: a gateway in a process of its own (`bin/trunkline.js dev`), for tests and the demo that kill, stop and restart it.
// 1. No gateway outlives the process that started it, however that one ends (SIGKILL of it excepted).
// 2. A restart listens on the very same ports and works on the very same folder.
// Leaves out: temporary folders (the caller makes and removes them), what is asked of the gateway.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { childEnv } from './child-env.ts'

export const cliEntry = fileURLToPath(new URL('../../bin/trunkline.js', import.meta.url))

export interface GatewayProcessOptions {
  /** The folder the gateway runs in: `.trunkline/dev.json` is written here. Made when it is not there. */
  readonly dir: string
  /** Default `<dir>/.trunkline/data`. */
  readonly dataDir?: string
  /** Default 0 each: any free port; a restart keeps what it got. */
  readonly ports?: Partial<GatewayPorts>
  /** Laid over the environment of this process. */
  readonly env?: Readonly<Record<string, string>>
  /** Arguments of node itself, before the program: `--import …`, `--max-old-space-size=…`. */
  readonly nodeArgs?: readonly string[]
  /** Further arguments of `trunkline dev`. */
  readonly args?: readonly string[]
  /** How long it may take until it is ready. Default 60 s. */
  readonly readyMs?: number
}

export interface GatewayPorts {
  readonly http: number
  readonly thrift: number
  readonly admin: number
}

export interface GatewayUrls {
  readonly http: string
  readonly thrift: string
  readonly admin: string
  /** Where an access token is asked for. */
  readonly token: string
}

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface GatewayProcess {
  readonly dir: string
  readonly dataDir: string
  readonly urls: GatewayUrls
  readonly ports: GatewayPorts
  readonly credentials: { readonly clientId: string; readonly clientSecret: string }
  /** Of the running process, or of the one that ran last. */
  readonly pid: number
  readonly isRunning: boolean
  /** Settles when the process that runs now has ended. */
  readonly exited: Promise<Exit>
  /** The last 64 KiB that it wrote to stdout and stderr, of all its runs. */
  output(): string
  /** Sends a signal and does not wait. */
  signal(name: NodeJS.Signals): void
  /** Sends a signal, SIGKILL by default, and waits until the process has ended. */
  kill(name?: NodeJS.Signals): Promise<Exit>
  /** A clean stop: SIGTERM, and SIGKILL when that takes longer than 20 s. Idempotent. */
  stop(): Promise<Exit>
  /** Starts it again on the same ports and folder; stops it before when it runs. Options given here hold from now on. */
  restart(changed?: Pick<GatewayProcessOptions, 'env' | 'nodeArgs' | 'args'>): Promise<void>
}

const outputBytesMax = 64 * 1024
const stopMs = 20_000
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** Resolves when the gateway is ready. Rejects with what it wrote when it ends before, or is not ready in time. */
export async function startGatewayProcess(options: GatewayProcessOptions): Promise<GatewayProcess> {
  const { dir } = options
  const dataDir = options.dataDir ?? join(dir, '.trunkline', 'data')
  mkdirSync(dir, { recursive: true })
  let settings = options
  let output = ''
  const note = (chunk: string): void => {
    output = (output + chunk).slice(-outputBytesMax)
  }
  let run = await start(settings, dataDir, settings.ports ?? {}, note)
  const ports = portsOf(run.file)

  const gateway: GatewayProcess = {
    dir,
    dataDir,
    ports,
    urls: {
      http: run.file.httpUrl,
      thrift: run.file.thriftUrl,
      admin: run.file.adminUrl,
      token: `${run.file.httpUrl}/oauth/token`,
    },
    credentials: { clientId: run.file.clientId, clientSecret: run.file.clientSecret },
    get pid() {
      return run.pid
    },
    get isRunning() {
      return running.has(run.child)
    },
    get exited() {
      return run.exited
    },
    output: () => output,
    signal: (name) => {
      run.child.kill(name)
    },
    kill: (name = 'SIGKILL') => {
      run.child.kill(name)
      return run.exited
    },
    stop: async () => {
      const timer = setTimeout(() => run.child.kill('SIGKILL'), stopMs)
      run.child.kill('SIGTERM')
      try {
        return await run.exited
      } finally {
        clearTimeout(timer)
      }
    },
    restart: async (changed = {}) => {
      if (gateway.isRunning) await gateway.stop()
      settings = { ...settings, ...changed }
      run = await start(settings, dataDir, ports, note)
    },
  }
  return gateway
}

interface Run {
  readonly child: ChildProcess
  readonly pid: number
  readonly exited: Promise<Exit>
  readonly file: DevFileContent
}

interface DevFileContent {
  readonly httpUrl: string
  readonly thriftUrl: string
  readonly adminUrl: string
  readonly clientId: string
  readonly clientSecret: string
  readonly pid: number
}

async function start(
  options: GatewayProcessOptions,
  dataDir: string,
  ports: Partial<GatewayPorts>,
  note: (chunk: string) => void,
): Promise<Run> {
  const { http = 0, thrift = 0, admin = 0 } = ports
  const given = ['--port', http, '--thrift-port', thrift, '--admin-port', admin].map(String)
  const child = spawn(
    process.execPath,
    [...(options.nodeArgs ?? []), cliEntry, 'dev', '--data-dir', dataDir, ...given, ...(options.args ?? [])],
    { cwd: options.dir, env: childEnv(options.env), stdio: ['ignore', 'pipe', 'pipe'] },
  )
  running.add(child)
  let text = ''
  let settle: (problem: string | undefined) => void = () => {}
  const ready = new Promise<string | undefined>((resolve) => {
    settle = resolve
  })
  const exited = new Promise<Exit>((resolve) => {
    child.once('error', (error) => {
      running.delete(child)
      settle(`could not be started: ${error.message}`)
      resolve({ code: null, signal: null })
    })
    // 'close' and not 'exit': its last words have been read by then.
    child.once('close', (code, signal) => {
      running.delete(child)
      settle(`ended (${signal ?? `code ${code}`}) before it was ready`)
      resolve({ code, signal })
    })
  })
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    note(chunk)
    if (text.length < outputBytesMax) text += chunk
    if (/^Trunkline is ready/m.test(text)) settle(undefined)
  })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    note(chunk)
    if (text.length < outputBytesMax) text += chunk
  })
  const timer = setTimeout(() => settle('was not ready in time'), options.readyMs ?? 60_000)
  const problem = await ready
  clearTimeout(timer)
  if (problem !== undefined) {
    child.kill('SIGKILL')
    await exited
    throw new Error(`the gateway ${problem}:\n${text}`)
  }
  const file = JSON.parse(readFileSync(join(options.dir, '.trunkline', 'dev.json'), 'utf8')) as DevFileContent
  return { child, pid: child.pid ?? 0, exited, file }
}

function portsOf(file: DevFileContent): GatewayPorts {
  const port = (url: string): number => Number(new URL(url).port)
  return { http: port(file.httpUrl), thrift: port(file.thriftUrl), admin: port(file.adminUrl) }
}

/** An access token of the gateway's own client. */
export async function accessToken(gateway: Pick<GatewayProcess, 'urls' | 'credentials'>): Promise<string> {
  const { clientId, clientSecret } = gateway.credentials
  const answer = await fetch(gateway.urls.token, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}` },
    body: new URLSearchParams({ grant_type: 'client_credentials' }),
  })
  const content = (await answer.json()) as { access_token?: string }
  if (content.access_token === undefined) throw new Error(`no access token: HTTP ${answer.status}`)
  return content.access_token
}

/** Removes a gateway's folder; the gateway has ended. */
export function removeFolder(dir: string): void {
  rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
}
