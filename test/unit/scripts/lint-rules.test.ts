// The lint rules that keep clocks, randomness and I/O out of code that runs in the simulation.
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const repository = fileURLToPath(new URL('../../../', import.meta.url))
let root = ''

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'trunkline-lint-'))
  copyFileSync(join(repository, '.oxlintrc.json'), join(root, '.oxlintrc.json'))
})
afterEach(() => rmSync(root, { recursive: true }))

/** For each line, the restriction that it breaks in that folder; undefined when none. */
function rulesFor(folder: string, lines: readonly string[]): readonly (string | undefined)[] {
  mkdirSync(join(root, folder), { recursive: true })
  for (const [index, line] of lines.entries()) writeFileSync(join(root, folder, `line-${index}.ts`), `${line}\n`)
  const oxlint = join(repository, 'node_modules/.bin/oxlint')
  const { stdout } = spawnSync(oxlint, ['--format=unix', folder], { cwd: root, encoding: 'utf8' })
  const found = stdout.matchAll(/line-(\d+)\.ts:.*\(no-restricted-(\w+)\)/g)
  const byLine = new Map([...found].map(([, index, rule]) => [Number(index), rule]))
  return lines.map((_, index) => byLine.get(index))
}

const everywhere: readonly (readonly [string, string])[] = [
  ['export const a = Date.now()', 'properties'],
  ['export const a = Math.random()', 'properties'],
  ['export const a = setTimeout(() => {}, 1)', 'globals'],
  ['export const a = setInterval(() => {}, 1)', 'globals'],
  ['export const a = performance.now()', 'globals'],
  [`export { randomBytes } from 'node:crypto'`, 'imports'],
  [`import { randomUUID } from 'node:crypto'; export const a = randomUUID()`, 'imports'],
  [`import crypto from 'node:crypto'; export const a = crypto.randomBytes(1)`, 'properties'],
  [`import { setTimeout } from 'node:timers/promises'; export const a = setTimeout(1)`, 'imports'],
]
const pureOnly: readonly (readonly [string, string])[] = [
  [`import { connect } from 'node:net'; export const a = connect`, 'imports'],
  [`import { readFileSync } from 'node:fs'; export const a = readFileSync`, 'imports'],
  [`import { request } from 'node:http'; export const a = request`, 'imports'],
  ['export const a = process.env', 'globals'],
]

const lines = [...everywhere, ...pureOnly].map(([line]) => line)

describe('the rules for simulated code', () => {
  it.each(['src/protocol', 'src/fsm'])('allow neither clock, randomness nor I/O in %s', (folder) => {
    expect(rulesFor(folder, lines)).toEqual([...everywhere, ...pureOnly].map(([, rule]) => rule))
  })

  it.each(['src/stream-tier', 'src/api-tier', 'src/crypto'])('allow neither clock nor randomness in %s', (folder) => {
    expect(rulesFor(folder, lines)).toEqual([...everywhere.map(([, rule]) => rule), ...pureOnly.map(() => undefined)])
  })

  it('leave adapters alone', () => {
    expect(rulesFor('src/adapters/clock', lines)).toEqual(lines.map(() => undefined))
  })

  it('leave hashes and ciphers alone', () => {
    expect(rulesFor('src/protocol', [`export { createHash } from 'node:crypto'`])).toEqual([undefined])
  })
})
