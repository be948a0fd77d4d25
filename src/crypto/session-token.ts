// Owns: session tokens (docs/formats.md "Session token"): who a session belongs to and where it lives, sealed so that
// any API node opens it without state, and the session's secret, derived from the token.
// 1. A token has a salt of its own, so its subkey seals once and the nonce may be constant.
// 2. Forged, truncated, foreign and old tokens are one error, BAD_SESSION_TOKEN, without details.
// 3. The token fixes the algorithm of the session's MACs, and the secret of one algorithm is not that of another.
// 4. ≤ 384 bytes for every topic and incarnation when the session id has at most 22 characters.
// Leaves out: expiry, which the session's node knows; whether the principal may use it (the API tier).
import { createHash } from 'node:crypto'
import type { Random } from '../ports/random.ts'
import { TrunklineError } from '../protocol/errors.ts'
import {
  type Incarnation,
  idToBytes,
  type ProducerId,
  parseIncarnation,
  parseSessionId,
  parseTopicName,
  producerIdFromBytes,
  type SessionId,
  type TopicId,
  type TopicName,
  topicIdFromBytes,
} from '../protocol/ids.ts'
import { sessionTokenBytesMax } from '../protocol/limits.ts'
import { labelFor, type MacAlgorithm, macAlgorithm } from '../protocol/mac-algorithm.ts'
import { type Mode, mode } from '../protocol/messages.ts'
import { decrypt, encryptInto, keySize, nonceSize, tagSize } from './aes-gcm.ts'
import { base65Size, decodeBase65, encodeBase65 } from './base-65.ts'
import { type GatewayKeys, gatewayKeyIdSize, saltSize } from './gateway-keys.ts'

export interface SessionTokenContent {
  readonly sessionId: SessionId
  /** The node that holds the session: routing key, and what a successor fences. */
  readonly incarnation: Incarnation
  /** The log's number of the incarnation, 0 ≤ pid < 2^53. */
  readonly pid: number
  readonly topic: TopicName
  readonly topicId: TopicId
  readonly mode: Mode
  /** Of a write session. */
  readonly producerId?: ProducerId | undefined
  /** Default HMAC-SHA256. */
  readonly macAlgorithm?: MacAlgorithm | undefined
  /** 16 bytes of `principalHash`. */
  readonly principal: Uint8Array
  readonly packing: number
  readonly partitions: number
  readonly issuedAtMs: number
}

export const principalSize = 16
export const sessionSecretSize = 32

const version = 1
const headerSize = 1 + gatewayKeyIdSize + saltSize
const fixedSize = 1 + 1 + 2 + 6 + 7 + 16 + principalSize
const producerSize = 16
const modeBits = 0x03
const producerBit = 0x04
const md5Bit = 0x08
const nonce = new Uint8Array(nonceSize)
const sealLabel = 'tl1 session token'
const secretLabel = 'tl1 session secret'

/** Who opened a session, as 16 bytes: equal hashes mean an equal (subject, client, tenant). */
export function principalHash(subject: string, clientId: string | undefined, tenant: string): Uint8Array {
  const hash = createHash('sha256').update('tl1 principal')
  for (const part of [subject, clientId, tenant]) {
    const bytes = Buffer.from(part ?? '', 'utf8')
    const size = Buffer.alloc(4)
    size.writeUInt32BE(part === undefined ? 0xffff_ffff : bytes.length)
    hash.update(size).update(bytes)
  }
  return Uint8Array.from(hash.digest().subarray(0, principalSize))
}

/** A fresh token under the current key, ≤ 384 bytes (an Error above: the session id is too long for this node's id). */
export function sealSessionToken(keys: GatewayKeys, content: SessionTokenContent, random: Random): Uint8Array {
  const plain = encodeContent(content)
  const token = new Uint8Array(headerSize + plain.length + tagSize)
  if (token.length > sessionTokenBytesMax) throw new Error('session token above its limit: shorten the session id')
  const salt = random.bytes(saltSize)
  const keyId = keys.currentId
  token[0] = version
  token.set(Buffer.from(keyId, 'hex'), 1)
  token.set(salt, 1 + gatewayKeyIdSize)
  const subkey = subkeyOf(keys, keyId, salt, sealLabel, keySize)
  encryptInto(token, headerSize, subkey, nonce, token.subarray(0, headerSize), plain)
  subkey.fill(0)
  return token
}

/** Errors: BAD_SESSION_TOKEN. */
export function openSessionToken(keys: GatewayKeys, bytes: Uint8Array): SessionTokenContent {
  const { keyId, salt } = readHeader(bytes)
  const subkey = subkeyOf(keys, keyId, salt, sealLabel, keySize)
  const plain = decrypt(subkey, nonce, bytes.subarray(0, headerSize), bytes.subarray(headerSize))
  subkey.fill(0)
  if (plain === undefined) throw badToken()
  return decodeContent(plain)
}

/**
 * The 32-byte secret of the session that this token names; the same on every node. It does not check the token's seal,
 * nor that the algorithm is the token's: call openSessionToken too. Errors: BAD_SESSION_TOKEN.
 */
export function sessionSecret(
  keys: GatewayKeys,
  tokenBytes: Uint8Array,
  algorithm: MacAlgorithm = macAlgorithm.sha256,
): Uint8Array {
  const { keyId, salt } = readHeader(tokenBytes)
  return subkeyOf(keys, keyId, salt, labelFor(algorithm, secretLabel), sessionSecretSize)
}

function readHeader(bytes: Uint8Array): { readonly keyId: string; readonly salt: Uint8Array } {
  const sizeMin = headerSize + fixedSize + tagSize
  if (bytes.length < sizeMin || bytes.length > sessionTokenBytesMax || bytes[0] !== version) throw badToken()
  const keyId = Buffer.from(bytes.subarray(1, 1 + gatewayKeyIdSize)).toString('hex')
  return { keyId, salt: bytes.subarray(1 + gatewayKeyIdSize, headerSize) }
}

function subkeyOf(
  keys: GatewayKeys,
  keyId: string,
  salt: Uint8Array,
  label: `tl1 ${string}`,
  size: number,
): Uint8Array {
  const subkey = keys.subkey(keyId, salt, label, size)
  if (subkey === undefined) throw badToken()
  return subkey
}

// flags u8 │ packing u8 │ partitions u16 │ issuedAtMs u48 │ pid u56 │ topicId 16 │ principal 16 │ [producerId 16] │
// topic, incarnation, sessionId in base 65
function encodeContent(content: SessionTokenContent): Uint8Array {
  const names = [content.topic, content.incarnation, content.sessionId].map(encodeBase65)
  const namesAt = fixedSize + (content.producerId === undefined ? 0 : producerSize)
  const plain = Buffer.alloc(namesAt + names.reduce((size, name) => size + name.length, 0))
  if (content.principal.length !== principalSize) throw new Error('a principal has 16 bytes')
  plain[0] = content.mode | (content.producerId === undefined ? 0 : producerBit) | algorithmBits(content)
  plain.writeUInt8(content.packing, 1)
  plain.writeUInt16BE(content.partitions, 2)
  plain.writeUIntBE(content.issuedAtMs, 4, 6)
  writeUint56(plain, content.pid, 10)
  plain.set(idToBytes(content.topicId), 17)
  plain.set(content.principal, 33)
  if (content.producerId !== undefined) plain.set(idToBytes(content.producerId), fixedSize)
  let at = namesAt
  for (const name of names) {
    plain.set(name, at)
    at += name.length
  }
  return plain
}

function decodeContent(bytes: Uint8Array): SessionTokenContent {
  const plain = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const flags = plain.readUInt8(0)
  const modeFound = Object.values(mode).find((value) => value === (flags & modeBits))
  if (modeFound === undefined || (flags & ~(modeBits | producerBit | md5Bit)) !== 0) throw badToken()
  const withProducer = (flags & producerBit) !== 0
  const names = decodeNames(bytes, fixedSize + (withProducer ? producerSize : 0))
  return {
    ...names,
    pid: plain.readUInt8(10) * 2 ** 48 + plain.readUIntBE(11, 6),
    topicId: topicIdFromBytes(bytes.subarray(17, 33)),
    mode: modeFound,
    ...(withProducer ? { producerId: producerIdFromBytes(bytes.subarray(fixedSize, fixedSize + producerSize)) } : {}),
    ...((flags & md5Bit) !== 0 ? { macAlgorithm: macAlgorithm.md5 } : {}),
    principal: bytes.slice(33, 33 + principalSize),
    packing: plain.readUInt8(1),
    partitions: plain.readUInt16BE(2),
    issuedAtMs: plain.readUIntBE(4, 6),
  }
}

function algorithmBits({ macAlgorithm: algorithm = macAlgorithm.sha256 }: SessionTokenContent): number {
  switch (algorithm) {
    case macAlgorithm.sha256:
      return 0
    case macAlgorithm.md5:
      return md5Bit
  }
}

function decodeNames(
  bytes: Uint8Array,
  from: number,
): Pick<SessionTokenContent, 'topic' | 'incarnation' | 'sessionId'> {
  let at = from
  const next = (): string => {
    const characters = bytes[at]
    if (characters === undefined) throw badToken()
    const end = at + 1 + base65Size(characters)
    const text = end > bytes.length ? undefined : decodeBase65(characters, bytes.subarray(at + 1, end))
    if (text === undefined) throw badToken()
    at = end
    return text
  }
  try {
    const names = {
      topic: parseTopicName(next()),
      incarnation: parseIncarnation(next()),
      sessionId: parseSessionId(next()),
    }
    if (at !== bytes.length) throw badToken()
    return names
  } catch (error) {
    // The seal was ours, so this is a token of a build with other rules: as foreign as any other.
    throw error instanceof TrunklineError && error.name === 'BAD_SESSION_TOKEN' ? error : badToken()
  }
}

function writeUint56(target: Buffer, value: number, at: number): void {
  if (!Number.isSafeInteger(value) || value < 0) throw new Error('not a number below 2^53')
  target.writeUInt8(Math.floor(value / 2 ** 48), at)
  target.writeUIntBE(value % 2 ** 48, at + 1, 6)
}

function badToken(): TrunklineError {
  return new TrunklineError('BAD_SESSION_TOKEN')
}
