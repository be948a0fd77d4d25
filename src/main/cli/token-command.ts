// Owns: `trunkline token`: an access token on stdout, for curl.
import type { Command } from 'commander'
import { addConnectionOptions, type ConnectionOptions, resolveConnection } from './connection.ts'

const help = `
Example:
  $ curl -H "Authorization: Bearer $(trunkline token)" http://127.0.0.1:7470/v1/topics

The token is good for an hour. Who has it can act as the client: do not keep it in files or arguments.`

export function addTokenCommand(program: Command): void {
  const command = program.command('token').description('print an access token')
  addConnectionOptions(command)
    .addHelpText('after', help)
    .action(async (options: ConnectionOptions) => {
      const { accessTokenOf } = await import('./json-api.ts')
      const token = await accessTokenOf(await resolveConnection(options, process.cwd()))
      process.stdout.write(`${token}\n`)
    })
}
