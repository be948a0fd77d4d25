// Owns: the bytes of the file of re-wrapped keys (docs/formats.md "Re-wrapped keys"), which says for a data key that an old
// KEK wrapped how another KEK wraps it. Layout, big-endian:
//   magic "TLR" │ version u8 = 1 │ ringId 16 │ revision u48 │ sealing KEK: size u8, ASCII
//   keks u16, each: size u8, ASCII │ topics u16, each: topicId 16, tenant size u8, UTF-8
//   entries u32, each 99: fingerprint 32 │ topic u16 │ from u16 │ to u16 │ wrapped 61 │ MAC 32
// 1. Nothing is used before the MAC fits: it proves that a holder of the ring's keys wrote every byte, so that nobody else
//    joins a fingerprint with a key of his.
// 2. A fingerprint covers the old KEK, the topic, the tenant and the wrapped key: an entry serves one data key in one context.
// 3. An entry without a key says that its topic was shredded: the old KEK does not open it either.
// 4. At most `rewrappedMax` entries (24 MiB), of 65,535 topics. Lookups search the bytes themselves: nothing is built per entry.
// Leaves out: files and who changes them (rewrap-edits.ts), what an entry may be used for (keyring-provider.ts).
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { derive } from '../../crypto/aes-gcm.ts'
import { unreadable } from '../../crypto/key-file-fields.ts'
import type { KeyContext } from '../../ports/key-provider.ts'
import { TrunklineError } from '../../protocol/errors.ts'
import { idToBytes, type TopicId, topicIdFromBytes } from '../../protocol/ids.ts'
import { type KeyringContent, kekIdPattern, wrappedSize } from './keyring-content.ts'

export interface WrappedBy {
  readonly kekId: string
  readonly wrapped: Uint8Array
}

export interface RewrappedKey {
  /** 64 hex digits. */
  readonly fingerprint: string
  readonly topicId: TopicId
  readonly tenant: string
  /** The KEK that the blocks name. */
  readonly from: string
  /** Undefined: invariant 3. */
  readonly now: WrappedBy | undefined
}

export const rewrappedMax = 250_000
export const rewrappedTopicsMax = 0xffff
const noKek = 0xffff
const magic = 'TLR'
const version = 1
const fixedSize = 26
const topicIdSize = 16
const fingerprintSize = 32
const entrySize = fingerprintSize + 6 + wrappedSize
const macSize = 32
const namesMax = 4 * 1024 * 1024
export const rewrappedBytesMax = rewrappedMax * entrySize + namesMax
const noSalt = new Uint8Array(0)
const noWrapped = new Uint8Array(wrappedSize)

/** SHA-256("tl1 rewrap" │ KEK id (size u8, ASCII) │ topic id 16 │ tenant (size u8, UTF-8) │ wrapped). */
export function fingerprintOf(kekId: string, wrapped: Uint8Array, { topicId, tenant }: KeyContext): Uint8Array {
  return createHash('sha256')
    .update('tl1 rewrap')
    .update(sized(kekId))
    .update(idToBytes(topicId))
    .update(sized(tenant))
    .update(wrapped)
    .digest()
}

/** What a process looks up, as it was read; or nothing. */
export class RewrappedKeys {
  readonly ringId: string
  readonly revision: number
  /** Undefined: there is no file yet. */
  readonly sealedBy: string | undefined
  readonly count: number
  readonly #bytes: Buffer
  readonly #at: number
  readonly #keks: readonly string[]
  readonly #topics: readonly KeyContext[]

  private constructor(bytes: Buffer, ringId: string, head?: Head) {
    this.#bytes = bytes
    this.ringId = ringId
    this.revision = head?.revision ?? 0
    this.sealedBy = head?.sealedBy
    this.count = head?.count ?? 0
    this.#at = head?.at ?? 0
    this.#keks = head?.keks ?? []
    this.#topics = head?.topics ?? []
  }

  static none(ringId: string): RewrappedKeys {
    return new RewrappedKeys(Buffer.alloc(0), ringId)
  }

  /** Takes the bytes over. Errors: KEYRING_UNREADABLE; KEYRING_WRONG for another ring's. */
  static parse(bytes: Buffer, ring: KeyringContent): RewrappedKeys {
    const head = headOf(bytes, ring)
    const keys = new RewrappedKeys(bytes, ring.ringId, head)
    for (let index = 0; index < keys.count; index += 1) keys.#check(index)
    return keys
  }

  /** Undefined: nothing is known of it. `now` as in RewrappedKey. */
  find(fingerprint: Uint8Array): { readonly now: WrappedBy | undefined } | undefined {
    let [from, to] = [0, this.count]
    while (from < to) {
      const middle = (from + to) >> 1
      const at = this.#at + middle * entrySize
      const order = this.#bytes.compare(fingerprint, 0, fingerprintSize, at, at + fingerprintSize)
      if (order === 0) return { now: this.#entry(middle).now }
      if (order < 0) from = middle + 1
      else to = middle
    }
    return undefined
  }

  *entries(): Generator<RewrappedKey> {
    for (let index = 0; index < this.count; index += 1) yield this.#entry(index)
  }

  #entry(index: number): RewrappedKey {
    const at = this.#at + index * entrySize
    const numbersAt = at + fingerprintSize
    const context = this.#topics[this.#bytes.readUInt16BE(numbersAt)]
    const from = this.#keks[this.#bytes.readUInt16BE(numbersAt + 2)]
    const toIndex = this.#bytes.readUInt16BE(numbersAt + 4)
    const kekId = this.#keks[toIndex]
    if (context === undefined || from === undefined || (kekId === undefined && toIndex !== noKek))
      throw unreadable('entries')
    const wrapped = Uint8Array.from(this.#bytes.subarray(numbersAt + 6, at + entrySize))
    return {
      fingerprint: this.#bytes.toString('hex', at, numbersAt),
      ...context,
      from,
      now: kekId === undefined ? undefined : { kekId, wrapped },
    }
  }

  /** Known names, rising fingerprints; without an object for each, since a process that serves does this. */
  #check(index: number): void {
    const at = this.#at + index * entrySize
    const numbersAt = at + fingerprintSize
    const bytes = this.#bytes
    const to = bytes.readUInt16BE(numbersAt + 4)
    if (bytes.readUInt16BE(numbersAt) >= this.#topics.length) throw unreadable('entries')
    if (bytes.readUInt16BE(numbersAt + 2) >= this.#keks.length) throw unreadable('entries')
    if (to >= this.#keks.length && to !== noKek) throw unreadable('entries')
    if (index > 0 && bytes.compare(bytes, at, numbersAt, at - entrySize, numbersAt - entrySize) >= 0)
      throw unreadable('entries')
  }
}

/** Sealed by the ring's current KEK. Whoever calls keeps invariant 4. */
export function rewrappedBytes(ring: KeyringContent, revision: number, entries: Iterable<RewrappedKey>): Uint8Array {
  const keks = new Map<string, number>()
  const topics = new Map<string, { readonly index: number; readonly bytes: Buffer }>()
  const sorted = [...entries].toSorted((one, other) => (one.fingerprint < other.fingerprint ? -1 : 1))
  const rows = Buffer.alloc(sorted.length * entrySize)
  for (const [index, { fingerprint, topicId, tenant, from, now }] of sorted.entries()) {
    const at = index * entrySize
    const numbersAt = at + fingerprintSize
    rows.write(fingerprint, at, 'hex')
    rows.writeUInt16BE(topicIndex(topics, { topicId, tenant }), numbersAt)
    rows.writeUInt16BE(kekIndex(keks, from), numbersAt + 2)
    rows.writeUInt16BE(now === undefined ? noKek : kekIndex(keks, now.kekId), numbersAt + 4)
    rows.set(now?.wrapped ?? noWrapped, numbersAt + 6)
  }
  const head = Buffer.alloc(fixedSize)
  head.write(magic, 'latin1')
  head.writeUInt8(version, 3)
  head.write(ring.ringId, 4, 'hex')
  head.writeUIntBE(revision, 20, 6)
  const body = Buffer.concat([
    head,
    sized(ring.current),
    number(2, keks.size),
    ...[...keks.keys()].map(sized),
    number(2, topics.size),
    ...[...topics.values()].map(({ bytes }) => bytes),
    number(4, sorted.length),
    rows,
  ])
  return Buffer.concat([body, macOf(ring, ring.current, body)])
}

interface Head {
  readonly revision: number
  readonly sealedBy: string
  readonly keks: readonly string[]
  readonly topics: readonly KeyContext[]
  readonly count: number
  /** Where the entries begin. */
  readonly at: number
}

function headOf(bytes: Buffer, ring: KeyringContent): Head {
  const bodySize = bytes.length - macSize
  const body = bytes.subarray(0, Math.max(0, bodySize))
  if (body.length < fixedSize || body.toString('latin1', 0, 3) !== magic) throw unreadable('not re-wrapped keys')
  if (body[3] !== version) throw unreadable('version')
  if (body.toString('hex', 4, 20) !== ring.ringId)
    throw new TrunklineError('KEYRING_WRONG', { details: { reason: 'another ring' } })
  const fields = new Reader(body, fixedSize)
  const sealedBy = fields.name()
  // Invariant 1.
  if (!timingSafeEqual(macOf(ring, sealedBy, body), bytes.subarray(bodySize))) throw unreadable('seal')
  const keks = Array.from({ length: fields.number(2) }, () => fields.name())
  if (keks.some((kekId) => !kekIdPattern.test(kekId))) throw unreadable('keks')
  const topics = Array.from(
    { length: fields.number(2) },
    (): KeyContext => ({ topicId: topicIdFromBytes(fields.bytes(topicIdSize)), tenant: fields.name() }),
  )
  const count = fields.number(4)
  if (count > rewrappedMax || body.length !== fields.at + count * entrySize) throw unreadable('entries')
  return { revision: body.readUIntBE(20, 6), sealedBy, keks, topics, count, at: fields.at }
}

/** HMAC-SHA256 under HKDF-SHA256(KEK, no salt, "tl1 rewrapped keys", 32). A KEK that may not wrap still proves its seal. */
function macOf(ring: KeyringContent, kekId: string, body: Uint8Array): Buffer {
  const state = ring.keks.find(({ id }) => id === kekId)?.state
  if (state === undefined || !('key' in state)) throw unreadable('sealed under a KEK that the keyring does not hold')
  const key = derive(state.key, noSalt, 'tl1 rewrapped keys', macSize)
  const mac = createHmac('sha256', key).update(body).digest()
  key.fill(0)
  return mac
}

function kekIndex(keks: Map<string, number>, kekId: string): number {
  const known = keks.get(kekId)
  if (known !== undefined) return known
  keks.set(kekId, keks.size)
  return keks.size - 1
}

function topicIndex(
  topics: Map<string, { readonly index: number; readonly bytes: Buffer }>,
  { topicId, tenant }: KeyContext,
): number {
  const name = topicId + tenant
  const known = topics.get(name)
  if (known !== undefined) return known.index
  const index = topics.size
  if (index >= rewrappedTopicsMax) throw new Error('whoever adds keeps to rewrappedTopicsMax')
  topics.set(name, { index, bytes: Buffer.concat([idToBytes(topicId), sized(tenant)]) })
  return index
}

function number(size: number, value: number): Buffer {
  const bytes = Buffer.alloc(size)
  bytes.writeUIntBE(value, 0, size)
  return bytes
}

/** Size u8, UTF-8. An Error for more than 255 bytes. */
function sized(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8')
  return Buffer.concat([number(1, bytes.length), bytes])
}

/** Errors: KEYRING_UNREADABLE behind the end. */
class Reader {
  readonly #bytes: Buffer
  at: number

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes
    this.at = at
  }

  bytes(size: number): Buffer {
    if (this.at + size > this.#bytes.length) throw unreadable('cut short')
    this.at += size
    return this.#bytes.subarray(this.at - size, this.at)
  }

  number(size: number): number {
    return this.bytes(size).readUIntBE(0, size)
  }

  name(): string {
    return this.bytes(this.number(1)).toString('utf8')
  }
}
