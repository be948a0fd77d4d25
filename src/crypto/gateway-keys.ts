// Owns: the gateway keys, which seal session tokens and cursors (docs/formats.md "Gateway key file").
// 1. At most 64 keys live: the current one seals, all open. Tokens and cursors name theirs by id, so that many cost
//    nothing; clients store cursors for long, so that a rotation drops none. Dropping one is a revocation, asked for by id.
// 2. Secrets never leave this class except as derived subkeys and as the text of the file.
// 3. `adopt` takes a newer file over while others hold this instance; what was kept of the former keys is forgotten.
// Leaves out: file I/O (src/adapters/keyring/key-files.ts), the KEK ring, which is another file.
import type { Clock } from '../ports/clock.ts'
import type { Random } from '../ports/random.ts'
import { derive, keySize } from './aes-gcm.ts'
import {
  countOf,
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

const liveKeysMax = 64
const versionNow = 1
const idPattern = /^[0-9a-f]{8}$/
const idAttemptsMax = 16
const cachedSubkeysMax = 4_096

interface GatewayKey {
  readonly id: string
  readonly secret: Uint8Array
  readonly createdAtMs: number
}

export class GatewayKeys {
  #keys: readonly GatewayKey[]
  #current: GatewayKey
  #revision: number
  #generation = 0
  readonly #subkeys = new LruMap<Uint8Array>(cachedSubkeysMax, (subkey) => subkey.fill(0))

  private constructor(keys: readonly GatewayKey[], currentId: string, revision: number) {
    const current = keys.find((key) => key.id === currentId)
    if (current === undefined) throw unreadable('current')
    this.#keys = keys
    this.#current = current
    this.#revision = revision
  }

  /** One fresh key. */
  static generate(random: Random, clock: Clock): GatewayKeys {
    const key = freshKey(random, clock, [])
    return new GatewayKeys([key], key.id, 1)
  }

  /** Errors: KEYRING_UNREADABLE; KEYRING_WRONG for a key file of another kind. */
  static parse(text: string): GatewayKeys {
    const fields = parseKeyFile(text, keyFileKind.gatewayKeys, versionNow)
    const keys = listOf(fields, 'keys', liveKeysMax).map((entry) => ({
      id: textOf(entry, 'id', idPattern),
      secret: keyOf(entry, 'secret'),
      createdAtMs: timeOf(entry, 'createdAt'),
    }))
    if (new Set(keys.map((key) => key.id)).size !== keys.length) throw unreadable('keys')
    return new GatewayKeys(keys, textOf(fields, 'current', idPattern), countOf(fields, 'revision'))
  }

  /** Keys of their own, so that closing one instance leaves the other whole. An Error at 64 keys. */
  withStaged(random: Random, clock: Clock): { readonly keys: GatewayKeys; readonly id: string } {
    if (this.isFull) throw new Error('no room for another gateway key')
    const key = freshKey(random, clock, this.#keys)
    return { keys: this.#changed([key, ...this.#copies()], this.#current.id), id: key.id }
  }

  /** An Error for an unknown key. */
  withCurrent(id: string): GatewayKeys {
    return this.#changed(this.#copies(), id)
  }

  /** A fresh current key; the others still open. */
  rotated(random: Random, clock: Clock): GatewayKeys {
    const { keys, id } = this.withStaged(random, clock)
    keys.#current = keys.#keyOf(id)
    return keys
  }

  /** What the key sealed opens no more. An Error for an unknown or the current key. */
  without(id: string): GatewayKeys {
    if (this.#keyOf(id) === this.#current) throw new Error('the current gateway key cannot be dropped')
    return this.#changed(
      this.#copies().filter((key) => key.id !== id),
      this.#current.id,
    )
  }

  /** Takes over what a newer file says; `other` is of no use afterwards. */
  adopt(other: GatewayKeys): void {
    const former = this.#keys
    this.#keys = other.#keys
    this.#current = other.#current
    this.#revision = other.#revision
    this.#generation += 1
    this.#subkeys.clear()
    for (const key of former) key.secret.fill(0)
    other.#subkeys.clear()
  }

  /** 8 hex digits. */
  get currentId(): string {
    return this.#current.id
  }

  get ids(): readonly string[] {
    return this.#keys.map((key) => key.id)
  }

  get isFull(): boolean {
    return this.#keys.length >= liveKeysMax
  }

  /** Of the file; grows with every change. */
  get revision(): number {
    return this.#revision
  }

  /** Grows when `adopt` changed what opens: whoever keeps what was opened looks at it. */
  get generation(): number {
    return this.#generation
  }

  /** Newest first, without secrets. */
  describe(): readonly { readonly id: string; readonly createdAtMs: number; readonly current: boolean }[] {
    return this.#keys.map(({ id, createdAtMs }) => ({ id, createdAtMs, current: id === this.#current.id }))
  }

  /** The file's content, secrets included. Not named toJSON on purpose: a logger must not find it. */
  toText(): string {
    const keys = this.#keys.map((key) => ({
      id: key.id,
      secret: keyText(key.secret),
      createdAt: timeText(key.createdAtMs),
    }))
    const { id: current } = this.#current
    const file = { kind: keyFileKind.gatewayKeys, version: versionNow, revision: this.#revision, current, keys }
    return `${JSON.stringify(file, null, 2)}\n`
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

  #keyOf(id: string): GatewayKey {
    const key = this.#keys.find((candidate) => candidate.id === id)
    if (key === undefined) throw new Error('no such gateway key')
    return key
  }

  #copies(): readonly GatewayKey[] {
    return this.#keys.map((key) => ({ ...key, secret: key.secret.slice() }))
  }

  #changed(keys: readonly GatewayKey[], currentId: string): GatewayKeys {
    return new GatewayKeys(keys, currentId, this.#revision + 1)
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
