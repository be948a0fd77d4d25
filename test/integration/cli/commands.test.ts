// The commands against one gateway: topics, pipes, formats, cursor files, bad lines, login.
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cliEntry, type GatewayProcess, removeFolder, startGatewayProcess } from '../../support/gateway-process.ts'
import { type CliEnd, type CliOptions, runCli, startCli } from '../../support/run-cli.ts'

let dir: string
let gateway: GatewayProcess
beforeAll(async () => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'trunkline-cli-')))
  gateway = await startGatewayProcess({ dir })
})
afterAll(async () => {
  await gateway.stop()
  removeFolder(dir)
})

const cli = (args: readonly string[], options: Partial<CliOptions> = {}): Promise<CliEnd> =>
  runCli(args, { cwd: dir, ...options })

interface PrintedEvent {
  readonly position: string
  readonly key?: string
  readonly id: string
  readonly time: string
  readonly payload: unknown
}

function eventsIn(text: string): PrintedEvent[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as PrintedEvent)
}

const numbered = (from: number, to: number): string =>
  Array.from({ length: to - from + 1 }, (_, index) => `{"n":${from + index},"k":"key"}\n`).join('')

const byValue = (a: number, b: number): number => a - b
const numbersIn = (text: string): number[] => eventsIn(text).map(({ payload }) => (payload as { n: number }).n)

describe('dev', () => {
  it('writes dev.json for its owner alone, and says where it listens', () => {
    const path = join(dir, '.trunkline', 'dev.json')
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(gateway.output()).toContain(gateway.urls.http)
    expect(gateway.output()).toContain(gateway.urls.thrift)
    expect(gateway.output()).toContain(gateway.urls.admin)
    expect(gateway.output()).not.toContain(gateway.credentials.clientSecret)
  })

  it('prints a login and a publish with curl that work when they are pasted', async () => {
    const commands = gateway.output().split('\n').slice(1).join('\n')
    const pasted = commands.slice(commands.indexOf('TOKEN='), commands.indexOf('Ctrl-C'))
    const { stdout } = await promisify(execFile)('bash', ['-c', pasted], { cwd: tmpdir() })
    expect(JSON.parse(stdout)).toMatchObject({ positions: [expect.stringMatching(/^\d+:0:0$/)] })
    expect(eventsIn((await cli(['read', 'demo'])).stdout)).toMatchObject([{ key: 'a', payload: { hello: 'curl' } }])
  })
})

describe('topic', () => {
  beforeAll(async () => {
    await cli(['topic', 'create', 'twice'])
  })

  it('creates, lists, describes and deletes', async () => {
    const made = await cli(['topic', 'create', 'made', '--partitions', '3', '--retention-ms', '3600000'])
    expect(made).toMatchObject({ code: 0, stdout: 'created made with 3 partitions\n' })
    expect((await cli(['topic', 'list'])).stdout).toContain('made\t3\n')
    const described = await cli(['topic', 'describe', 'made', '--json'])
    expect(JSON.parse(described.stdout)).toMatchObject({
      name: 'made',
      partitions: 3,
      retentionMs: '3600000',
      latest: ['0', '0', '0'],
    })
    expect((await cli(['topic', 'describe', 'made'])).stdout).toContain('retention   3,600,000 ms')
    expect(await cli(['topic', 'delete', 'made', '--yes'])).toMatchObject({ code: 0 })
    expect((await cli(['topic', 'list'])).stdout).not.toContain('made\t')
  })

  it.each<[string, readonly string[], number, string]>([
    ['a name twice', ['topic', 'create', 'twice'], 6, 'TOPIC_EXISTS: '],
    ['a name that is none', ['topic', 'create', '../x'], 2, 'BAD_TOPIC_NAME: '],
    ['a topic that is not there', ['topic', 'describe', 'nowhere'], 5, 'UNKNOWN_TOPIC: '],
    ['no --yes without a terminal', ['topic', 'delete', 'twice'], 2, 'add --yes'],
  ])('given %s, ends with one line and its exit code', async (_, args, code, text) => {
    const end = await cli(args)
    expect(end.code).toBe(code)
    expect(end.stderr).toContain(text)
    expect(end.stderr).not.toMatch(/\n\s+at /)
  })
})

describe('publish and read', () => {
  it('given JSON lines and fields, carry every byte, key, id and time', async () => {
    const lines = [
      '{"id":"e1","net":{"code":"us"},"at":"2026-01-31T12:00:00Z","big":12345678901234567890}',
      '{"id":2,"net":{"code":"ci"},"at":0,"é":"\u2028"}',
    ]
    const published = await cli(
      ['publish', 'fields', '-', '--key-field', 'net.code', '--id-field', 'id', '--time-field', 'at'],
      {
        stdin: `${lines.join('\r\n')}\n\n`,
      },
    )
    expect(published).toMatchObject({ code: 0, stdout: '' })
    expect(published.stderr).toMatch(/^published 2 events in [\d.]+ s to fields\n$/)
    const payloads = await cli(['read', 'fields', '--output', 'payload'])
    expect(payloads.stdout.split('\n').sort()).toEqual(['', ...lines].sort())
    const events = eventsIn((await cli(['read', 'fields'])).stdout).sort((a, b) => a.id.localeCompare(b.id))
    expect(events).toMatchObject([
      { key: 'ci', id: '2', time: '1970-01-01T00:00:00.000Z' },
      { key: 'us', id: 'e1', time: '2026-01-31T12:00:00.000Z' },
    ])
  })

  it('given a file with many more bytes than may be in flight, keep order and lose nothing', async () => {
    const path = join(dir, 'many.ndjson')
    const padding = 'x'.repeat(900)
    writeFileSync(
      path,
      Array.from({ length: 12_000 }, (_, n) => `{"n":${n},"k":"k${n % 7}","p":"${padding}"}\n`).join(''),
    )
    expect(await cli(['publish', 'many', path, '--key-field', 'k'])).toMatchObject({ code: 0 })
    const lastOfKey = new Map<string, number>()
    const end = await cli(['read', 'many'])
    const events = eventsIn(end.stdout)
    for (const { key = '', payload } of events) {
      const { n } = payload as { n: number }
      expect(n).toBeGreaterThan(lastOfKey.get(key) ?? -1)
      lastOfKey.set(key, n)
    }
    expect(events).toHaveLength(12_000)
    expect(end.code).toBe(0)
  })

  it('given plain lines, carry them as they are, bytes that are no text too', async () => {
    const input = Buffer.concat([
      Buffer.from('first {"not json\n\n'),
      Uint8Array.of(0xff, 0xfe, 0x0a),
      Buffer.from('last'),
    ])
    expect(await cli(['publish', 'plain', '--format', 'lines'], { stdin: input })).toMatchObject({ code: 0 })
    const payloads = eventsIn((await cli(['read', 'plain'])).stdout)
    expect(payloads.map(({ payload }) => String(payload)).sort()).toEqual(['', '//4=', 'first {"not json', 'last'])
  })

  it('given an input that comes slowly, publish what is there and do not wait for a full batch', async () => {
    const publishing = startCli(['publish', 'slow'], { cwd: dir, stdin: { open: true } })
    publishing.write('{"n":1}\n')
    const reading = startCli(['read', 'slow', '--follow', '--max', '2'], { cwd: dir })
    // The topic is there once its first event is; a reader that is too early is started again.
    const first = await Promise.race([reading.ended, reading.until(({ stdout }) => stdout.includes('"n":1'))])
    const follower = first === undefined ? reading : startCli(['read', 'slow', '--follow', '--max', '2'], { cwd: dir })
    await follower.until(({ stdout }) => stdout.includes('"n":1'))
    publishing.write('{"n":2}\n')
    expect(numbersIn((await follower.ended).stdout).sort(byValue)).toEqual([1, 2])
    publishing.closeStdin()
    expect(await publishing.ended).toMatchObject({ code: 0 })
  })

  it('given a bad line, publish everything before it, nothing from it on, and name it', async () => {
    const end = await cli(['publish', 'bad'], { stdin: `${numbered(1, 700)}{"n":\n${numbered(702, 800)}` })
    expect(end.code).toBe(7)
    expect(end.stderr).toContain('line 701: not JSON; every line before it is published, nothing from it on')
    expect(end.stderr).toContain('published 700 events')
    expect(numbersIn((await cli(['read', 'bad'])).stdout).sort(byValue)).toEqual(
      Array.from({ length: 700 }, (_, n) => n + 1),
    )
  })

  it('given bad lines and --skip-bad, leave them out and count them', async () => {
    const long = `"${'x'.repeat(1_000_000)}"`
    const end = await cli(['publish', 'skipped', '-', '--skip-bad', '--key-field', 'k'], {
      stdin: `${numbered(1, 2)}{\n${long}\n{"n":9}\n${numbered(3, 3)}`,
    })
    expect(end.code).toBe(0)
    expect(end.stderr).toContain('line 3: not JSON; left out')
    expect(end.stderr).toContain('line 4: longer than an event may be (896 KiB); left out')
    expect(end.stderr).toContain('line 5: no field k; left out')
    expect(end.stderr).toContain('3 bad lines left out')
    expect(numbersIn((await cli(['read', 'skipped'])).stdout)).toEqual([1, 2, 3])
  })

  it.each<[string, readonly string[], number, string]>([
    ['a file that is not there', ['publish', 'x', 'no-such-file'], 2, 'no-such-file cannot be read (ENOENT)'],
    ['a topic to read that is not there', ['read', 'nowhere'], 5, 'UNKNOWN_TOPIC: '],
  ])('given %s, end with one line and its exit code', async (_, args, code, text) => {
    const end = await cli(args)
    expect(end.stderr).toContain(text)
    expect(end.code).toBe(code)
  })

  it('given a time, start with the first event stored then', async () => {
    await cli(['publish', 'timed'], { stdin: numbered(1, 3) })
    const from = new Date(Date.now() + 1).toISOString()
    await cli(['publish', 'timed'], { stdin: numbered(4, 5) })
    expect(numbersIn((await cli(['read', 'timed', '--from', from])).stdout).sort(byValue)).toEqual([4, 5])
    expect((await cli(['read', 'timed', '--from', 'latest'])).stdout).toBe('')
  })
})

describe('a cursor file', () => {
  let good: string
  beforeAll(async () => {
    const file = join(dir, 'good.cursor')
    await cli(['topic', 'create', 'cursored'])
    await cli(['read', 'cursored', '--cursor-file', file])
    good = readFileSync(file, 'utf8').trim()
  })

  it('goes on where the last run stopped, in the middle of a batch too', async () => {
    const file = join(dir, 'place.cursor')
    await cli(['publish', 'resumed', '-', '--key-field', 'k'], { stdin: numbered(1, 50) })
    const read = async (...more: string[]): Promise<number[]> => {
      const end = await cli(['read', 'resumed', '--cursor-file', file, ...more])
      expect(end.code).toBe(0)
      return numbersIn(end.stdout)
    }
    expect(await read('--max', '20')).toEqual(Array.from({ length: 20 }, (_, n) => n + 1))
    expect(await read('--max', '7', '--from', 'latest')).toEqual([21, 22, 23, 24, 25, 26, 27])
    expect(await read()).toEqual(Array.from({ length: 23 }, (_, n) => n + 28))
    expect(await read()).toEqual([])
    await cli(['publish', 'resumed', '-', '--key-field', 'k'], { stdin: numbered(51, 52) })
    expect(await read()).toEqual([51, 52])
  })

  it('given latest and no event, still keeps the place', async () => {
    const file = join(dir, 'latest.cursor')
    await cli(['publish', 'watched', '-', '--key-field', 'k'], { stdin: numbered(1, 2) })
    expect((await cli(['read', 'watched', '--from', 'latest', '--cursor-file', file])).stdout).toBe('')
    await cli(['publish', 'watched', '-', '--key-field', 'k'], { stdin: numbered(3, 3) })
    expect(numbersIn((await cli(['read', 'watched', '--from', 'latest', '--cursor-file', file])).stdout)).toEqual([3])
  })

  it.each<[string, (good: string) => string, string]>([
    ['a changed one', (good) => `${good.slice(0, 30)}${good[30] === 'A' ? 'B' : 'A'}${good.slice(31)}`, 'BAD_CURSOR'],
    ['a cut one', (good) => good.slice(0, 20), 'BAD_CURSOR'],
    ['no cursor at all', () => 'hello world', 'BAD_CURSOR'],
  ])('given %s, says so and leaves the file alone', async (_, change, name) => {
    const file = join(dir, 'bad.cursor')
    const bad = change(good)
    writeFileSync(file, bad)
    const end = await cli(['read', 'cursored', '--cursor-file', file])
    expect(end.stderr).toContain(`${name}: `)
    expect(end).toMatchObject({ code: 7, stdout: '' })
    expect(readFileSync(file, 'utf8')).toBe(bad)
  })

  it('given the cursor of another topic, says so', async () => {
    const file = join(dir, 'foreign.cursor')
    writeFileSync(file, good)
    await cli(['topic', 'create', 'other'])
    expect(await cli(['read', 'other', '--cursor-file', file])).toMatchObject({
      code: 7,
      stderr: expect.stringContaining('CURSOR_FOREIGN: '),
    })
  })
})

describe('login', () => {
  it('prints a token that works', async () => {
    const { stdout } = await cli(['token'])
    const answer = await fetch(`${gateway.urls.http}/v1/topics`, {
      headers: { authorization: `Bearer ${stdout.trim()}` },
    })
    expect(answer.status).toBe(200)
  })

  it('finds the gateway from a folder below', async () => {
    const below = join(dir, 'a', 'b')
    mkdirSync(below, { recursive: true })
    expect(await cli(['token'], { cwd: below })).toMatchObject({ code: 0 })
  })

  it('given options or variables, uses them, over HTTP and over Thrift', async () => {
    const secret = join(dir, 'client-secret')
    writeFileSync(secret, gateway.credentials.clientSecret, { mode: 0o600 })
    await cli(['publish', 'elsewhere'], { stdin: numbered(1, 1) })
    const given = ['--client-id', 'dev', '--client-secret-file', secret]
    const overHttp = await cli(['read', 'elsewhere', '--url', gateway.urls.http, ...given], { cwd: tmpdir() })
    expect(numbersIn(overHttp.stdout)).toEqual([1])
    const env = {
      TRUNKLINE_URL: gateway.urls.thrift,
      TRUNKLINE_CLIENT_ID: 'dev',
      TRUNKLINE_CLIENT_SECRET_FILE: secret,
      TRUNKLINE_TOKEN_URL: gateway.urls.token,
    }
    const overThrift = await cli(['read', 'elsewhere'], { cwd: tmpdir(), env })
    expect(numbersIn(overThrift.stdout)).toEqual([1])
    expect(await cli(['topic', 'list'], { cwd: tmpdir(), env })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('give an http(s) URL'),
    })
  })

  it('given a wrong secret, ends with 4 and never shows it', async () => {
    const secret = join(dir, 'wrong-secret')
    writeFileSync(secret, 'wrong-and-secret', { mode: 0o600 })
    for (const args of [
      ['read', 'x'],
      ['topic', 'list'],
    ]) {
      const end = await cli([...args, '--client-id', 'dev', '--client-secret-file', secret])
      expect(end.stderr).toContain('UNAUTHENTICATED: ')
      expect(end.stderr).not.toContain('wrong-and-secret')
      expect(end.code).toBe(4)
    }
  })

  it('given no gateway anywhere, says what to do', async () => {
    const empty = mkdtempSync(join(tmpdir(), 'trunkline-empty-'))
    const end = await cli(['read', 'x'], { cwd: empty })
    expect(end).toMatchObject({ code: 2, stderr: expect.stringContaining('trunkline.js dev` here') })
    removeFolder(empty)
  })

  it('given a port where nothing listens, or something else, says so at once', async () => {
    const secret = join(dir, 'some-secret')
    writeFileSync(secret, 'x', { mode: 0o600 })
    const given = ['--client-id', 'dev', '--client-secret-file', secret]
    const end = await cli(['publish', 'x', '--url', 'http://127.0.0.1:1', ...given])
    expect(end).toMatchObject({ code: 3, stderr: expect.stringMatching(/^UNAVAILABLE: .*ECONNREFUSED/) })
    const admin = await cli(['topic', 'list', '--url', gateway.urls.admin, ...given])
    expect(admin.code).toBe(3)
  })
})

describe('pipes', () => {
  const shell = (line: string): Promise<{ stdout: string; stderr: string }> =>
    promisify(execFile)('bash', ['-o', 'pipefail', '-c', line], {
      cwd: dir,
      env: { ...process.env, NODE: process.execPath, CLI: cliEntry },
    })

  it('given a reader that goes away, ends quietly', async () => {
    await cli(['publish', 'piped', '-', '--key-field', 'k'], { stdin: numbered(1, 20_000) })
    const { stdout, stderr } = await shell('"$NODE" "$CLI" read piped --output payload | head -n 2')
    expect(stdout).toBe('{"n":1,"k":"key"}\n{"n":2,"k":"key"}\n')
    expect(stderr).toBe('')
  })

  it('from one topic to another, carry everything', async () => {
    const { stderr } = await shell(
      '"$NODE" "$CLI" read piped --output payload | "$NODE" "$CLI" publish copied --key-field k',
    )
    expect(stderr).toContain('published 20,000 events')
    expect(numbersIn((await cli(['read', 'copied'])).stdout)).toEqual(Array.from({ length: 20_000 }, (_, n) => n + 1))
  })

  it('given help or a version into a closed pipe, are no error', async () => {
    await shell('"$NODE" "$CLI" --help | head -n 1')
    expect((await cli(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })
})
