// Owns: `.trunkline/dev.json`: how commands in a folder find the gateway that `dev` runs there.
// 1. It holds a secret: 0600 in a folder of 0700, ignored by git, and a file of another user, or one that others may
//    write, is refused: whoever plants one in a folder above would get our events.
// 2. Written whole (renamed into place), removed only by the process that wrote it.
import {
  chmodSync,
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { exitCode } from './exit-codes.ts'
import { CommandFailure, errnoOf } from './failure.ts'

export const devFolder = '.trunkline'
const devFileName = 'dev.json'
const version = 1

export interface DevFile {
  readonly version: number
  readonly httpUrl: string
  readonly thriftUrl: string
  readonly adminUrl: string
  readonly clientId: string
  readonly clientSecret: string
  readonly pid: number
  readonly dataDir: string
  /** RFC 3339. */
  readonly startedAt: string
}

export function devFilePath(folder: string): string {
  return join(folder, devFolder, devFileName)
}

/** Makes `.trunkline` in `folder` and writes the file; answers its path. */
export function writeDevFile(folder: string, content: Omit<DevFile, 'version'>): string {
  const path = devFilePath(folder)
  const temporary = `${path}.${content.pid}`
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    const ignore = join(dirname(path), '.gitignore')
    if (!existsSync(ignore)) writeFileSync(ignore, '*\n')
    rmSync(temporary, { force: true })
    writeFileSync(temporary, `${JSON.stringify({ version, ...content }, null, 2)}\n`, { mode: 0o600, flag: 'wx' })
    // The umask may take bits away, never add them; an odd one would lock us out.
    chmodSync(temporary, 0o600)
    renameSync(temporary, path)
  } catch (thrown) {
    rmSync(temporary, { force: true })
    throw new CommandFailure(exitCode.unexpected, `${path} cannot be written (${errnoOf(thrown) ?? 'error'})`, thrown)
  }
  return path
}

/** Removes the file when it is still the one that process `pid` wrote. */
export function removeDevFile(folder: string, pid: number): void {
  const path = devFilePath(folder)
  try {
    if (parseDevFile(readFileSync(path, 'utf8'))?.pid === pid) rmSync(path, { force: true })
  } catch (thrown) {
    // Gone already, or the folder with it: that is what was wanted.
    if (errnoOf(thrown) !== 'ENOENT' && errnoOf(thrown) !== 'ENOTDIR') throw thrown
  }
}

/** The file of `folder` alone, unchecked; undefined when there is none that can be read. */
export function readDevFileOf(folder: string): DevFile | undefined {
  try {
    return parseDevFile(readFileSync(devFilePath(folder), 'utf8'))
  } catch {
    // Only asked in order to warn.
    return undefined
  }
}

export interface FoundDevFile {
  readonly path: string
  readonly content: DevFile
}

/** The nearest file, from `folder` upwards; undefined when there is none. Throws CommandFailure when it cannot be trusted. */
export function findDevFile(folder: string): FoundDevFile | undefined {
  for (let current = folder; ; current = dirname(current)) {
    const path = devFilePath(current)
    const text = readTrusted(path)
    if (text !== undefined) {
      const content = parseDevFile(text)
      if (content === undefined) {
        throw new CommandFailure(
          exitCode.badData,
          `${path} is not a file that \`trunkline dev\` wrote: remove it, and start the gateway again`,
        )
      }
      return { path, content }
    }
    if (dirname(current) === current) return undefined
  }
}

/** Invariant 1; undefined when there is no such file. */
function readTrusted(path: string): string | undefined {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (thrown) {
    const code = errnoOf(thrown)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new CommandFailure(
      exitCode.authentication,
      `${path} cannot be read (${code ?? 'error'}): it belongs to another user, or its mode was changed`,
      thrown,
    )
  }
  try {
    const { uid, mode } = fstatSync(file)
    if (process.getuid !== undefined && uid !== process.getuid()) {
      throw new CommandFailure(
        exitCode.authentication,
        `${path} belongs to another user: give --url, --client-id and --client-secret-file instead`,
      )
    }
    if ((mode & 0o022) !== 0) {
      throw new CommandFailure(
        exitCode.authentication,
        `${path} can be written by others: set its mode to 0600, or remove it`,
      )
    }
    return readFileSync(file, 'utf8')
  } finally {
    closeSync(file)
  }
}

function parseDevFile(text: string): DevFile | undefined {
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch {
    // Told by the caller, without the text.
    return undefined
  }
  if (typeof content !== 'object' || content === null) return undefined
  const fields = new Map<string, unknown>(Object.entries(content))
  const textOf = (name: string): string | undefined => {
    const value = fields.get(name)
    return typeof value === 'string' && value !== '' ? value : undefined
  }
  const [httpUrl, thriftUrl, adminUrl] = [textOf('httpUrl'), textOf('thriftUrl'), textOf('adminUrl')]
  const [clientId, clientSecret] = [textOf('clientId'), textOf('clientSecret')]
  const pid = fields.get('pid')
  if (httpUrl === undefined || thriftUrl === undefined || adminUrl === undefined) return undefined
  if (clientId === undefined || clientSecret === undefined || typeof pid !== 'number') return undefined
  const [dataDir, startedAt] = [textOf('dataDir') ?? '', textOf('startedAt') ?? '']
  return { version, httpUrl, thriftUrl, adminUrl, clientId, clientSecret, pid, dataDir, startedAt }
}

/** Whether a process with this id runs; another one may have got the number meanwhile. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (thrown) {
    return errnoOf(thrown) === 'EPERM'
  }
}
