// Owns: HMAC (RFC 2104) by one-shot hashes only: createHmac and Buffer digests make native
// objects for each call, whose collection costs more than the hashing.
// 1. The message stands behind `keyRoom` bytes that are the key's: nothing is copied to be hashed.
// 2. Digests travel as 'binary' (latin1) text, one character a byte: short text is a plain object of the heap.
// Leaves out: what is signed (signed-bytes.ts, signed-http.ts), comparing MACs (signed-bytes.ts `sameMac`).
import { hash } from 'node:crypto'
import { digestOf, type MacAlgorithm, macAlgorithm } from './mac-algorithm.ts'

/** The block size of the hashes. */
export const keyRoom = 64

const innerPad = 0x36
const outerPad = 0x5c
const sizeMax = 32
const outer = Buffer.alloc(keyRoom + sizeMax)

/**
 * MAC of what stands in `message` from `keyRoom` on; what stands before is written over. `key`: at most `keyRoom` bytes.
 * 32 bytes by HMAC-SHA256, the default, 16 by HMAC-MD5.
 */
export function hmac(algorithm: MacAlgorithm | undefined, key: Uint8Array, message: Buffer): Uint8Array {
  if (key.length > keyRoom || message.length < keyRoom) throw new Error('a key has to fit its room')
  writeKey(message, key, innerPad)
  const { name, size } = digestOf(algorithm ?? macAlgorithm.sha256)
  const inner = hash(name, message, 'binary')
  writeKey(outer, key, outerPad)
  outer.write(inner, keyRoom, 'latin1')
  return bytesOf(hash(name, outer.subarray(0, keyRoom + size), 'binary'))
}

function writeKey(target: Buffer, key: Uint8Array, pad: number): void {
  for (let at = 0; at < key.length; at++) target[at] = (key[at] ?? 0) ^ pad
  for (let at = key.length; at < keyRoom; at++) target[at] = pad
}

function bytesOf(latin1: string): Uint8Array {
  const bytes = new Uint8Array(latin1.length)
  for (let at = 0; at < bytes.length; at++) bytes[at] = latin1.charCodeAt(at)
  return bytes
}
