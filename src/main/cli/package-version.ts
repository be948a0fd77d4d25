// Owns: the version of the package this code belongs to. The folders of a build are those of the source, so that one
// path holds in both.
import { readFileSync } from 'node:fs'

export function packageVersion(): string {
  const content: unknown = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))
  const version = typeof content === 'object' && content !== null && 'version' in content ? content.version : undefined
  if (typeof version !== 'string') throw new Error('package.json has no version')
  return version
}
