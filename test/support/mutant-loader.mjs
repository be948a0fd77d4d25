// Owns: breaking the source on purpose in a child process that runs through tsx:
//   TRUNKLINE_MUTANT=name node --import ./test/support/mutant-loader.mjs bin/trunkline.js …
// It must be imported before tsx: loaders that are registered later run earlier and hand the text of
// the file on to this one, which is what `find` is written against. Without TRUNKLINE_MUTANT it does nothing.
import { readFileSync } from 'node:fs'
import { register } from 'node:module'
import { relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'
import { activeMutant, mutate, repositoryRoot } from './mutants.mjs'

const mutant = activeMutant()

// This file is both: imported it registers itself, and inside the loader's own thread it is the hooks.
if (mutant !== undefined && isMainThread) {
  // A mutant is a change of the source: what `npm run build` left must not run instead.
  process.env.TRUNKLINE_SOURCE = '1'
  register(import.meta.url)
}

export async function load(url, context, nextLoad) {
  const loaded = await nextLoad(url, context)
  if (mutant === undefined || !url.startsWith('file:')) return loaded
  const path = fileURLToPath(url.split('?', 1)[0])
  const file = relative(repositoryRoot, path).split(sep).join('/')
  // CommonJS comes without its text: Node reads it later by itself, unless it gets it here.
  const mutated = mutate(mutant, file, String(loaded.source ?? readFileSync(path, 'utf8')))
  return mutated === undefined ? loaded : { ...loaded, source: mutated }
}
