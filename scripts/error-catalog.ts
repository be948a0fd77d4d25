// Owns: reading idl/errors.json and drawing it as TypeScript, as Thrift constants and as docs/errors.md.
// 1. A name or a number stands for one error for ever: both are unique, numbers ascend in the file.
// 2. Every entry has one HTTP status of the fixed list and advice in one plain sentence.
import type { GeneratedFile } from './generated-file.ts'

export interface CatalogEntry {
  readonly name: string
  readonly number: number
  readonly http: number
  readonly retryable: boolean
  /** How long to wait before the repeat, when the error does not say otherwise; ms. */
  readonly retryAfterMs?: number
  readonly advice: string
}

/** The statuses that the JSON API may answer with an error. */
const httpStatuses: ReadonlySet<number> = new Set([400, 401, 403, 404, 409, 410, 413, 415, 422, 429, 500, 503])

/** Numbers are grouped by hundreds; the heading is what docs/errors.md calls the group. */
const groups: ReadonlyMap<number, string> = new Map([
  [1000, 'Requests'],
  [1100, 'Login and proof'],
  [1200, 'Topics'],
  [1300, 'Sessions and steps'],
  [1400, 'Cursors'],
  [1500, 'Writes and producers'],
  [1600, 'Sizes and shapes'],
  [1700, 'Keys and blocks'],
  [1800, 'Capacity, storage and start'],
  [1900, 'Defects'],
])

const fieldNames: ReadonlySet<string> = new Set(['name', 'number', 'http', 'retryable', 'retryAfterMs', 'advice'])

/** Parses the catalogue; throws one error that lists everything that is wrong with it. */
export function parseCatalog(text: string): readonly CatalogEntry[] {
  const parsed: unknown = JSON.parse(text)
  if (!Array.isArray(parsed)) throw new Error('idl/errors.json is not a list')
  const faults: string[] = []
  const entries: CatalogEntry[] = []
  for (const [index, value] of parsed.entries()) {
    const entry = parseEntry(value, `entry ${index}`, faults)
    if (entry === undefined) continue
    const before = entries.at(-1)
    if (before !== undefined && before.number >= entry.number) {
      faults.push(`${entry.name}: number ${entry.number} does not ascend`)
    }
    if (entries.some((other) => other.name === entry.name)) faults.push(`${entry.name} occurs twice`)
    entries.push(entry)
  }
  if (faults.length > 0) throw new Error(`idl/errors.json:\n  ${faults.join('\n  ')}`)
  return entries
}

/** The three files that say the same as the catalogue. */
export function catalogFiles(entries: readonly CatalogEntry[]): readonly GeneratedFile[] {
  return [
    { path: 'src/protocol/generated/errors.ts', text: asTypeScript(entries) },
    { path: 'idl/errors.thrift', text: asThrift(entries) },
    { path: 'docs/errors.md', text: asMarkdown(entries) },
  ]
}

function parseEntry(value: unknown, where: string, faults: string[]): CatalogEntry | undefined {
  if (typeof value !== 'object' || value === null) {
    faults.push(`${where} is not an object`)
    return undefined
  }
  const fields: Readonly<Record<string, unknown>> = { ...value }
  const { name, number, http, retryable, retryAfterMs, advice } = fields as Readonly<
    Record<keyof CatalogEntry, unknown>
  >
  const label = typeof name === 'string' ? name : where
  const before = faults.length
  const expect = (holds: boolean, what: string): void => {
    if (!holds) faults.push(`${label}: ${what}`)
  }
  for (const field of Object.keys(fields)) expect(fieldNames.has(field), `unknown field ${field}`)
  expect(typeof name === 'string' && /^[A-Z][A-Z_]*[A-Z]$/.test(name), 'name is not in capitals')
  expect(
    typeof number === 'number' && Number.isSafeInteger(number) && groups.has(number - (number % 100)),
    'number is in no group',
  )
  expect(typeof http === 'number' && httpStatuses.has(http), 'http is not a status of the API')
  expect(typeof retryable === 'boolean', 'retryable is not true or false')
  expect(
    retryAfterMs === undefined || (Number.isSafeInteger(retryAfterMs) && retryable === true),
    'retryAfterMs is no whole number, or the error is not retryable',
  )
  expect(typeof advice === 'string' && /^[A-Z].*\.$/.test(advice), 'advice is not a sentence')
  if (faults.length > before) return undefined
  return {
    name: String(name),
    number: Number(number),
    http: Number(http),
    retryable: retryable === true,
    ...(typeof retryAfterMs === 'number' ? { retryAfterMs } : {}),
    advice: String(advice),
  }
}

function asTypeScript(entries: readonly CatalogEntry[]): string {
  const lines = entries.map((entry) => {
    const fields = [
      `number: ${entry.number}`,
      `http: ${entry.http}`,
      `retryable: ${entry.retryable}`,
      ...(entry.retryAfterMs === undefined ? [] : [`retryAfterMs: ${entry.retryAfterMs}`]),
    ]
    const advice = `'${entry.advice.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
    return `  ${entry.name}: {\n    ${fields.join(', ')},\n    advice: ${advice},\n  },`
  })
  return `// Generated from idl/errors.json by \`npm run generate\`: change it there.

export interface ErrorEntry {
  /** Stable on the wire; never given to another error. */
  readonly number: number
  /** The status of the JSON API. */
  readonly http: number
  /** True when a repeat can succeed with nothing changed by the application; the advice says how to repeat. */
  readonly retryable: boolean
  /** How long to wait before the repeat, when the error does not say otherwise; ms. */
  readonly retryAfterMs?: number
  /** What the caller does next, in one sentence. */
  readonly advice: string
}

export const errorCatalog = {
${lines.join('\n')}
} as const satisfies Record<string, ErrorEntry>

export type ErrorName = keyof typeof errorCatalog

export const errorNames = Object.keys(errorCatalog) as readonly ErrorName[]

export const errorNameByNumber: ReadonlyMap<number, ErrorName> = new Map(
  errorNames.map((name) => [errorCatalog[name].number, name]),
)
`
}

function asThrift(entries: readonly CatalogEntry[]): string {
  const lines = entries.map((entry) => `const i32 ${entry.name} = ${entry.number}`)
  return `// Generated from idl/errors.json by \`npm run generate\`: change it there.
// The values of TrunklineError.code. A client treats a number that it does not know as INTERNAL.

namespace py trunkline.errors
namespace rb Trunkline.Errors
namespace java io.trunkline.thrift.errors
namespace js trunkline

${lines.join('\n')}
`
}

function asMarkdown(entries: readonly CatalogEntry[]): string {
  const sections = [...groups].map(([first, heading]) => {
    const rows = entries
      .filter((entry) => entry.number - (entry.number % 100) === first)
      .map(
        (entry) => `| \`${entry.name}\` | ${entry.number} | ${entry.http} | ${repeatText(entry)} | ${entry.advice} |`,
      )
    return `## ${heading}\n\n| name | number | HTTP | repeat | what to do |\n|---|---|---|---|---|\n${rows.join('\n')}\n`
  })
  return `<!-- Generated from idl/errors.json by \`npm run generate\`: change it there. -->

# Errors

Every error carries its name, its stable number and what to do next, over Thrift (\`TrunklineError\`) and
over HTTP (\`application/problem+json\`). "Repeat" says whether a repeat can succeed with nothing changed by
the application, and how long to wait first when the error does not say otherwise. What the error is about
(a field, a limit, a position) stands in its \`details\`.

${sections.join('\n')}`
}

function repeatText(entry: CatalogEntry): string {
  if (!entry.retryable) return 'no'
  return entry.retryAfterMs === undefined || entry.retryAfterMs === 0 ? 'yes' : `yes, after ${entry.retryAfterMs} ms`
}
