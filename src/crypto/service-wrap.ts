// Owns: how a key that a service wrapped stands in a block: with a check over it, its KEK and its context.
// 1. What is damaged, or stands in another topic, is found here and costs no call: a service often answers damage as a
//    denial, and a damaged block must not look like a key that is away.
// 2. The check is no seal: who forges it is refused by the service, which binds the context itself.
import { createHash } from 'node:crypto'
import type { KeyContext } from '../ports/key-provider.ts'
import { TrunklineError } from '../protocol/errors.ts'
import { idToBytes } from '../protocol/ids.ts'

const version = 1
const checkSize = 8
const headSize = 1 + checkSize
const wrappedSizeMax = 512

/** 1 │ check 8 │ what the service answered. Errors: KEY_UNAVAILABLE when that does not fit into a block. */
export function encodeServiceWrap(kekId: string, cipherText: Uint8Array, context: KeyContext): Uint8Array {
  if (cipherText.length === 0 || headSize + cipherText.length > wrappedSizeMax)
    throw new TrunklineError('KEY_UNAVAILABLE', { details: { reason: 'the service wraps too large' } })
  const wrapped = new Uint8Array(headSize + cipherText.length)
  wrapped[0] = version
  wrapped.set(checkOf(kekId, cipherText, context), 1)
  wrapped.set(cipherText, headSize)
  return wrapped
}

/** A copy of what the service answered. Errors: BLOCK_DAMAGED. */
export function decodeServiceWrap(kekId: string, wrapped: Uint8Array, context: KeyContext): Uint8Array {
  if (wrapped.length <= headSize || wrapped[0] !== version) throw new TrunklineError('BLOCK_DAMAGED')
  const cipherText = Uint8Array.from(wrapped.subarray(headSize))
  if (!checkOf(kekId, cipherText, context).equals(wrapped.subarray(1, headSize)))
    throw new TrunklineError('BLOCK_DAMAGED')
  return cipherText
}

/** First 8 bytes of SHA-256("tl1 service wrap" │ KEK id (size u8, ASCII) │ topic id 16 │ tenant (size u16, UTF-8) │ cipher text). */
function checkOf(kekId: string, cipherText: Uint8Array, { topicId, tenant }: KeyContext): Buffer {
  const tenantBytes = Buffer.from(tenant, 'utf8')
  const tenantSize = Buffer.alloc(2)
  tenantSize.writeUInt16BE(tenantBytes.length)
  return createHash('sha256')
    .update('tl1 service wrap')
    .update(Uint8Array.of(kekId.length))
    .update(kekId, 'latin1')
    .update(idToBytes(topicId))
    .update(tenantSize)
    .update(tenantBytes)
    .update(cipherText)
    .digest()
    .subarray(0, checkSize)
}
