// Owns: what is measured: one API process, one stream process, one RabbitMQ and one Kafka, and what each of them costs.
// Leaves out: load (work.ts), peers (peers.ts).
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { certificateFiles, makeCertificates } from '../../scripts/stack/certificates.ts'
import type { Stack } from '../../scripts/stack/stack.ts'
import { type ClusterProcess, makeCluster, startApi, startStream } from '../../test/support/cluster-process.ts'
import { bundleGateway } from '../../test/support/crash/gateway-bundle.ts'
import { fetchToken } from '../../test/support/raw-client.ts'
import type { Where } from './lean-client.ts'

export const roles = ['api', 'stream', 'rabbit', 'kafka'] as const
export type Role = (typeof roles)[number]
export type Cost = Readonly<Record<Role, number>>

export interface UnderTest {
  readonly kafkaAddress: string
  readonly where: Where
  /** CPU milliseconds used so far. */
  cpuMs(): Cost
  rss(role: Role): number
  makeTopic(name: string, format?: 'sealed' | 'plain'): Promise<void>
  /** Bytes of a topic in the broker's data folder. */
  storedBytes(topic: string): number
  /** The same gateway through its API process with TLS. */
  readonly overTls: UnderTest | undefined
  /** Connections of the stream process to Kafka. */
  kafkaConnections(): number
  stop(): Promise<void>
}

export interface UnderTestOptions {
  /** Arguments of node for both processes of the gateway. */
  readonly nodeArgs?: readonly string[]
  /** Of the API process, besides the defaults. */
  readonly apiEnv?: Readonly<Record<string, string>>
  /** One more API process, with TLS. */
  readonly withTls?: boolean
  readonly stack: Stack
}

const partitions = 8

export async function startUnderTest(options: UnderTestOptions): Promise<UnderTest> {
  const dir = mkdtempSync(join(tmpdir(), 'trunkline-bench-'))
  const { stack, nodeArgs = [], apiEnv = {} } = options
  const processes: ClusterProcess[] = []
  // Compiled once, into a folder of its own: what runs is the source as it stands, whoever builds beside it.
  const { entry, remove } = await bundleGateway()
  const stop = async (): Promise<void> => {
    await Promise.all(processes.map((one) => one.stop()))
    remove()
    rmSync(dir, { recursive: true, force: true })
  }
  try {
    const cluster = await makeCluster(dir, stack, { TRUNKLINE_LOG_LEVEL: 'info' })
    const stream = await startStream(cluster, {
      nodeId: 'bench',
      entry,
      nodeArgs,
      env: { TRUNKLINE_SESSIONS_MAX: '20000' },
    })
    processes.push(stream)
    const api = await startApi(cluster, { entry, nodeArgs, env: apiEnv })
    processes.push(api)
    const { urls } = api
    const { clientId, clientSecret } = cluster.credentials
    const bearer = await fetchToken(urls.http, clientId, clientSecret)
    const pids: Readonly<Record<Role, number>> = {
      api: api.pid,
      stream: stream.pid,
      rabbit: stack.rabbit[0]?.pid ?? 0,
      kafka: stack.kafka[0]?.pid ?? 0,
    }
    const kafkaAddress = stack.kafkaAddresses[0] ?? ''
    const kafkaData = join(stack.dir, stack.kafka[0]?.name ?? '', 'data')
    const plain = {
      kafkaAddress,
      where: { thriftUrl: urls.thrift, bearer },
      cpuMs: () => ({
        api: cpuMs(pids.api),
        stream: cpuMs(pids.stream),
        rabbit: cpuMs(pids.rabbit),
        kafka: cpuMs(pids.kafka),
      }),
      rss: (role) => rssBytes(pids[role]),
      makeTopic: async (name, format = 'sealed') => {
        const answer = await fetch(`${urls.http}/v1/topics`, {
          method: 'POST',
          headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
          body: JSON.stringify({ name, partitions, format }),
        })
        if (answer.status !== 201) throw new Error(`a topic was not made: ${await answer.text()}`)
      },
      storedBytes: (topic) =>
        Array.from({ length: partitions }, (_, partition) =>
          folderBytes(join(kafkaData, `${topic}-${partition}`)),
        ).reduce((sum, bytes) => sum + bytes, 0),
      kafkaConnections: () => connectionsTo(pids.stream, Number(kafkaAddress.split(':').at(-1))),
      overTls: undefined,
      stop,
    } satisfies UnderTest
    if (options.withTls !== true) return plain
    const folder = join(dir, 'certificates')
    makeCertificates(folder)
    const { ca, server } = certificateFiles(folder)
    const env = { ...apiEnv, TRUNKLINE_TLS_CERT_FILE: server.certificate, TRUNKLINE_TLS_KEY_FILE: server.key }
    // Its health is asked for by plain HTTP, which its admin port does not speak: it says itself where it listens.
    const secure = await startApi(cluster, { entry, nodeArgs, env, until: 'announced' })
    processes.push(secure)
    const isThere = (): boolean => secure.lines().some((line) => line['listener'] === 'thrift')
    while (!isThere()) await new Promise((resolve) => setTimeout(resolve, 100))
    const overTls: UnderTest = {
      ...plain,
      where: { ...plain.where, overTls: { thriftsUrl: secure.urls.thrift, ca: readFileSync(ca, 'utf8') } },
      cpuMs: () => ({ ...plain.cpuMs(), api: cpuMs(secure.pid) }),
    }
    return { ...plain, overTls }
  } catch (thrown) {
    await stop()
    throw thrown
  }
}

/** utime + stime of proc(5), in ticks of 10 ms. */
function cpuMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}

function rssBytes(pid: number): number {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+)/m.exec(text)?.[1] ?? Number.NaN) * 1_024
}

function folderBytes(folder: string): number {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.log'))
    .reduce((sum, name) => sum + statSync(join(folder, name)).size, 0)
}

function connectionsTo(pid: number, port: number): number {
  const own = new Set<string>()
  for (const name of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${name}`))?.[1]
      if (inode !== undefined) own.add(inode)
    } catch {
      // Closed meanwhile.
    }
  }
  const hexPort = port.toString(16).toUpperCase().padStart(4, '0')
  const rows = ['tcp', 'tcp6'].flatMap((kind) => readFileSync(`/proc/${pid}/net/${kind}`, 'utf8').split('\n').slice(1))
  return rows.filter((row) => {
    const fields = row.trim().split(/\s+/)
    // Remote address, state 01 (established), inode.
    return fields[2]?.endsWith(`:${hexPort}`) === true && fields[3] === '01' && own.has(fields[9] ?? '')
  }).length
}
