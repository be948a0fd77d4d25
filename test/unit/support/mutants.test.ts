// Deliberate defects: the list is sound, each still fits the source it breaks, and misuse is loud.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { activeMutant, mutate, readMutants, repositoryRoot } from '../../support/mutants.mjs'

const mutant = { name: 'm', why: 'w', edits: [{ file: 'src/a.ts', find: 'one', replace: 'two' }] }

describe('mutants', () => {
  it('given a text that occurs once, replaces it', () => {
    expect(mutate(mutant, 'src/a.ts', 'a one b')).toBe('a two b')
  })

  it.each(['nothing here', 'one and one'])('given "%s", refuses', (source) => {
    expect(() => mutate(mutant, 'src/a.ts', source)).toThrow('not once')
  })

  it('given another file, leaves it alone', () => {
    expect(mutate(mutant, 'src/b.ts', 'one')).toBeUndefined()
  })

  it('given a name that is not in the list, refuses to run', () => {
    expect(() => activeMutant({ TRUNKLINE_MUTANT: 'no such mutant' })).toThrow('is not in test/mutants.json')
    expect(activeMutant({})).toBeUndefined()
  })

  it('given an edit that changes nothing or an entry twice, refuses the list', () => {
    const idle = { ...mutant, edits: [{ file: 'a', find: 'x', replace: 'x' }] }
    expect(() => readMutants(JSON.stringify([idle]))).toThrow('changes nothing')
    expect(() => readMutants(JSON.stringify([mutant, mutant]))).toThrow('twice')
  })

  it('all fit the source as it stands', () => {
    for (const known of readMutants()) {
      for (const { file } of known.edits) {
        const source = readFileSync(join(repositoryRoot, file), 'utf8')
        expect(mutate(known, file, source), `${known.name} in ${file}`).not.toBe(source)
      }
    }
  })
})
