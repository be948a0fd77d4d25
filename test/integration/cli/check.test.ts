// `trunkline check`, and reading past what it finds.
import { randomBytes } from 'node:crypto'
import { cpSync, existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type GatewayProcess, removeFolder, startGatewayProcess } from '../../support/gateway-process.ts'
import { runCli } from '../../support/run-cli.ts'

const blockCount = 5
let dir: string
let gateway: GatewayProcess
const data = (): string => join(dir, '.trunkline', 'data')

beforeAll(async () => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'trunkline-check-')))
  gateway = await startGatewayProcess({ dir })
  await runCli(['topic', 'create', 'blocks', '--partitions', '1'], { cwd: dir })
  for (let n = 0; n < blockCount; n += 1) {
    // Larger than a page, and nothing to compress.
    const line = JSON.stringify({ n, noise: randomBytes(6_000).toString('base64') })
    expect(await runCli(['publish', 'blocks'], { cwd: dir, stdin: line })).toMatchObject({ code: 0 })
  }
  await gateway.stop()
})
afterAll(async () => {
  await gateway.stop()
  removeFolder(dir)
})

const check = (folder: string): ReturnType<typeof runCli> => runCli(['check', folder], { cwd: tmpdir() })

/** Flips one bit in the middle of the block that holds the event `n`. */
function flipBit(folder: string, n: number): void {
  const path = join(folder, 'log', 'data.mdb')
  const bytes = readFileSync(path)
  const blocks: number[] = []
  // The frame of a sealed block; small ones, if there are any, stand elsewhere.
  for (let at = bytes.indexOf('TLB\u0001\u0001'); at >= 0; at = bytes.indexOf('TLB\u0001\u0001', at + 1))
    blocks.push(at)
  const at = blocks.sort((a, b) => a - b)[n]
  if (at === undefined) throw new Error('no such block')
  bytes[at + 3_000] = (bytes[at + 3_000] ?? 0) ^ 0x10
  writeFileSync(path, bytes)
}

const numbersIn = (text: string): number[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => (JSON.parse(line) as { payload: { n: number } }).payload.n)

describe('check', () => {
  it('given a sound folder, says so, from anywhere', async () => {
    const end = await check(data())
    expect(end).toMatchObject({ code: 0, stdout: '' })
    expect(end.stderr).toContain(`1 topic, ${blockCount} records`)
    expect(end.stderr).toContain('nothing is wrong')
  })

  it('given a folder that is none, says so and makes none', async () => {
    expect(await check(join(dir, 'nothing'))).toMatchObject({
      code: 5,
      stderr: expect.stringContaining('is not a data folder'),
    })
    expect(existsSync(join(dir, 'nothing'))).toBe(false)
  })

  it('given a KEK that was destroyed on purpose, then its blocks are no damage; given a revoked one, it says so', async () => {
    const copy = join(dir, 'shredded')
    cpSync(data(), copy, { recursive: true })
    const keys = async (...args: readonly string[]): Promise<string> => {
      const { code, stdout, stderr } = await runCli(['keys', ...args, '--file', join(copy, 'keyring.json')], {
        cwd: tmpdir(),
      })
      expect([code, stderr]).toEqual([0, expect.not.stringContaining('trunkline:')])
      return stdout
    }
    const [old = ''] = (await keys('list')).split('\t')
    await keys('rotate')
    await keys('revoke', old)
    expect(await check(copy)).toMatchObject({ code: 7, stdout: expect.stringContaining('revoked') })
    await keys('shred', old, '--lose-all-topics', '--yes')
    expect(await check(copy)).toMatchObject({ code: 0, stdout: '' })
  })

  it('given a flipped bit inside a block, finds it; without the keyring it says that it did not look', async () => {
    const copy = join(dir, 'flipped')
    cpSync(data(), copy, { recursive: true })
    flipBit(copy, 2)
    const end = await check(copy)
    expect(end.stdout).toMatch(/^blocks\/0@\d: the block is damaged: it does not open\n$/)
    expect(end.code).toBe(7)
    rmSync(join(copy, 'keyring.json'))
    expect(await check(copy)).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('no keyring: what is inside the blocks is not looked at'),
    })
    const elsewhere = await runCli(['check', copy, '--keyring', join(data(), 'keyring.json')], { cwd: tmpdir() })
    expect(elsewhere).toMatchObject({ code: 7 })
  })

  it('given a log that is cut, finds it and survives', async () => {
    const copy = join(dir, 'cut')
    cpSync(data(), copy, { recursive: true })
    const path = join(copy, 'log', 'data.mdb')
    const bytes = readFileSync(path)
    writeFileSync(path, bytes.subarray(0, 3 * 4_096))
    const end = await check(copy)
    expect(end.code).toBe(7)
    expect(end.stdout).not.toBe('')
  })
})

describe('reading a damaged block', () => {
  it('stops there and says where, or leaves it out when asked, and serves everything else', async () => {
    const damaged = realpathSync(mkdtempSync(join(tmpdir(), 'trunkline-damaged-')))
    cpSync(data(), join(damaged, '.trunkline', 'data'), { recursive: true })
    flipBit(join(damaged, '.trunkline', 'data'), 1)
    const served = await startGatewayProcess({ dir: damaged })
    try {
      const stopped = await runCli(['read', 'blocks', '--cursor-file', 'place'], { cwd: damaged })
      expect(stopped.stderr).toMatch(/BLOCK_DAMAGED: .*at: 0:\d.*--on-damaged skip/)
      expect(stopped.code).toBe(7)
      const before = numbersIn(stopped.stdout)
      const skipped = await runCli(['read', 'blocks', '--cursor-file', 'place', '--on-damaged', 'skip'], {
        cwd: damaged,
      })
      expect(skipped.code).toBe(0)
      expect(skipped.stderr).toContain('1 damaged place left out')
      const after = numbersIn(skipped.stdout)
      expect(before.length + after.length).toBe(blockCount - 1)
      expect(new Set([...before, ...after]).size).toBe(blockCount - 1)
    } finally {
      await served.stop()
      removeFolder(damaged)
    }
  })
})
