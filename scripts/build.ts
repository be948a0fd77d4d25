// Owns: `npm run build`: src as JavaScript in dist, with the folders of the repository kept, so that
// relative paths to package.json hold in both.
import { spawnSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

rmSync('dist', { recursive: true, force: true })
const { status } = spawnSync('node_modules/.bin/tsc', ['-p', 'tsconfig.build.json'], { stdio: 'inherit' })
if (status !== 0) process.exit(status ?? 1)

const manifest: unknown = JSON.parse(readFileSync('package.json', 'utf8'))
if (typeof manifest !== 'object' || manifest === null) throw new Error('package.json is not an object')
const { name, version, license, type }: Readonly<Record<string, unknown>> = { ...manifest }
// Last: bin/trunkline.js takes this file as the sign of a complete build.
writeFileSync('dist/package.json', `${JSON.stringify({ name, version, license, type, private: true }, null, 2)}\n`)
