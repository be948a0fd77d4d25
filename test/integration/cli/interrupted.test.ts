// Ctrl-C, slow readers and gateways that die, in the middle of publish and read: nothing is lost, nothing comes twice.
import { existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type GatewayProcess, removeFolder, startGatewayProcess } from '../../support/gateway-process.ts'
import { requirement } from '../../support/requirement.ts'
import { type CliOptions, type RunningCli, runCli, startCli } from '../../support/run-cli.ts'

const count = 20_000
let dir: string
let gateway: GatewayProcess
beforeAll(async () => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'trunkline-interrupted-')))
  gateway = await startGatewayProcess({ dir })
  const published = await runCli(['publish', 'long', '--key-field', 'k'], { cwd: dir, stdin: numbered(1, count) })
  expect(published.code).toBe(0)
})
afterAll(async () => {
  await gateway.stop()
  removeFolder(dir)
})

const start = (args: readonly string[], options: Partial<CliOptions> = {}): RunningCli =>
  startCli(args, { cwd: dir, ...options })

/** One key, so that all of it is in order. */
function numbered(from: number, to: number): string {
  return Array.from({ length: to - from + 1 }, (_, index) => `{"n":${from + index},"k":"key"}\n`).join('')
}

/** The numbers of complete lines. */
function numbersIn(text: string): number[] {
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => (JSON.parse(line) as { payload: { n: number } }).payload.n)
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, index) => from + index)

async function allOf(topic: string): Promise<number[]> {
  return numbersIn((await runCli(['read', topic], { cwd: dir })).stdout)
}

const proc = requirement('/proc', () => existsSync(`/proc/${process.pid}/task`))

describe('SIGINT during read', () => {
  proc.it(
    'given a reader of stdout that is slow, finishes the batch it has, and the next run goes on behind it',
    async () => {
      const file = join(dir, 'slow.cursor')
      const reading = start(['read', 'long', '--cursor-file', file], { stdout: 'held' })
      await untilHeldUp(reading)
      reading.signal('SIGINT')
      // It hears the signal although it cannot go on.
      await reading.until(({ stderr }) => stderr.includes('Stopping: writing the events at hand'))
      reading.drain()
      const end = await reading.ended
      const first = numbersIn(end.stdout)
      expect(end).toMatchObject({ code: 130, signal: null })
      expect(first).toEqual(range(1, first.length))
      expect(first.length).toBeLessThan(count)
      const rest = numbersIn((await runCli(['read', 'long', '--cursor-file', file], { cwd: dir })).stdout)
      expect([...first, ...rest]).toEqual(range(1, count))
    },
  )

  proc.it('given a second one, ends at once; what was not acked comes again', async () => {
    const file = join(dir, 'twice.cursor')
    const reading = start(['read', 'long', '--cursor-file', file], { stdout: 'held' })
    await untilHeldUp(reading)
    reading.signal('SIGINT')
    // Said half a second later: what follows now is no echo of the same key press.
    await reading.until(({ stderr }) => stderr.includes('Stopping: writing the events at hand'))
    reading.signal('SIGINT')
    expect(await reading.exited).toEqual({ code: 130, signal: null })
    reading.drain()
    const end = await reading.ended
    expect(end.stderr).toContain('come again')
    const first = numbersIn(end.stdout)
    const rest = numbersIn((await runCli(['read', 'long', '--cursor-file', file], { cwd: dir })).stdout)
    expect(first).toEqual(range(1, first.length))
    expect(rest[0]).toBeLessThanOrEqual(first.length + 1)
    expect(rest).toEqual(range(rest[0] ?? 0, count))
  })

  it('given that it waits for more, ends, and keeps its place', async () => {
    const file = join(dir, 'waiting.cursor')
    const reading = start(['read', 'long', '--follow', '--cursor-file', file])
    await reading.until(({ stdout }) => stdout.includes(`"n":${count},`))
    reading.signal('SIGINT')
    expect(await reading.ended).toMatchObject({ code: 130, stderr: '' })
    expect(numbersIn((await runCli(['read', 'long', '--cursor-file', file], { cwd: dir })).stdout)).toEqual([])
  })

  it('given SIGTERM, does the same with its code', async () => {
    const reading = start(['read', 'long', '--follow'])
    await reading.until(({ stdout }) => stdout !== '')
    reading.signal('SIGTERM')
    expect(await reading.ended).toMatchObject({ code: 143 })
  })
})

describe('SIGINT during publish', () => {
  it('given an open pipe, publishes the lines that came whole and names the next one', async () => {
    const publishing = start(['publish', 'stopped', '--key-field', 'k'], { stdin: { open: true } })
    publishing.write(`${numbered(1, 3_000)}{"n":3001,"k":"ke`)
    // Its topic is there as soon as it has taken something in.
    await untilTopic('stopped')
    publishing.signal('SIGINT')
    const end = await publishing.ended
    expect(end.code).toBe(130)
    const [, through, next] = /lines 1 to ([\d,]+) are published; line ([\d,]+) comes next/.exec(end.stderr) ?? []
    const last = Number(through?.replaceAll(',', ''))
    expect(last).toBeGreaterThan(0)
    expect(Number(next?.replaceAll(',', ''))).toBe(last + 1)
    expect(await allOf('stopped')).toEqual(range(1, last))
  })

  it('given a file, can be gone on with exactly where it stopped', async () => {
    const path = join(dir, 'big.ndjson')
    const lines = numbered(1, 200_000)
    writeFileSync(path, lines)
    const publishing = start(['publish', 'continued', path, '--key-field', 'k'])
    await untilTopic('continued')
    publishing.signal('SIGINT')
    const end = await publishing.ended
    expect(end.code).toBe(130)
    const next = Number(/go on with: tail -n \+(\d+) /.exec(end.stderr)?.[1])
    expect(next).toBeGreaterThan(1)
    expect(next).toBeLessThan(200_000)
    const few = next + 500
    const rest = await runCli(['publish', 'continued', '--key-field', 'k'], { cwd: dir, stdin: numbered(next, few) })
    expect(rest.code).toBe(0)
    expect(await allOf('continued')).toEqual(range(1, few))
  })
})

describe('a gateway that is killed and started again', () => {
  it('given a publish and a read that go on meanwhile, loses, doubles and reorders nothing', async () => {
    const file = join(dir, 'killed.cursor')
    const publishing = start(['publish', 'killed', '--key-field', 'k', '--batch', '50'], { stdin: { open: true } })
    publishing.write(numbered(1, 5_000))
    await untilTopic('killed')
    const reading = start(['read', 'killed', '--follow', '--max', '10000', '--cursor-file', file])
    await reading.until(({ stdout }) => stdout.includes('"n":1,'))
    publishing.write(numbered(5_001, 7_000))
    await gateway.kill('SIGKILL')
    publishing.write(numbered(7_001, 10_000))
    publishing.closeStdin()
    await gateway.restart()
    expect(await publishing.ended).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('published 10,000 events'),
    })
    const end = await reading.ended
    expect(end.code).toBe(0)
    expect(numbersIn(end.stdout)).toEqual(range(1, 10_000))
    expect(await allOf('killed')).toEqual(range(1, 10_000))
  })

  it('given that it is not there, commands say so at once, with what dev.json still says', async () => {
    await gateway.kill('SIGKILL')
    for (const args of [
      ['publish', 'long'],
      ['topic', 'list'],
    ]) {
      const end = await runCli(args, { cwd: dir })
      expect(end.stderr).toContain('which has ended; start `node ')
      expect(end.code).toBe(3)
    }
    await gateway.restart()
    expect(await runCli(['token'], { cwd: dir })).toMatchObject({ code: 0 })
  })
})

/** Resolves when it has begun to write and none of its threads has had anything to do for a while. */
async function untilHeldUp(cli: RunningCli): Promise<void> {
  await cli.until(({ stdout }) => stdout !== '')
  const quietTimes = 6
  for (let before = '', quiet = 0; quiet < quietTimes; ) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    const now = workOf(cli.pid)
    quiet = now !== undefined && now === before ? quiet + 1 : 0
    before = now ?? ''
  }
}

/** Processor time of every thread; undefined while one of them runs. */
function workOf(pid: number): string | undefined {
  const threads = readdirSync(`/proc/${pid}/task`).map((id) => {
    // Behind the name, which is in brackets: state, then eleven fields, then the two times.
    const fields = readFileSync(`/proc/${pid}/task/${id}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return { running: fields[0] === 'R', time: `${id} ${fields[11]} ${fields[12]}` }
  })
  return threads.some(({ running }) => running) ? undefined : threads.map(({ time }) => time).join()
}

async function untilTopic(topic: string): Promise<void> {
  for (;;) {
    const { stdout } = await runCli(['topic', 'describe', topic, '--json'], { cwd: dir })
    if (stdout !== '' && (JSON.parse(stdout) as { latest: string[] }).latest.some((offset) => offset !== '0')) return
  }
}
