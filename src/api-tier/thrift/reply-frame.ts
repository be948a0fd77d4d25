// Owns: a reply message around a reply struct that is encoded already: what a node answered goes to the client without
// being decoded and encoded again.
// Layout: strict binary message header (version word, name, seqid), result struct with field 0, stop.
import type { MethodName } from '../../protocol/messages.ts'
import { messageType } from '../../protocol/thrift/message.ts'
import { wireType } from '../../protocol/thrift/schema.ts'

const versionWord = (0x80010000 | messageType.reply) >>> 0

/** `reply`, in parts that follow each other, fits a frame: the node keeps within it, GatewayCalls checks what it changed. */
export function replyAround(method: MethodName, seqid: number, reply: readonly Uint8Array[]): Uint8Array {
  const nameSize = method.length
  let size = 4 + 4 + nameSize + 4 + 3 + 1
  for (const part of reply) size += part.length
  const frame = Buffer.allocUnsafe(size)
  frame.writeUInt32BE(versionWord, 0)
  frame.writeInt32BE(nameSize, 4)
  frame.write(method, 8, 'latin1')
  let at = 8 + nameSize
  frame.writeInt32BE(seqid, at)
  frame[at + 4] = wireType.struct
  frame[at + 5] = 0
  frame[at + 6] = 0
  at += 7
  for (const part of reply) {
    frame.set(part, at)
    at += part.length
  }
  frame[at] = wireType.stop
  return frame
}
