// Owns: reading the fields of the two key files, strictly: what is not exactly right is KEYRING_UNREADABLE, and a key
// file of the other kind is KEYRING_WRONG.
// Leaves out: files (src/adapters/keyring), which fields there are.
import { TrunklineError } from '../protocol/errors.ts'
import { keySize } from './aes-gcm.ts'

export const keyFileKind = { gatewayKeys: 'trunkline-gateway-keys', keyring: 'trunkline-keyring' } as const
export type KeyFileKind = (typeof keyFileKind)[keyof typeof keyFileKind]

const knownKinds: readonly string[] = Object.values(keyFileKind)
const numberMax = 2 ** 48

export type Fields = ReadonlyMap<string, unknown>

/** Details name what is wrong, never what was read. */
export function unreadable(reason: string, cause?: unknown): TrunklineError {
  return new TrunklineError('KEYRING_UNREADABLE', { details: { reason }, ...(cause === undefined ? {} : { cause }) })
}

/** Which kind of key file this is; undefined when it is none. */
export function keyFileKindOf(text: string): KeyFileKind | undefined {
  try {
    const kind = fieldsOf(JSON.parse(text), 'file').get('kind')
    return Object.values(keyFileKind).find((known) => known === kind)
  } catch {
    // Whoever parses it says what is wrong, without the text.
    return undefined
  }
}

/** Versions 1 to `versionMax`. Errors: KEYRING_UNREADABLE, KEYRING_WRONG. The parser's own error is dropped: its text quotes the file. */
export function parseKeyFile(text: string, kind: KeyFileKind, versionMax: number): Fields {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    throw unreadable('not JSON')
  }
  const fields = fieldsOf(parsed, 'file')
  const found = fields.get('kind')
  if (found !== kind) {
    if (typeof found === 'string' && knownKinds.includes(found)) {
      throw new TrunklineError('KEYRING_WRONG', { details: { expected: kind, found } })
    }
    throw unreadable('kind')
  }
  const version = fields.get('version')
  if (typeof version !== 'number' || !Number.isInteger(version) || version < 1 || version > versionMax)
    throw unreadable('version')
  return fields
}

export function fieldsOf(value: unknown, what: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw unreadable(what)
  return new Map(Object.entries(value))
}

/** Like listOf, and may be empty or missing. */
export function entriesOf(fields: Fields, name: string, countMax: number): readonly Fields[] {
  const value = fields.get(name) ?? []
  if (!Array.isArray(value) || value.length > countMax) throw unreadable(name)
  return value.map((entry: unknown) => fieldsOf(entry, name))
}

/** A whole number from 0; 0 when it is missing. */
export function countOf(fields: Fields, name: string): number {
  const value = fields.get(name) ?? 0
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > numberMax) throw unreadable(name)
  return value
}

export function listOf(fields: Fields, name: string, countMax: number): readonly Fields[] {
  const value = fields.get(name)
  if (!Array.isArray(value) || value.length === 0 || value.length > countMax) throw unreadable(name)
  return value.map((entry: unknown) => fieldsOf(entry, name))
}

export function textOf(fields: Fields, name: string, pattern: RegExp): string {
  const value = fields.get(name)
  if (typeof value !== 'string' || !pattern.test(value)) throw unreadable(name)
  return value
}

/** 32 bytes of canonical base64. */
export function keyOf(fields: Fields, name: string): Uint8Array {
  const value = fields.get(name)
  if (typeof value !== 'string') throw unreadable(name)
  const bytes = Buffer.from(value, 'base64')
  if (bytes.length !== keySize || bytes.toString('base64') !== value) throw unreadable(name)
  const key = Uint8Array.from(bytes)
  bytes.fill(0)
  return key
}

/** RFC 3339 in UTC with milliseconds, as toISOString writes it; answered as ms since 1970. */
export function timeOf(fields: Fields, name: string): number {
  const value = fields.get(name)
  const ms = typeof value === 'string' ? Date.parse(value) : Number.NaN
  if (Number.isNaN(ms) || new Date(ms).toISOString() !== value) throw unreadable(name)
  return ms
}

export function keyText(key: Uint8Array): string {
  return Buffer.from(key).toString('base64')
}

export function timeText(ms: number): string {
  return new Date(ms).toISOString()
}
