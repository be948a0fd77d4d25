// Owns: breaking the source on purpose inside vitest. With TRUNKLINE_MUTANT set, the modules that the
// mutant names are changed while they are loaded. Child processes use mutant-loader.mjs.
import { relative, sep } from 'node:path'
import type { Plugin } from 'vitest/config'
import { activeMutant, mutate, repositoryRoot } from './mutants.mjs'

/** A vitest plugin that does nothing unless TRUNKLINE_MUTANT names a mutant of test/mutants.json. */
export function mutantPlugin(): Plugin {
  const mutant = activeMutant()
  return {
    name: 'trunkline-mutant',
    // Before TypeScript is stripped: `find` is written against the source as it stands.
    enforce: 'pre',
    transform(code, id) {
      if (mutant === undefined) return null
      const path = id.split('?', 1)[0] ?? id
      const mutated = mutate(mutant, relative(repositoryRoot, path).split(sep).join('/'), code)
      return mutated === undefined ? null : { code: mutated, map: null }
    },
  }
}
