import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { devFilePath, findDevFile, isRunning, removeDevFile, writeDevFile } from '../../../../src/main/cli/dev-file.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'trunkline-dev-file-'))
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

const content = {
  httpUrl: 'http://127.0.0.1:7470',
  thriftUrl: 'thrift://127.0.0.1:7471',
  adminUrl: 'http://127.0.0.1:7479',
  clientId: 'dev',
  clientSecret: 'not-a-real-secret',
  pid: 4711,
  dataDir: '/srv/data',
  startedAt: '2026-01-31T12:00:00.000Z',
}

describe('dev.json', () => {
  it('is readable by its owner alone, in a folder that git ignores', () => {
    const path = writeDevFile(folder, content)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(statSync(join(folder, '.trunkline')).mode & 0o777).toBe(0o700)
    expect(readFileSync(join(folder, '.trunkline', '.gitignore'), 'utf8')).toBe('*\n')
  })

  it('is found from the folder and from folders below', () => {
    writeDevFile(folder, content)
    const below = join(folder, 'a', 'b')
    mkdirSync(below, { recursive: true })
    for (const from of [folder, below]) {
      expect(findDevFile(from)).toEqual({ path: devFilePath(folder), content: { version: 1, ...content } })
    }
  })

  it('is found where it is nearest', () => {
    writeDevFile(folder, content)
    const below = join(folder, 'a')
    mkdirSync(below)
    writeDevFile(below, { ...content, pid: 4712 })
    expect(findDevFile(below)?.content.pid).toBe(4712)
  })

  it('is replaced as a whole, and what a crash left of a former one is no obstacle', () => {
    writeDevFile(folder, content)
    writeFileSync(`${devFilePath(folder)}.4713`, 'half')
    writeDevFile(folder, { ...content, pid: 4713 })
    expect(findDevFile(folder)?.content.pid).toBe(4713)
    expect(existsSync(`${devFilePath(folder)}.4713`)).toBe(false)
  })

  it('is removed by the process that wrote it and by no other', () => {
    writeDevFile(folder, content)
    removeDevFile(folder, 1)
    expect(existsSync(devFilePath(folder))).toBe(true)
    removeDevFile(folder, content.pid)
    expect(existsSync(devFilePath(folder))).toBe(false)
    expect(() => removeDevFile(folder, content.pid)).not.toThrow()
  })

  it('given one that others may write, is refused', () => {
    chmodSync(writeDevFile(folder, content), 0o622)
    expect(() => findDevFile(folder)).toThrow('can be written by others')
  })

  it.each([
    ['no JSON', '{"clientSecret":"quoted"'],
    ['another object', '{"version":1}'],
    ['no object', '7'],
  ])('given %s, says so without quoting it', (_, text) => {
    writeFileSync(writeDevFile(folder, content), text, { mode: 0o600 })
    expect(() => findDevFile(folder)).toThrow('is not a file that `trunkline dev` wrote')
    expect(() => findDevFile(folder)).not.toThrow('quoted')
  })
})

describe('a process id', () => {
  it('runs when it is ours, and not when it cannot be', () => {
    expect(isRunning(process.pid)).toBe(true)
    expect(isRunning(2 ** 30)).toBe(false)
  })
})
