// Owns: `npm test`. Runs every test that this machine can run (arguments go to vitest: projects, files,
// names) and ends with what was skipped and why.
// 1. A skip without a stated requirement is listed too: nothing is left out in silence.
// 2. With TRUNKLINE_REQUIRE_STACK=1 any skip fails the run.
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describeSkips, parseSkipLines, skippedTests } from './skip-report.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'trunkline-test-'))
const skipReport = join(folder, 'skips.ndjson')
const results = join(folder, 'results.json')

try {
  const status = await runVitest()
  const lines = parseSkipLines(readIfThere(skipReport))
  const text = readIfThere(results)
  // A name given on the command line leaves out the rest on purpose.
  const filtered = process.argv.some((argument) => /^(-t|--testNamePattern)(=|$)/.test(argument))
  const skips = describeSkips(lines, filtered || text === '' ? [] : skippedTests(JSON.parse(text), root))
  process.stdout.write(
    skips.length === 0 ? '\nSkipped: (none)\n' : `\nSkipped:\n${skips.map((skip) => `  ${skip}\n`).join('')}`,
  )
  if (text !== '') process.stdout.write(`\n${closingLine(JSON.parse(text))}\n`)
  const strict = process.env['TRUNKLINE_REQUIRE_STACK'] === '1' && skips.length > 0
  if (strict) process.stdout.write('TRUNKLINE_REQUIRE_STACK=1: a skip is a failure\n')
  process.exitCode = status === 0 && strict ? 1 : status
} finally {
  rmSync(folder, { recursive: true, force: true })
}

function runVitest(): Promise<number> {
  const entry = join(root, 'node_modules', 'vitest', 'vitest.mjs')
  const ownReporter = `--reporter=${join(root, 'scripts', 'second-tries.ts')}`
  const reporters = ['--reporter=default', ownReporter, '--reporter=json', `--outputFile.json=${results}`]
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [entry, 'run', ...reporters, ...process.argv.slice(2)], {
      cwd: root,
      stdio: 'inherit',
      env: { ...process.env, TRUNKLINE_SKIP_REPORT: skipReport },
    })
    // The terminal sends its interrupt to both: wait for the child to end, which then says what was skipped.
    process.on('SIGINT', () => {})
    process.on('SIGTERM', () => child.kill('SIGTERM'))
    child.on('error', reject)
    child.on('close', (code, signal) => resolve(code ?? (signal === null ? 1 : 128 + constants.signals[signal])))
  })
}

/** One line that a machine can read. */
function closingLine(results: unknown): string {
  const counts: Readonly<Record<string, unknown>> = { ...(typeof results === 'object' ? results : {}) }
  const number = (name: string): number => (typeof counts[name] === 'number' ? counts[name] : 0)
  const skipped = number('numPendingTests') + number('numTodoTests')
  return `${number('numPassedTests')} passed, ${number('numFailedTests')} failed, ${skipped} skipped`
}

function readIfThere(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}
