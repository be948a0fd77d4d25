// Owns: reading test/mutants.json, deliberate defects of the source that a test must catch. Used by the
// vitest plugin and, in child processes, by mutant-loader.mjs. Types: mutants.d.mts.
// 1. A mutant changes exactly what it names: every `find` occurs exactly once in its file.
// 2. The source on disk is never touched: the change is made while a module is loaded.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const repositoryRoot = fileURLToPath(new URL('../../', import.meta.url))

export function readMutants(text = readFileSync(new URL('../mutants.json', import.meta.url), 'utf8')) {
  const parsed = JSON.parse(text)
  if (!Array.isArray(parsed)) throw new Error('test/mutants.json is not a list')
  const mutants = parsed.map((entry, index) => parseMutant(entry, `test/mutants.json[${index}]`))
  const names = new Set()
  for (const { name } of mutants) {
    if (names.has(name)) throw new Error(`test/mutants.json names ${name} twice`)
    names.add(name)
  }
  return mutants
}

export function activeMutant(env = process.env) {
  const name = env.TRUNKLINE_MUTANT
  if (name === undefined || name === '') return undefined
  const found = readMutants().find((mutant) => mutant.name === name)
  if (found === undefined) throw new Error(`TRUNKLINE_MUTANT=${name} is not in test/mutants.json`)
  return found
}

export function mutate(mutant, file, source) {
  const edits = mutant.edits.filter((edit) => edit.file === file)
  if (edits.length === 0) return undefined
  let text = source
  for (const { find, replace } of edits) {
    const parts = text.split(find)
    // A mutant that changes nothing, or more than it says, would prove nothing.
    if (parts.length !== 2) {
      throw new Error(`mutant ${mutant.name}: "${find}" occurs ${parts.length - 1} times in ${file}, not once`)
    }
    text = parts.join(replace)
  }
  return text
}

function parseMutant(entry, where) {
  const { name, why, edits, ...unknown } = asObject(entry, where)
  assertNothing(unknown, where)
  if (!Array.isArray(edits) || edits.length === 0) throw new Error(`${where} has no edits`)
  return {
    name: asText(name, `${where}.name`),
    why: asText(why, `${where}.why`),
    edits: edits.map((edit, index) => parseEdit(edit, `${where}.edits[${index}]`)),
  }
}

function parseEdit(edit, where) {
  const { file, find, replace, ...unknown } = asObject(edit, where)
  assertNothing(unknown, where)
  if (typeof replace !== 'string') throw new Error(`${where}.replace is not a text`)
  if (find === replace) throw new Error(`${where} changes nothing`)
  return { file: asText(file, `${where}.file`), find: asText(find, `${where}.find`), replace }
}

function assertNothing(unknown, where) {
  const fields = Object.keys(unknown)
  if (fields.length > 0) throw new Error(`${where} has unknown fields: ${fields.join(', ')}`)
}

function asObject(value, where) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(`${where} is not an object`)
  return value
}

function asText(value, where) {
  if (typeof value !== 'string' || value === '') throw new Error(`${where} is not a text`)
  return value
}
