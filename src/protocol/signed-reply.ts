// Owns: the MAC put into a reply that is encoded already: what a node encoded is signed without being encoded again.
// 1. The parts, one after the other, are byte for byte what encoding the reply with its MAC gives.
// 2. For that the reply has to be as our own encoder writes it (decodeCanonical): the place is found by the lengths of
//    what stands before it.
// Leaves out: what the MAC covers (signed-bytes.ts), whether an answer is signed (api-tier/session-proofs.ts).
import type { Turn } from './messages.ts'
import { wireType } from './thrift/schema.ts'

const fieldHeaderSize = 3
const lengthSize = 4
/** Field 1 of a reply is its turn: nextSeq i64 │ challenge, of no bytes │ leaseMs i32. Then comes the MAC. */
const macAtMin = fieldHeaderSize + (fieldHeaderSize + 8) + (fieldHeaderSize + lengthSize) + (fieldHeaderSize + 4)
const macId = 4

/** `encoded`: the bytes of a reply with this turn, which has no MAC. */
export function partsWithMac(encoded: Uint8Array, turn: Turn, mac: Uint8Array): readonly Uint8Array[] {
  const at = macAtMin + turn.challenge.length
  return [encoded.subarray(0, at), macField(mac), encoded.subarray(at)]
}

/** type │ id i16 │ lp(mac) */
function macField(mac: Uint8Array): Uint8Array {
  const field = new Uint8Array(fieldHeaderSize + lengthSize + mac.length)
  field[0] = wireType.string
  field[2] = macId
  field[fieldHeaderSize + lengthSize - 1] = mac.length
  field.set(mac, fieldHeaderSize + lengthSize)
  return field
}
