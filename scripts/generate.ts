// Owns: `npm run generate`. Makes every checked-in file that is derived from another; with `--check`
// it writes nothing and fails when one is stale. The files are plain functions of their sources.
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { policySchemaText } from '../src/api-tier/authorize/policy-schema.ts'
import { configurationPage } from '../src/config/configuration-page.ts'
import { metricsPage } from '../src/observability/metrics-page.ts'
import { drawMachinePage } from './draw-machine.ts'
import { catalogFiles, parseCatalog } from './error-catalog.ts'
import { type GeneratedFile, staleFiles, writeFiles } from './generated-file.ts'
import { drawnMachines } from './machines.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

function allFiles(): readonly GeneratedFile[] {
  const catalog = parseCatalog(readFileSync(`${root}idl/errors.json`, 'utf8'))
  return [
    ...catalogFiles(catalog),
    { path: 'docs/configuration.md', text: configurationPage() },
    { path: 'docs/metrics.md', text: metricsPage() },
    { path: 'docs/policy.schema.json', text: policySchemaText() },
    ...drawnMachines.map((drawn) => ({
      path: `docs/machines/${drawn.name}.md`,
      text: drawMachinePage(drawn),
    })),
  ]
}

/** Drawings of machines that are no longer listed. */
function orphans(files: readonly GeneratedFile[]): readonly string[] {
  const folder = 'docs/machines'
  const known = new Set(files.map((file) => file.path))
  try {
    return readdirSync(root + folder)
      .map((name) => `${folder}/${name}`)
      .filter((path) => path.endsWith('.md') && !path.endsWith('/README.md') && !known.has(path))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw error
  }
}

const files = allFiles()
const left = orphans(files)
if (process.argv.includes('--check')) {
  const wrong = [...staleFiles(root, files), ...left]
  if (wrong.length > 0) {
    process.stderr.write(`stale: ${wrong.join(', ')}\nrun: npm run generate\n`)
    process.exitCode = 1
  }
} else {
  for (const path of writeFiles(root, files)) process.stdout.write(`wrote ${path}\n`)
  if (left.length > 0) {
    process.stderr.write(`no longer generated, delete: ${left.join(', ')}\n`)
    process.exitCode = 1
  }
}
