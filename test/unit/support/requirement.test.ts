// Tests that need something of the machine: skipped with a reason, or failing where nothing may be skipped.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const repository = fileURLToPath(new URL('../../../', import.meta.url))
let root = ''

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'trunkline-requirement-'))
  writeFileSync(
    join(root, 'a.test.ts'),
    `import { requirement } from '${repository}test/support/requirement.ts'
     const missing = requirement('root', () => 'uid is 1000')
     missing.it('mounts', () => { throw new Error('must not run') })
     missing.describe('a disk', () => { throw new Error('must not run') })
     requirement('a probe that throws', () => { throw new Error('no such program') }).it('calls it', () => {})
     requirement('air', () => true).it('breathes', () => {})
    `,
  )
})
afterEach(() => rmSync(root, { recursive: true }))

function run(requireStack: string): { status: number | null; passed: number; report: readonly unknown[] } {
  const report = join(root, 'report.ndjson')
  const vitest = join(repository, 'node_modules/vitest/vitest.mjs')
  const { status, stdout } = spawnSync(process.execPath, [vitest, 'run', '--root', root, '--reporter=json'], {
    encoding: 'utf8',
    env: { ...process.env, TRUNKLINE_SKIP_REPORT: report, TRUNKLINE_REQUIRE_STACK: requireStack },
  })
  const { numPassedTests }: { numPassedTests: number } = JSON.parse(stdout)
  const lines = existsSync(report) ? readFileSync(report, 'utf8').trimEnd().split('\n') : []
  return { status, passed: numPassedTests, report: lines.map((line): unknown => JSON.parse(line)) }
}

describe('a test whose requirement is missing', () => {
  it('is skipped, and the report says why', () => {
    expect(run('')).toEqual({
      status: 0,
      passed: 1,
      report: [
        { requirement: 'root', reason: 'uid is 1000', title: 'mounts' },
        { requirement: 'root', reason: 'uid is 1000', title: 'a disk' },
        { requirement: 'a probe that throws', reason: 'no such program', title: 'calls it' },
      ],
    })
  })

  it('fails where everything has to run', () => {
    expect(run('1')).toEqual({ status: 1, passed: 1, report: [] })
  })
})
