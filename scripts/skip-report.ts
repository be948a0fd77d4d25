// Owns: what `npm test` says about tests that did not run: the requirements that test/support/requirement.ts
// reported, and skips in vitest's results that no requirement explains.
import { relative } from 'node:path'
import type { SkipLine } from '../test/support/requirement.ts'

export interface SkippedTest {
  readonly file: string
  readonly title: string
}

/** Reads the report file: one JSON object a line. */
export function parseSkipLines(text: string): readonly SkipLine[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line): SkipLine => JSON.parse(line))
}

/** Tests that vitest's JSON report does not count as passed or failed, and whole files that did not run. */
export function skippedTests(
  report: {
    readonly testResults: readonly {
      readonly name: string
      readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[]
    }[]
  },
  root: string,
): readonly SkippedTest[] {
  return report.testResults.flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status }) => status !== 'passed' && status !== 'failed')
      .map(({ fullName }) => ({ file: relative(root, name), title: fullName })),
  )
}

/** One line per requirement that is missing, then one per skip that nothing explains. */
export function describeSkips(lines: readonly SkipLine[], skipped: readonly SkippedTest[]): readonly string[] {
  const byRequirement = new Map<string, string[]>()
  for (const { requirement, reason, title } of lines) {
    const key = `${requirement}: ${reason}`
    byRequirement.set(key, [...(byRequirement.get(key) ?? []), title])
  }
  const explained = [...byRequirement].map(([key, titles]) => `${titles.join('; ')} — needs ${key}`)
  const unexplained = skipped
    .filter(({ title }) => !lines.some((line) => title.includes(line.title)))
    .map(({ file, title }) => `${file}: ${title} — no reason given`)
  return [...explained, ...unexplained]
}
