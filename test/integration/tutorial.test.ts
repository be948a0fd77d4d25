// Every command of docs/tutorial.md and docs/json-api.md, in its order, in a copy of what a clone has, as a reader types
// them.
// What the document marks: ```sh test (background=NAME until="TEXT", after=NAME), ```ts test file=NAME, and ```text output
// for what the block before it prints: these lines come, in this order; `…` stands for anything.
// One thing is not as typed: the default ports, which may be taken here, become free ones.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeFolder } from '../support/gateway-process.ts'
import { requirement } from '../support/requirement.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const inAClone = ['bin', 'src', 'idl', 'sdk/typescript/src', 'package.json', 'tsconfig.json']
const defaultPorts = [7470, 7471, 7479] as const
const stepMs = 60_000

interface Step {
  readonly title: string
  readonly language: string
  readonly marks: Readonly<Record<string, string>>
  readonly text: string
  /** Lines of the ```text output behind it. */
  readonly expected: readonly string[]
}

const documents = [
  { name: 'docs/tutorial.md', untested: ['git clone <this repository> trunkline && cd trunkline\nnpm ci\n'] },
  { name: 'docs/json-api.md', untested: [] },
].map((document) => ({ ...document, read: readSteps(readFileSync(join(root, document.name), 'utf8')) }))

const shell = requirement('bash and curl', () => {
  const missing = ['bash', 'curl'].filter((name) => spawnSync(name, ['--version']).status !== 0)
  return missing.length === 0 || `not installed: ${missing.join(', ')}`
})

describe.each(documents)('$name', ({ read, untested }) => {
  it('Given the document, When its commands are counted, Then all that can be are run here', () => {
    expect(read.untested).toEqual(untested)
    expect(read.steps.length).toBeGreaterThan(8)
  })
})

for (const { name, read } of documents) shell.describe(`${name}, followed`, () => follow(read.steps))

function follow(steps: readonly Step[]): void {
  let dir: string
  let terminal: Terminal
  let rename: (text: string) => string
  let failed: string | undefined
  const background = new Map<string, Background>()

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'trunkline-tutorial-'))
    const clone = join(dir, 'trunkline')
    for (const name of inAClone) cpSync(join(root, name), join(clone, name), { recursive: true })
    symlinkSync(join(root, 'node_modules'), join(clone, 'node_modules'))
    const ports = await freePorts(defaultPorts.length)
    rename = (text) => defaultPorts.reduce((done, port, i) => done.replaceAll(`:${port}`, `:${ports[i]}`), text)
    terminal = new Terminal(clone, join(dir, 'blocks'), environment(ports, join(dir, 'npm')))
  })
  afterAll(async () => {
    for (const one of background.values()) await one.interrupt()
    terminal?.close()
    removeFolder(dir)
  })

  it.each(steps.map((step, index) => ({ ...step, index })))(
    '$index: $title',
    async (step) => {
      if (failed !== undefined) throw new Error(`not tried: "${failed}" went wrong`)
      failed = step.title
      const { marks, language } = step
      const { background: name, until, after, file } = marks
      if (after !== undefined) await running(after).ended()
      let output = ''
      if (file !== undefined) writeFileSync(join(terminal.cwd, file), step.text)
      else if (language !== 'sh') throw new Error(`nobody knows how to test ${language}`)
      else if (name === undefined) output = await terminal.run(rename(step.text))
      else {
        // The one before it with this name has ended: the document killed it.
        await background.get(name)?.ended(null)
        const started = terminal.start(rename(step.text))
        background.set(name, started)
        output = await started.until(until ?? '')
      }
      expectLines(output, step.expected.map(rename))
      failed = undefined
    },
    stepMs,
  )

  it('Given all of it done, When Ctrl-C is pressed in A, Then the gateway ends cleanly', async () => {
    if (failed !== undefined) throw new Error(`not tried: "${failed}" went wrong`)
    await running('gateway').interrupt()
    expect(running('gateway').output()).not.toMatch(/error/i)
  })

  const running = (name: string): Background => {
    const found = background.get(name)
    if (found === undefined) throw new Error(`the document starts no ${name}`)
    return found
  }
}

/** One shell for all blocks: what one sets, the next one has. */
class Terminal {
  readonly cwd: string
  readonly #blocks: string
  readonly #env: NodeJS.ProcessEnv
  readonly #bash: ChildProcess
  #output = ''
  #onOutput = (): void => {}
  #count = 0

  constructor(cwd: string, blocks: string, env: NodeJS.ProcessEnv) {
    this.cwd = cwd
    this.#blocks = blocks
    this.#env = env
    mkdirSync(blocks)
    this.#bash = spawn('bash', ['--noprofile', '--norc', '-s'], { cwd, env, stdio: ['pipe', 'pipe', 'inherit'] })
    this.#bash.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      this.#output += chunk
      this.#onOutput()
    })
    this.#bash.once('close', () => this.#onOutput())
    // A failing command ends it, as it would stop a reader.
    this.#bash.stdin?.write('set -e\n')
  }

  /** What the block printed. Rejects when one of its commands fails. */
  run(block: string): Promise<string> {
    const file = join(this.#blocks, `${++this.#count}.sh`)
    writeFileSync(file, block)
    const done = `=== done ${this.#count} ===\n`
    this.#output = ''
    return new Promise((resolve, reject) => {
      this.#onOutput = () => {
        const at = this.#output.indexOf(done)
        if (at >= 0) resolve(this.#output.slice(0, at))
        else if (this.#bash.exitCode !== null) {
          reject(new Error(`a command failed (exit code ${this.#bash.exitCode}):\n${block}\n${this.#output}`))
        }
      }
      // The programs must not read the shell's own commands. The output of curl has no line end.
      this.#bash.stdin?.write(`. '${file}' < /dev/null 2>&1\nprintf '\\n%s' '${done}'\n`)
    })
  }

  start(block: string): Background {
    return new Background(
      spawn('bash', ['-c', block], {
        cwd: this.cwd,
        env: this.#env,
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    )
  }

  close(): void {
    this.#bash.kill('SIGKILL')
  }
}

/** What runs in a terminal of its own. */
class Background {
  readonly #child: ChildProcess
  readonly #closed: Promise<number | null>
  #isOver = false
  #output = ''
  #onOutput = (): void => {}

  constructor(child: ChildProcess) {
    this.#child = child
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => {
        this.#output += chunk
        this.#onOutput()
      })
    }
    this.#closed = new Promise((resolve) => {
      child.once('close', (code) => {
        this.#isOver = true
        this.#onOutput()
        resolve(code)
      })
    })
  }

  output(): string {
    return this.#output
  }

  /** What it has printed when it has printed `text`. */
  until(text: string): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#onOutput = () => {
        if (this.#output.includes(text)) resolve(this.#output)
        else if (this.#isOver) reject(new Error(`it ended before it printed "${text}":\n${this.#output}`))
      }
      this.#onOutput()
    })
  }

  /** Resolves when it has ended by itself; null: with any exit code. */
  async ended(wanted: number | null = 0): Promise<void> {
    const code = await this.#closed
    if (wanted !== null && code !== wanted) throw new Error(`it ended with ${code}:\n${this.#output}`)
  }

  /** Ctrl-C: the whole process group hears it. */
  async interrupt(): Promise<void> {
    const { pid } = this.#child
    if (!this.#isOver && pid !== undefined) process.kill(-pid, 'SIGINT')
    await this.#closed
  }
}

function readSteps(markdown: string): { steps: Step[]; untested: string[] } {
  const steps: Step[] = []
  const untested: string[] = []
  for (const [, info = '', text = ''] of markdown.matchAll(/^```([^\n]+)\n([\s\S]*?)^```$/gm)) {
    const [language = '', kind, ...rest] = info.match(/[^\s="]+="[^"]*"|\S+/g) ?? []
    const last = steps.at(-1)
    if (kind === 'test') steps.push({ title: titleOf(text), language, marks: marksOf(rest), text, expected: [] })
    else if (kind === 'output' && last !== undefined) {
      steps[steps.length - 1] = { ...last, expected: text.split('\n').filter((line) => line.trim() !== '') }
    } else untested.push(text)
  }
  return { steps, untested }
}

function titleOf(text: string): string {
  return (text.split('\n', 1)[0] ?? '').slice(0, 60).replaceAll('$', '').replaceAll('%', '')
}

function marksOf(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1).replaceAll('"', '')]),
  )
}

function expectLines(output: string, expected: readonly string[]): void {
  const printed = output.split('\n').map(plain)
  let from = 0
  for (const line of expected) {
    const pattern = new RegExp(
      `^${plain(line)
        .replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
        .replaceAll('…', '.*')}$`,
    )
    const at = printed.findIndex((candidate, index) => index >= from && pattern.test(candidate))
    if (at < 0) throw new Error(`the document says it prints\n  ${line}\nbut it printed\n${output}`)
    from = at + 1
  }
}

/** How wide the gaps of a table are does not matter. */
function plain(line: string): string {
  return line.trim().replace(/\s+/g, ' ')
}

function environment(ports: readonly number[], npmCache: string): NodeJS.ProcessEnv {
  const clean = Object.entries(process.env).filter(
    ([name]) => !/^(TRUNKLINE_|VITEST|NODE_ENV$|NODE_OPTIONS$)/.test(name),
  )
  const [http, thrift, admin] = ports
  return {
    ...Object.fromEntries(clean),
    TRUNKLINE_HTTP_PORT: String(http),
    TRUNKLINE_THRIFT_PORT: String(thrift),
    TRUNKLINE_ADMIN_PORT: String(admin),
    // npx finds the commands in the clone, or fails; it leaves nothing behind.
    npm_config_offline: 'true',
    npm_config_cache: npmCache,
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  const ports: number[] = []
  for (const server of servers) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('a listening server has a port')
    ports.push(address.port)
  }
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
