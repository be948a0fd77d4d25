// Owns: `npm run stack`: real Kafka and RabbitMQ brokers on this machine, left running in the background.
// 1. What runs is asked of the system each time; `.trunkline/stack/stack.json` says only what the stack is made of.
// 2. Wrong names and arguments: exit code 2 and what would have been right. What failed: exit code 1.
// 3. `down` removes a folder only when `up` made what is in it.
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { kafkaClassPath } from './stack/jars.ts'
import { type KafkaVersion, kafkaVersions, makePlan, planFile, portsOf, readPlan, writePlan } from './stack/plan.ts'
import { defaultPorts, isFree } from './stack/ports.ts'
import { openStack, type Stack } from './stack/stack.ts'
import { describeMissing, installMissing, missingTools } from './stack/tools.ts'

const usage = `npm run stack -- COMMAND [options]
  up [--small] [--kafka-version ${kafkaVersions.join('|')}] [--free-ports] [--install]
                      starts three Kafka and two RabbitMQ brokers, or what of them is dead; --small: one of each
  down [--keep]       ends them and removes their data; --keep: a clean end, the data stay
  status [--json]     what runs, where
  logs NAME           what a broker has written
  kill NAME           SIGKILL          pause NAME   SIGSTOP
  start NAME          again, same data resume NAME  SIGCONT
  install             installs what is missing (root on Debian) and fetches Kafka
  --dir D             where everything is kept; default .trunkline/stack`

const lockName = 'up.lock'
const usageExitCode = 2
const interruptedExitCode = 130
const root = fileURLToPath(new URL('..', import.meta.url))

class UsageError extends Error {}

const options = {
  small: { type: 'boolean' },
  install: { type: 'boolean' },
  'free-ports': { type: 'boolean' },
  'kafka-version': { type: 'string' },
  keep: { type: 'boolean' },
  json: { type: 'boolean' },
  dir: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const

/** Which options and arguments a command takes, besides --dir. */
const commands: Readonly<Record<string, { readonly takes: readonly string[]; readonly named: boolean }>> = {
  up: { takes: ['small', 'install', 'free-ports', 'kafka-version'], named: false },
  down: { takes: ['keep'], named: false },
  status: { takes: ['json'], named: false },
  logs: { takes: [], named: true },
  kill: { takes: [], named: true },
  pause: { takes: [], named: true },
  resume: { takes: [], named: true },
  start: { takes: [], named: true },
  install: { takes: [], named: false },
}

try {
  await main()
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = error instanceof UsageError ? usageExitCode : 1
}

async function main(): Promise<void> {
  const { values, positionals } = parsed()
  const [command, ...names] = positionals
  if (values.help === true) return say(usage)
  const rules = command === undefined ? undefined : commands[command]
  if (command === undefined || rules === undefined) throw new UsageError(usage)
  const unfit = Object.keys(values).find((name) => name !== 'dir' && !rules.takes.includes(name))
  if (unfit !== undefined) throw new UsageError(`${command} takes no --${unfit}\n${usage}`)
  const dir = resolve(values.dir ?? join(root, '.trunkline', 'stack'))
  if (names.length > (rules.named ? 1 : 0)) throw new UsageError(`too much said: ${names.join(' ')}\n${usage}`)
  if (command === 'up') return up(dir, values)
  if (command === 'install') return install(kafkaVersions)

  const plan = readPlan(dir)
  if (plan === undefined && command === 'down') return say(`There is no stack in ${dir}.`)
  if (plan === undefined) throw new Error(`there is no stack in ${dir}: npm run stack -- up`)
  if (plan.dir !== realpathSync(dir)) throw new Error(`this stack was made in ${plan.dir}: it cannot be moved`)
  const stack = openStack(plan)
  if (command === 'status') return say(values.json === true ? json(stack) : table(stack))
  if (command === 'down') return down(stack, values.keep === true)
  const [name] = names
  if (name === undefined || !stack.names.includes(name)) {
    throw new UsageError(
      `${command} needs one of: ${stack.names.join(', ')}${name === undefined ? '' : `; not ${name}`}`,
    )
  }
  return withNode(stack, command, name)
}

async function up(dir: string, values: ReturnType<typeof parsed>['values']): Promise<void> {
  const kafkaVersion = versionOf(values['kafka-version'])
  mkdirSync(dir, { recursive: true })
  const known = readPlan(dir)
  if (known === undefined && readdirSync(dir).some((name) => name !== lockName)) {
    throw new Error(`${dir} holds something else than a stack: name an empty folder with --dir`)
  }
  const isSmall = values.small === true
  if (
    known !== undefined &&
    ((isSmall && known.kafka.length !== 1) || (kafkaVersion ?? known.kafkaVersion) !== known.kafkaVersion)
  ) {
    throw new Error(`the stack in ${dir} is another one: npm run stack -- down`)
  }
  const release = lock(dir)
  try {
    const missing = missingTools({
      kafka: true,
      kafkaVersion: known?.kafkaVersion ?? kafkaVersion ?? kafkaVersions[0],
      rabbit: true,
      secured: true,
    })
    if (missing.length > 0 && values.install !== true) throw new Error(describeMissing(missing))
    installMissing(missing)
    const made =
      known ??
      (await makePlan(
        {
          dir: realpathSync(dir),
          kafka: isSmall ? 1 : 3,
          rabbit: isSmall ? 1 : 2,
          secured: true,
          ...(kafkaVersion === undefined ? {} : { kafkaVersion }),
        },
        values['free-ports'] === true ? undefined : defaultPorts,
      ))
    const stack = openStack(made)
    const dead = stack.names.filter((name) => stack.state(name) === 'dead')
    await checkPorts(stack, dead)
    writePlan(made)
    await startAll(stack, dead)
    const paused = stack.names.filter((name) => stack.state(name) === 'paused')
    if (dead.length === 0) say('Everything runs already.')
    say(`${table(stack)}\n`)
    if (paused.length > 0) say(`Paused, and left so: ${paused.join(', ')}.\n`)
    say(hints(stack))
  } finally {
    release()
  }
}

/** Starts what is dead. What was started ends again when it fails or is interrupted. */
async function startAll(stack: Stack, dead: readonly string[]): Promise<void> {
  const undo = async (): Promise<void> => {
    if (dead.length === stack.names.length) await stack.stop()
    else await Promise.all(dead.map((name) => stack.kill(name)))
  }
  const interrupted = (): void => {
    void undo().finally(() => process.exit(interruptedExitCode))
  }
  process.once('SIGINT', interrupted)
  process.once('SIGTERM', interrupted)
  try {
    if (dead.length > 0) say(`Starting ${dead.join(', ')} …`)
    await stack.startAll()
  } catch (error) {
    await undo()
    throw error
  } finally {
    process.off('SIGINT', interrupted)
    process.off('SIGTERM', interrupted)
  }
}

async function checkPorts(stack: Stack, dead: readonly string[]): Promise<void> {
  for (const { name, ports } of portsOf(stack.plan)) {
    if (!dead.includes(name)) continue
    for (const port of ports) {
      if (await isFree(port)) continue
      throw new Error(
        `port ${port} of ${name} is taken by another program: end that, or take other ports (--free-ports)`,
      )
    }
  }
}

async function down(stack: Stack, keep: boolean): Promise<void> {
  await stack.stop({ clean: keep, remove: !keep })
  say(keep ? `Ended; the data stay in ${stack.dir}.` : 'Ended and removed.')
}

async function withNode(stack: Stack, command: string, name: string): Promise<void> {
  const before = stack.state(name)
  if (command === 'logs') return say(stack.log(name).trimEnd())
  if (command === 'kill') await stack.kill(name)
  else if (command === 'pause') await stack.pause(name)
  else if (command === 'resume') await stack.resume(name)
  else await stack.start(name)
  return say(`${name}: ${before} → ${stack.state(name)}`)
}

async function install(versions: readonly KafkaVersion[]): Promise<void> {
  for (const kafkaVersion of versions) {
    installMissing(missingTools({ kafka: true, kafkaVersion, rabbit: true, secured: true }))
    await kafkaClassPath(kafkaVersion)
  }
  say(`Ready: Kafka ${versions.join(' and ')}, RabbitMQ.`)
}

function table(stack: Stack): string {
  const rows = [
    ...stack.kafka.map((node) => [node.name, node.state, node.pid, node.address, node.securedAddress]),
    ...stack.rabbit.map((node) => [node.name, node.state, node.pid, node.url, node.tlsUrl]),
  ].map((row) => row.map((cell) => String(cell ?? '-')))
  const rest = [10, 9, 8, 44, 0]
  return [['name', 'state', 'pid', 'plain', 'secured'], ...rows]
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(rest[column] ?? 0))
        .join('')
        .trimEnd(),
    )
    .join('\n')
}

function json(stack: Stack): string {
  return JSON.stringify(
    { ...stack.plan, kafka: stack.kafka, rabbit: stack.rabbit, environment: environment(stack) },
    null,
    2,
  )
}

function environment(stack: Stack): Readonly<Record<string, string>> {
  return {
    TRUNKLINE_KAFKA_BROKERS: stack.kafkaAddresses.join(','),
    TRUNKLINE_RABBIT_SHARDS: stack.rabbitUrls
      .map((url, index) => `${String.fromCharCode(97 + index)}=${url}`)
      .join(','),
  }
}

function hints(stack: Stack): string {
  return [
    'Point `trunkline stream` and `trunkline api` at it:',
    ...Object.entries(environment(stack)).map(([name, value]) => `  export ${name}='${value}'`),
    `Users and certificates of the secured listeners: ${planFile(stack.dir)}`,
    'End it: npm run stack -- down',
  ].join('\n')
}

/** Two `up` at once would start everything twice. */
function lock(dir: string): () => void {
  const file = join(dir, lockName)
  try {
    writeFileSync(file, String(process.pid), { flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    const holder = readFileSync(file, 'utf8')
    if (existsSync(`/proc/${holder}`)) throw new Error(`another \`up\` is at work here (process ${holder})`)
    writeFileSync(file, String(process.pid))
  }
  return () => rmSync(file, { force: true })
}

function versionOf(text: string | undefined): KafkaVersion | undefined {
  const version = kafkaVersions.find((known) => known === text)
  if (text !== undefined && version === undefined)
    throw new UsageError(`--kafka-version is one of ${kafkaVersions.join(', ')}`)
  return version
}

function parsed() {
  try {
    return parseArgs({ options, allowPositionals: true })
  } catch (error) {
    throw new UsageError(`${error instanceof Error ? error.message : String(error)}\n${usage}`)
  }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
