// Owns: `trunkline check` of a folder, as a person would run it.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { repositoryRoot } from '../mutants.mjs'

/** Empty when nothing is wrong, otherwise what it said. No gateway needs to run. */
export function checkFolder(dataDir: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(repositoryRoot, 'bin', 'trunkline.js'), 'check', dataDir], {
      cwd: repositoryRoot,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 120_000,
      killSignal: 'SIGKILL',
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        output += chunk
      })
    }
    child.once('error', reject)
    child.once('close', (code, signal) => resolve(code === 0 ? '' : `${signal ?? `exit code ${code}`}: ${output}`))
  })
}
