// Owns: how a person calls this program from a folder, for texts that can be pasted.
// 1. `npx trunkline` is suggested only inside a clone: elsewhere npx would ask a registry for a package of that name.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { shellWord } from './shell-word.ts'

const program = fileURLToPath(new URL('../../../bin/trunkline.js', import.meta.url))

/** `folder` absolute. */
export function commandName(folder: string): string {
  return isClone(folder) ? 'npx trunkline' : `node ${shellWord(program)}`
}

function isClone(folder: string): boolean {
  for (let at = folder; ; at = dirname(at)) {
    const name = packageName(join(at, 'package.json'))
    if (name !== undefined) return name === 'trunkline'
    if (dirname(at) === at) return false
  }
}

/** Undefined when there is no package. */
function packageName(path: string): unknown {
  let content: unknown
  try {
    content = JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    // No package here, or one that npm could not read either.
    return undefined
  }
  return typeof content === 'object' && content !== null && 'name' in content ? content.name : ''
}
