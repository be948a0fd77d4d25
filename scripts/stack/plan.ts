// Owns: the plan of a stack: which brokers there are, where they listen, who may log in. It is `stack.json` as it is, so
// that another process can find, kill and start again what this one started.
// 1. Everything listens on 127.0.0.1 only.
// 2. A private stack takes free ports below the range of outgoing connections, so that no client sits on the port of a
//    broker that is down; they stay reserved for as long as the process that chose them lives.
// Leaves out: what runs right now (processes.ts asks the system).
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type CertificateFiles, certificateFiles } from './certificates.ts'
import { type FixedPorts, freePorts } from './ports.ts'

export const kafkaVersions = ['4.1.1', '3.9.1'] as const
export type KafkaVersion = (typeof kafkaVersions)[number]

export interface KafkaPlan {
  readonly name: string
  readonly nodeId: number
  readonly address: string
  readonly controllerAddress: string
  /** SASL over TLS; only with `secured`. */
  readonly securedAddress?: string
}

export interface RabbitPlan {
  readonly name: string
  readonly url: string
  readonly port: number
  readonly distributionPort: number
  /** TLS 1.3; only with `secured`. */
  readonly tlsUrl?: string
  readonly tlsPort?: number
}

export interface SaslUser {
  readonly mechanism: 'scram-sha-512' | 'scram-sha-256' | 'plain'
  readonly username: string
  readonly password: string
}

export interface StackPlan {
  readonly version: 1
  readonly dir: string
  readonly kafkaVersion: KafkaVersion
  readonly kafka: readonly KafkaPlan[]
  readonly kafkaSettings: Readonly<Record<string, string>>
  readonly kafkaJvm?: readonly string[]
  readonly heapMbMax: number
  readonly rabbit: readonly RabbitPlan[]
  readonly rabbitSettings: Readonly<Record<string, string>>
  readonly epmdPort: number
  /** Users of the secured Kafka listeners, one of each mechanism. */
  readonly users: readonly SaslUser[]
  /** Only with `secured`. */
  readonly certificates?: CertificateFiles
  readonly serverCertificate: 'valid' | 'expired'
}

export interface StackOptions {
  /** Where everything is kept. Default: a folder of its own in the system's temporary folder, removed by `stop()`. */
  readonly dir?: string
  readonly kafka?: 0 | 1 | 3
  readonly rabbit?: number
  readonly kafkaVersion?: KafkaVersion
  /** Kafka listens on SASL_SSL and RabbitMQ on TLS too. Default false. */
  readonly secured?: boolean
  /** What the servers show on their TLS listeners. Default 'valid'. */
  readonly serverCertificate?: 'valid' | 'expired'
  /** Laid over server.properties. */
  readonly kafkaSettings?: Readonly<Record<string, string>>
  /** Further arguments of Kafka's Java: `-D…`. */
  readonly kafkaJvm?: readonly string[]
  /** Laid over rabbitmq.conf. */
  readonly rabbitSettings?: Readonly<Record<string, string>>
  /** Of each Kafka broker. Default 512. */
  readonly heapMbMax?: number
}

const rabbitMax = 8
/** For brokers on the loopback interface of one machine, with data that may go. */
const rabbitLogin = 'trunkline:trunkline'
const users: readonly SaslUser[] = [
  { mechanism: 'scram-sha-512', username: 'scram512', password: 'scram512-secret' },
  { mechanism: 'scram-sha-256', username: 'scram256', password: 'scram256-secret' },
  { mechanism: 'plain', username: 'plain', password: 'plain-secret' },
]

/** Chooses ports: the ones of `fixed`, or else free ones. */
export async function makePlan(
  options: StackOptions & { readonly dir: string },
  fixed?: FixedPorts,
): Promise<StackPlan> {
  const { dir, kafka = 1, rabbit = 1, secured = false } = options
  if (!Number.isInteger(rabbit) || rabbit < 0 || rabbit > rabbitMax) {
    throw new RangeError(`a stack has 0 to ${rabbitMax} RabbitMQ brokers, not ${rabbit}`)
  }
  const take = fixed === undefined ? await freePorts(kafka * 3 + rabbit * 3 + 1) : undefined
  const port = (kind: keyof FixedPorts, index: number): number =>
    take?.() ?? (fixed === undefined ? 0 : fixed[kind] + index)
  return {
    version: 1,
    dir,
    kafkaVersion: options.kafkaVersion ?? '4.1.1',
    kafka: Array.from({ length: kafka }, (_, index) => ({
      name: `kafka-${index + 1}`,
      nodeId: index + 1,
      address: `127.0.0.1:${port('kafka', index)}`,
      controllerAddress: `127.0.0.1:${port('kafkaController', index)}`,
      ...(secured ? { securedAddress: `127.0.0.1:${port('kafkaSecured', index)}` } : {}),
    })),
    kafkaSettings: options.kafkaSettings ?? {},
    ...(options.kafkaJvm === undefined ? {} : { kafkaJvm: options.kafkaJvm }),
    heapMbMax: options.heapMbMax ?? 512,
    rabbit: Array.from({ length: rabbit }, (_, index) => {
      const plain = port('rabbit', index)
      const tls = port('rabbitTls', index)
      return {
        name: `rabbit-${index + 1}`,
        url: `amqp://${rabbitLogin}@127.0.0.1:${plain}`,
        port: plain,
        distributionPort: port('rabbitDistribution', index),
        ...(secured ? { tlsUrl: `amqps://${rabbitLogin}@127.0.0.1:${tls}`, tlsPort: tls } : {}),
      }
    }),
    rabbitSettings: options.rabbitSettings ?? {},
    epmdPort: port('epmd', 0),
    users: secured ? users : [],
    ...(secured ? { certificates: certificateFiles(join(dir, 'certificates')) } : {}),
    serverCertificate: options.serverCertificate ?? 'valid',
  }
}

export function nodeNames(plan: StackPlan): readonly string[] {
  return [...plan.kafka, ...plan.rabbit].map(({ name }) => name)
}

/** What each node listens on; without epmd, which may outlive them. */
export function portsOf(plan: StackPlan): readonly { readonly name: string; readonly ports: readonly number[] }[] {
  const port = (address: string): number => Number(address.split(':').at(-1))
  return [
    ...plan.kafka.map(({ name, address, controllerAddress, securedAddress }) => ({
      name,
      ports: [address, controllerAddress, ...(securedAddress === undefined ? [] : [securedAddress])].map(port),
    })),
    ...plan.rabbit.map(({ name, port: plain, distributionPort, tlsPort }) => ({
      name,
      ports: [plain, distributionPort, ...(tlsPort === undefined ? [] : [tlsPort])],
    })),
  ]
}

export function planFile(dir: string): string {
  return join(dir, 'stack.json')
}

export function writePlan(plan: StackPlan): void {
  writeFileSync(planFile(plan.dir), `${JSON.stringify(plan, null, 2)}\n`, { mode: 0o600 })
}

/** Undefined when there is none. */
export function readPlan(dir: string): StackPlan | undefined {
  const file = planFile(dir)
  return existsSync(file) ? parsePlan(readFileSync(file, 'utf8'), file) : undefined
}

export function parsePlan(text: string, file: string): StackPlan {
  const plan = JSON.parse(text) as Partial<StackPlan>
  if (plan.version !== 1 || plan.dir === undefined) throw new Error(`${file} is not a stack of this version`)
  return plan as StackPlan
}
