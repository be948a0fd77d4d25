// The import rules: each wrong direction is found, and a run that looks at nothing fails.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const script = fileURLToPath(new URL('../../../scripts/check-imports.mjs', import.meta.url))
let root = ''

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'trunkline-imports-'))
})
afterEach(() => rmSync(root, { recursive: true }))

function check(files: Readonly<Record<string, string>>): { status: number | null; faults: string[] } {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  const { status, stderr } = spawnSync(process.execPath, [script, root], { encoding: 'utf8' })
  return { status, faults: stderr.trimEnd().split('\n') }
}

const value = 'export const value = 1\nexport type Value = 1\n'
const uses = (path: string): string => `export { value } from '${path}'\n`
const usesType = (path: string): string => `import type { Value } from '${path}'\nexport type Used = Value\n`

describe('the import rules', () => {
  it('let every allowed direction pass', () => {
    const { status } = check({
      'src/protocol/a.ts': value,
      'src/ports/a.ts': uses('../protocol/a.ts'),
      'src/fsm/client/a.ts': uses('../../ports/a.ts'),
      'src/stream-tier/a.ts': uses('../fsm/client/a.ts'),
      'src/adapters/lmdb/a.ts': uses('../../ports/a.ts'),
      'src/main/a.ts': uses('../adapters/lmdb/a.ts') + usesType('../stream-tier/a.ts'),
      'src/main/cli/a.ts': uses('../../../sdk/typescript/src/a.ts'),
      'sdk/typescript/src/a.ts': uses('../../../src/fsm/client/a.ts'),
    })
    expect(status).toBe(0)
  })

  it('find every wrong direction, of values and of types', () => {
    const { status, faults } = check({
      'src/protocol/a.ts': value,
      'src/protocol/b.ts': usesType('../ports/a.ts'),
      'src/ports/a.ts': value,
      'src/fsm/client/a.ts': value,
      'src/fsm/server/a.ts': value,
      'src/fsm/client/b.ts': uses('../server/a.ts'),
      'src/api-tier/a.ts': `export async function load(): Promise<void> {\n  await using _ = await import('../stream-tier/a.ts')\n}\n`,
      'src/stream-tier/a.ts': value,
      'src/stream-tier/b.ts': usesType('../adapters/kafka/a.ts'),
      'src/adapters/kafka/a.ts': value,
      'src/adapters/lmdb/a.ts': uses('../kafka/a.ts'),
      'src/main/a.ts': uses('../../sdk/typescript/src/a.ts'),
      'sdk/typescript/src/a.ts': uses('../../../src/ports/a.ts'),
    })
    expect(status).toBe(1)
    expect(faults.map((fault) => fault.replace(/ .*/, '')).sort()).toEqual([
      'adapters-stand-alone:',
      'api-tier-imports:',
      'client-machine-stands-alone:',
      'only-the-command-line-uses-the-sdk:',
      'protocol-imports:',
      'sdk-imports:',
      'stream-tier-imports:',
    ])
  })

  it('find packages where there may be none, and cycles', () => {
    const { faults } = check({
      'src/protocol/a.ts': `import { open } from 'no-such-package'\nexport { b } from './b.ts'\nexport const a = open\n`,
      'src/protocol/b.ts': `export { a } from './a.ts'\nexport const b = 1\n`,
    })
    expect(faults.join('\n')).toMatch(/no-cycles/)
    expect(faults.join('\n')).toMatch(/no-such-package/)
  })

  it('fail when nothing was looked at', () => {
    expect(check({ 'src/protocol/readme.md': '' })).toEqual({
      status: 1,
      faults: ['no source file found', 'no import found'],
    })
  })
})
