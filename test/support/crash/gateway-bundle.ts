// Owns: the gateway's command line as one file, so that a process is ready in a fraction of a second: a test that kills
// it hundreds of times would wait for module loading otherwise.
// 1. What runs is the source as it stands, plus the edits of at most one mutant, each applied exactly once.
// 2. Everything lies in one temporary folder; `remove` leaves nothing.
import { copyFileSync, readFileSync, symlinkSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { build, type Plugin } from 'esbuild'
import { activeMutant, type Mutant, mutate, readMutants, repositoryRoot } from '../mutants.mjs'
import { workFolder } from './work-folder.ts'

export interface GatewayBundle {
  /** The program: `node <entry> dev …`. */
  readonly entry: string
  /** Idempotent. */
  readonly remove: () => void
}

/** With a mutant's name that defect is built in; by default the one that TRUNKLINE_MUTANT names, if any. */
export async function bundleGateway(mutantName?: string): Promise<GatewayBundle> {
  const mutant = mutantName === undefined ? activeMutant() : mutantNamed(mutantName)
  const { dir, remove } = workFolder('bundle')
  try {
    // As deep as in the repository: the program reads ../../../package.json.
    const entry = join(dir, 'src', 'main', 'cli', 'cli.mjs')
    const mutated = new Set<string>()
    await build({
      entryPoints: [join(repositoryRoot, 'src', 'main', 'cli.ts')],
      outfile: entry,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      logLevel: 'error',
      // They load native libraries that lie beside them.
      external: ['lmdb', '@node-rs/crc32'],
      // CommonJS inside a module asks for Node's own modules by require.
      banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
      plugins: mutant === undefined ? [] : [mutantLoader(mutant, mutated)],
    })
    const missed = (mutant?.edits ?? []).filter(({ file }) => !mutated.has(file))
    if (missed.length > 0) throw new Error(`mutant ${mutant?.name}: ${missed[0]?.file} is not part of the gateway`)
    copyFileSync(join(repositoryRoot, 'package.json'), join(dir, 'package.json'))
    symlinkSync(join(repositoryRoot, 'node_modules'), join(dir, 'node_modules'))
    return { entry, remove }
  } catch (thrown) {
    remove()
    throw thrown
  }
}

function mutantNamed(name: string): Mutant {
  const found = readMutants().find((mutant) => mutant.name === name)
  if (found === undefined) throw new Error(`${name} is not in test/mutants.json`)
  return found
}

function mutantLoader(mutant: Mutant, mutated: Set<string>): Plugin {
  return {
    name: 'trunkline-mutant',
    setup(esbuild) {
      esbuild.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const file = relative(repositoryRoot, path).split(sep).join('/')
        const contents = mutate(mutant, file, readFileSync(path, 'utf8'))
        if (contents === undefined) return undefined
        mutated.add(file)
        return { contents, loader: 'ts' as const }
      })
    },
  }
}
