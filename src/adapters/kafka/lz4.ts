// Owns: reading the LZ4 frame format. Its own checksums are not looked at: the batch around it has one.
// Throws RangeError on anything that is not.
import { Output } from './output.ts'

const magic = 0x184d2204
const hasDictionary = 0b1
const hasContentChecksum = 0b100
const hasContentSize = 0b1000
const hasBlockChecksums = 0b1_0000
const storedBit = 0x8000_0000
const minMatch = 4

export function readLz4(bytes: Buffer, bytesMax: number): Buffer {
  if (bytes.length < 7 || bytes.readUInt32LE(0) !== magic) throw new RangeError('no LZ4 frame')
  const flags = bytes.readUInt8(4)
  if ((flags & hasDictionary) !== 0) throw new RangeError('an LZ4 dictionary')
  const output = new Output(bytesMax, 0)
  let at = 7 + ((flags & hasContentSize) === 0 ? 0 : 8)
  for (;;) {
    const word = bytes.readUInt32LE(at)
    at += 4
    if (word === 0) break
    const size = word % storedBit
    if (size > bytes.length - at) throw new RangeError('a block longer than what is there')
    const block = bytes.subarray(at, at + size)
    if (word >= storedBit) output.literal(block)
    else readBlock(block, output)
    at += size + ((flags & hasBlockChecksums) === 0 ? 0 : 4)
  }
  if ((flags & hasContentChecksum) !== 0) at += 4
  if (at > bytes.length) throw new RangeError('a frame that is cut off')
  return output.finish()
}

function readBlock(bytes: Buffer, output: Output): void {
  let at = 0
  const next = (): number => {
    const byte = bytes[at++]
    if (byte === undefined) throw new RangeError('a block that is cut off')
    return byte
  }
  const length = (nibble: number): number => {
    let value = nibble
    if (nibble === 15) {
      let more: number
      do {
        more = next()
        value += more
      } while (more === 255)
    }
    return value
  }
  while (at < bytes.length) {
    const token = next()
    const literals = length(token >> 4)
    if (literals > bytes.length - at) throw new RangeError('a literal longer than its block')
    output.literal(bytes.subarray(at, at + literals))
    at += literals
    // The last sequence of a block is literals alone.
    if (at === bytes.length) return
    const distance = next() + next() * 256
    output.repeat(distance, length(token & 15) + minMatch)
  }
}
