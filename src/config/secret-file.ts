// Owns: reading what a setting names by its file: secrets, and certificates that anyone may read. Read again whenever it
// is needed, so that what was rotated needs no restart.
// 1. A secret that others on the machine can read is refused.
// 2. No error quotes the file.
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { TrunklineError } from '../protocol/errors.ts'
import { type ConfigProblem, configError } from './load-config.ts'

const fileBytesMax = 64 * 1024
const pemStart = '-----BEGIN '

/** The text without its last line end. Errors: BAD_CONFIG naming the setting. */
export function readSecretFile(setting: string, path: string): string {
  return readGuarded(setting, path, true)
}

/** PEM text; `secret` for a private key. Errors: BAD_CONFIG naming the setting. */
export function readPemFile(setting: string, path: string, secret: 'secret' | 'public'): string {
  const text = readGuarded(setting, path, secret === 'secret')
  if (!text.includes(pemStart)) throw refusal(setting, 'is not PEM')
  return text
}

/** Reads several files and tells all their problems at once. */
export class FileReads {
  readonly #problems: ConfigProblem[] = []

  /** Undefined without a path, and when it cannot be read, which `check` tells. */
  secret(setting: string, path: string | undefined): string | undefined {
    return path === undefined ? undefined : this.#noted(() => readSecretFile(setting, path))
  }

  pem(setting: string, path: string | undefined, secret: 'secret' | 'public' = 'public'): string | undefined {
    return path === undefined ? undefined : this.#noted(() => readPemFile(setting, path, secret))
  }

  /** Errors: BAD_CONFIG naming every setting whose file is not as it should be. */
  check(): void {
    if (this.#problems.length > 0) throw configError(this.#problems)
  }

  #noted(read: () => string): string | undefined {
    try {
      return read()
    } catch (thrown) {
      if (!(thrown instanceof TrunklineError) || thrown.name !== 'BAD_CONFIG') throw thrown
      for (const [subject, problem] of Object.entries(thrown.details)) this.#problems.push({ subject, problem })
      return undefined
    }
  }
}

function readGuarded(setting: string, path: string, secret: boolean): string {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch {
    throw refusal(setting, 'cannot be opened: correct the path, or its permissions')
  }
  try {
    const stat = fstatSync(file)
    if (!stat.isFile()) throw refusal(setting, 'is not a file')
    if (secret && (stat.mode & 0o077) !== 0) throw refusal(setting, 'can be read by others: set its mode to 0600')
    if (stat.size > fileBytesMax) throw refusal(setting, `must be at most ${fileBytesMax} bytes`)
    const text = readFileSync(file, 'utf8').replace(/\r?\n$/, '')
    if (text === '') throw refusal(setting, 'is empty')
    return text
  } finally {
    closeSync(file)
  }
}

function refusal(setting: string, problem: string): Error {
  return configError([{ subject: setting, problem: `its file ${problem}` }])
}
