// Owns: one command of `trunkline` in a process of its own, for tests: input, signals, what it printed, how it ended.
import { type ChildProcess, spawn } from 'node:child_process'
import { cliEntry, type Exit } from './gateway-process.ts'

export interface CliOptions {
  /** Where it runs; commands find the gateway of this folder. */
  readonly cwd: string
  /** Default: nothing, and closed at once. 'open' leaves it open for `write`. */
  readonly stdin?: string | Uint8Array | 'open'
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Default: read and kept. 'unread' is a pipe that nobody reads until `drain`. */
  readonly stdout?: 'unread'
}

export interface CliEnd extends Exit {
  readonly stdout: string
  readonly stderr: string
}

export interface RunningCli {
  readonly ended: Promise<CliEnd>
  readonly pid: number
  stdout(): string
  stderr(): string
  write(text: string): void
  /** Ends stdin. */
  closeStdin(): void
  signal(name: NodeJS.Signals): void
  /** Resolves when `holds` is true of what was printed so far; rejects when it ends before. */
  until(holds: (printed: { readonly stdout: string; readonly stderr: string }) => boolean): Promise<void>
  /** Reads stdout from now on. */
  drain(): void
  /** Closes our end of stdout. */
  closeStdout(): void
}

const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

export function startCli(args: readonly string[], options: CliOptions): RunningCli {
  const { TRUNKLINE_URL: _, TRUNKLINE_CLIENT_ID: __, TRUNKLINE_CLIENT_SECRET_FILE: ___, ...inherited } = process.env
  const child = spawn(process.execPath, [cliEntry, ...args], {
    cwd: options.cwd,
    env: { ...inherited, ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  running.add(child)
  const printed = { stdout: '', stderr: '' }
  let over = false
  const waiters: (() => void)[] = []
  const wake = (): void => {
    for (const waiter of waiters.splice(0)) waiter()
  }
  const keep = (name: 'stdout' | 'stderr') => (chunk: string) => {
    printed[name] += chunk
    wake()
  }
  const drain = (): void => {
    child.stdout.setEncoding('utf8').on('data', keep('stdout'))
  }
  if (options.stdout !== 'unread') drain()
  child.stderr.setEncoding('utf8').on('data', keep('stderr'))
  // A command that ends before it has read its input is no fault of the test.
  child.stdin.on('error', () => undefined)
  if (options.stdin !== 'open') child.stdin.end(options.stdin ?? '')

  const ended = new Promise<CliEnd>((resolve, reject) => {
    child.once('error', reject)
    // 'exit' and not 'close' when nobody reads stdout: the pipe stays open.
    child.once(options.stdout === 'unread' ? 'exit' : 'close', (code, signal) => {
      running.delete(child)
      over = true
      resolve({ code, signal, ...printed })
      wake()
    })
  })
  return {
    ended,
    pid: child.pid ?? 0,
    stdout: () => printed.stdout,
    stderr: () => printed.stderr,
    write: (text) => child.stdin.write(text),
    closeStdin: () => child.stdin.end(),
    signal: (name) => child.kill(name),
    until: async (holds) => {
      while (!holds(printed)) {
        if (over) throw new Error(`it ended before:\n${printed.stdout}\n${printed.stderr}`)
        await new Promise<void>((resolve) => waiters.push(resolve))
      }
    },
    drain,
    closeStdout: () => child.stdout.destroy(),
  }
}

export function runCli(args: readonly string[], options: CliOptions): Promise<CliEnd> {
  return startCli(args, options).ended
}
