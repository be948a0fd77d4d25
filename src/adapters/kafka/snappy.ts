// Owns: reading Snappy: one block, or the framing that Java clients put around blocks.
// Throws RangeError on anything that is not.
import { Output } from './output.ts'

const framed = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
const frameHeadSize = 16

export function readSnappy(bytes: Buffer, bytesMax: number): Buffer {
  if (!bytes.subarray(0, framed.length).equals(framed)) {
    const output = new Output(bytesMax, 0)
    readBlock(bytes, output)
    return output.finish()
  }
  const output = new Output(bytesMax, 0)
  for (let at = frameHeadSize; at < bytes.length; ) {
    const size = bytes.readInt32BE(at)
    const end = at + 4 + size
    if (size < 0 || end > bytes.length) throw new RangeError('a block longer than what is there')
    readBlock(bytes.subarray(at + 4, end), output)
    at = end
  }
  return output.finish()
}

function readBlock(bytes: Buffer, output: Output): void {
  let at = 0
  const next = (): number => {
    const byte = bytes[at++]
    if (byte === undefined) throw new RangeError('a block that is cut off')
    return byte
  }
  // How long it is when opened: what is written says so, too.
  while (next() >= 0x80) if (at > 5) throw new RangeError('a number of too many bytes')
  const little = (count: number): number => {
    let value = 0
    for (let index = 0; index < count; index++) value += next() * 2 ** (8 * index)
    return value
  }
  while (at < bytes.length) {
    const tag = next()
    switch (tag & 0b11) {
      case 0: {
        const short = tag >> 2
        const length = (short < 60 ? short : little(short - 59)) + 1
        if (length > bytes.length - at) throw new RangeError('a literal longer than its block')
        output.literal(bytes.subarray(at, at + length))
        at += length
        break
      }
      case 1: {
        const length = ((tag >> 2) & 0b111) + 4
        output.repeat(((tag >> 5) << 8) + next(), length)
        break
      }
      case 2:
        output.repeat(little(2), (tag >> 2) + 1)
        break
      default:
        output.repeat(little(4), (tag >> 2) + 1)
    }
  }
}
