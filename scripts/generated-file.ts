// Owns: comparing and writing generated files. `--check` reports what is stale and writes nothing.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

export interface GeneratedFile {
  /** From the root of the repository. */
  readonly path: string
  readonly text: string
}

/** Paths whose text on disk is not what the generator makes now. */
export function staleFiles(root: string, files: readonly GeneratedFile[]): readonly string[] {
  return files.filter((file) => currentText(join(root, file.path)) !== file.text).map((file) => file.path)
}

/** Writes only what changed, so that watchers stay quiet; answers the paths it wrote. */
export function writeFiles(root: string, files: readonly GeneratedFile[]): readonly string[] {
  const stale = new Set(staleFiles(root, files))
  for (const file of files) {
    if (!stale.has(file.path)) continue
    const path = join(root, file.path)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, file.text)
  }
  return [...stale]
}

function currentText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
