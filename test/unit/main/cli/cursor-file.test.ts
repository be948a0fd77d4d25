import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CursorFile } from '../../../../src/main/cli/cursor-file.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'trunkline-cursor-file-'))
})
afterEach(() => {
  chmodSync(folder, 0o700)
  rmSync(folder, { recursive: true, force: true })
})

describe('a cursor file', () => {
  it('given none or an empty one, holds no cursor', () => {
    const path = join(folder, 'c')
    expect(new CursorFile(path).read()).toBeUndefined()
    writeFileSync(path, '\n')
    expect(new CursorFile(path).read()).toBeUndefined()
  })

  it('given a cursor, keeps it and leaves nothing else behind', () => {
    const path = join(folder, 'c')
    const file = new CursorFile(path)
    file.write('first')
    file.write('second')
    expect(new CursorFile(path).read()).toBe('second')
    expect(readdirSync(folder)).toEqual(['c'])
  })

  it('given a link, replaces what it points to', () => {
    const target = join(folder, 'target')
    const link = join(folder, 'link')
    writeFileSync(target, 'old\n')
    symlinkSync(target, link)
    new CursorFile(link).write('new')
    expect(readFileSync(target, 'utf8')).toBe('new\n')
  })

  it('given a folder that is not there, says so before anything is read', () => {
    expect(() => new CursorFile(join(folder, 'no', 'c'))).toThrow('cannot be written (ENOENT)')
  })

  it('given a file that is no cursor, refuses it', () => {
    const path = join(folder, 'c')
    writeFileSync(path, Buffer.alloc(70_000))
    expect(() => new CursorFile(path).read()).toThrow('is not a cursor file')
  })
})
