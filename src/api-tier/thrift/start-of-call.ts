// Owns: reading method and seqid from the first bytes of a call that is too long to be read whole.
import { isMethodName } from '../../protocol/thrift/schemas.ts'

export type StartOfCall =
  | { readonly kind: 'call'; readonly method: string; readonly seqid: number }
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'garbage' }

const callWord = 0x80010001
const methodBytesMax = 64

export function startOfCall(bytes: Uint8Array): StartOfCall {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 8) return { kind: 'incomplete' }
  const nameSize = view.getInt32(4)
  if (view.getUint32(0) !== callWord || nameSize < 1 || nameSize > methodBytesMax) return { kind: 'garbage' }
  if (bytes.length < 12 + nameSize) return { kind: 'incomplete' }
  const method = Buffer.from(bytes.buffer, bytes.byteOffset + 8, nameSize).toString('latin1')
  return isMethodName(method) ? { kind: 'call', method, seqid: view.getInt32(8 + nameSize) } : { kind: 'garbage' }
}
