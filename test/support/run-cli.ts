// Owns: one command of `trunkline` in a process of its own, for tests: input, signals, what it printed, how it ended.

import { type ChildProcess, spawn } from 'node:child_process'
import { childEnv } from './child-env.ts'
import { cliEntry, type Exit } from './gateway-process.ts'

export interface CliOptions {
  /** Where it runs; commands find the gateway of this folder. */
  readonly cwd: string
  /** Default: nothing, and closed at once. `{ open: true }` leaves it open for `write`. */
  readonly stdin?: string | Uint8Array | { readonly open: true }
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Default: read and kept. 'held': nobody reads on behind the first chunk until `drain`. */
  readonly stdout?: 'held'
}

export interface CliEnd extends Exit {
  readonly stdout: string
  readonly stderr: string
}

export interface RunningCli {
  /** When the process has ended and everything it wrote was read. */
  readonly ended: Promise<CliEnd>
  /** When the process has ended; what it wrote may still wait in the pipe. */
  readonly exited: Promise<Exit>
  readonly pid: number
  stdout(): string
  stderr(): string
  write(text: string): void
  /** Ends stdin. */
  closeStdin(): void
  signal(name: NodeJS.Signals): void
  /** Resolves when `holds` is true of what was printed so far; rejects when it ends before. */
  until(holds: (printed: { readonly stdout: string; readonly stderr: string }) => boolean): Promise<void>
  /** Reads stdout again. */
  drain(): void
}

const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

export function startCli(args: readonly string[], options: CliOptions): RunningCli {
  const child = spawn(process.execPath, [cliEntry, ...args], {
    cwd: options.cwd,
    env: childEnv(options.env),
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
  child.stdout.setEncoding('utf8').on('data', keep('stdout'))
  if (options.stdout === 'held') child.stdout.once('data', () => child.stdout.pause())
  child.stderr.setEncoding('utf8').on('data', keep('stderr'))
  // A command that ends before it has read its input is no fault of the test.
  child.stdin.on('error', () => undefined)
  const { stdin = '' } = options
  if (typeof stdin === 'string' || stdin instanceof Uint8Array) child.stdin.end(stdin)

  const ended = new Promise<CliEnd>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      running.delete(child)
      over = true
      resolve({ code, signal, ...printed })
      wake()
    })
  })
  const exited = new Promise<Exit>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }))
  })
  return {
    ended,
    exited,
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
    drain: () => child.stdout.resume(),
  }
}

export function runCli(args: readonly string[], options: CliOptions): Promise<CliEnd> {
  return startCli(args, options).ended
}
