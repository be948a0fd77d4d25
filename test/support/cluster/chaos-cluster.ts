// Owns: a whole cluster under test: real brokers, API and stream processes, topics, applications at work.
// 1. Everything ends with `stop`, also when a start failed halfway; nothing outlives the test's process.
// 2. The processes run one bundle, so that they start fast; a mutant can be built into single ones.
import { chmodSync, realpathSync } from 'node:fs'
import type { Stack } from '../../../scripts/stack/stack.ts'
import { SeededRandom } from '../../../src/adapters/random/seeded-random.ts'
import {
  type ApiProcess,
  type Cluster,
  type ClusterProcess,
  makeCluster,
  startApi,
  startStream,
} from '../cluster-process.ts'
import { bundleGateway, type GatewayBundle } from '../crash/gateway-bundle.ts'
import { residentBytes } from '../crash/gateway-lives.ts'
import { describeViolations } from '../crash/verdict.ts'
import { workFolder } from '../crash/work-folder.ts'
import { accessToken } from '../gateway-process.ts'
import { privateStack } from '../stack.ts'
import { ClusterLoad, type LoadOptions } from './cluster-load.ts'

export interface ChaosClusterOptions {
  readonly seed: string
  readonly kafka?: 1 | 3
  readonly rabbit?: number
  readonly apis?: number
  readonly streams?: number
  /** Built into the stream processes. */
  readonly mutant?: string
  readonly env?: Readonly<Record<string, string>>
  /** Of single stream processes, by their number from 1; `shards` as in TRUNKLINE_RABBIT_SHARDS. */
  readonly streamEnv?: (node: number, shards: readonly string[]) => Readonly<Record<string, string>>
}

export class ChaosCluster {
  readonly stack: Stack
  readonly cluster: Cluster
  readonly apis: readonly ApiProcess[]
  readonly streams: readonly ClusterProcess[]
  readonly random: SeededRandom
  readonly #undo: (() => unknown)[]
  readonly #loads: ClusterLoad[] = []

  private constructor(
    parts: Pick<ChaosCluster, 'stack' | 'cluster' | 'apis' | 'streams' | 'random'>,
    undo: (() => unknown)[],
  ) {
    this.stack = parts.stack
    this.cluster = parts.cluster
    this.apis = parts.apis
    this.streams = parts.streams
    this.random = parts.random
    this.#undo = undo
  }

  static async start(options: ChaosClusterOptions): Promise<ChaosCluster> {
    const undo: (() => unknown)[] = []
    try {
      const random = new SeededRandom(options.seed)
      const { dir, remove } = workFolder('cluster')
      undo.push(remove)
      const bundles: GatewayBundle[] = [await bundleGateway()]
      undo.push(() => {
        for (const bundle of bundles) bundle.remove()
      })
      if (options.mutant !== undefined) bundles.push(await bundleGateway(options.mutant))
      const stack = await privateStack({ kafka: options.kafka ?? 3, rabbit: options.rabbit ?? 2 })
      undo.push(() => stack.stop())
      chmodSync(dir, 0o700)
      const cluster = await makeCluster(realpathSync(dir), stack, options.env)
      const api = { entry: bundles[0]?.entry ?? '' }
      const stream = { entry: bundles.at(-1)?.entry ?? '' }
      const starting = [
        ...Array.from({ length: options.apis ?? 2 }, () => startApi(cluster, api)),
        ...Array.from({ length: options.streams ?? 3 }, (_, i) =>
          startStream(cluster, {
            ...stream,
            nodeId: `n${i + 1}`,
            env: options.streamEnv?.(i + 1, cluster.shards) ?? {},
          }),
        ),
      ]
      const settled = await Promise.allSettled(starting)
      undo.push(() =>
        Promise.all(settled.map(async (one) => (one.status === 'fulfilled' ? one.value.kill() : undefined))),
      )
      const processes = settled.map((one) => {
        if (one.status === 'rejected') throw one.reason
        return one.value
      })
      const apis = processes.filter((one): one is ApiProcess => one.role === 'api')
      const streams = processes.filter(({ role }) => role === 'stream')
      return new ChaosCluster({ stack, cluster, apis, streams, random }, undo)
    } catch (thrown) {
      await undoAll(undo)
      throw thrown
    }
  }

  /** Applications at work on two topics of their own; each has a session. */
  async startLoad(name: string, options: Partial<LoadOptions> = {}): Promise<ClusterLoad> {
    const topics = [`${name}-many`, `${name}-few`] as const
    await this.createTopic(topics[0], 6)
    await this.createTopic(topics[1], 2)
    const { cluster, apis, stack } = this
    const random = this.random.fork(name)
    const load = new ClusterLoad({
      cluster,
      apis,
      topics,
      random,
      kafkaAddresses: stack.kafkaAddresses,
      ...options,
    })
    this.#loads.push(load)
    await load.untilAllAtWork()
    return load
  }

  async createTopic(name: string, partitions: number): Promise<void> {
    const [api] = this.apis
    if (api === undefined) throw new Error('there is no API process')
    const answer = await fetch(`${api.urls.http}/v1/topics`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await this.bearer()}`, 'content-type': 'application/json' },
      body: JSON.stringify({ name, partitions }),
    })
    if (answer.status !== 201) throw new Error(`${name} was not made: ${answer.status} ${await answer.text()}`)
  }

  bearer(api = this.apis[0]): Promise<string> {
    if (api === undefined) throw new Error('there is no API process')
    return accessToken({ urls: api.urls, credentials: this.cluster.credentials })
  }

  /** All processes and brokers serve. */
  async untilWell(withinMs = 60_000): Promise<void> {
    await Promise.all(
      [...this.apis, ...this.streams].map((one) => one.untilHealth(({ status }) => status === 200, withinMs)),
    )
  }

  /** Every process is connected to every shard. */
  async untilShardsUp(withinMs = 60_000): Promise<void> {
    const endMs = performance.now() + withinMs
    for (const process of [...this.apis, ...this.streams]) {
      while ((await process.metrics()).split('\n').filter(isUpShard).length < this.stack.rabbit.length) {
        if (performance.now() > endMs) throw new Error(`a shard is not up for ${process.role}:\n${process.output()}`)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }

  /** SIGSTOP to all Kafka brokers, so that nothing is answered and nothing refused, while `meanwhile` runs. */
  async withKafkaStopped<T>(meanwhile: () => Promise<T>): Promise<T> {
    const names = this.stack.kafka.map(({ name }) => name)
    await Promise.all(names.map((name) => this.stack.pause(name)))
    try {
      return await meanwhile()
    } finally {
      await Promise.all(names.map((name) => this.stack.resume(name)))
    }
  }

  residentMiB(process: ClusterProcess): number {
    return Math.round(residentBytes(process.pid) / 1_048_576)
  }

  /** Gives up what a failed test has left at work, and sets going what it has stopped. */
  async recover(): Promise<void> {
    await Promise.all(this.#loads.splice(0).map((load) => load.abandon()))
    for (const process of [...this.apis, ...this.streams]) if (process.isRunning) process.resume()
    for (const name of this.stack.names) if (this.stack.state(name) === 'paused') await this.stack.resume(name)
    await this.stack.startAll()
    for (const process of [...this.apis, ...this.streams]) if (!process.isRunning) await process.restart()
    await this.untilWell()
  }

  async stop(): Promise<void> {
    await Promise.all(this.#loads.splice(0).map((load) => load.abandon()))
    await undoAll(this.#undo)
  }
}

/** The sum of a metric over its labels. */
export async function metricOf(process: ClusterProcess, name: string, labels = ''): Promise<number> {
  const lines = (await process.metrics()).split('\n')
  return lines
    .filter((line) => (line.startsWith(`${name} `) || line.startsWith(`${name}{`)) && line.includes(labels))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}

function isUpShard(line: string): boolean {
  return line.startsWith('trunkline_shard_state{') && line.includes('state="up"') && line.endsWith(' 1')
}

async function undoAll(undo: (() => unknown)[]): Promise<void> {
  for (const one of undo.splice(0).reverse()) await one()
}

/** Ends the applications and expects that every promise was kept; what it found, for the log. */
export async function expectKept(load: ClusterLoad): Promise<string> {
  const { violations, surprises, barriers, records } = await load.finish()
  const problem = describeViolations(violations)
  if (problem !== '' || surprises.length > 0) throw new Error(`${problem}\n${surprises.slice(0, 10).join('\n')}`)
  return `${load.acked} events acked, ${records} records with ${barriers} barriers, ${load.batches} batches read`
}
