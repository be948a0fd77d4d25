// Owns: the commands of `trunkline` and how one run of it ends: exit code, what is printed, streams flushed.
// 1. A run ends only with an exit code of exit-codes.ts; a usage error is 2 and says which help to ask for.
// 2. What a command needs is loaded when it runs: `--help` does not load a database.
import { Command, CommanderError } from 'commander'
import { addCheckCommand } from './check-command.ts'
import { addDevCommand } from './dev-command.ts'
import { exitCode } from './exit-codes.ts'
import { describeThrown, exitCodeOfThrown } from './failure.ts'
import { addKeysCommand } from './keys-command.ts'
import { packageVersion } from './package-version.ts'
import { addPolicyCommand } from './policy-command.ts'
import { addPublishCommand } from './publish-command.ts'
import { addReadCommand } from './read-command.ts'
import { addApiCommand, addRoleOptions, addStreamCommand } from './role-commands.ts'
import { addTokenCommand } from './token-command.ts'
import { addTopicCommand } from './topic-command.ts'

const help = `
Examples:
  $ trunkline dev                                     a gateway in this folder, Ctrl-C stops it
  $ trunkline publish quakes quakes.ndjson            one event per line
  $ tail -f app.log | trunkline publish logs --format lines
  $ trunkline read quakes --from earliest             everything that is there, then end
  $ trunkline read quakes --follow --cursor-file c    go on where it stopped, and wait for more

Commands find the gateway that \`trunkline dev\` runs in this folder or one above (.trunkline/dev.json), or
the one that --url or TRUNKLINE_URL names.

Exit codes:
  0 done   1 unexpected   2 usage   3 gateway not reached or not able now   4 login
  5 not found   6 in use, exists or changed   7 bad data   130 interrupted (143 by SIGTERM)

TRUNKLINE_DEBUG=1 adds where an error comes from. docs/cli.md says more.`

export function buildProgram(): Command {
  const program = new Command('trunkline')
    .description('Durable event streams: start a gateway, publish and read events.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help of a command')
    .showHelpAfterError('(add --help to see what there is)')
    .addHelpText('after', help)
    // A usage error must come back to us: commander's own exit code is 1.
    .exitOverride()
  addDevCommand(program)
  addTopicCommand(program)
  addPublishCommand(program)
  addReadCommand(program)
  addTokenCommand(program)
  addCheckCommand(program)
  addApiCommand(program)
  addStreamCommand(program)
  addKeysCommand(program)
  addPolicyCommand(program)
  return program
}

/** Runs one command line and answers its exit code; everything is printed. `args` start behind the program's name. */
export async function runProgram(args: readonly string[]): Promise<number> {
  try {
    const program = buildProgram()
    await addRoleOptions(program, args.slice(0, 2))
    await program.parseAsync(args, { from: 'user' })
    return exitCode.ok
  } catch (thrown) {
    // commander has printed its own.
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? exitCode.ok : exitCode.usage
    const text = describeThrown(thrown, process.env['TRUNKLINE_DEBUG'] === '1')
    if (text !== '') process.stderr.write(`${text}\n`)
    return exitCodeOfThrown(thrown)
  }
}

/** Resolves when stdout has taken everything, or nobody reads it any more. */
export function stdoutFlushed(): Promise<void> {
  // A write that failed was told to whoever wrote; here only the end of writing is waited for.
  return new Promise((resolve) => {
    process.stdout.write('', () => resolve())
  })
}
