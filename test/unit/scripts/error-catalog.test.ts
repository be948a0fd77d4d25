// The error catalogue: what it refuses, and that code, IDL and docs say the same.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { catalogFiles, parseCatalog } from '../../../scripts/error-catalog.ts'
import { errorCatalog, errorNameByNumber } from '../../../src/protocol/generated/errors.ts'

const read = (path: string): string => readFileSync(fileURLToPath(new URL(`../../../${path}`, import.meta.url)), 'utf8')
const sound = { name: 'SOME_ERROR', number: 1000, http: 400, retryable: false, advice: 'Do something else.' }

describe('the error catalogue', () => {
  it.each([
    ['a number twice', [sound, { ...sound, name: 'OTHER' }], 'does not ascend'],
    ['a name twice', [sound, { ...sound, number: 1001 }], 'occurs twice'],
    ['a status outside the list', [{ ...sound, http: 501 }], 'http is not a status'],
    ['advice that is no sentence', [{ ...sound, advice: 'retry' }], 'advice is not a sentence'],
    ['a wait without a repeat', [{ ...sound, retryAfterMs: 5 }], 'retryAfterMs'],
    ['a number outside the groups', [{ ...sound, number: 5 }], 'number is in no group'],
    ['a field that is misspelt', [{ ...sound, retryafter: 5 }], 'unknown field retryafter'],
  ])('given %s, refuses it and says so', (_, entries, message) => {
    expect(() => parseCatalog(JSON.stringify(entries))).toThrow(message)
  })

  it('given a quote and a backslash in the advice, writes a sound literal', () => {
    const [file] = catalogFiles(parseCatalog(JSON.stringify([{ ...sound, advice: "Don't \\ stop." }])))
    expect(file?.text).toContain(String.raw`advice: 'Don\'t \\ stop.'`)
  })

  it('says the same in code, IDL and docs', () => {
    const entries = parseCatalog(read('idl/errors.json'))
    const thrift = new Map(
      [...read('idl/errors.thrift').matchAll(/^const i32 (\w+) = (\d+)$/gm)].map(([, name, number]) => [
        name ?? '',
        Number(number),
      ]),
    )
    const docs = new Map(
      [...read('docs/errors.md').matchAll(/^\| `(\w+)` \| (\d+) \| (\d+) \|.*\| (.*) \|$/gm)].map((row) => [
        row[1] ?? '',
        { number: Number(row[2]), http: Number(row[3]), advice: row[4] },
      ]),
    )
    expect(Object.keys(errorCatalog)).toEqual(entries.map(({ name }) => name))
    expect([...thrift]).toEqual(entries.map(({ name, number }) => [name, number]))
    expect([...docs]).toEqual(entries.map(({ name, number, http, advice }) => [name, { number, http, advice }]))
    for (const { name, ...fields } of entries) {
      expect({ ...errorCatalog }).toHaveProperty(name, fields)
      expect(errorNameByNumber.get(fields.number)).toBe(name)
    }
  })
})
