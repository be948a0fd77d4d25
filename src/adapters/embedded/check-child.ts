// Owns: the child process of check.ts. Arguments: the folder, and a verifier module's URL if there is one.
import type { CheckMessage } from './check.ts'
import { type VerifyRecord, walkDataDir } from './walk.ts'

const [dir, verifierUrl] = process.argv.slice(2)
if (dir === undefined) throw new Error('a folder is missing')

const verifyRecord = verifierUrl === undefined ? undefined : await loadVerifier(verifierUrl)
const report = await walkDataDir(dir, {
  ...(verifyRecord === undefined ? {} : { verifyRecord }),
  onProgress: (where) => tell({ kind: 'progress', where }),
})
// The channel is closed by this process alone, when the parent has it all.
process.send?.({ kind: 'report', report } satisfies CheckMessage, () => process.disconnect())

function tell(message: CheckMessage): void {
  process.send?.(message)
}

async function loadVerifier(url: string): Promise<VerifyRecord> {
  const loaded: unknown = await import(url)
  if (typeof loaded !== 'object' || loaded === null || !('verifyRecord' in loaded)) {
    throw new Error('the verifier module exports no verifyRecord')
  }
  if (typeof loaded.verifyRecord !== 'function') throw new Error('verifyRecord is no function')
  return loaded.verifyRecord as VerifyRecord
}
