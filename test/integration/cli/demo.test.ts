// `npm run demo` as a whole.
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { removeFolder } from '../../support/gateway-process.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))

function demo(folder: string, ...args: string[]): Promise<{ code: unknown; stdout: string }> {
  return new Promise((resolve) => {
    const command = ['--import', 'tsx', 'scripts/demo.ts', ...args]
    execFile(process.execPath, command, { cwd: root, env: { ...process.env, TMPDIR: folder } }, (error, stdout) => {
      resolve({ code: error === null ? 0 : error.code, stdout })
    })
  })
}

describe('the demo', () => {
  it('loses, doubles and reorders nothing through a SIGKILL, says so, and leaves nothing behind', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'trunkline-demo-test-'))
    const { code, stdout } = await demo(folder)
    expect(stdout).toContain('was killed with SIGKILL, with writes in flight')
    expect(stdout).toMatch(/events in +1,707 +1,507\n +events out +1,707 +1,507\n/)
    for (const name of ['lost', 'duplicates', 'out of order \\(per key\\)', 'changed']) {
      expect(stdout).toMatch(new RegExp(`^  ${name} +0 +0$`, 'm'))
    }
    expect(code).toBe(0)
    // The loader's own cache may be there.
    expect(readdirSync(folder).filter((name) => name.startsWith('trunkline-demo-'))).toEqual([])
    removeFolder(folder)
  })

  it('given an option that is none, says which there are', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'trunkline-demo-test-'))
    expect(await demo(folder, '--clutser')).toMatchObject({ code: 2, stdout: expect.stringContaining('[--cluster]') })
    removeFolder(folder)
  })
})
