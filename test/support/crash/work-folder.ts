// Owns: temporary folders of the crash tests; gone with the test's process at the latest (janitor.ts).
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { made, undone } from './janitor.ts'

export interface WorkFolder {
  readonly dir: string
  /** Idempotent. */
  readonly remove: () => void
}

export function workFolder(name: string): WorkFolder {
  const dir = mkdtempSync(join(tmpdir(), `trunkline-${name}-`))
  made('dir', dir)
  return {
    dir,
    remove: () => {
      rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
      undone('dir', dir)
    },
  }
}
