// Owns: the group `trunkline keys`, and `keys init DIR`: the keys that the processes of a cluster share.
// Leaves out: what is done to key files later (key-commands.ts).
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { systemClock } from '../../adapters/clock/system-clock.ts'
import { systemRandom } from '../../adapters/random/system-random.ts'
import { exitCode } from './exit-codes.ts'
import { CommandFailure } from './failure.ts'
import { addKeyFileCommands } from './key-commands.ts'
import { tell } from './output.ts'
import { addRewrapCommand } from './rewrap-command.ts'

const groupHelp = `
Examples:
  $ trunkline keys init ./keys
  $ trunkline keys list
  $ trunkline keys rotate
  $ trunkline keys shred --topic orders --yes

docs/keys.md says what each does, how soon, and in which order in a cluster.`

const help = `
Example:
  $ trunkline keys init ./keys --client-id orders

Makes, each with mode 0600:
  keyring.json       wraps the keys of the data     stream processes   TRUNKLINE_KEYRING_FILE
  gateway-keys.json  session tokens and cursors     all processes      TRUNKLINE_GATEWAY_KEY_FILE
  signing-key.json   access tokens                  API processes      TRUNKLINE_SIGNING_KEY_FILE
  clients.json       who may log in, hashed         API processes      TRUNKLINE_CLIENTS_FILE
  policy.json        who may do what                API processes      TRUNKLINE_POLICY_FILE
  client-secret      the secret of that client      whoever logs in

The policy lets that client do everything: docs/policy.md says how to write another.
Keep a copy of keyring.json in a safe place: without it nothing in Kafka can be read again. Nothing is ever
overwritten: when one of the files is there, the command ends with exit code 6 and has changed nothing.`

const clientIdPattern = /^[a-zA-Z0-9._-]{1,64}$/

export function addKeysCommand(program: Command): void {
  const keys = program
    .command('keys')
    .description('make, rotate, re-wrap, revoke and shred keys')
    .addHelpText('after', groupHelp)
  keys
    .command('init')
    .description('make them, once, in a folder')
    .argument('<dir>', 'folder; made when it is not there, 0700')
    .option('--client-id <id>', 'the first client', 'app')
    .addHelpText('after', help)
    .action((dir: string, options: { readonly clientId: string }) => runInit(resolve(dir), options.clientId))
  addKeyFileCommands(keys)
  addRewrapCommand(keys)
}

async function runInit(dir: string, clientId: string): Promise<void> {
  if (!clientIdPattern.test(clientId))
    throw new CommandFailure(exitCode.usage, 'a client id has 1 to 64 letters, digits, dots, hyphens and underscores')
  const { initSharedKeys, sharedKeyPaths } = await import('../shared-keys.ts')
  const there = await initSharedKeys(dir, clientId, { clock: systemClock, random: systemRandom })
  if (there.length > 0) {
    throw new CommandFailure(
      exitCode.conflict,
      `${there.join(', ')} ${there.length === 1 ? 'is' : 'are'} there: keys are never overwritten, choose another folder`,
    )
  }
  const { clientSecretFile, ...files } = sharedKeyPaths(dir)
  for (const path of Object.values(files)) process.stdout.write(`${path}\n`)
  process.stdout.write(`${clientSecretFile}\n`)
  tell(`Client "${clientId}" logs in with the secret in ${clientSecretFile}: move it to where it is used.`)
}
