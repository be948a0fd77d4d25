// Owns: sealing and opening cursors (docs/formats.md "Sealed cursor"). The content is opaque here.
// 1. One subkey per CursorSealer, derived from a random salt; its nonces count from 0; before they run out the sealer
//    takes another salt. So no number of cursors wears a gateway key out. The same when another gateway key is current.
// 2. The seal is bound to (cluster, tenant, topic id); the scope's hash is in the clear only to name the error.
// Leaves out: what a cursor says (src/protocol), whether its positions still exist.
import { createHash } from 'node:crypto'
import type { Random } from '../ports/random.ts'
import { TrunklineError } from '../protocol/errors.ts'
import { idToBytes, type TopicId } from '../protocol/ids.ts'
import { decrypt, encryptInto, keySize, nonceSize, rawBytes, tagSize } from './aes-gcm.ts'
import { type GatewayKeys, gatewayKeyIdSize, saltSize } from './gateway-keys.ts'

export interface CursorScope {
  readonly clusterId: string
  readonly tenant: string
  readonly topicId: TopicId
}

/** What sealing adds to the content. */
export const cursorOverheadBytes = 49

const version = 1
const scopeHashSize = 8
const keyIdAt = 1 + scopeHashSize
const saltAt = keyIdAt + gatewayKeyIdSize
const counterAt = saltAt + saltSize
const headerSize = counterAt + 4
const sealsPerSaltMax = 2 ** 32
const label = 'tl1 cursor'

/** Seals the cursors of one session. Its subkey is derived once; `close` wipes it. */
export class CursorSealer {
  readonly #keys: GatewayKeys
  readonly #scope: CursorScope
  readonly #random: Random
  readonly #sealsPerSalt: number
  #subkey: Uint8Array | undefined
  #keyId = ''
  /** Header and scope; the counter is written into it, so the AAD costs no copy per cursor. */
  #aad: Buffer
  #counter = 0

  /** `sealsPerSalt` (default 2^32) is for tests. */
  constructor(keys: GatewayKeys, scope: CursorScope, random: Random, sealsPerSalt: number = sealsPerSaltMax) {
    if (!(sealsPerSalt >= 1 && sealsPerSalt <= sealsPerSaltMax)) throw new Error('a salt is good for 1 to 2^32 seals')
    this.#keys = keys
    this.#scope = scope
    this.#random = random
    this.#sealsPerSalt = sealsPerSalt
    this.#aad = Buffer.alloc(0)
  }

  /** `content.length + 49` bytes; never the same twice. */
  seal(content: Uint8Array): Uint8Array {
    const subkey = this.#subkeyForNext()
    this.#aad.writeUInt32BE(this.#counter, counterAt)
    const sealed = rawBytes(headerSize + content.length + tagSize)
    sealed.set(this.#aad.subarray(0, headerSize))
    encryptInto(sealed, headerSize, subkey, nonceOf(this.#counter), this.#aad, content)
    this.#counter += 1
    return sealed
  }

  /** Idempotent. A later seal starts with a new salt. */
  close(): void {
    this.#subkey?.fill(0)
    this.#subkey = undefined
  }

  #subkeyForNext(): Uint8Array {
    const keyId = this.#keys.currentId
    if (this.#subkey !== undefined && this.#counter < this.#sealsPerSalt && keyId === this.#keyId) return this.#subkey
    this.close()
    const salt = this.#random.bytes(saltSize)
    const subkey = this.#keys.subkey(keyId, salt, label, keySize)
    if (subkey === undefined) throw new Error('the current gateway key does not live')
    const header = new Uint8Array(headerSize)
    header[0] = version
    header.set(scopeHash(this.#scope), 1)
    header.set(Buffer.from(keyId, 'hex'), keyIdAt)
    header.set(salt, saltAt)
    this.#aad = aadOf(header, this.#scope)
    this.#subkey = subkey
    this.#keyId = keyId
    this.#counter = 0
    return subkey
  }
}

/**
 * The content of a cursor of this scope. Errors: BAD_CURSOR (forged, truncated, sealed with a key that is gone),
 * CURSOR_FOREIGN (other cluster, tenant or topic), CURSOR_VERSION.
 */
export function openCursor(keys: GatewayKeys, scope: CursorScope, bytes: Uint8Array): Uint8Array {
  if (bytes.length === 0) throw new TrunklineError('BAD_CURSOR')
  if (bytes[0] !== version) throw new TrunklineError('CURSOR_VERSION')
  if (bytes.length < headerSize + tagSize) throw new TrunklineError('BAD_CURSOR')
  // Before the key id: another cluster has other keys, and its cursor is foreign, not forged.
  if (!scopeHash(scope).equals(bytes.subarray(1, keyIdAt))) throw new TrunklineError('CURSOR_FOREIGN')
  const header = Buffer.from(bytes.subarray(0, headerSize))
  // Key id and salt name the subkey.
  const name = header.toString('latin1', keyIdAt, counterAt)
  const kept = keys.keptSubkey(name)
  const subkey =
    kept ?? keys.subkey(header.toString('hex', keyIdAt, saltAt), header.subarray(saltAt, counterAt), label, keySize)
  if (subkey === undefined) throw new TrunklineError('BAD_CURSOR')
  const nonce = nonceOf(header.readUInt32BE(counterAt))
  const content = decrypt(subkey, nonce, aadOf(header, scope), bytes.subarray(headerSize))
  if (content === undefined) {
    if (kept === undefined) subkey.fill(0)
    throw new TrunklineError('BAD_CURSOR')
  }
  if (kept === undefined) keys.keepSubkey(name, subkey)
  return content
}

/** 8 zero bytes │ counter u32. */
function nonceOf(counter: number): Uint8Array {
  const nonce = Buffer.alloc(nonceSize)
  nonce.writeUInt32BE(counter, nonceSize - 4)
  return nonce
}

/** First 8 bytes of SHA-256("tl1 cursor scope" │ scope). */
function scopeHash(scope: CursorScope): Buffer {
  return createHash('sha256').update('tl1 cursor scope').update(scopeBytes(scope)).digest().subarray(0, scopeHashSize)
}

function aadOf(header: Uint8Array, scope: CursorScope): Buffer {
  return Buffer.concat([header, scopeBytes(scope)])
}

/** Size u16 and UTF-8 of the cluster id, the same of the tenant, the topic id. */
function scopeBytes(scope: CursorScope): Buffer {
  const parts: Uint8Array[] = []
  for (const text of [scope.clusterId, scope.tenant]) {
    const bytes = Buffer.from(text, 'utf8')
    const size = Buffer.alloc(2)
    size.writeUInt16BE(bytes.length)
    parts.push(size, bytes)
  }
  return Buffer.concat([...parts, idToBytes(scope.topicId)])
}
