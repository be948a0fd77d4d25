// Owns: the buffer that signed bytes are written into, with the room in front that their MAC needs (hmac.ts).
// 1. What is written stays until the next `begin`; nothing of it is handed out but copies and MACs.
// 2. It grows to the largest message and is given back above `scratchBytesKept`.
// Leaves out: what is written (signed-bytes.ts).
import { hash } from 'node:crypto'
import { hmac, keyRoom } from './hmac.ts'
import type { MacAlgorithm } from './mac-algorithm.ts'

const sha256Size = 32
const twoTo32 = 2 ** 32
const scratchBytesStart = 16 * 1024
/** A scratch buffer that grew beyond this is given back at the next message. */
const scratchBytesKept = 512 * 1024

export class SignedScratch {
  private buffer = Buffer.allocUnsafeSlow(scratchBytesStart)
  private at = keyRoom

  begin(opening: Uint8Array): void {
    this.at = keyRoom
    if (this.buffer.length > scratchBytesKept) this.buffer = Buffer.allocUnsafeSlow(scratchBytesStart)
    this.bytes(opening)
  }

  /** What was written since `begin`, in memory of its own. */
  copied(): Uint8Array {
    return new Uint8Array(this.buffer.subarray(keyRoom, this.at))
  }

  /** Of what was written since `begin`. */
  mac(algorithm: MacAlgorithm | undefined, key: Uint8Array): Uint8Array {
    return hmac(algorithm, key, this.buffer.subarray(0, this.at))
  }

  /** Room for a length, which `close` fills in. */
  open(): number {
    this.reserve(4)
    this.at += 4
    return this.at
  }

  close(mark: number): void {
    this.buffer.writeUInt32BE(this.at - mark, mark - 4)
  }

  prefixed(bytes: Uint8Array): void {
    this.i32(bytes.length)
    this.bytes(bytes)
  }

  /** lp(SHA-256 of the bytes) */
  prefixedSha256(bytes: Uint8Array): void {
    this.i32(sha256Size)
    this.reserve(sha256Size)
    this.at += this.buffer.write(hash('sha256', bytes, 'binary'), this.at, 'latin1')
  }

  byte(value: number): void {
    this.reserve(1)
    this.buffer[this.at++] = value
  }

  u16(value: number): void {
    this.reserve(2)
    this.at = this.buffer.writeUInt16BE(value, this.at)
  }

  i32(value: number): void {
    this.reserve(4)
    this.at = this.buffer.writeInt32BE(value, this.at)
  }

  i64(value: number): void {
    this.reserve(8)
    const high = Math.floor(value / twoTo32)
    this.buffer.writeInt32BE(high, this.at)
    this.at = this.buffer.writeUInt32BE(value - high * twoTo32, this.at + 4)
  }

  text(value: string): void {
    // A UTF-16 unit takes at most 3 bytes.
    this.reserve(value.length * 3)
    this.at += this.buffer.write(value, this.at, 'utf8')
  }

  bytes(value: Uint8Array): void {
    this.reserve(value.length)
    this.buffer.set(value, this.at)
    this.at += value.length
  }

  private reserve(bytes: number): void {
    if (this.at + bytes <= this.buffer.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(2 * this.buffer.length, this.at + bytes))
    grown.set(this.buffer.subarray(0, this.at))
    this.buffer = grown
  }
}
