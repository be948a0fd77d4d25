// `trunkline dev`: how it starts, refuses to start, and stops.
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type GatewayProcess, removeFolder, startGatewayProcess } from '../../support/gateway-process.ts'
import { runCli, startCli } from '../../support/run-cli.ts'

let dir: string
let gateway: GatewayProcess | undefined
beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'trunkline-dev-')))
})
afterEach(async () => {
  await gateway?.stop()
  gateway = undefined
  removeFolder(dir)
})

const devFile = (): string => join(dir, '.trunkline', 'dev.json')

describe('a clean stop', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('given %s, ends with 0 and takes dev.json away', async (signal) => {
    gateway = await startGatewayProcess({ dir })
    expect(existsSync(devFile())).toBe(true)
    expect(await gateway.kill(signal)).toEqual({ code: 0, signal: null })
    expect(existsSync(devFile())).toBe(false)
    expect(gateway.output()).toContain('Stopped.')
  })

  it('given a reader that waits, does not wait for it; after the next start the reader goes on', async () => {
    gateway = await startGatewayProcess({ dir })
    const numbered = (from: number, to: number): string =>
      Array.from({ length: to - from + 1 }, (_, index) => `{"n":${from + index},"k":1}\n`).join('')
    const publish = (lines: string): ReturnType<typeof runCli> =>
      runCli(['publish', 'kept', '--key-field', 'k'], { cwd: dir, stdin: lines })
    expect(await publish(numbered(1, 500))).toMatchObject({ code: 0 })
    const reading = startCli(['read', 'kept', '--follow', '--max', '600', '--output', 'payload'], { cwd: dir })
    await reading.until(({ stdout }) => stdout.includes('"n":500,'))
    expect(await gateway.stop()).toEqual({ code: 0, signal: null })
    await gateway.restart()
    expect(await publish(numbered(501, 600))).toMatchObject({ code: 0 })
    expect(await reading.ended).toMatchObject({ code: 0, stdout: numbered(1, 600) })
  })

  it('given a data folder elsewhere, still writes dev.json here', async () => {
    const dataDir = join(dir, 'somewhere', 'else')
    gateway = await startGatewayProcess({ dir, dataDir })
    expect(JSON.parse(readFileSync(devFile(), 'utf8'))).toMatchObject({ dataDir, pid: gateway.pid })
    expect(existsSync(join(dataDir, 'keyring.json'))).toBe(true)
  })
})

describe('a start that is refused', () => {
  // What a gateway makes of an empty folder; tests work on copies.
  let made: string
  beforeAll(async () => {
    made = realpathSync(mkdtempSync(join(tmpdir(), 'trunkline-dev-made-')))
    const maker = await startGatewayProcess({ dir: made })
    await maker.stop()
  })
  afterAll(() => removeFolder(made))

  const dev = (...args: string[]): ReturnType<typeof runCli> => runCli(['dev', '--port', '0', ...args], { cwd: dir })

  it('given a port in use, says which one', async () => {
    const holder = createServer()
    await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve))
    const address = holder.address()
    const port = typeof address === 'object' && address !== null ? String(address.port) : ''
    for (const option of ['--port', '--admin-port']) {
      const end = await dev(option, port, ...(option === '--port' ? ['--thrift-port', '0', '--admin-port', '0'] : []))
      expect(end.stderr).toContain(`port 127.0.0.1:${port} is in use`)
      expect(end.code).toBe(6)
    }
    expect(existsSync(devFile())).toBe(false)
    await new Promise((resolve) => holder.close(resolve))
    // Nothing of the failed starts holds the folder.
    expect(existsSync(join(dir, '.trunkline', 'data', 'log', 'lock.sock'))).toBe(false)
  })

  it('given a second process on the data folder, refuses it and leaves the first alone', async () => {
    gateway = await startGatewayProcess({ dir })
    const before = readFileSync(devFile(), 'utf8')
    const end = await dev()
    expect(end.stderr).toMatch(/^DATA_DIR_IN_USE: .*dataDir: /)
    expect(end.code).toBe(6)
    expect(readFileSync(devFile(), 'utf8')).toBe(before)
    expect(await runCli(['token'], { cwd: dir })).toMatchObject({ code: 0 })
  })

  it.each<[string, (data: string) => void, string]>([
    ['no keyring', (data) => rmSync(join(data, 'keyring.json')), 'KEYRING_MISSING: '],
    ['a keyring that others can read', (data) => chmodSync(join(data, 'keyring.json'), 0o644), 'KEYRING_UNREADABLE: '],
    [
      'a keyring that is damaged',
      (data) => writeFileSync(join(data, 'keyring.json'), '{"keks":"secret'),
      'KEYRING_UNREADABLE: ',
    ],
    [
      'a ring of another folder',
      (data) => writeFileSync(join(data, 'ring-id'), `${'0'.repeat(32)}\n`),
      'KEYRING_WRONG: ',
    ],
    [
      'a log that is none',
      (data) => writeFileSync(join(data, 'log', 'data.mdb'), 'not a database'),
      'DATA_DIR_DAMAGED: ',
    ],
  ])('given %s, says so in one line and changes nothing', async (_, change, text) => {
    const data = join(dir, '.trunkline', 'data')
    cpSync(join(made, '.trunkline', 'data'), data, { recursive: true })
    change(data)
    const end = await dev()
    expect(end.stderr).toContain(text)
    expect(end.stderr).not.toContain('secret')
    expect(end.stderr.trim().split('\n')).toHaveLength(1)
    expect(end.code).toBe(7)
  })

  it('given settings that are wrong, names them all', async () => {
    const end = await runCli(['dev', '--port', '99999', '--log-level', 'loud'], { cwd: dir })
    expect(end.stderr).toContain('BAD_CONFIG: ')
    expect(end.stderr).toContain('httpPort')
    expect(end.stderr).toContain('logLevel')
    expect(end.code).toBe(2)
  })

  it('given a data folder that is a file, says so', async () => {
    const file = join(dir, 'file')
    appendFileSync(file, 'x')
    const end = await dev('--data-dir', file)
    expect(end.stderr).toMatch(/^trunkline: the data folder .* cannot be used \(E[A-Z]+\)/)
    expect(end.code).toBe(2)
  })
})
