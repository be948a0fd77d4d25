// Owns: `npm run check:imports`. Runs the rules of .dependency-cruiser.mjs and proves that they looked
// at every source file: the cruiser passes over what its parser cannot read, and says nothing.
// Plain JavaScript, since the cruiser does not find its parser when a TypeScript loader is installed.
import { existsSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Visitor } from '@swc/core/Visitor.js'
import { cruise } from 'dependency-cruiser'
import config from '../.dependency-cruiser.mjs'

// The visitor that the cruiser walks with is older than `using`: it is a declaration like any other.
// oxlint-disable-next-line typescript/unbound-method -- called with its `this` two lines below
const { visitStatement } = Visitor.prototype
Visitor.prototype.visitStatement = function (node) {
  if (node.type !== 'UsingDeclaration') return visitStatement.call(this, node)
  node.decls = this.visitVariableDeclarators(node.decls)
  return node
}

// Another root is for the test of this script.
process.chdir(process.argv[2] ?? fileURLToPath(new URL('..', import.meta.url)))

const folders = ['src', 'sdk/typescript/src'].filter((folder) => existsSync(folder))
const sources = folders.flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => `${folder}/${name}`),
)

const { forbidden, options } = config
const { output } = await cruise(folders, { ...options, ruleSet: { forbidden }, validate: true })
const edgeCount = output.modules.reduce((count, module) => count + module.dependencies.length, 0)
const faults = [...unseen(), ...output.summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`)]

for (const fault of faults) process.stderr.write(`${fault}\n`)
if (faults.length > 0) process.exitCode = 1
else process.stdout.write(`${sources.length} modules, ${edgeCount} imports\n`)

/** Files on disk that were not cruised; a run that saw no file or no import at all is a fault too. */
function unseen() {
  const seen = new Set(output.modules.map((module) => module.source))
  const missing = sources.filter((file) => !seen.has(file)).map((file) => `not looked at: ${file}`)
  if (sources.length === 0) missing.push('no source file found')
  if (edgeCount === 0) missing.push('no import found')
  return missing
}
