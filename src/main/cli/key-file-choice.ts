// Owns: which key file a command means: --file > the variable that the processes themselves read > the data folder of the
// gateway that `trunkline dev` runs here.
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { findDevFile } from './dev-file.ts'
import { exitCode } from './exit-codes.ts'
import { CommandFailure } from './failure.ts'

export interface KeyFileOptions {
  readonly file?: string
  readonly gateway?: true
}

/** `both`: the command also works on gateway keys. */
export function addKeyFileOptions(command: Command, both: 'both' | 'keyring'): Command {
  command.addOption(
    new Option('--file <file>', 'key file (default: TRUNKLINE_KEYRING_FILE, or the one of `trunkline dev` here)'),
  )
  if (both === 'both')
    command.addOption(
      new Option('--gateway', 'the gateway keys instead of the keyring (TRUNKLINE_GATEWAY_KEY_FILE, or of `dev` here)'),
    )
  return command
}

/** `dataDir`: instead of the one of `dev` here. Throws CommandFailure when no file is known. */
export function keyFileOf(
  { file, gateway }: KeyFileOptions,
  folder: string,
  dataDir = findDevFile(folder)?.content.dataDir,
): string {
  if (file !== undefined) return resolve(folder, file)
  const isGateway = gateway === true
  const variable = isGateway ? 'TRUNKLINE_GATEWAY_KEY_FILE' : 'TRUNKLINE_KEYRING_FILE'
  const named = process.env[variable]
  if (named !== undefined && named !== '') return resolve(folder, named)
  const ofDev = dataDir === undefined ? undefined : join(dataDir, isGateway ? 'gateway-keys.json' : 'keyring.json')
  if (ofDev !== undefined && existsSync(ofDev)) return ofDev
  throw new CommandFailure(exitCode.usage, `no key file is known: give --file, or set ${variable}`)
}
