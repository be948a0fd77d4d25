// Owns: what a stranger without our SDK installs: the Apache Thrift compiler, and its Python runtime in a venv.
// 1. Versions are a pair that works: Debian's compiler (0.17) or a newer one, and the pinned runtime.
// 2. Nothing is installed on a machine that did not ask for it: root, and CI or TRUNKLINE_TEST_INSTALL=1.
import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { pythonVenv } from '../../support/python-venv.ts'

const runtime = 'thrift==0.24.0'
const installMs = 180_000

const venv = pythonVenv([runtime], process.env['TRUNKLINE_TEST_VENV'])

export const { python } = venv

/** True, or why Python code cannot be generated and run here. Installs what is missing (2) and makes the venv. */
export function prepareStockThrift(): true | string {
  return compilerReady() ?? venv.prepare()
}

/** Generated code of an IDL, in `folder`. */
export function generatePython(idl: string, folder: string): void {
  mkdirSync(folder, { recursive: true })
  const { status, stderr } = run('thrift', '-strict', '--gen', 'py', '-out', folder, idl)
  if (status !== 0) throw new Error(`the Thrift compiler refused ${idl}: ${stderr}`)
}

function compilerReady(): string | undefined {
  if (run('thrift', '--version').status === 0) return undefined
  const may = process.env['CI'] === 'true' || process.env['TRUNKLINE_TEST_INSTALL'] === '1'
  if (!may || process.getuid?.() !== 0) {
    return 'no Apache Thrift compiler on PATH (Debian: thrift-compiler; as root, TRUNKLINE_TEST_INSTALL=1 installs it)'
  }
  run('apt-get', 'update', '-qq')
  const { status } = run('apt-get', 'install', '-y', '-qq', '--no-install-recommends', 'thrift-compiler')
  return status === 0 ? undefined : 'no Apache Thrift compiler on PATH, and apt-get could not install thrift-compiler'
}

function run(command: string, ...args: readonly string[]): SpawnSyncReturns<string> {
  return spawnSync(command, args, {
    encoding: 'utf8',
    timeout: installMs,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  })
}
