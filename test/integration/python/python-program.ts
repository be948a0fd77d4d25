// Owns: a Python program beside a test: it says what it saw as lines of JSON, and asks for what it cannot do itself.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { python } from './toolchain.ts'

const here = fileURLToPath(new URL('.', import.meta.url))

/** What one act saw; `act` names it. */
export type Seen = Readonly<Record<string, unknown>>

export interface PythonRun {
  readonly args: readonly string[]
  /** Folder of the generated code. */
  readonly generated: string
  /** Does what the program asks for; it goes on afterwards. Default: it asks for nothing. */
  readonly onAsk?: (what: string) => Promise<void>
}

/** Runs one of the programs in this folder. Rejects with its stderr when it fails. */
export async function runPython(program: string, { args, generated, onAsk }: PythonRun): Promise<string[]> {
  const child = spawn(python, [program, ...args], {
    cwd: here,
    env: { ...process.env, PYTHONPATH: generated, PYTHONDONTWRITEBYTECODE: '1', PYTHONIOENCODING: 'utf-8' },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    errors = (errors + chunk).slice(-16_384)
  })
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  const lines: string[] = []
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      const asked = askedBy(line)
      if (asked === undefined) lines.push(line)
      else {
        if (onAsk === undefined) throw new Error(`nobody does what the program asks for: ${asked}`)
        await onAsk(asked)
        child.stdin.write('done\n')
      }
    }
    const code = await ended
    if (code !== 0) throw new Error(`${program} ended with ${code}:\n${lines.join('\n')}\n${errors}`)
    return lines
  } finally {
    child.kill('SIGKILL')
  }
}

export function seenIn(lines: readonly string[]): Seen[] {
  return lines.map((line) => JSON.parse(line) as Seen)
}

function askedBy(line: string): string | undefined {
  if (!line.startsWith('{"ask"')) return undefined
  return String((JSON.parse(line) as Seen)['ask'])
}
