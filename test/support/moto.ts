// Owns: a moto server (https://docs.getmoto.org), which answers AWS's own API: KMS without an account.
// pip installs it once into an environment of its own; TRUNKLINE_MOTO_VENV names one that was made elsewhere.
import { type ChildProcess, spawn } from 'node:child_process'
import { childEnv } from './child-env.ts'
import { pythonVenv } from './python-venv.ts'
import { requirement } from './requirement.ts'

const venv = pythonVenv(['moto[server,kms]==5.2.5'], process.env['TRUNKLINE_MOTO_VENV'])

export const motoServer = requirement('moto_server', () => venv.prepare())

export interface Moto {
  readonly url: string
  stop(): Promise<void>
}

const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** On a free port of loopback. Rejects with what it wrote when it ends before it listens. */
export function startMoto(): Promise<Moto> {
  const args = ['-m', 'moto.server', '-H', '127.0.0.1', '-p', '0']
  const child = spawn(venv.python, args, { env: childEnv({}), stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => {
      running.delete(child)
      resolve()
    })
  })
  return new Promise((resolve, reject) => {
    let written = ''
    const look = (chunk: string): void => {
      if (written.length < 64 * 1024) written += chunk
      const url = /Running on (http:\/\/127\.0\.0\.1:\d+)/.exec(written)?.[1]
      if (url !== undefined)
        resolve({
          url,
          stop: () => {
            child.kill()
            return ended
          },
        })
    }
    child.stdout.setEncoding('utf8').on('data', look)
    child.stderr.setEncoding('utf8').on('data', look)
    child.once('error', reject)
    void ended.then(() => reject(new Error(`moto_server ended:\n${written}`)))
  })
}
