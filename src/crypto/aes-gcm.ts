// Owns: the one cipher suite (AES-256-GCM, 96-bit nonce, 128-bit tag) and the one key derivation (HKDF-SHA-256).
// 1. A caller never passes the same (key, nonce) twice: who owns a key owns its nonces.
// 2. Nothing of a plain text is returned before its tag is checked.
// Leaves out: layouts, and where keys come from.
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto'

export const keySize = 32
export const nonceSize = 12
export const tagSize = 16

const cipherName = 'aes-256-gcm'
const options = { authTagLength: tagSize } as const

/** Writes cipher text and tag to `out` at `at`: `plain.length + tagSize` bytes. */
export function encryptInto(
  out: Uint8Array,
  at: number,
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  plain: Uint8Array,
): void {
  const cipher = createCipheriv(cipherName, key, nonce, options)
  cipher.setAAD(aad)
  const body = cipher.update(plain)
  cipher.final()
  out.set(body, at)
  out.set(cipher.getAuthTag(), at + body.length)
}

/** `sealed` is cipher text and tag. Undefined when the tag does not fit. */
export function decrypt(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  sealed: Uint8Array,
): Uint8Array | undefined {
  const size = sealed.length - tagSize
  if (size < 0) return undefined
  const decipher = createDecipheriv(cipherName, key, nonce, options)
  decipher.setAAD(aad)
  decipher.setAuthTag(sealed.subarray(size))
  const plain = decipher.update(sealed.subarray(0, size))
  try {
    decipher.final()
  } catch {
    // The only failure `final` has is a wrong tag; its text says nothing that a caller may know.
    plain.fill(0)
    return undefined
  }
  return asPlainArray(plain)
}

/** HKDF-SHA-256. Every label starts with "tl1". */
export function derive(secret: Uint8Array, salt: Uint8Array, label: `tl1 ${string}`, size: number): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, salt, label, size))
}

/** Uninitialised and never from Buffer's shared pool; the caller writes every byte. */
export function rawBytes(size: number): Uint8Array {
  return asPlainArray(Buffer.allocUnsafeSlow(size))
}

/** The same memory as a Uint8Array proper: Buffer's `slice` shares memory where Uint8Array's copies. */
export function asPlainArray(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length)
}

/** The same memory as a Buffer, for its text and hex writers. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}
