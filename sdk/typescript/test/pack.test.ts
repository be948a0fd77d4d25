// Owns: the tarball: it installs into an empty ESM and an empty CommonJS project, runs there, and types check there.
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const run = promisify(execFile)
const packageDir = fileURLToPath(new URL('..', import.meta.url))
const repositoryDir = fileURLToPath(new URL('../../..', import.meta.url))
const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')

const program = `
const main = async () => {
  const { connect, isTrunklineError } = await load()
  const client = connect('thrift://127.0.0.1:1', { token: 't' })
  const producer = client.producer('t', { retry: { attemptsMax: 1, backoffMsMin: 1 } })
  const error = await producer.publish({ payload: 'x' }).catch((thrown) => thrown)
  await client.close()
  console.log(isTrunklineError(error, 'UNAVAILABLE'), error.name, error.code)
}
main()
`

const typed = `
import { connect, isTrunklineError, type Position, type Batch } from '@trunkline/client'
export async function use(): Promise<Position[]> {
  const client = connect('http://127.0.0.1:7470', { clientId: 'a', clientSecret: 'b' })
  const reader = client.reader('t', { from: 'earliest', batch: { maxEvents: 1 } })
  const batch: Batch | undefined = await reader.pull()
  await batch?.ack()
  try {
    return await client.producer('t').publish([{ key: 'k', payload: new Uint8Array(1) }])
  } catch (error) {
    if (isTrunklineError(error, 'OUTCOME_UNKNOWN')) return []
    throw error
  }
}
`

let work: string
let tarball: string

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'trunkline-pack-'))
  await run(process.execPath, ['--import', 'tsx', 'build.ts'], { cwd: packageDir })
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', work], { cwd: packageDir })
  const packed = JSON.parse(stdout) as { filename: string; files: { path: string }[] }[]
  tarball = join(work, packed[0]?.filename ?? '')
  const paths = packed[0]?.files.map(({ path }) => path) ?? []
  expect(paths).toContain('README.md')
  expect(paths.filter((path) => path.startsWith('src/') || path.startsWith('test/'))).toEqual([])
})

afterAll(() => rm(work, { recursive: true, force: true }))

describe.each([
  ['ESM', 'module', "const load = () => import('@trunkline/client')"],
  ['CommonJS', 'commonjs', "const load = async () => require('@trunkline/client')"],
])('Given an empty %s project', (name, type, load) => {
  test('When the tarball is installed, then the client runs and its types check', async () => {
    const project = await mkdtemp(join(work, `${name}-`))
    await writeFile(
      join(project, 'package.json'),
      JSON.stringify({ name: 'empty', version: '1.0.0', private: true, type }),
    )
    await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts', tarball], {
      cwd: project,
    })
    await writeFile(join(project, 'program.js'), `${load}\n${program}`)
    const { stdout } = await run(process.execPath, ['program.js'], { cwd: project })
    expect(stdout.trim()).toBe('true UNAVAILABLE 1802')

    await writeFile(join(project, 'typed.ts'), typed)
    const compilerOptions = {
      module: 'nodenext',
      target: 'es2023',
      lib: ['es2023', 'esnext.disposable'],
      strict: true,
      noEmit: true,
      types: ['node'],
      typeRoots: [join(repositoryDir, 'node_modules/@types')],
    }
    await writeFile(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['typed.ts'] }))
    await run(process.execPath, [tsc, '-p', '.'], { cwd: project }).catch((failed: { stdout?: string }) => {
      throw new Error(failed.stdout ?? 'tsc failed')
    })
  })
})
