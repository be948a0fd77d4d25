// Owns: Python environments of tests, each with a few pinned packages.
// 1. One is made aside and renamed, so that a broken one is never used, and kept for later runs.
import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'

export interface PythonVenv {
  readonly python: string
  /** True, or why there is none. Makes it when it is missing. */
  prepare(): true | string
}

const installMs = 180_000

/** `packages` as pip takes them, with versions. `folder`: one that was made elsewhere. */
export function pythonVenv(packages: readonly string[], folder?: string): PythonVenv {
  const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache')
  const venv = folder ?? join(cache, 'trunkline', `python-${packages.join('-').replaceAll('=', '-')}`)
  const python = join(venv, 'bin', 'python')
  const prepare = (): true | string => {
    if (existsSync(python)) return true
    const aside = `${venv}.${process.pid}`
    mkdirSync(dirname(venv), { recursive: true })
    try {
      if (run('python3', '-m', 'venv', aside).status !== 0) return 'no python3 with venv (Debian: python3-venv)'
      const pip = [join(aside, 'bin', 'python'), '-m', 'pip', 'install', '--quiet', '--no-input'] as const
      if (run(...pip, ...packages).status !== 0) return `pip could not install ${packages.join(', ')}`
      if (!existsSync(venv)) renameSync(aside, venv)
      return true
    } finally {
      rmSync(aside, { recursive: true, force: true })
    }
  }
  return { python, prepare }
}

function run(command: string, ...args: readonly string[]): SpawnSyncReturns<string> {
  return spawnSync(command, args, { encoding: 'utf8', timeout: installMs })
}
