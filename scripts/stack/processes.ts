// Owns: the processes of a stack: how they are started, found and ended.
// 1. A process is found by a mark in its environment, which its children inherit: never by a pid that was written down
//    and may be another program's by now.
// 2. Each runs in a session and process group of its own: what is typed at the terminal of this one does not reach it.
// Leaves out: Windows and macOS; /proc is asked.
import { spawn } from 'node:child_process'
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export const markName = 'TRUNKLINE_STACK_NODE'

export interface RunningProcess {
  readonly pid: number
  readonly program: string
  readonly isPaused: boolean
}

export interface Launch {
  /** The folder of the node: its mark, and where its log is. */
  readonly folder: string
  readonly program: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

const pollMs = 20
const killMs = 10_000
const tailBytesMax = 4096

/** Starts a program that outlives this one. Its output goes to the node's log. */
export async function launch({ folder, program, args, env = {} }: Launch): Promise<void> {
  const log = openSync(logFile(folder), 'a', 0o600)
  try {
    const child = spawn(program, args, {
      cwd: folder,
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...basicEnv(), ...env, [markName]: folder },
    })
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', (error) => reject(new Error(`${program} could not be started: ${error.message}`)))
    })
    child.unref()
  } finally {
    closeSync(log)
  }
}

/** Nothing of ours but what finds programs and shows text: no option of this process reaches a broker. */
export function basicEnv(): Record<string, string> {
  const names = ['PATH', 'HOME', 'LANG', 'JAVA_HOME', 'TMPDIR']
  return Object.fromEntries(
    names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  )
}

/** All processes of a node, oldest first; empty when it is dead. */
export function processesOf(folder: string): readonly RunningProcess[] {
  const mark = `\0${markName}=${folder}\0`
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && `\0${readOrEmpty(`/proc/${pid}/environ`)}\0`.includes(mark))
    .sort((a, b) => a - b)
    .map((pid) => {
      // `pid (program) state …`; the program's name may hold anything.
      const [, program = '', state = ''] = /^\d+ \((.*)\) (\S)/s.exec(readOrEmpty(`/proc/${pid}/stat`)) ?? []
      return { pid, program, isPaused: state === 'T' }
    })
}

/** Sends a signal to every process of a node; says whether there was any. */
export function signalAll(folder: string, signal: NodeJS.Signals): boolean {
  const found = processesOf(folder)
  for (const { pid } of found) signalOne(pid, signal)
  return found.length > 0
}

/** SIGKILL, and waits until nothing is left. */
export async function killAll(folder: string): Promise<void> {
  // Again and again: what was forked while we looked is found the next time.
  const gone = await holds(() => !signalAll(folder, 'SIGKILL'), killMs)
  if (!gone) throw new Error(`processes of ${folder} do not end: ${processesOf(folder).length} are left`)
}

/** SIGTERM to one, SIGKILL to what is left of the node after `graceMs`. */
export async function endAll(folder: string, pid: number | undefined, graceMs: number): Promise<void> {
  if (pid !== undefined) signalOne(pid, 'SIGTERM')
  await holds(() => processesOf(folder).length === 0, graceMs)
  await killAll(folder)
}

/** Asks until it holds; false when it does not within `waitMs`. */
export async function holds(
  condition: () => boolean | Promise<boolean>,
  waitMs: number,
  everyMs = pollMs,
): Promise<boolean> {
  const deadline = performance.now() + waitMs
  while (!(await condition())) {
    if (performance.now() > deadline) return false
    await sleep(everyMs)
  }
  return true
}

export function logFile(folder: string): string {
  return join(folder, 'log.txt')
}

/** The last few KiB of a node's log. */
export function logTail(folder: string): string {
  let file: number
  try {
    file = openSync(logFile(folder), 'r')
  } catch {
    return '(it has no log)'
  }
  try {
    const start = Math.max(0, statSync(logFile(folder)).size - tailBytesMax)
    const buffer = Buffer.alloc(tailBytesMax)
    return buffer.toString('utf8', 0, readSync(file, buffer, 0, tailBytesMax, start))
  } finally {
    closeSync(file)
  }
}

function signalOne(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** A process may end while it is looked at, and those of other users are none of ours. */
function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
