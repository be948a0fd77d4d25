// Owns: the file that `read` keeps its place in: one line, the cursor as the gateway answered it.
// 1. Replaced as a whole: after a crash it holds the old cursor or the new one.
import {
  accessSync,
  closeSync,
  constants,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { exitCode } from './exit-codes.ts'
import { CommandFailure, errnoOf } from './failure.ts'

const bytesMax = 64 * 1024

export class CursorFile {
  readonly #path: string

  /** A folder that cannot be written is told before anything is read. */
  constructor(path: string) {
    this.#path = targetOf(path)
    try {
      accessSync(dirname(this.#path), constants.W_OK)
    } catch (thrown) {
      throw new CommandFailure(
        exitCode.usage,
        `the folder of ${path} cannot be written (${errnoOf(thrown) ?? 'error'})`,
        thrown,
      )
    }
  }

  /** Undefined: the file is not there, or empty. Throws CommandFailure. */
  read(): string | undefined {
    try {
      if (statSync(this.#path).size > bytesMax)
        throw new CommandFailure(exitCode.badData, `${this.#path} is not a cursor file`)
      const text = readFileSync(this.#path, 'utf8').trim()
      return text === '' ? undefined : text
    } catch (thrown) {
      if (errnoOf(thrown) === 'ENOENT') return undefined
      if (thrown instanceof CommandFailure) throw thrown
      throw new CommandFailure(exitCode.usage, `${this.#path} cannot be read (${errnoOf(thrown) ?? 'error'})`, thrown)
    }
  }

  /** Returns when it is on the disk. Throws CommandFailure. */
  write(cursor: string): void {
    const temporary = `${this.#path}.${process.pid}.tmp`
    try {
      const file = openSync(temporary, 'w')
      try {
        writeSync(file, `${cursor}\n`)
        fsyncSync(file)
      } finally {
        closeSync(file)
      }
      renameSync(temporary, this.#path)
    } catch (thrown) {
      rmSync(temporary, { force: true })
      throw new CommandFailure(
        exitCode.unexpected,
        `${this.#path} cannot be written (${errnoOf(thrown) ?? 'error'})`,
        thrown,
      )
    }
  }
}

/** A link stays a link: what it points to is replaced. */
function targetOf(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    // Not there yet.
    return path
  }
}
