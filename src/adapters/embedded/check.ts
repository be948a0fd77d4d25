// Owns: looking at a data folder from a child process: LMDB has no page checksums, so reading a damaged page may crash
// or hang the reader. Both are findings.
// 1. The folder is not changed, and a live gateway may go on using it.
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Clock } from '../../ports/clock.ts'
import type { FolderReport } from './walk.ts'

export interface CheckOptions {
  readonly clock: Clock
  /** A module that exports `verifyRecord: VerifyRecord`, to look into what the records hold. */
  readonly verifierModule?: URL
  /** Without progress for so long, the child is stopped. Default 60 s. */
  readonly stuckMs?: number
}

/** What the child tells. */
export type CheckMessage =
  | { readonly kind: 'progress'; readonly where: string }
  | { readonly kind: 'report'; readonly report: FolderReport }

const stuckMsDefault = 60_000

/** Never rejects for what lies in the folder; that is what the report is for. `findingCount` 0: nothing was found. */
export function checkDataDir(dir: string, options: CheckOptions): Promise<FolderReport> {
  const { clock, verifierModule, stuckMs = stuckMsDefault } = options
  // From source the child needs the loader that this process has; built, it is plain JavaScript.
  const fromSource = import.meta.url.endsWith('.ts')
  const entry = fileURLToPath(new URL(fromSource ? './check-child.ts' : './check-child.js', import.meta.url))
  return new Promise((resolve, reject) => {
    const child = fork(entry, [dir, ...(verifierModule === undefined ? [] : [verifierModule.href])], {
      execArgv: fromSource ? ['--import', 'tsx'] : [],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    let where = 'folder'
    let report: FolderReport | undefined
    let stuck = false
    const onStuck = (): void => {
      stuck = true
      child.kill('SIGKILL')
    }
    let timer = clock.after(stuckMs, onStuck)
    child.on('message', (message: CheckMessage) => {
      timer.cancel()
      timer = clock.after(stuckMs, onStuck)
      if (message.kind === 'progress') where = message.where
      else report = message.report
    })
    child.once('error', (error) => {
      timer.cancel()
      reject(error)
    })
    child.once('exit', (code, signal) => {
      timer.cancel()
      const how = stuck
        ? `took more than ${stuckMs} ms`
        : `ended the reading process (${signal ?? `exit code ${code}`})`
      resolve(report ?? crashed(where, `it is damaged: reading it ${how}`))
    })
  })
}

function crashed(where: string, what: string): FolderReport {
  return { topics: 0, records: 0, bytes: 0, findings: [{ where, what }], findingCount: 1 }
}
