// Owns: one Kafka broker of a stack (KRaft, broker and controller in one): its settings, its start, when it serves.
// 1. Three brokers: replication 3, min.insync.replicas 2, clean leader election. One: replication 1.
// 2. A silent broker is fenced after 3 s, old segments go within about a second: tests of failover and retention are short.
// 3. Topics are never made by themselves.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { kafkaClassPath } from './jars.ts'
import type { KafkaPlan, SaslUser, StackPlan } from './plan.ts'
import { basicEnv, holds, launch, logTail, processesOf } from './processes.ts'
import { javaProgram } from './tools.ts'

const readyMs = 90_000
const formatMs = 60_000
const askMs = 3000
/** Halves what the format step takes. For a broker's own start the runs differed more than the settings did: left alone. */
const shortLivedJvm = ['-Xmx128m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']
const logging = ['-Dorg.slf4j.simpleLogger.defaultLogLevel=warn', '-Dorg.slf4j.simpleLogger.showDateTime=true']

/** Starts it, formatted when it is new; does not wait until it serves. */
export async function startKafka(plan: StackPlan, node: KafkaPlan): Promise<void> {
  const folder = join(plan.dir, node.name)
  const settingsFile = join(folder, 'server.properties')
  const classPath = await kafkaClassPath(plan.kafkaVersion)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  writeFileSync(settingsFile, properties({ ...settings(plan, node, folder), ...plan.kafkaSettings }), { mode: 0o600 })
  if (!existsSync(join(folder, 'data', 'meta.properties'))) await format(plan, classPath, settingsFile)
  const jvm = [`-Xmx${plan.heapMbMax}m`, '-Xms128m', ...(plan.kafkaJvm ?? []), '-cp', classPath, ...logging]
  await launch({ folder, program: javaProgram(), args: [...jvm, 'kafka.Kafka', settingsFile] })
}

/** Until each of `nodes` answers, knows all of them and knows a controller. */
export async function awaitKafka(plan: StackPlan, nodes: readonly KafkaPlan[]): Promise<void> {
  await Promise.all(
    nodes.map(async (node) => {
      const folder = join(plan.dir, node.name)
      let isDead = false
      const isServing = await holds(
        async () => {
          isDead = processesOf(folder).length === 0
          return isDead || (await knowsAll(node, nodes))
        },
        readyMs,
        100,
      )
      if (isDead || !isServing) {
        const what = isDead ? 'ended' : `does not serve after ${readyMs / 1000} s`
        throw new Error(`${node.name} ${what}:\n${logTail(folder)}`)
      }
    }),
  )
}

async function knowsAll(node: KafkaPlan, nodes: readonly KafkaPlan[]): Promise<boolean> {
  const kafka = new Kafka({
    brokers: [node.address],
    clientId: 'trunkline-stack',
    logLevel: logLevel.NOTHING,
    connectionTimeout: askMs,
    requestTimeout: askMs,
    retry: { retries: 0 },
  })
  const admin = kafka.admin()
  try {
    await admin.connect()
    const { brokers, controller } = await admin.describeCluster()
    return controller !== null && nodes.every(({ nodeId }) => brokers.some((broker) => broker.nodeId === nodeId))
  } catch {
    // Not yet; the caller asks again, up to its limit.
    return false
  } finally {
    await admin.disconnect().catch(() => undefined)
  }
}

/** One id for all brokers of the stack, and another one for another stack. Kafka's tools take a `-` in front for an option. */
export function clusterIdOf(dir: string): string {
  const id = createHash('sha256').update(dir).digest().subarray(0, 16)
  id.writeUInt8(id.readUInt8(0) & 0x7f, 0)
  return id.toString('base64url')
}

function format(plan: StackPlan, classPath: string, settingsFile: string): Promise<void> {
  const scram = plan.users
    .filter(({ mechanism }) => mechanism !== 'plain')
    .flatMap(({ mechanism, username, password }) => [
      '--add-scram',
      `${mechanism.toUpperCase()}=[name=${username},password=${password}]`,
    ])
  const args = [
    '-cp',
    classPath,
    ...logging,
    'kafka.tools.StorageTool',
    'format',
    '-t',
    clusterIdOf(plan.dir),
    '-c',
    settingsFile,
  ]
  return new Promise((resolve, reject) => {
    let output = ''
    const child = spawn(javaProgram(), [...shortLivedJvm, ...args, ...scram], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: basicEnv(),
      timeout: formatMs,
    })
    const note = (chunk: string): void => {
      output = (output + chunk).slice(-4096)
    }
    child.stdout.setEncoding('utf8').on('data', note)
    child.stderr.setEncoding('utf8').on('data', note)
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0) resolve()
      else reject(new Error(`Kafka's folder could not be formatted:\n${output}`))
    })
  })
}

function settings(plan: StackPlan, node: KafkaPlan, folder: string): Record<string, string> {
  const replicas = String(plan.kafka.length)
  const insync = String(Math.min(2, plan.kafka.length))
  const secured = node.securedAddress === undefined ? [] : [`SECURED://${node.securedAddress}`]
  const clients = [`PLAINTEXT://${node.address}`, ...secured]
  return {
    'process.roles': 'broker,controller',
    'node.id': String(node.nodeId),
    'controller.quorum.voters': plan.kafka.map((peer) => `${peer.nodeId}@${peer.controllerAddress}`).join(','),
    'controller.listener.names': 'CONTROLLER',
    listeners: [...clients, `CONTROLLER://${node.controllerAddress}`].join(','),
    'advertised.listeners': clients.join(','),
    'inter.broker.listener.name': 'PLAINTEXT',
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL',
    'log.dirs': join(folder, 'data'),
    'default.replication.factor': replicas,
    'min.insync.replicas': insync,
    'unclean.leader.election.enable': 'false',
    'auto.create.topics.enable': 'false',
    'offsets.topic.replication.factor': replicas,
    'offsets.topic.num.partitions': '4',
    'transaction.state.log.replication.factor': replicas,
    'transaction.state.log.min.isr': insync,
    'transaction.state.log.num.partitions': '4',
    'group.initial.rebalance.delay.ms': '0',
    'broker.session.timeout.ms': '3000',
    'broker.heartbeat.interval.ms': '500',
    'log.cleaner.dedupe.buffer.size': '4194304',
    'log.retention.check.interval.ms': '1000',
    'log.initial.task.delay.ms': '500',
    'log.segment.delete.delay.ms': '100',
    ...(node.securedAddress === undefined ? {} : securedSettings(plan)),
  }
}

function securedSettings(plan: StackPlan): Record<string, string> {
  const { certificates, users, serverCertificate } = plan
  if (certificates === undefined) return {}
  const shown = serverCertificate === 'expired' ? certificates.expiredServer : certificates.server
  const listener = 'listener.name.secured'
  const login = (module: string, options = ''): string =>
    `org.apache.kafka.common.security.${module} required${options};`
  const scram = login('scram.ScramLoginModule')
  const plain = users
    .filter(({ mechanism }) => mechanism === 'plain')
    .map(({ username, password }: SaslUser) => ` user_${username}="${password}"`)
    .join('')
  return {
    [`${listener}.ssl.keystore.type`]: 'PEM',
    [`${listener}.ssl.keystore.location`]: shown.both,
    [`${listener}.ssl.truststore.type`]: 'PEM',
    [`${listener}.ssl.truststore.location`]: certificates.ca,
    // A client may come without a certificate; one that it shows has to be good.
    [`${listener}.ssl.client.auth`]: 'requested',
    [`${listener}.sasl.enabled.mechanisms`]: 'SCRAM-SHA-512,SCRAM-SHA-256,PLAIN',
    [`${listener}.scram-sha-512.sasl.jaas.config`]: scram,
    [`${listener}.scram-sha-256.sasl.jaas.config`]: scram,
    [`${listener}.plain.sasl.jaas.config`]: login('plain.PlainLoginModule', plain),
  }
}

function properties(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${value.replaceAll('\\', '\\\\')}\n`)
    .join('')
}
