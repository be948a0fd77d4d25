// Owns: the processes of a cluster (`bin/trunkline.js api` and `stream`) on a stack of brokers, for tests and the demo
// that kill, pause, stop and restart them.
// 1. None outlives the process that started it, however that one ends (SIGKILL of it excepted).
// 2. A restart listens on the very same ports.
// Leaves out: the brokers (scripts/stack), temporary folders (the caller makes and removes them).
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { childEnv } from './child-env.ts'
import { cliEntry, type Exit } from './gateway-process.ts'
import { runCli } from './run-cli.ts'

/** What `Stack` of scripts/stack has; an address of brokers that run anyway does as well. */
export interface Brokers {
  /** host:port. */
  readonly kafkaAddresses: readonly string[]
  /** amqp://user:password@host:port[/vhost], one for each shard: `shard-1`, `shard-2`, … */
  readonly rabbitUrls: readonly string[]
}

export interface Cluster {
  readonly dir: string
  /** TRUNKLINE_… variables that all processes share. */
  readonly env: Readonly<Record<string, string>>
  readonly credentials: { readonly clientId: string; readonly clientSecret: string }
  /** `name=url` of every shard. */
  readonly shards: readonly string[]
}

export interface ClusterProcessOptions {
  /** Laid over the environment and the cluster's settings: `TRUNKLINE_RABBIT_SHARDS`, … */
  readonly env?: Readonly<Record<string, string>>
  /** Arguments of node itself, before the program: `--import …`, `--cpu-prof`. */
  readonly nodeArgs?: readonly string[]
  /** Further arguments of the command: `--drain-timeout-ms`, `500`, … */
  readonly args?: readonly string[]
  /**
   * How long until it is ready. Default 60 s. 'listening': only until its admin port answers; 'announced': until it says where that is (it may speak
   * TLS); 'ended': until it has ended.
   */
  readonly until?: number | 'listening' | 'announced' | 'ended'
  /** The program, when it is not the one of this folder (crash/gateway-bundle.ts). */
  readonly entry?: string
}

export type Listener = 'admin' | 'http' | 'thrift'

export interface Health {
  readonly status: number
  readonly reasons: readonly string[]
}

export interface ClusterProcess {
  readonly role: 'api' | 'stream'
  readonly pid: number
  readonly isRunning: boolean
  /** Settles when the process that runs now has ended. */
  readonly exited: Promise<Exit>
  /** The last 256 KiB that it wrote, of all its runs. */
  output(): string
  /** Its log of this run, parsed; lines that are no JSON are left out. The last 10,000. */
  lines(): readonly Readonly<Record<string, unknown>>[]
  /** Throws until it listens there; a stream process has `admin` only. */
  url(listener: Listener): string
  /** What /health/ready answers; status 0 when nobody answers within a second. */
  health(): Promise<Health>
  /** Resolves when /health/ready answers as asked. Rejects with what it wrote when that takes longer, or when it ends. */
  untilHealth(holds: (health: Health) => boolean, withinMs?: number): Promise<Health>
  /** The text of /metrics. */
  metrics(): Promise<string>
  signal(name: NodeJS.Signals): void
  /** Sends a signal, SIGKILL by default, and waits until it has ended. */
  kill(name?: NodeJS.Signals): Promise<Exit>
  /** SIGSTOP: connections stay open and nobody answers. */
  pause(): void
  resume(): void
  /** A clean stop: SIGTERM, and SIGKILL when that takes longer than 20 s. Idempotent. */
  stop(): Promise<Exit>
  /** Starts it again on the same ports; stops it before when it runs. Options given here hold from now on. */
  restart(changed?: Pick<ClusterProcessOptions, 'env' | 'nodeArgs' | 'args' | 'until' | 'entry'>): Promise<void>
}

export interface ApiProcess extends ClusterProcess {
  readonly urls: { readonly http: string; readonly thrift: string; readonly admin: string; readonly token: string }
}

const outputCharsMax = 256 * 1024
const linesMax = 10_000
const readyMs = 60_000
const stopMs = 20_000
const pollMs = 50
const probeMs = 1_000
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** Makes the shared keys and settings of a cluster in `dir`. One copy per topic is allowed when there is one broker. */
export async function makeCluster(
  dir: string,
  brokers: Brokers,
  env: Readonly<Record<string, string>> = {},
): Promise<Cluster> {
  mkdirSync(dir, { recursive: true })
  const keys = join(dir, 'keys')
  const clientId = 'app'
  const end = await runCli(['keys', 'init', keys, '--client-id', clientId], { cwd: dir })
  if (end.code !== 0) throw new Error(`keys were not made:\n${end.stderr}`)
  const urls = brokers.rabbitUrls.map((text) => new URL(text))
  const shards = urls.map((url, index) => `shard-${index + 1}=amqp://${url.host}${url.pathname}`)
  const [first] = urls
  const passwordFile = join(dir, 'rabbit-password')
  writeFileSync(passwordFile, decodeURIComponent(first?.password ?? ''))
  chmodSync(passwordFile, 0o600)
  const single = brokers.kafkaAddresses.length < 3
  return {
    dir,
    shards,
    env: {
      TRUNKLINE_LOG_FORMAT: 'json',
      TRUNKLINE_KEYRING_FILE: join(keys, 'keyring.json'),
      TRUNKLINE_GATEWAY_KEY_FILE: join(keys, 'gateway-keys.json'),
      TRUNKLINE_SIGNING_KEY_FILE: join(keys, 'signing-key.json'),
      TRUNKLINE_CLIENTS_FILE: join(keys, 'clients.json'),
      TRUNKLINE_POLICY_FILE: join(keys, 'policy.json'),
      TRUNKLINE_KAFKA_BROKERS: brokers.kafkaAddresses.join(','),
      TRUNKLINE_RABBIT_SHARDS: shards.join(','),
      TRUNKLINE_RABBIT_USERNAME: decodeURIComponent(first?.username ?? ''),
      TRUNKLINE_RABBIT_PASSWORD_FILE: passwordFile,
      ...(single
        ? {
            TRUNKLINE_TOPIC_REPLICATION: '1',
            TRUNKLINE_TOPIC_MIN_INSYNC_REPLICAS: '1',
            TRUNKLINE_UNSAFE_TOPICS: '*',
          }
        : {}),
      ...env,
    },
    credentials: { clientId, clientSecret: readFileSync(join(keys, 'client-secret'), 'utf8').trim() },
  }
}

/** Resolves when it is ready: a shard is up and a stream node is there. */
export async function startApi(cluster: Cluster, options: ClusterProcessOptions = {}): Promise<ApiProcess> {
  const started = await startProcess(cluster, 'api', [], options)
  // Getters stay getters: a restart changes what they answer.
  return Object.defineProperty(started, 'urls', {
    enumerable: true,
    get: () => ({
      http: started.url('http'),
      thrift: started.url('thrift'),
      admin: started.url('admin'),
      token: `${started.url('http')}/oauth/token`,
    }),
  }) as ApiProcess
}

/** Resolves when it serves: the log is reachable, a shard is up. */
export async function startStream(
  cluster: Cluster,
  options: ClusterProcessOptions & { readonly nodeId: string },
): Promise<ClusterProcess> {
  return await startProcess(cluster, 'stream', ['--node-id', options.nodeId], options)
}

function nextPoll(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, pollMs))
}

interface Run {
  readonly child: ChildProcess
  readonly exited: Promise<Exit>
  readonly urls: Map<Listener, string>
  readonly lines: Readonly<Record<string, unknown>>[]
}

async function startProcess(
  cluster: Cluster,
  role: 'api' | 'stream',
  roleArgs: readonly string[],
  options: ClusterProcessOptions,
): Promise<ClusterProcess> {
  let settings = options
  let output = ''
  let ports = role === 'api' ? { admin: '0', http: '0', thrift: '0' } : { admin: '0' }
  const begin = (): Run => {
    const portArgs = Object.entries(ports).flatMap(([listener, port]) => [`--${listener}-port`, port])
    return spawnRole(cluster, [role, ...roleArgs, ...portArgs], settings, (chunk) => {
      output = (output + chunk).slice(-outputCharsMax)
    })
  }
  let run = begin()

  const awaited = async (): Promise<void> => {
    try {
      const { until = readyMs } = settings
      if (until === 'ended') await run.exited
      else if (until === 'announced') while (!run.urls.has('admin') && running.has(run.child)) await nextPoll()
      else if (until === 'listening') await clusterProcess.untilHealth(({ status }) => status !== 0)
      else await clusterProcess.untilHealth(({ status }) => status === 200, until)
    } catch (thrown) {
      run.child.kill('SIGKILL')
      await run.exited
      throw thrown
    }
  }

  const clusterProcess: ClusterProcess = {
    role,
    get pid() {
      return run.child.pid ?? 0
    },
    get isRunning() {
      return running.has(run.child)
    },
    get exited() {
      return run.exited
    },
    output: () => output,
    lines: () => run.lines,
    url: (listener) => {
      const url = run.urls.get(listener)
      if (url === undefined) throw new Error(`it does not listen for ${listener}:\n${output}`)
      return url
    },
    health: async () => {
      const url = run.urls.get('admin')
      if (url === undefined) return { status: 0, reasons: [] }
      try {
        const answer = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(probeMs) })
        const content = (await answer.json()) as { reasons?: readonly string[] }
        return { status: answer.status, reasons: content.reasons ?? [] }
      } catch {
        return { status: 0, reasons: [] }
      }
    },
    untilHealth: async (holds, withinMs = readyMs) => {
      const endMs = performance.now() + withinMs
      for (;;) {
        const health = await clusterProcess.health()
        if (holds(health)) return health
        const what = !clusterProcess.isRunning ? 'ended' : performance.now() > endMs ? 'was not so in time' : undefined
        if (what !== undefined)
          throw new Error(`${role} ${what}; health ${health.status} ${health.reasons.join(', ')}:\n${output}`)
        await nextPoll()
      }
    },
    metrics: async () => await (await fetch(`${clusterProcess.url('admin')}/metrics`)).text(),
    signal: (name) => {
      run.child.kill(name)
    },
    kill: (name = 'SIGKILL') => {
      run.child.kill(name)
      return run.exited
    },
    pause: () => {
      run.child.kill('SIGSTOP')
    },
    resume: () => {
      run.child.kill('SIGCONT')
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
      if (clusterProcess.isRunning) await clusterProcess.stop()
      settings = { ...settings, ...changed }
      ports = { ...ports, ...portsOf(run.urls) }
      run = begin()
      await awaited()
    },
  }
  await awaited()
  return clusterProcess
}

function spawnRole(
  cluster: Cluster,
  args: readonly string[],
  options: ClusterProcessOptions,
  note: (chunk: string) => void,
): Run {
  const { entry = cliEntry } = options
  const child = spawn(process.execPath, [...(options.nodeArgs ?? []), entry, ...args, ...(options.args ?? [])], {
    cwd: cluster.dir,
    env: childEnv({ ...cluster.env, ...options.env }),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.add(child)
  const urls = new Map<Listener, string>()
  const lines: Readonly<Record<string, unknown>>[] = []
  let rest = ''
  const keep = (chunk: string): void => {
    note(chunk)
    const texts = (rest + chunk).split('\n')
    rest = texts.pop() ?? ''
    for (const text of texts) {
      const line = parsedLine(text)
      if (line === undefined) continue
      if (lines.length >= linesMax) lines.shift()
      lines.push(line)
      const { message, listener, url } = line
      if (message === 'listening' && isListener(listener) && typeof url === 'string') urls.set(listener, url)
    }
  }
  child.stderr.setEncoding('utf8').on('data', keep)
  child.stdout.setEncoding('utf8').on('data', note)
  const exited = new Promise<Exit>((resolve) => {
    child.once('error', (error) => {
      running.delete(child)
      note(`could not be started: ${error.message}\n`)
      resolve({ code: null, signal: null })
    })
    // 'close' and not 'exit': its last words have been read by then.
    child.once('close', (code, signal) => {
      running.delete(child)
      resolve({ code, signal })
    })
  })
  return { child, exited, urls, lines }
}

function parsedLine(text: string): { readonly [name: string]: unknown } | undefined {
  if (!text.startsWith('{')) return undefined
  try {
    return JSON.parse(text) as { readonly [name: string]: unknown }
  } catch {
    // A line of something else.
    return undefined
  }
}

function isListener(value: unknown): value is Listener {
  return value === 'admin' || value === 'http' || value === 'thrift'
}

function portsOf(urls: ReadonlyMap<Listener, string>): Readonly<Record<string, string>> {
  return Object.fromEntries([...urls].map(([listener, url]) => [listener, new URL(url).port]))
}
