// Owns: `trunkline keys rewrap`: what old KEKs wrapped, wrapped once more by the current ones, while gateways run.
// 1. It ends with 0 only when nothing is left under an old KEK that could be read with it.
// 2. A SIGINT, also the second, ends it behind the change at hand: a lock is never left behind.
// Leaves out: the work (../rewrap.ts), which keyring (key-file-choice.ts).
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { systemClock } from '../../adapters/clock/system-clock.ts'
import { systemRandom } from '../../adapters/random/system-random.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import type { RewrapReport, rewrapLog } from '../rewrap.ts'
import { findDevFile } from './dev-file.ts'
import { exitCode } from './exit-codes.ts'
import { CommandFailure, oneLine, QuietEnd } from './failure.ts'
import { Interrupts } from './interrupts.ts'
import { edited } from './key-commands.ts'
import { addKeyFileOptions, type KeyFileOptions, keyFileOf } from './key-file-choice.ts'
import { tell } from './output.ts'
import { counted } from './progress.ts'

const help = `
Examples:
  $ trunkline keys rewrap                          the data folder of \`trunkline dev\` here
  $ trunkline keys rewrap --kafka                  with the settings of a stream process: its variables, or --config

Reads the whole log, and writes KEYRING.rewrapped beside the keyring: events under a KEK that is not current open with
the current one too. Nothing in the log changes. Repeat it as often as you like. Then \`keys retire\` the old KEK.`

interface RewrapOptions extends KeyFileOptions {
  readonly dataDir?: string
  readonly kafka?: true
  readonly config?: string
}

export function addRewrapCommand(keys: Command): void {
  addKeyFileOptions(
    keys
      .command('rewrap')
      .description('make events under old KEKs open with the current one, so that the old ones can go'),
    'keyring',
  )
    .option('--data-dir <dir>', 'data folder that holds the events (default: of `trunkline dev` here)')
    .option('--kafka', 'the events are in Kafka')
    .option('--config <file>', 'with --kafka: configuration file of a stream process')
    .addHelpText('after', help)
    .action((options: RewrapOptions) => runRewrap(options))
}

async function runRewrap(options: RewrapOptions): Promise<void> {
  if (options.kafka === true && options.dataDir !== undefined)
    throw new CommandFailure(exitCode.usage, 'the events are in Kafka, or in a data folder: not both')
  if (options.kafka !== true && options.config !== undefined)
    throw new CommandFailure(exitCode.usage, '--config goes with --kafka')
  const interrupts = new Interrupts(systemClock)
  try {
    const report = options.kafka === true ? await ofKafka(options, interrupts) : await ofFolder(options, interrupts)
    tellReport(report)
    if (report.stopped) {
      tell('stopped: what was done stays; the same command goes on')
      throw new QuietEnd(interrupts.exitCode ?? exitCode.interrupted)
    }
    // What was shredded is not meant to be read.
    const isReadable = [...report.left.values()].some(({ error }) => error !== 'KEY_SHREDDED')
    if (report.unread.length > 0 || isReadable) throw new QuietEnd(exitCode.badData)
  } finally {
    interrupts.stop()
  }
}

async function ofFolder({ dataDir, ...options }: RewrapOptions, interrupts: Interrupts): Promise<RewrapReport> {
  const folder = process.cwd()
  const ofDev = findDevFile(folder)?.content.dataDir
  const dir = dataDir === undefined ? ofDev : resolve(folder, dataDir)
  if (dir === undefined) throw new CommandFailure(exitCode.usage, 'no events are known: give --data-dir, or --kafka')
  const keyring = keyFileOf(options, folder, dir)
  const [{ rewrapLog }, { folderWalk }] = await Promise.all([import('../rewrap.ts'), import('../rewrap-walks.ts')])
  return await edited(() => rewrapLog(folderWalk(dir), underSignals(keyring, interrupts)))
}

async function ofKafka({ config: configFile, file }: RewrapOptions, interrupts: Interrupts): Promise<RewrapReport> {
  const [{ loadConfig }, { logReaderRole }] = await Promise.all([
    import('../../config/load-config.ts'),
    import('../../config/roles.ts'),
  ])
  const { config } = loadConfig(logReaderRole, { environment: process.env, file: configFile })
  if (config.keyProvider !== 'keyring')
    throw new TrunklineError('UNSUPPORTED', { details: { feature: `keys rewrap with ${config.keyProvider}` } })
  const keyring = keyFileOf({ file: file ?? config.keyringFile ?? '' }, process.cwd())
  const [{ rewrapLog }, { logWalk, openLogToRead }] = await Promise.all([
    import('../rewrap.ts'),
    import('../rewrap-walks.ts'),
  ])
  const log = await openLogToRead(config, source)
  try {
    return await edited(() => rewrapLog(logWalk(log, systemClock), underSignals(keyring, interrupts)))
  } finally {
    await log.close()
  }
}

/** Invariant 2. */
function underSignals(keyring: string, interrupts: Interrupts): Parameters<typeof rewrapLog>[1] {
  return { keyring, source, signal: interrupts.signal, hold: (change) => interrupts.hold(change) }
}

function tellReport({ met, added, movedOn, left, unread }: RewrapReport): void {
  tell(
    `looked at ${counted(met, 'data key')} under old KEKs: ${counted(added, 'key')} re-wrapped, ${movedOn} of earlier runs moved on`,
  )
  for (const [why, { count }] of left) tell(`${counted(count, 'key')} left: ${oneLine(why)}`)
  for (const { where, what } of unread) tell(`not read: ${oneLine(where)}: ${oneLine(what)}`)
}

const source = { clock: systemClock, random: systemRandom }
