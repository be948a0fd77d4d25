// Types of mutants.mjs, which is plain JavaScript because it also runs inside a module loader.

export interface MutantEdit {
  /** Path from the root of the repository, with forward slashes. */
  readonly file: string
  /** Text that occurs exactly once in the file. */
  readonly find: string
  readonly replace: string
}

export interface Mutant {
  readonly name: string
  /** What the defect breaks, in one sentence. */
  readonly why: string
  readonly edits: readonly MutantEdit[]
}

export const repositoryRoot: string

/** Every mutant of test/mutants.json, or of the text given. Throws when an entry is not complete or a name occurs twice. */
export function readMutants(text?: string): readonly Mutant[]

/** The mutant that TRUNKLINE_MUTANT names, or undefined when it is not set. Throws on an unknown name. */
export function activeMutant(env?: Readonly<Record<string, string | undefined>>): Mutant | undefined

/**
 * The source with the mutant's edits of this file (its path from the root of the repository), or undefined
 * when the mutant does not touch it. Throws when a `find` does not occur exactly once.
 */
export function mutate(mutant: Mutant, file: string, source: string): string | undefined
