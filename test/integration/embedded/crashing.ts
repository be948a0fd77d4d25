// Owns: running crash-child.ts: a process that appends until it is killed, and what it told by then.
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'

export interface Landed {
  readonly partition: number
  readonly n: number
  readonly offset: number
}

export interface Appending {
  readonly child: ChildProcessByStdio<null, Readable, null>
  /** Settles when the log is open in the child, or the child has ended. */
  readonly opened: Promise<void>
  /** Settles when the child has ended and its pipe is read. */
  readonly ended: Promise<void>
  /** What it has told so far; a line that was cut off was not told. */
  landed(): readonly Landed[]
}

/** Runs with the mutant that TRUNKLINE_MUTANT names, if there is one. */
export function startAppending(dir: string, first: number): Appending {
  const loader = new URL('../../support/mutant-loader.mjs', import.meta.url).href
  const entry = fileURLToPath(new URL('crash-child.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', loader, '--import', 'tsx', entry, dir, String(first)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  const opened = new Promise<void>((resolve) => {
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      resolve()
    })
    child.once('exit', () => resolve())
  })
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => resolve())
  })
  const landed = (): readonly Landed[] =>
    text
      .slice(0, Math.max(0, text.lastIndexOf('\n')))
      .split('\n')
      .slice(1)
      .map(parseLine)
  return { child, opened, ended, landed }
}

function parseLine(line: string): Landed {
  const [partition, n, offset] = line.split(' ').map(Number)
  if (partition === undefined || n === undefined || offset === undefined) throw new Error(`a strange line: ${line}`)
  return { partition, n, offset }
}
