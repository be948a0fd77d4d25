// Owns: the process of the command line (bin/trunkline.js imports it for what it does): one command, then the end.
// 1. The process lives until the command is done, also while it waits on timers that hold nothing open by themselves.
// 2. A reader of stdout or stderr that goes away (`| head`) is no error of ours.
import { exitCode } from './cli/exit-codes.ts'
import { errnoOf } from './cli/failure.ts'
import { runProgram, stdoutFlushed } from './cli/program.ts'

const holdMs = 60_000

for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error) => {
    // Whoever wrote hears of it and ends the command with its reason; here it only must not end the process unheard.
    if (errnoOf(error) !== 'EPIPE') process.exitCode = exitCode.unexpected
  })
}
const hold = setInterval(() => undefined, holdMs)
const code = await runProgram(process.argv.slice(2))
await stdoutFlushed()
clearInterval(hold)
// stdin may still be open, and so may connections that were given up.
process.exit(code)
