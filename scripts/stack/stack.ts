// Owns: real Kafka and RabbitMQ brokers on this machine without containers: started, killed, paused and started again
// by name, for tests, chaos, benchmarks and `npm run stack`.
// 1. `startStack` answers when every broker serves; when one does not, nothing is left running and its log is shown.
// 2. A stack of `startStack` ends with this process, however that ends (guard.ts). One that was opened stays.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeCertificates } from './certificates.ts'
import { startGuard } from './guard.ts'
import { kafkaClassPath } from './jars.ts'
import { awaitKafka, startKafka } from './kafka.ts'
import {
  type KafkaPlan,
  makePlan,
  nodeNames,
  type RabbitPlan,
  type StackOptions,
  type StackPlan,
  writePlan,
} from './plan.ts'
import { endAll, holds, killAll, logFile, processesOf, signalAll } from './processes.ts'
import { awaitRabbit, startEpmd, startRabbit } from './rabbit.ts'
import { describeMissing, missingTools } from './tools.ts'

export type NodeState = 'running' | 'paused' | 'dead'

interface NodeNow {
  /** Of Kafka's JVM or of RabbitMQ's Erlang machine; undefined while it is dead. */
  readonly pid: number | undefined
  readonly state: NodeState
}

export interface Stack {
  readonly plan: StackPlan
  readonly dir: string
  readonly kafka: readonly (KafkaPlan & NodeNow)[]
  readonly rabbit: readonly (RabbitPlan & NodeNow)[]
  /** `host:port` of every Kafka broker, plain. */
  readonly kafkaAddresses: readonly string[]
  /** AMQP URL of every RabbitMQ broker, plain. */
  readonly rabbitUrls: readonly string[]
  readonly names: readonly string[]
  state(name: string): NodeState
  /** SIGKILL to all its processes; resolves when they are gone. */
  kill(name: string): Promise<void>
  /** SIGTERM: leaders move away first, queues are closed. */
  terminate(name: string): Promise<void>
  /** SIGSTOP: connections stay open and nobody answers. Sent at once; resolves when it has stopped. */
  pause(name: string): Promise<void>
  /** SIGCONT, sent at once. */
  resume(name: string): Promise<void>
  /**
   * Again, on the same data and ports. Resolves when it serves; of three Kafka brokers the first of a majority cannot, and
   * is not waited for. Does nothing when it runs.
   */
  start(name: string): Promise<void>
  /** All that is dead, at once; resolves when everything that is not paused serves, with the names of those that were dead. */
  startAll(): Promise<readonly string[]>
  /** All that it has written. */
  log(name: string): string
  /** Ends every process. Removes the folder when `startStack` made it, or when told to. Idempotent. */
  stop(options?: { readonly clean?: boolean; readonly remove?: boolean }): Promise<void>
}

/** How long a clean end may take: Kafka moves its leaders, RabbitMQ closes its queues. */
const terminateMs = 20_000
const signalMs = 5000
const mainPrograms: ReadonlySet<string> = new Set(['java', 'beam.smp'])

/** A stack of this process. */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const isOurs = options.dir === undefined
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), 'trunkline-stack-'))
  mkdirSync(dir, { recursive: true })
  // The guard is there before the first process is.
  const guard = startGuard(realpathSync(dir), isOurs ? 'remove' : 'keep')
  try {
    const stack = openStack(await makePlan({ ...options, dir: realpathSync(dir) }))
    writePlan(stack.plan)
    await stack.startAll()
    const stop: Stack['stop'] = async (how = {}) => {
      await stack.stop({ remove: isOurs, ...how })
      await guard.release()
    }
    // Not a spread: the getters have to ask again.
    return Object.create(stack, { stop: { value: stop, enumerable: true } }) as Stack
  } catch (error) {
    await guard.release()
    throw error
  }
}

/** A handle on a stack that runs, or ran, or will run; nothing is started. */
export function openStack(plan: StackPlan): Stack {
  const names = nodeNames(plan)
  const folderOf = (name: string): string => {
    if (!names.includes(name))
      throw new RangeError(`there is no ${name}; the stack has ${names.join(', ') || 'no broker'}`)
    return join(plan.dir, name)
  }
  const now = (name: string): NodeNow => {
    const processes = processesOf(folderOf(name))
    const main = processes.find(({ program }) => mainPrograms.has(program)) ?? processes[0]
    if (main === undefined) return { pid: undefined, state: 'dead' }
    return { pid: main.pid, state: main.isPaused ? 'paused' : 'running' }
  }
  const becomes = async (name: string, state: NodeState): Promise<void> => {
    if (!(await holds(() => now(name).state === state, signalMs))) throw new Error(`${name} is not ${state}`)
  }
  const startSome = async (wanted: readonly string[]): Promise<void> => {
    const kafka = plan.kafka.filter(({ name }) => wanted.includes(name))
    const rabbit = plan.rabbit.filter(({ name }) => wanted.includes(name))
    const missing = missingTools({
      kafka: kafka.length > 0,
      kafkaVersion: plan.kafkaVersion,
      rabbit: rabbit.length > 0,
      secured: plan.certificates !== undefined,
    })
    if (missing.length > 0) throw new Error(describeMissing(missing))
    if (plan.certificates !== undefined) makeCertificates(join(plan.dir, 'certificates'))
    if (kafka.length > 0) await kafkaClassPath(plan.kafkaVersion)
    if (rabbit.length > 0) await startEpmd(plan)
    const alive = plan.kafka.filter((node) => kafka.includes(node) || now(node.name).state === 'running')
    const outcomes = await Promise.allSettled([
      Promise.all(kafka.map((node) => startKafka(plan, node))).then(() => {
        // One of three cannot serve alone, and is not asked to.
        const isMajority = alive.length * 2 > plan.kafka.length
        return kafka.length > 0 && isMajority ? awaitKafka(plan, kafka) : undefined
      }),
      ...rabbit.map((node) => startRabbit(plan, node).then(() => awaitRabbit(plan, node))),
    ])
    const failed = outcomes.find((outcome) => outcome.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }
  return {
    plan,
    dir: plan.dir,
    names,
    get kafka() {
      return plan.kafka.map((node) => ({ ...node, ...now(node.name) }))
    },
    get rabbit() {
      return plan.rabbit.map((node) => ({ ...node, ...now(node.name) }))
    },
    kafkaAddresses: plan.kafka.map(({ address }) => address),
    rabbitUrls: plan.rabbit.map(({ url }) => url),
    state: (name) => now(name).state,
    kill: (name) => killAll(folderOf(name)),
    terminate: (name) => endAll(folderOf(name), now(name).pid, terminateMs),
    pause: async (name) => {
      if (!signalAll(folderOf(name), 'SIGSTOP')) throw new Error(`${name} is dead: there is nothing to pause`)
      await becomes(name, 'paused')
    },
    resume: async (name) => {
      if (!signalAll(folderOf(name), 'SIGCONT')) throw new Error(`${name} is dead: start it`)
      await becomes(name, 'running')
    },
    start: async (name) => {
      const { state } = now(name)
      if (state === 'paused') throw new Error(`${name} is paused: resume it`)
      if (state === 'dead') await startSome([name])
    },
    startAll: async () => {
      const dead = names.filter((name) => now(name).state === 'dead')
      await startSome(dead)
      // Those that ran before may be just starting, too.
      await awaitKafka(
        plan,
        plan.kafka.filter(({ name }) => now(name).state === 'running'),
      )
      await Promise.all(
        plan.rabbit.filter(({ name }) => now(name).state === 'running').map((node) => awaitRabbit(plan, node)),
      )
      return dead
    },
    log: (name) => (existsSync(logFile(folderOf(name))) ? readFileSync(logFile(folderOf(name)), 'utf8') : ''),
    stop: async ({ clean = false, remove = false } = {}) => {
      if (clean) await Promise.all(names.map((name) => endAll(folderOf(name), now(name).pid, terminateMs)))
      await Promise.all([...names, 'epmd'].map((name) => killAll(join(plan.dir, name))))
      if (remove) rmSync(plan.dir, { recursive: true, force: true, maxRetries: 3 })
    },
  }
}
