// Owns: the gateway keys, which seal session tokens and cursors (docs/formats.md "Gateway key file").
// 1. At most two keys live: the current one seals, both open. Tokens and cursors name theirs by id.
// 2. Secrets never leave this class except as derived subkeys and as the text of the file.
// Leaves out: file I/O (src/adapters/keyring/key-files.ts), the KEK ring, which is another file.
import type { Clock } from '../ports/clock.ts'
import type { Random } from '../ports/random.ts'
import { derive, keySize } from './aes-gcm.ts'
import {
  keyFileKind,
  keyOf,
  keyText,
  listOf,
  parseKeyFile,
  textOf,
  timeOf,
  timeText,
  unreadable,
} from './key-file-fields.ts'
import { LruMap } from './lru-map.ts'

/** A key id is 4 bytes; 8 hex digits in the file. */
export const gatewayKeyIdSize = 4
export const saltSize = 16

const liveKeysMax = 2
const idPattern = /^[0-9a-f]{8}$/
const idAttemptsMax = 16
const cachedSubkeysMax = 4_096

interface GatewayKey {
  readonly id: string
  readonly secret: Uint8Array
  readonly createdAtMs: number
}

export class GatewayKeys {
  readonly #keys: readonly GatewayKey[]
  readonly #current: GatewayKey
  readonly #subkeys = new LruMap<Uint8Array>(cachedSubkeysMax, (subkey) => subkey.fill(0))

  private constructor(keys: readonly GatewayKey[], currentId: string) {
    const current = keys.find((key) => key.id === currentId)
    if (current === undefined) throw unreadable('current')
    this.#keys = keys
    this.#current = current
  }

  /** One fresh key. */
  static generate(random: Random, clock: Clock): GatewayKeys {
    const key = freshKey(random, clock, [])
    return new GatewayKeys([key], key.id)
  }

  /** Errors: KEYRING_UNREADABLE; KEYRING_WRONG for a key file of another kind. */
  static parse(text: string): GatewayKeys {
    const fields = parseKeyFile(text, keyFileKind.gatewayKeys)
    const keys = listOf(fields, 'keys', liveKeysMax).map((entry) => ({
      id: textOf(entry, 'id', idPattern),
      secret: keyOf(entry, 'secret'),
      createdAtMs: timeOf(entry, 'createdAt'),
    }))
    if (new Set(keys.map((key) => key.id)).size !== keys.length) throw unreadable('keys')
    return new GatewayKeys(keys, textOf(fields, 'current', idPattern))
  }

  /** A fresh current key; the former one still opens, an older one does not any more. */
  rotated(random: Random, clock: Clock): GatewayKeys {
    const kept = { ...this.#current, secret: this.#current.secret.slice() }
    const key = freshKey(random, clock, this.#keys)
    return new GatewayKeys([key, kept], key.id)
  }

  /** 8 hex digits. */
  get currentId(): string {
    return this.#current.id
  }

  get ids(): readonly string[] {
    return this.#keys.map((key) => key.id)
  }

  /** The file's content, secrets included. Not named toJSON on purpose: a logger must not find it. */
  toText(): string {
    const keys = this.#keys.map((key) => ({
      id: key.id,
      secret: keyText(key.secret),
      createdAt: timeText(key.createdAtMs),
    }))
    return `${JSON.stringify({ kind: keyFileKind.gatewayKeys, version: 1, current: this.#current.id, keys }, null, 2)}\n`
  }

  /** A subkey of the key with this id; undefined when no such key lives. */
  subkey(id: string, salt: Uint8Array, label: `tl1 ${string}`, size: number): Uint8Array | undefined {
    const key = this.#keys.find((candidate) => candidate.id === id)
    return key === undefined ? undefined : derive(key.secret, salt, label, size)
  }

  /** A subkey that `keepSubkey` kept under this name. Never wipe or change it. */
  keptSubkey(name: string): Uint8Array | undefined {
    return this.#subkeys.get(name)
  }

  /**
   * Keeps a subkey that opened something authentic (forgeries must not push real ones out); the 4,096 used last stay.
   * The map owns it from here on.
   */
  keepSubkey(name: string, subkey: Uint8Array): void {
    this.#subkeys.set(name, subkey)
  }

  /** Wipes everything; the instance is of no use afterwards. Idempotent. */
  close(): void {
    for (const key of this.#keys) key.secret.fill(0)
    this.#subkeys.clear()
  }
}

function freshKey(random: Random, clock: Clock, others: readonly GatewayKey[]): GatewayKey {
  for (let attempt = 0; attempt < idAttemptsMax; attempt += 1) {
    const id = Buffer.from(random.bytes(gatewayKeyIdSize)).toString('hex')
    if (others.some((other) => other.id === id)) continue
    return { id, secret: random.bytes(keySize), createdAtMs: clock.nowMs() }
  }
  throw new Error('the random source repeats itself')
}
