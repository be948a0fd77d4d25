// Owns: reading a secret from its file. Read again whenever it is needed, so that a rotated secret needs no restart.
// 1. A secret that others on the machine can read is refused.
// 2. No error quotes the file.
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import type { SettingName } from './gateway-settings.ts'
import { configError } from './load-config.ts'

const secretBytesMax = 64 * 1024

/** The text without its last line end. Errors: BAD_CONFIG naming the setting. */
export function readSecretFile(setting: SettingName, path: string): string {
  const refuse = (problem: string): Error => configError([{ subject: setting, problem: `its file ${problem}` }])
  let file: number
  try {
    file = openSync(path, 'r')
  } catch {
    throw refuse('cannot be opened: correct the path, or its permissions')
  }
  try {
    const { mode, size } = fstatSync(file)
    if ((mode & 0o077) !== 0) throw refuse('can be read by others: set its mode to 0600')
    if (size > secretBytesMax) throw refuse(`must be at most ${secretBytesMax} bytes`)
    const text = readFileSync(file, 'utf8').replace(/\r?\n$/, '')
    if (text === '') throw refuse('is empty')
    return text
  } finally {
    closeSync(file)
  }
}
