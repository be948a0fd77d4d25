// Owns: `npm run check`. Runs every `check:…` script of package.json, as many at once as there are
// processors, prints one line per step, and the output of a step only when it failed.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

interface Step {
  readonly name: string
  readonly command: string
}

interface Outcome {
  readonly failed: boolean
  readonly output: string
}

const root = fileURLToPath(new URL('..', import.meta.url))
const prefix = 'check:'

const started = performance.now()
const waiting = [...readSteps()]
let failures = 0
await Promise.all(Array.from({ length: Math.max(2, availableParallelism()) }, work))
process.stdout.write(`${failures === 0 ? 'all steps passed' : `${failures} failed`} in ${secondsSince(started)}\n`)
if (failures > 0) process.exitCode = 1

/** The longest steps come last in package.json and first here, so that the short ones fill the gaps. */
function readSteps(): readonly Step[] {
  const manifest: { scripts: Record<string, string> } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const steps = Object.entries(manifest.scripts)
    .filter(([name]) => name.startsWith(prefix))
    .map(([name, command]) => ({ name: name.slice(prefix.length), command }))
  if (steps.length === 0) throw new Error(`package.json has no ${prefix} script`)
  return steps.reverse()
}

async function work(): Promise<void> {
  for (let step = waiting.shift(); step !== undefined; step = waiting.shift()) {
    const stepStarted = performance.now()
    const { failed, output } = await run(step.command)
    if (failed) failures += 1
    process.stdout.write(
      `${failed ? 'FAIL' : 'ok  '}  ${step.name.padEnd(10)} ${secondsSince(stepStarted).padStart(7)}\n`,
    )
    if (failed) process.stdout.write(`${output.trimEnd()}\n\n`)
  }
}

function run(command: string): Promise<Outcome> {
  const bin = join(root, 'node_modules', '.bin')
  return new Promise((resolve) => {
    const child = spawn(command, {
      cwd: root,
      shell: true,
      env: { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}` },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const chunks: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk))
    child.on('error', (error) => resolve({ failed: true, output: error.message }))
    child.on('close', (code) => resolve({ failed: code !== 0, output: Buffer.concat(chunks).toString() }))
  })
}

function secondsSince(timeMs: number): string {
  return `${((performance.now() - timeMs) / 1000).toFixed(1)} s`
}
