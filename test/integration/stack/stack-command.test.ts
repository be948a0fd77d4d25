import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { processesOf } from '../../../scripts/stack/processes.ts'
import { sharedStack, stackRequirement, stackStartMs } from '../../support/stack.ts'

interface Answer {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

interface Status {
  readonly kafka: readonly {
    readonly name: string
    readonly state: string
    readonly pid?: number
    readonly address: string
  }[]
  readonly rabbit: readonly {
    readonly name: string
    readonly state: string
    readonly pid?: number
    readonly port: number
  }[]
  readonly environment: Readonly<Record<string, string>>
}

const entry = fileURLToPath(new URL('../../../scripts/stack.ts', import.meta.url))

function runStack(...args: readonly string[]): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', 'tsx', entry, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      stdout += chunk
    })
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      stderr += chunk
    })
    child.once('error', reject)
    // All of it came: the brokers do not hold these pipes open.
    child.once('close', (code) => resolve({ code, stdout, stderr }))
  })
}

async function statusOf(dir: string): Promise<Status> {
  const { code, stdout, stderr } = await runStack('status', '--json', '--dir', dir)
  expect([code, stderr]).toEqual([0, ''])
  return JSON.parse(stdout) as Status
}

describe('npm run stack', () => {
  it.each([
    ['nothing', []],
    ['an unknown command', ['restart']],
    ['an unknown option', ['up', '--large']],
    ['an option of another command', ['down', '--small']],
    ['too many names', ['kill', 'kafka-1', 'kafka-2']],
    ['an unknown version', ['up', '--kafka-version', '0.8.2', '--dir', '/nowhere']],
  ])('Given %s, when it runs, then it ends with 2 and says what would be right', async (_, args) => {
    const { code, stderr } = await runStack(...args)
    expect(code).toBe(2)
    expect(stderr).toMatch(/npm run stack -- COMMAND|is one of 4\.1\.1, 3\.9\.1/)
  })

  it('Given no stack, when asked for its status and to end it, then that is said', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'trunkline-stack-test-'))
    onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
    expect(await runStack('status', '--dir', dir)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no stack'),
    })
    expect(await runStack('down', '--dir', dir)).toMatchObject({ code: 0, stdout: expect.stringContaining('no stack') })
  })

  it('Given a folder with other files, when a stack is to be made there, then it is refused and left alone', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'trunkline-stack-test-'))
    onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
    writeFileSync(join(dir, 'mine.txt'), 'mine')
    const { code, stderr } = await runStack('up', '--small', '--free-ports', '--dir', dir)
    expect([code, stderr]).toEqual([1, expect.stringContaining('empty folder')])
    expect(readFileSync(join(dir, 'mine.txt'), 'utf8')).toBe('mine')
  })
})

stackRequirement.describe('npm run stack -- up', () => {
  const parent = mkdtempSync(join(tmpdir(), 'trunkline-stack-test-'))
  const dir = join(parent, 'stack')
  let first: Status
  beforeAll(async () => {
    const { code, stdout, stderr } = await runStack('up', '--small', '--free-ports', '--dir', dir)
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain('Starting kafka-1, rabbit-1')
    first = await statusOf(dir)
  }, stackStartMs)
  afterAll(async () => {
    await runStack('down', '--dir', dir)
    rmSync(parent, { recursive: true, force: true })
  })

  it('Given a stack that runs, then its status says where, and how to point the gateway at it', () => {
    const [kafka] = first.kafka
    const [rabbit] = first.rabbit
    expect([kafka?.state, rabbit?.state]).toEqual(['running', 'running'])
    expect(first.environment).toEqual({
      TRUNKLINE_KAFKA_BROKERS: kafka?.address,
      TRUNKLINE_RABBIT_SHARDS: `a=amqp://trunkline:trunkline@127.0.0.1:${rabbit?.port}`,
    })
  })

  it('Given a stack that runs, when it is started again, then the same processes go on', async () => {
    const { code, stdout } = await runStack('up', '--dir', dir)
    expect([code, stdout]).toEqual([0, expect.stringContaining('Everything runs already')])
    expect(await statusOf(dir)).toEqual(first)
  })

  it('Given TRUNKLINE_STACK_JSON, when a test shares that stack and stops it, then it goes on', async () => {
    vi.stubEnv('TRUNKLINE_STACK_JSON', join(dir, 'stack.json'))
    onTestFinished(() => {
      vi.unstubAllEnvs()
    })
    const shared = await sharedStack()
    expect(shared.kafkaAddresses).toEqual(first.kafka.map(({ address }) => address))
    await shared.stop()
    expect(shared.kafka.map(({ pid }) => pid)).toEqual(first.kafka.map(({ pid }) => pid))
  })

  it('Given a name that is not there, when it is to be killed, then it ends with 2 and tells the names', async () => {
    const { code, stderr } = await runStack('kill', 'kafka-7', '--dir', dir)
    expect([code, stderr]).toEqual([2, expect.stringContaining('kafka-1, rabbit-1')])
  })

  it('Given a broker, when it is killed, paused and started, then its status follows', async () => {
    expect(await runStack('kill', 'kafka-1', '--dir', dir)).toMatchObject({
      code: 0,
      stdout: 'kafka-1: running → dead\n',
    })
    expect(await runStack('pause', 'rabbit-1', '--dir', dir)).toMatchObject({ code: 0 })
    const now = await statusOf(dir)
    expect(now.kafka.map(({ state, pid }) => [state, pid])).toEqual([['dead', undefined]])
    expect(now.rabbit.map(({ state, pid }) => [state, pid])).toEqual([['paused', first.rabbit[0]?.pid]])
    expect(await runStack('pause', 'kafka-1', '--dir', dir)).toMatchObject({ code: 1 })
    expect(await runStack('resume', 'rabbit-1', '--dir', dir)).toMatchObject({ code: 0 })
    expect(await runStack('start', 'kafka-1', '--dir', dir)).toMatchObject({
      code: 0,
      stdout: 'kafka-1: dead → running\n',
    })
    expect((await statusOf(dir)).kafka.map(({ state, address }) => [state, address])).toEqual([
      ['running', first.kafka[0]?.address],
    ])
    const logs = await runStack('logs', 'rabbit-1', '--dir', dir)
    expect(logs.stdout).toContain('RabbitMQ')
  })

  it('Given a dead broker whose port another program took, when it is started, then the port is named', async () => {
    await runStack('kill', 'rabbit-1', '--dir', dir)
    const port = first.rabbit[0]?.port ?? 0
    const squatter = createServer()
    await new Promise<void>((resolve) => squatter.listen(port, '127.0.0.1', resolve))
    const refused = await runStack('up', '--dir', dir)
    await new Promise((resolve) => squatter.close(resolve))
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining(`port ${port} of rabbit-1 is taken`)])
    expect(await runStack('up', '--dir', dir)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('Starting rabbit-1 '),
    })
  })

  it('Given a stack, when it is ended, then no process and no folder is left, and ending it again is fine', async () => {
    const folders = ['kafka-1', 'rabbit-1', 'epmd'].map((name) => join(dir, name))
    expect(folders.map((folder) => processesOf(folder).length > 0)).toEqual([true, true, true])
    expect(await runStack('down', '--dir', dir)).toMatchObject({ code: 0 })
    expect(folders.flatMap((folder) => processesOf(folder))).toEqual([])
    expect(existsSync(dir)).toBe(false)
    expect(await runStack('down', '--dir', dir)).toMatchObject({ code: 0 })
  })
})
