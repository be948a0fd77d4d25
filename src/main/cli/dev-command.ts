// Owns: `trunkline dev`: a gateway in this process until a signal stops it, and dev.json while it runs.
// 1. dev.json is written when everything listens and goes away with a clean stop; it lies in the current folder,
//    wherever the data is.
// Leaves out: signals and the stop (serving.ts).
import { relative, resolve } from 'node:path'
import type { Command } from 'commander'
import { systemClock } from '../../adapters/clock/system-clock.ts'
import type { GatewayConfig } from '../../config/roles.ts'
import type { Logger } from '../../observability/log.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import type { Gateway } from '../gateway.ts'
import { commandName } from './command-name.ts'
import { isRunning, readDevFileOf, removeDevFile, writeDevFile } from './dev-file.ts'
import { describeReady } from './dev-text.ts'
import { exitCode } from './exit-codes.ts'
import { CommandFailure, errnoOf } from './failure.ts'
import { tell } from './output.ts'
import { packageVersion } from './package-version.ts'
import { portFailure, serveUntilStopped } from './serving.ts'

const help = `
Examples:
  $ trunkline dev                       HTTP 7470, Thrift 7471, admin 7479, data in ./.trunkline/data
  $ trunkline dev --port 8000           HTTP 8000, Thrift 8001, admin 8009
  $ trunkline dev --port 0              any free ports; commands in this folder find them
  $ trunkline dev --data-dir /srv/tl    data elsewhere

Writes .trunkline/dev.json (0600) here, so that the other commands find the gateway and can log in.
Ctrl-C finishes what was begun and stops; a second Ctrl-C stops at once. Nothing acked is lost either way.
Every setting can also come from TRUNKLINE_… variables or the file that TRUNKLINE_CONFIG_FILE names.`

interface DevOptions {
  readonly dataDir?: string
  readonly port?: string
  readonly thriftPort?: string
  readonly adminPort?: string
  readonly logLevel?: string
}

export function addDevCommand(program: Command): void {
  program
    .command('dev')
    .description('run a gateway here: embedded log, nothing else to install')
    .option('--data-dir <dir>', 'where the data lies (default: ./.trunkline/data)')
    .option('--port <number>', 'HTTP port; Thrift is the next one and admin 9 above; 0: any free ones (default: 7470)')
    .option('--thrift-port <number>', 'Thrift port (default: 7471)')
    .option('--admin-port <number>', 'port of health and metrics (default: 7479)')
    .option('--log-level <level>', 'debug, info, warn, error or silent (default: warn)')
    .addHelpText('after', help)
    .action((options: DevOptions) => runDev(options))
}

async function runDev(options: DevOptions): Promise<void> {
  const [{ loadConfig }, { devRole }, { createLogger }] = await Promise.all([
    import('../../config/load-config.ts'),
    import('../../config/roles.ts'),
    import('../../observability/log.ts'),
  ])
  const {
    config: given,
    sources,
    warnings,
  } = loadConfig(devRole, {
    options: settingsOf(options),
    environment: process.env,
  })
  // A terminal is for people: lines about normal life only when asked for, wherever that was.
  const quiet = (sources['logLevel'] ?? 'default') === 'default'
  const config: GatewayConfig = quiet ? { ...given, logLevel: 'warn' } : given
  for (const warning of warnings) tell(`warning: ${warning}`)
  const logger = createLogger({
    level: config.logLevel,
    format: config.logFormat,
    nowMs: () => systemClock.nowMs(),
    fields: { nodeId: config.nodeId },
  })
  const folder = process.cwd()
  const former = readDevFileOf(folder)
  await serveUntilStopped({
    config,
    start: () => started(config, logger),
    onStarted: (gateway) => announce(gateway, config, folder),
    onClosed: () => {
      removeDevFile(folder, process.pid)
      // Another gateway of this folder runs on: the commands shall find it again.
      if (former !== undefined && former.pid !== process.pid && isRunning(former.pid)) writeDevFile(folder, former)
    },
  })
}

/** What the command line says, as settings; `--port` decides about the other two unless they are given. */
function settingsOf(options: DevOptions): Readonly<Record<string, unknown>> {
  const { dataDir, port, thriftPort, adminPort, logLevel } = options
  const base = port !== undefined && /^\d{1,5}$/.test(port) ? Number(port) : undefined
  const derived = (distance: number): number | undefined =>
    base === undefined ? undefined : base === 0 ? 0 : base + distance
  return {
    dataDir,
    httpPort: port,
    thriftPort: thriftPort ?? derived(1),
    adminPort: adminPort ?? derived(9),
    logLevel,
  }
}

async function started(config: GatewayConfig, logger: Logger): Promise<Gateway> {
  const { startGateway } = await import('../gateway.ts')
  const { dataDir } = config
  try {
    return await startGateway({ ...config, logger })
  } catch (thrown) {
    throw startFailure(thrown, dataDir)
  }
}

/** One clear line for what a person can do something about. */
function startFailure(thrown: unknown, dataDir: string): unknown {
  if (thrown instanceof TrunklineError) return thrown.with({ details: { ...thrown.details, dataDir } })
  const ofPort = portFailure(thrown)
  if (ofPort !== undefined) return ofPort
  const path = typeof thrown === 'object' && thrown !== null && 'path' in thrown ? thrown.path : undefined
  switch (errnoOf(thrown)) {
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
    case 'ENOTDIR':
    case 'ENOENT':
    case 'EEXIST':
      return new CommandFailure(
        exitCode.usage,
        `the data folder ${typeof path === 'string' ? path : dataDir} cannot be used (${errnoOf(thrown)}): choose another with --data-dir`,
        thrown,
      )
    default:
      return thrown
  }
}

/** Writes dev.json and says how to use the gateway. */
function announce(gateway: Gateway, config: GatewayConfig, folder: string): void {
  const before = readDevFileOf(folder)
  if (before !== undefined && before.pid !== process.pid && isRunning(before.pid)) {
    tell(
      `warning: process ${before.pid} may still run a gateway for this folder; commands here use this one from now on`,
    )
  }
  const { httpUrl, thriftUrl, adminUrl, clientId, clientSecret } = gateway
  const dataDir = resolve(config.dataDir)
  const startedAt = new Date(systemClock.nowMs()).toISOString()
  const path = writeDevFile(folder, {
    httpUrl,
    thriftUrl,
    adminUrl,
    clientId,
    clientSecret,
    pid: process.pid,
    dataDir,
    startedAt,
  })
  const shown = relative(folder, dataDir)
  const dataText = shown.startsWith('..') || shown === '' ? dataDir : `./${shown}`
  process.stdout.write(
    describeReady({
      command: commandName(folder),
      version: packageVersion(),
      httpUrl,
      thriftUrl,
      adminUrl,
      clientId,
      dataDir: dataText,
      devFile: path,
    }),
  )
}
