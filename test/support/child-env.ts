// Owns: the environment of programs that tests start: what this process has, without the variables that tests and CI set
// for themselves. The program warns of TRUNKLINE_ names that it does not know, and would take those that it does.

/** What a child needs of ours all the same. */
const inherited: ReadonlySet<string> = new Set(['TRUNKLINE_MUTANT', 'TRUNKLINE_SOURCE'])

export function childEnv(more: Readonly<Record<string, string | undefined>> = {}): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('TRUNKLINE_') || inherited.has(name))
  return { ...Object.fromEntries(own), ...more }
}
