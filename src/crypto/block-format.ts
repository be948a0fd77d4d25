// Owns: the bytes of a sealed block (docs/formats.md "Sealed block"), without any cryptography but the key commitment.
// Layout, big-endian:
//   magic "TLB" │ version u8 = 1 │ suite u8 = 1
//   kekId size u8, ASCII │ wrapped size u16, bytes │ commitment 16 │ topicId 16
//   count u16 │ packing u8 │ encoding u8 │ rawSize u32 │ nonce 12
//   cipher text │ tag 16
// AAD: everything before the cipher text │ partition u32 │ producerId 16 │ n u64 │ part u16
// Leaves out: keys (block-sealer, block-opener), what is packed inside (src/protocol).

import type { DataKey } from '../ports/key-provider.ts'
import { TrunklineError } from '../protocol/errors.ts'
import { type ProducerId, type TopicId, topicIdFromBytes } from '../protocol/ids.ts'
import { asBuffer, derive, nonceSize, rawBytes, tagSize } from './aes-gcm.ts'

/** Where a block stands: its topic's own id and the numbers of its record header. Bound by the seal. */
export interface BlockPlace {
  readonly topicId: TopicId
  readonly partition: number
  readonly producerId: ProducerId
  readonly n: number
  readonly part: number
}

/** With the tenant that the topic's data keys are wrapped for. */
export interface OwnedPlace extends BlockPlace {
  /** Default: the sealer's or opener's own. */
  readonly tenant?: string | undefined
}

export interface BlockShape {
  readonly count: number
  readonly packing: number
  readonly encoding: number
  readonly rawSize: number
}

/** What anyone can read of a sealed block; nothing of it is checked before the block is opened. */
export interface SealedHeader extends BlockShape {
  readonly version: number
  readonly suite: number
  readonly kekId: string
  readonly wrapped: Uint8Array
  readonly commitment: Uint8Array
  readonly topicId: TopicId
  readonly nonce: Uint8Array
  readonly headerSize: number
  /** Size of the cipher text without the tag, which is that of the plain text. */
  readonly dataSize: number
}

/** Offsets into a sealed block whose frame is sound. */
export interface SealedFrame {
  readonly wrappedAt: number
  readonly commitmentAt: number
  readonly topicIdAt: number
  readonly shapeAt: number
  readonly nonceAt: number
  readonly dataAt: number
}

export const commitmentSize = 16

const magic = [0x54, 0x4c, 0x42] as const
const version = 1
const suiteAes256Gcm = 1
const kekIdAt = 6
const kekIdSizeMax = 64
const kekIdPattern = /^[\x21-\x7e]{1,64}$/
const wrappedSizeMax = 512
const topicIdSize = 16
const shapeSize = 8
const placeSize = 30
const noSalt = new Uint8Array(0)

/** Proves which key a block was sealed with, which a GCM tag alone does not. */
export function commitmentOf(dataKey: Uint8Array): Uint8Array {
  return derive(dataKey, noSalt, 'tl1 commit', commitmentSize)
}

/** Everything of a block before its shape: the same for all blocks of one data key. An Error when the key's parts are too long. */
export function encodeKeyReference(key: DataKey, topicId: TopicId): Uint8Array {
  const kekId = Buffer.from(key.kekId, 'latin1')
  if (!kekIdPattern.test(key.kekId)) throw new Error('a KEK id has 1 to 64 characters of ASCII')
  if (key.wrapped.length === 0 || key.wrapped.length > wrappedSizeMax)
    throw new Error('a wrapped key has 1 to 512 bytes')
  const wrappedSize = Buffer.alloc(2)
  wrappedSize.writeUInt16BE(key.wrapped.length)
  return Buffer.concat([
    Uint8Array.from([...magic, version, suiteAes256Gcm, kekId.length]),
    kekId,
    wrappedSize,
    key.wrapped,
    commitmentOf(key.plaintext),
    Buffer.from(topicId, 'hex'),
  ])
}

/** Size of everything before the cipher text. */
export function headerSizeOf(keyReference: Uint8Array): number {
  return keyReference.length + shapeSize + nonceSize
}

/** Header and place. The first `headerSizeOf` bytes are the block's header. An Error for a number outside its field. */
export function encodeAad(
  keyReference: Uint8Array,
  shape: BlockShape,
  nonce: Uint8Array,
  place: BlockPlace,
): Uint8Array {
  const aad = Buffer.allocUnsafe(headerSizeOf(keyReference) + placeSize)
  aad.set(keyReference)
  let at = keyReference.length
  at = aad.writeUInt16BE(shape.count, at)
  at = aad.writeUInt8(shape.packing, at)
  at = aad.writeUInt8(shape.encoding, at)
  at = aad.writeUInt32BE(shape.rawSize, at)
  aad.set(nonce, at)
  writePlace(aad, at + nonceSize, place)
  return aad
}

/** The AAD of a block that was read. */
export function aadOfSealed(sealed: Uint8Array, frame: SealedFrame, place: BlockPlace): Uint8Array {
  const aad = Buffer.allocUnsafe(frame.dataAt + placeSize)
  aad.set(sealed.subarray(0, frame.dataAt))
  writePlace(aad, frame.dataAt, place)
  return aad
}

export function newSealedBlock(headerSize: number, dataSize: number): Uint8Array {
  return rawBytes(headerSize + dataSize + tagSize)
}

/** Undefined when these bytes cannot be a sealed block of this version. */
export function frameOf(sealed: Uint8Array): SealedFrame | undefined {
  if (sealed.length < kekIdAt) return undefined
  if (magic.some((byte, index) => sealed[index] !== byte)) return undefined
  if (sealed[3] !== version || sealed[4] !== suiteAes256Gcm) return undefined
  const kekIdSize = sealed[5] ?? 0
  const wrappedSizeAt = kekIdAt + kekIdSize
  if (kekIdSize === 0 || kekIdSize > kekIdSizeMax || sealed.length < wrappedSizeAt + 2) return undefined
  const wrappedAt = wrappedSizeAt + 2
  const wrappedSize = asBuffer(sealed).readUInt16BE(wrappedSizeAt)
  if (wrappedSize === 0 || wrappedSize > wrappedSizeMax) return undefined
  const commitmentAt = wrappedAt + wrappedSize
  if (!sealed.subarray(kekIdAt, wrappedSizeAt).every((byte) => byte >= 0x21 && byte <= 0x7e)) return undefined
  const topicIdAt = commitmentAt + commitmentSize
  const shapeAt = topicIdAt + topicIdSize
  const nonceAt = shapeAt + shapeSize
  const dataAt = nonceAt + nonceSize
  if (sealed.length < dataAt + tagSize) return undefined
  return { wrappedAt, commitmentAt, topicIdAt, shapeAt, nonceAt, dataAt }
}

export function kekIdOf(sealed: Uint8Array, frame: SealedFrame): string {
  return asBuffer(sealed).toString('latin1', kekIdAt, frame.wrappedAt - 2)
}

export function shapeOf(sealed: Uint8Array, frame: SealedFrame): BlockShape {
  const bytes = asBuffer(sealed)
  return {
    count: bytes.readUInt16BE(frame.shapeAt),
    packing: bytes.readUInt8(frame.shapeAt + 2),
    encoding: bytes.readUInt8(frame.shapeAt + 3),
    rawSize: bytes.readUInt32BE(frame.shapeAt + 4),
  }
}

/** Whether bytes begin as a sealed block does; more is not checked. */
export function looksSealed(bytes: Uint8Array): boolean {
  return magic.every((byte, index) => bytes[index] === byte)
}

/** For tools. Errors: BLOCK_DAMAGED when the frame is not sound; a sound frame may still hold a block that does not open. */
export function readSealedHeader(bytes: Uint8Array): SealedHeader {
  const frame = frameOf(bytes)
  if (frame === undefined) throw new TrunklineError('BLOCK_DAMAGED')
  return {
    version,
    suite: suiteAes256Gcm,
    kekId: kekIdOf(bytes, frame),
    wrapped: copyOf(bytes, frame.wrappedAt, frame.commitmentAt),
    commitment: copyOf(bytes, frame.commitmentAt, frame.topicIdAt),
    topicId: topicIdFromBytes(bytes.subarray(frame.topicIdAt, frame.shapeAt)),
    ...shapeOf(bytes, frame),
    nonce: copyOf(bytes, frame.nonceAt, frame.dataAt),
    headerSize: frame.dataAt,
    dataSize: bytes.length - frame.dataAt - tagSize,
  }
}

/** Always a copy, also of a Buffer. */
export function copyOf(bytes: Uint8Array, from: number, to: number): Uint8Array {
  return Uint8Array.from(bytes.subarray(from, to))
}

function writePlace(target: Buffer, from: number, place: BlockPlace): void {
  let at = target.writeUInt32BE(place.partition, from)
  if (target.write(place.producerId, at, 16, 'hex') !== 16) throw new Error('not a producer id')
  at += 16
  at = target.writeBigUInt64BE(BigInt(place.n), at)
  target.writeUInt16BE(place.part, at)
}
