// Owns: bytes that a decompressor writes: growing, bounded, copying from what it has written before.
// 1. Above `bytesMax`, or reaching back before its beginning, is a RangeError.

export class Output {
  readonly #bytesMax: number
  #buffer: Buffer
  #at = 0

  constructor(bytesMax: number, expectedBytes: number) {
    this.#bytesMax = bytesMax
    if (expectedBytes > bytesMax) throw new RangeError('too much to decompress')
    this.#buffer = Buffer.allocUnsafe(Math.max(64, expectedBytes))
  }

  literal(bytes: Buffer): void {
    const at = this.#room(bytes.length)
    bytes.copy(this.#buffer, at)
  }

  /** `length` bytes from `distance` before the end; they may overlap what is being written. */
  repeat(distance: number, length: number): void {
    if (distance < 1 || distance > this.#at) throw new RangeError('a reference to nothing')
    const at = this.#room(length)
    const buffer = this.#buffer
    if (distance >= length) buffer.copyWithin(at, at - distance, at - distance + length)
    else for (let index = 0; index < length; index++) buffer[at + index] = buffer[at + index - distance] ?? 0
  }

  finish(): Buffer {
    return this.#buffer.subarray(0, this.#at)
  }

  #room(length: number): number {
    const at = this.#at
    const end = at + length
    if (end > this.#bytesMax) throw new RangeError('too much to decompress')
    if (end > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.min(this.#bytesMax, Math.max(end, this.#buffer.length * 2)))
      this.#buffer.copy(larger, 0, 0, at)
      this.#buffer = larger
    }
    this.#at = end
    return at
  }
}
