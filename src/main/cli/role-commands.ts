// Owns: `trunkline api` and `trunkline stream`: one process of a cluster until a signal stops it.
// 1. Every setting is an option of the same name: `--kafka-brokers` is kafkaBrokers.
// 2. It logs lines for machines to stderr, `listening` with the address for each listener; nothing goes to stdout.
// 3. The settings are loaded only when one of the two is named (program.ts): other commands start without them.
import { type Command, Option } from 'commander'
import type { ApiConfig, ProcessConfig, StreamConfig } from '../../config/roles.ts'
import type { Role, RoleName, Setting } from '../../config/setting.ts'
import type { LogFields, Logger } from '../../observability/log.ts'
import type { RunningProcess } from '../role-process.ts'
import { tell } from './output.ts'
import { portFailure, serveUntilStopped } from './serving.ts'

const apiHelp = `
Example:
  $ trunkline keys init ./keys
  $ export TRUNKLINE_RABBIT_USERNAME=trunkline TRUNKLINE_RABBIT_PASSWORD_FILE=./rabbit-password
  $ trunkline api --rabbit-shards a=amqps://mq-a:5671,b=amqps://mq-b:5671 --gateway-key-file keys/gateway-keys.json \\
      --signing-key-file keys/signing-key.json --clients-file keys/clients.json --policy-file keys/policy.json

Any number of these serve the same callers; start and stop them as you like. One that waits for its brokers is
alive and not ready: /health/ready on the admin port says why. docs/configuration.md lists every setting.`

const streamHelp = `
Example:
  $ trunkline keys init ./keys
  $ trunkline stream --node-id node-1 --kafka-brokers kafka-1:9093,kafka-2:9093,kafka-3:9093 --kafka-tls true \\
      --rabbit-shards a=amqps://mq-a:5671,b=amqps://mq-b:5671 --keyring-file keys/keyring.json \\
      --gateway-key-file keys/gateway-keys.json

Each has a node id of its own. SIGTERM publishes what was begun and hands the sessions over; a second one stops at
once. What was acked is kept either way. docs/configuration.md lists every setting.`

export function addApiCommand(program: Command): void {
  addRoleCommand<ApiConfig>(program, 'api', {
    description: 'run an API process of a cluster: callers on one side, RabbitMQ on the other',
    help: apiHelp,
    role: async () => (await import('../../config/roles.ts')).apiRole,
    fields: () => ({}),
    start: async (config, logger) => (await import('../api-process.ts')).startApiProcess(config, logger),
  })
}

export function addStreamCommand(program: Command): void {
  addRoleCommand<StreamConfig>(program, 'stream', {
    description: 'run a stream process of a cluster: RabbitMQ on one side, Kafka on the other',
    help: streamHelp,
    role: async () => (await import('../../config/roles.ts')).streamRole,
    fields: ({ nodeId }) => ({ nodeId }),
    start: async (config, logger) => (await import('../stream-process.ts')).startStreamProcess(config, logger),
  })
}

/** Invariants 1 and 3: gives the commands that `words` name their options. */
export async function addRoleOptions(program: Command, words: readonly string[]): Promise<void> {
  const named = program.commands.filter((command) => isRoleCommand(command) && words.includes(command.name()))
  if (named.length === 0) return
  const { roles } = await import('../../config/roles.ts')
  for (const command of named) {
    for (const setting of roles.find(({ name }) => name === command.name())?.settings ?? [])
      command.addOption(optionOf(setting))
  }
}

function isRoleCommand(command: Command): boolean {
  return command.name() === 'api' || command.name() === 'stream'
}

interface RoleCommand<Config> {
  readonly description: string
  readonly help: string
  readonly role: () => Promise<Role<Config>>
  /** Of every line of the log. */
  readonly fields: (config: Config) => LogFields
  readonly start: (config: Config, logger: Logger) => Promise<RunningProcess>
}

function addRoleCommand<Config extends ProcessConfig>(
  program: Command,
  name: Exclude<RoleName, 'dev'>,
  { description, help, role, fields, start }: RoleCommand<Config>,
): void {
  program
    .command(name)
    .description(description)
    .option('--config <file>', 'configuration file, instead of the one that TRUNKLINE_CONFIG_FILE names')
    .addHelpText('after', help)
    .action(async (given: Readonly<Record<string, unknown>>) => {
      const { config: file, ...options } = given
      const { loadConfig } = await import('../../config/load-config.ts')
      const { config, warnings } = loadConfig(await role(), {
        options,
        environment: process.env,
        file: typeof file === 'string' ? file : undefined,
      })
      for (const warning of warnings) tell(`warning: ${warning}`)
      const { loggerOf } = await import('../parts.ts')
      const logger = loggerOf(config, fields(config))
      await serveUntilStopped({
        config,
        start: () =>
          start(config, logger).catch((thrown: unknown) => {
            throw portFailure(thrown) ?? thrown
          }),
      })
    })
}

function optionOf({ name, description, kind, default: fallback, required }: Setting): Option {
  const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
  const usual = fallback === undefined ? '' : String(fallback)
  const shown = required ? ' (required)' : usual === '' ? '' : ` (default: ${usual})`
  return new Option(`--${flag} <${kind === 'list' ? 'list' : 'value'}>`, `${description}${shown}`)
}
