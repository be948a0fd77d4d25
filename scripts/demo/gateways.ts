// Owns: what the demo runs on, and how it is struck: one gateway that is killed and started again, or a cluster that loses
// one process of each kind and goes on with the others.
// 1. Nothing is left behind by `stop`: processes end, folders go, unless they are to be kept.
import { lstatSync, mkdtempSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type TrunklineClient } from '../../sdk/typescript/src/index.ts'
import {
  type ApiProcess,
  type ClusterProcess,
  makeCluster,
  startApi,
  startStream,
} from '../../test/support/cluster-process.ts'
import { accessToken, removeFolder, startGatewayProcess } from '../../test/support/gateway-process.ts'
import { startStack } from '../stack/stack.ts'

export interface DemoGateway {
  readonly client: TrunklineClient
  /** A sentence. */
  readonly intro: string
  /** Called when nothing is in flight, before the strike. */
  readonly prepare: (topic: string) => Promise<void>
  /** Kills in this very turn: nothing more is answered. Resolves, with what happened, when everything is as it stays. */
  readonly strike: () => Promise<readonly string[]>
  readonly bytesOnDisk: (topic: string) => number
  stop(): Promise<void>
}

export interface DemoFolder {
  readonly dir: string
  readonly keep: boolean
}

export function makeFolder(keep: boolean): DemoFolder {
  const folder = { dir: mkdtempSync(join(tmpdir(), 'trunkline-demo-')), keep }
  // The processes themselves are ended by those who started them, whose listeners were there first.
  process.on('exit', () => {
    if (!keep) removeFolder(folder.dir)
  })
  return folder
}

export async function embeddedGateway({ dir }: DemoFolder): Promise<DemoGateway> {
  const gateway = await startGatewayProcess({ dir })
  const { clientId, clientSecret } = gateway.credentials
  const client = connect(gateway.urls.thrift, { clientId, clientSecret, tokenUrl: gateway.urls.token })
  return {
    client,
    intro: `A gateway runs as process ${gateway.pid}, with its log in a temporary folder.`,
    prepare: async () => {},
    strike: async () => {
      await gateway.kill('SIGKILL')
      await gateway.restart()
      return [
        'the gateway was killed with SIGKILL, with writes in flight.',
        `It was started again as process ${gateway.pid}, on the same ports and folder.`,
      ]
    },
    bytesOnDisk: () => bytesIn(gateway.dataDir),
    stop: async () => {
      await client.close()
      await gateway.stop()
    },
  }
}

/** 3 Kafka brokers, 2 RabbitMQ brokers, 2 API processes, 3 stream processes, all of its own. */
export async function clusterGateway({ dir, keep }: DemoFolder, topic: string): Promise<DemoGateway> {
  const stack = await startStack({ kafka: 3, rabbit: 2, ...(keep ? { dir: join(dir, 'stack') } : {}) })
  const processes: ClusterProcess[] = []
  try {
    const cluster = await makeCluster(join(dir, 'cluster'), stack)
    const streams = await Promise.all(
      ['one', 'two', 'three'].map(async (nodeId) => ({ nodeId, process: await startStream(cluster, { nodeId }) })),
    )
    processes.push(...streams.map((stream) => stream.process))
    const apis = await Promise.all([startApi(cluster), startApi(cluster)])
    processes.push(...apis)
    await createTopic(apis[0], cluster.credentials, topic)
    const client = connect(
      apis.map(({ urls }) => urls.thrift),
      { ...cluster.credentials, tokenUrl: apis.map(({ urls }) => urls.token) },
    )
    let victims: { readonly api: ApiProcess; readonly stream: (typeof streams)[number] } | undefined
    return {
      client,
      intro: `A cluster runs: 3 Kafka and 2 RabbitMQ brokers, 2 API processes (${apis.map(({ pid }) => pid).join(', ')}) and 3 stream processes (${streams.map((stream) => stream.process.pid).join(', ')}).`,
      prepare: async () => {
        // Those that serve the producer: the others would not be missed.
        const [writer] = await having(streams, (stream) => stream.process, 'trunkline_sessions{mode="write"}')
        const [front] = await having(apis, (api) => api, 'trunkline_tcp_connections')
        if (writer === undefined || front === undefined) throw new Error('no process serves the producer')
        victims = { api: front, stream: writer }
      },
      strike: async () => {
        if (victims === undefined) throw new Error('the strike is prepared first')
        const { api, stream } = victims
        await Promise.all([api.kill(), stream.process.kill(), stack.kill('rabbit-1'), stack.kill('kafka-1')])
        return [
          `one of each was killed with SIGKILL at once, with writes in flight: the API process and the stream process "${stream.nodeId}" that served the producer, a RabbitMQ broker and a Kafka broker.`,
          'None of them was started again.',
        ]
      },
      bytesOnDisk: (name) =>
        stack.kafka.reduce((sum, broker) => {
          const data = join(stack.dir, broker.name, 'data')
          const partitions = readdirSync(data).filter((folder) => folder.startsWith(`${name}-`))
          return sum + partitions.reduce((bytes, folder) => bytes + bytesIn(join(data, folder)), 0)
        }, 0),
      stop: async () => {
        await client.close()
        await Promise.all(processes.map((one) => one.stop()))
        await stack.stop()
      },
    }
  } catch (thrown) {
    await Promise.all(processes.map((one) => one.kill()))
    await stack.stop()
    throw thrown
  }
}

/** Those whose gauge is above 0. */
async function having<T>(all: readonly T[], processOf: (one: T) => ClusterProcess, gauge: string): Promise<T[]> {
  const found: T[] = []
  for (const one of all) {
    const line = (await processOf(one).metrics()).split('\n').find((text) => text.startsWith(`${gauge} `))
    if (line !== undefined && Number(line.slice(gauge.length)) > 0) found.push(one)
  }
  return found
}

async function createTopic(
  api: ApiProcess,
  credentials: { readonly clientId: string; readonly clientSecret: string },
  name: string,
): Promise<void> {
  const answer = await fetch(`${api.urls.http}/v1/topics`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${await accessToken({ ...api, credentials })}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ name }),
  })
  if (answer.status !== 201) throw new Error(`the topic was not made: ${answer.status} ${await answer.text()}`)
}

/** What the files take, holes not counted. */
function bytesIn(folder: string): number {
  const blockBytes = 512
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).reduce(
    (sum, name) => sum + lstatSync(join(folder, name)).blocks * blockBytes,
    0,
  )
}
