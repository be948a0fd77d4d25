// Owns: writing to stdout so that "written" means that the other side of the pipe, the file or the terminal has it.
// 1. The write runs beside the event loop: while a slow reader (`| less`) holds it up, leases are renewed and signals
//    are heard. Node's own stdout would block the whole process on a pipe.
// Leaves out: what is written.
import { write } from 'node:fs'
import { type Clock, sleep } from '../../ports/clock.ts'
import { exitCode } from './exit-codes.ts'
import { CommandFailure, errnoOf } from './failure.ts'

const stdoutFd = 1
/** A pipe that another program made non-blocking is full: asked again after this. */
const fullPipeMs = 5

/** Resolves when all of it is written. `closed`: nobody reads any more (EPIPE). Throws CommandFailure. */
export async function writeOut(bytes: Uint8Array, clock: Clock, fd: number = stdoutFd): Promise<'written' | 'closed'> {
  let at = 0
  while (at < bytes.length) {
    try {
      at += await writeOnce(fd, bytes, at)
    } catch (thrown) {
      const code = errnoOf(thrown)
      if (code === 'EPIPE') return 'closed'
      if (code !== 'EAGAIN')
        throw new CommandFailure(exitCode.unexpected, `stdout cannot be written (${code ?? 'error'})`, thrown)
      await sleep(clock, fullPipeMs)
    }
  }
  return 'written'
}

function writeOnce(fd: number, bytes: Uint8Array, at: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, bytes, at, bytes.length - at, null, (error, written) => {
      if (error === null) resolve(written)
      else reject(error)
    })
  })
}

/** A line or more for a person; never lost behind a process that ends, because stderr is written synchronously. */
export function tell(text: string): void {
  process.stderr.write(`${text}\n`)
}
