// Owns: `trunkline check DIR`: whether a data folder is sound, looked at from a child process that may die of it.
// 1. Nothing is changed; a gateway may run on the folder meanwhile.
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { systemClock } from '../../adapters/clock/system-clock.ts'
import { exitCode } from './exit-codes.ts'
import { CommandFailure, oneLine, QuietEnd } from './failure.ts'
import { tell } from './output.ts'
import { bytesText, counted } from './progress.ts'

const help = `
Reads everything: counters, offsets, records, and opens every block with the folder's keyring, so that a
single flipped bit is found and named as topic/partition@offset. Exit code 7 when something is wrong.
A damaged block is left out with \`trunkline read --on-damaged skip\`; anything else comes from a copy.

Example:
  $ trunkline check ./.trunkline/data`

export function addCheckCommand(program: Command): void {
  program
    .command('check')
    .description('look for damage in a data folder')
    .argument('<dir>', 'data folder of a gateway')
    .option('--keyring <file>', 'keyring, when it does not lie in the folder')
    .addHelpText('after', help)
    .action((dir: string, options: { readonly keyring?: string }) => runCheck(resolve(dir), options.keyring))
}

async function runCheck(dir: string, keyring: string | undefined): Promise<void> {
  const logDir = [join(dir, 'log'), dir].find((folder) => existsSync(join(folder, 'data.mdb')))
  if (logDir === undefined) throw new CommandFailure(exitCode.notFound, `${dir} is not a data folder: it holds no log`)
  if (keyring !== undefined && !existsSync(keyring)) throw new CommandFailure(exitCode.usage, `${keyring} is not there`)
  const keyringPath = [keyring ?? join(dir, 'keyring.json')]
    .map((path) => resolve(path))
    .find((path) => existsSync(path))
  if (keyringPath === undefined) tell('no keyring: what is inside the blocks is not looked at')

  // The child is started with a loader that is looked for from where we stand.
  process.chdir(fileURLToPath(new URL('../../../', import.meta.url)))
  const { checkDataDir } = await import('../../adapters/embedded/check.ts')
  const report = await checkDataDir(logDir, { clock: systemClock, verifierModule: verifierUrl(keyringPath) })
  for (const { where, what } of report.findings) process.stdout.write(`${oneLine(where)}: ${oneLine(what)}\n`)
  const more = report.findingCount - report.findings.length
  if (more > 0) process.stdout.write(`and ${counted(more, 'more finding')}\n`)
  tell(`looked at ${counted(report.topics, 'topic')}, ${counted(report.records, 'record')}, ${bytesText(report.bytes)}`)
  if (report.findingCount > 0) {
    tell(`${counted(report.findingCount, 'finding')}: the folder is damaged`)
    throw new QuietEnd(exitCode.badData)
  }
  tell('nothing is wrong')
}

function verifierUrl(keyringPath: string | undefined): URL {
  const url = import.meta.url.endsWith('.ts')
    ? new URL('./verify-blocks.ts', import.meta.url)
    : new URL('./verify-blocks.js', import.meta.url)
  // Not as it stands: a loader that looks at the end of a URL would take "….json" for the module's type.
  if (keyringPath !== undefined) url.searchParams.set('keyring', Buffer.from(keyringPath).toString('base64url'))
  return url
}
