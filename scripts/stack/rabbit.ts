// Owns: one RabbitMQ broker of a stack, independent of the others: its settings, its start, when it serves.
// 1. Each has a home, and so an Erlang cookie, of its own; the stack has an epmd of its own, which is one of its processes.
// 2. Ready is an AMQP connection that opened: the port listens earlier.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect } from 'amqplib'
import type { RabbitPlan, StackPlan } from './plan.ts'
import { basicEnv, holds, launch, logTail, processesOf } from './processes.ts'
import { describeMissing, missingTools, rabbitSbin } from './tools.ts'

const readyMs = 90_000
const askMs = 3000
const epmdName = 'epmd'

/** Starts the port mapper of the stack when it does not run. */
export async function startEpmd(plan: StackPlan): Promise<void> {
  const folder = join(plan.dir, epmdName)
  if (processesOf(folder).length > 0) return
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  await launch({ folder, program: 'epmd', args: ['-address', '127.0.0.1', '-port', String(plan.epmdPort)] })
}

/** Starts it; does not wait until it serves. */
export async function startRabbit(plan: StackPlan, node: RabbitPlan): Promise<void> {
  const sbin = rabbitSbin()
  if (sbin === undefined)
    throw new Error(
      describeMissing(missingTools({ kafka: false, kafkaVersion: plan.kafkaVersion, rabbit: true, secured: false })),
    )
  const folder = join(plan.dir, node.name)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const settingsFile = join(folder, 'rabbitmq.conf')
  const pluginsFile = join(folder, 'enabled_plugins')
  writeFileSync(settingsFile, configuration({ ...settings(plan, node), ...plan.rabbitSettings }), { mode: 0o600 })
  writeFileSync(pluginsFile, '[rabbitmq_event_exchange].\n')
  await launch({
    folder,
    program: join(sbin, 'rabbitmq-server'),
    args: [],
    env: {
      HOME: folder,
      PATH: `${basicEnv()['PATH'] ?? ''}:/usr/bin:/bin`,
      RABBITMQ_NODENAME: `${node.name}@localhost`,
      RABBITMQ_NODE_PORT: String(node.port),
      RABBITMQ_DIST_PORT: String(node.distributionPort),
      RABBITMQ_CONF_ENV_FILE: '/dev/null',
      RABBITMQ_CONFIG_FILE: settingsFile,
      RABBITMQ_ENABLED_PLUGINS_FILE: pluginsFile,
      RABBITMQ_MNESIA_BASE: join(folder, 'mnesia'),
      RABBITMQ_MNESIA_DIR: join(folder, 'mnesia', 'data'),
      RABBITMQ_LOG_BASE: folder,
      // To stdout: the node has one log, and what goes wrong before logging starts is in it too.
      RABBITMQ_LOGS: '-',
      RABBITMQ_PID_FILE: join(folder, 'pid'),
      ERL_EPMD_PORT: String(plan.epmdPort),
      ERL_EPMD_ADDRESS: '127.0.0.1',
      // One scheduler that does not spin: several brokers share a small machine.
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
        '-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none',
    },
  })
}

export async function awaitRabbit(plan: StackPlan, node: RabbitPlan): Promise<void> {
  const folder = join(plan.dir, node.name)
  let isDead = false
  const isServing = await holds(
    async () => {
      isDead = processesOf(folder).length === 0
      return isDead || (await opens(node.url))
    },
    readyMs,
    100,
  )
  if (isDead || !isServing) {
    const what = isDead ? 'ended' : `does not serve after ${readyMs / 1000} s`
    throw new Error(`${node.name} ${what}:\n${logTail(folder)}`)
  }
}

async function opens(url: string): Promise<boolean> {
  try {
    const connection = await connect(url, { timeout: askMs, noDelay: true })
    // What happens to it from here on does not matter.
    connection.on('error', () => undefined)
    await connection.close().catch(() => undefined)
    return true
  } catch {
    // Not yet; the caller asks again, up to its limit.
    return false
  }
}

function settings(plan: StackPlan, node: RabbitPlan): Record<string, string> {
  const [user = '', password = ''] = new URL(node.url).href.slice('amqp://'.length).split('@', 1)[0]?.split(':') ?? []
  return {
    'listeners.tcp.default': `127.0.0.1:${node.port}`,
    default_user: user,
    default_pass: password,
    loopback_users: 'none',
    heartbeat: '5',
    handshake_timeout: '5000',
    'vm_memory_high_watermark.absolute': '768MB',
    'disk_free_limit.absolute': '100MB',
    max_message_size: '8388608',
    channel_max: '64',
    'log.console.level': 'warning',
    ...tlsSettings(plan, node),
  }
}

function tlsSettings(plan: StackPlan, node: RabbitPlan): Record<string, string> {
  const { certificates, serverCertificate } = plan
  if (certificates === undefined || node.tlsPort === undefined) return {}
  const shown = serverCertificate === 'expired' ? certificates.expiredServer : certificates.server
  return {
    'listeners.ssl.default': `127.0.0.1:${node.tlsPort}`,
    'ssl_options.cacertfile': certificates.ca,
    'ssl_options.certfile': shown.certificate,
    'ssl_options.keyfile': shown.key,
    // A client may come without a certificate; one that it shows has to be good.
    'ssl_options.verify': 'verify_peer',
    'ssl_options.fail_if_no_peer_cert': 'false',
    'ssl_options.versions.1': 'tlsv1.3',
  }
}

function configuration(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name} = ${value}\n`)
    .join('')
}
