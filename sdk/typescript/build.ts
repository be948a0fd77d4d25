// Owns: dist of @trunkline/client: one ESM and one CommonJS bundle with the protocol and the client machine inside
// (xstate stays a dependency), and self-contained type declarations for both.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const here = dirname(fileURLToPath(import.meta.url))
const dist = join(here, 'dist')
rmSync(dist, { recursive: true, force: true })

for (const format of ['esm', 'cjs'] as const) {
  await build({
    entryPoints: [join(here, 'src/index.ts')],
    outfile: join(dist, format, 'index.js'),
    bundle: true,
    format,
    platform: 'node',
    target: 'node20.19',
    external: ['xstate'],
    sourcemap: true,
    sourcesContent: false,
    logLevel: 'warning',
  })
}

const require = createRequire(import.meta.url)
const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin/tsc')
execFileSync(process.execPath, [tsc, '-p', join(here, 'tsconfig.types.json')], { stdio: 'inherit' })
for (const entry of readdirSync(join(dist, 'esm/types'), { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !entry.name.endsWith('.d.ts')) continue
  const file = join(entry.parentPath, entry.name)
  // Declarations keep the extension of the sources; the files beside them are named otherwise.
  const text = readFileSync(file, 'utf8').replace(/((?:from|import\()\s*['"]\.{1,2}\/[^'"]+)\.ts(['"])/g, '$1.js$2')
  writeFileSync(file, text)
}
cpSync(join(dist, 'esm/types'), join(dist, 'cjs/types'), { recursive: true })
mkdirSync(join(dist, 'cjs'), { recursive: true })
writeFileSync(join(dist, 'cjs/package.json'), '{ "type": "commonjs" }\n')
