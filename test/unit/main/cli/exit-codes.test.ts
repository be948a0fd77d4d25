// Exit codes: every error of the catalogue has its class, and the page that people read says the same.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { exitCode, exitCodeOf } from '../../../../src/main/cli/exit-codes.ts'
import type { ErrorName } from '../../../../src/protocol/errors.ts'
import { errorCatalog } from '../../../../src/protocol/generated/errors.ts'

describe('exit codes', () => {
  it.each<[ErrorName, number]>([
    ['UNAVAILABLE', 3],
    ['NO_CAPACITY', 3],
    ['SESSION_GONE', 3],
    ['STORAGE_FULL', 3],
    ['UNAUTHENTICATED', 4],
    ['TOKEN_EXPIRED', 4],
    ['FORBIDDEN', 4],
    ['UNKNOWN_TOPIC', 5],
    ['CURSOR_OUT_OF_RANGE', 5],
    ['TOPIC_EXISTS', 6],
    ['DATA_DIR_IN_USE', 6],
    ['OUTCOME_UNKNOWN', 6],
    ['BAD_CURSOR', 7],
    ['EVENT_TOO_LARGE', 7],
    ['BLOCK_DAMAGED', 7],
    ['KEYRING_MISSING', 7],
    ['DATA_DIR_DAMAGED', 7],
    ['BAD_TOPIC_NAME', 2],
    ['UNSUPPORTED', 2],
    ['BAD_CONFIG', 2],
    ['INTERNAL', 1],
  ])('given %s, ends with %i', (name, code) => {
    expect(exitCodeOf(name)).toBe(code)
  })

  it('has one of its codes for every error, and 0 and the signals for none', () => {
    const classes: readonly number[] = [1, 2, 3, 4, 5, 6, 7]
    for (const name of Object.keys(errorCatalog) as ErrorName[]) expect(classes, name).toContain(exitCodeOf(name))
  })

  it('says on the page for people what each code is', () => {
    const page = readFileSync(new URL('../../../../docs/cli.md', import.meta.url), 'utf8')
    const rows = [...page.matchAll(/^\| (\d+) \| (.+) \|$/gm)]
    expect(rows.map(([, code]) => Number(code))).toEqual(Object.values(exitCode))
    for (const [, code, text = ''] of rows) {
      for (const [, name = ''] of text.matchAll(/`([A-Z_]{4,})`/g)) {
        expect(errorCatalog, name).toHaveProperty(name)
        expect(exitCodeOf(name as ErrorName), name).toBe(Number(code))
      }
    }
  })
})
