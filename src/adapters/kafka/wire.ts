// Owns: Kafka's primitive types on the wire: a reader that trusts no length, a writer that grows.
// 1. Whatever does not fit into what is there is a WireError, never a short read or a huge allocation.
// 2. 64-bit numbers become JavaScript numbers: offsets and times stay far below 2^53, and what does not is a WireError.
// Leaves out: which fields a message has (api-*.ts).

export class WireError extends Error {
  constructor(what: string) {
    super(`malformed answer: ${what}`)
    this.name = 'WireError'
  }
}

const two32 = 2 ** 32

export class WireReader {
  readonly #buffer: Buffer
  #at = 0

  constructor(buffer: Buffer) {
    this.#buffer = buffer
  }

  get left(): number {
    return this.#buffer.length - this.#at
  }

  int8(): number {
    return this.#buffer.readInt8(this.#take(1))
  }

  boolean(): boolean {
    return this.int8() !== 0
  }

  int16(): number {
    return this.#buffer.readInt16BE(this.#take(2))
  }

  int32(): number {
    return this.#buffer.readInt32BE(this.#take(4))
  }

  int64(): number {
    const at = this.#take(8)
    const value = this.#buffer.readInt32BE(at) * two32 + this.#buffer.readUInt32BE(at + 4)
    if (!Number.isSafeInteger(value)) throw new WireError('a 64-bit number out of range')
    return value
  }

  /** At most 5 bytes, as every varint of 32 bits. */
  uvarint(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#buffer[this.#take(1)] ?? 0
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw new WireError('a number of too many bytes')
  }

  uuid(): string {
    const at = this.#take(16)
    return this.#buffer.toString('hex', at, at + 16)
  }

  string(): string {
    return this.nullableString() ?? fail('a missing string')
  }

  nullableString(): string | null {
    return this.#text(this.int16())
  }

  compactString(): string {
    return this.compactNullableString() ?? fail('a missing string')
  }

  compactNullableString(): string | null {
    return this.#text(this.uvarint() - 1)
  }

  /** A view of the answer, not a copy. */
  compactNullableBytes(): Buffer | null {
    const length = this.uvarint() - 1
    if (length < 0) return null
    const at = this.#take(length)
    return this.#buffer.subarray(at, at + length)
  }

  array<T>(item: () => T): T[] {
    return this.#items(this.int32(), item)
  }

  compactArray<T>(item: () => T): T[] {
    return this.#items(this.uvarint() - 1, item)
  }

  /** Fields of newer versions: skipped. */
  tags(): void {
    for (let count = this.uvarint(); count > 0; count--) {
      this.uvarint()
      this.#take(this.uvarint())
    }
  }

  /** A missing array (length −1) is an empty one. */
  #items<T>(count: number, item: () => T): T[] {
    // Every item takes a byte at least: a count above what is left is a lie, found before anything is allocated.
    if (count > this.left) throw new WireError('an array longer than the answer')
    const items: T[] = []
    for (let index = 0; index < count; index++) items.push(item())
    return items
  }

  #text(length: number): string | null {
    if (length < 0) return null
    const at = this.#take(length)
    return this.#buffer.toString('utf8', at, at + length)
  }

  #take(length: number): number {
    if (length < 0 || length > this.left) throw new WireError('a field longer than the answer')
    const at = this.#at
    this.#at += length
    return at
  }
}

function fail(what: string): never {
  throw new WireError(what)
}

/** Bytes from here on are handed to the socket as they are, without a copy. */
const copyBytesMax = 4 * 1024
const firstBytes = 512

export class WireWriter {
  #buffer = Buffer.allocUnsafe(firstBytes)
  #at = 0
  readonly #done: Buffer[] = []
  #doneBytes = 0

  get length(): number {
    return this.#doneBytes + this.#at
  }

  int8(value: number): this {
    const at = this.#room(1)
    this.#buffer.writeInt8(value, at)
    return this
  }

  boolean(value: boolean): this {
    return this.int8(value ? 1 : 0)
  }

  int16(value: number): this {
    const at = this.#room(2)
    this.#buffer.writeInt16BE(value, at)
    return this
  }

  int32(value: number): this {
    const at = this.#room(4)
    this.#buffer.writeInt32BE(value, at)
    return this
  }

  int64(value: number): this {
    const at = this.#room(8)
    this.#buffer.writeInt32BE(Math.floor(value / two32), at)
    this.#buffer.writeUInt32BE(((value % two32) + two32) % two32, at + 4)
    return this
  }

  uvarint(value: number): this {
    let left = value
    while (left > 0x7f) {
      this.#byte((left % 0x80) + 0x80)
      left = Math.floor(left / 0x80)
    }
    return this.#byte(left)
  }

  uuid(hex: string): this {
    const at = this.#room(16)
    if (this.#buffer.write(hex, at, 16, 'hex') !== 16) throw new Error('not a UUID')
    return this
  }

  string(text: string | null): this {
    if (text === null) return this.int16(-1)
    const length = Buffer.byteLength(text)
    this.int16(length)
    const at = this.#room(length)
    this.#buffer.write(text, at, length, 'utf8')
    return this
  }

  compactString(text: string | null): this {
    if (text === null) return this.uvarint(0)
    const length = Buffer.byteLength(text)
    this.uvarint(length + 1)
    const at = this.#room(length)
    this.#buffer.write(text, at, length, 'utf8')
    return this
  }

  compactBytes(bytes: Buffer): this {
    this.uvarint(bytes.length + 1)
    return this.raw(bytes)
  }

  array<T>(items: readonly T[], item: (one: T) => void): this {
    this.int32(items.length)
    for (const one of items) item(one)
    return this
  }

  compactArray<T>(items: readonly T[], item: (one: T) => void): this {
    this.uvarint(items.length + 1)
    for (const one of items) item(one)
    return this
  }

  noTags(): this {
    return this.uvarint(0)
  }

  raw(bytes: Buffer): this {
    if (bytes.length < copyBytesMax) {
      const at = this.#room(bytes.length)
      bytes.copy(this.#buffer, at)
      return this
    }
    this.#seal()
    this.#done.push(bytes)
    this.#doneBytes += bytes.length
    return this
  }

  /** What was written, in pieces. The writer is used up. */
  finish(): readonly Buffer[] {
    this.#seal()
    return this.#done
  }

  #seal(): void {
    if (this.#at === 0) return
    this.#done.push(this.#buffer.subarray(0, this.#at))
    this.#doneBytes += this.#at
    this.#buffer = Buffer.allocUnsafe(firstBytes)
    this.#at = 0
  }

  #byte(value: number): this {
    const at = this.#room(1)
    this.#buffer[at] = value
    return this
  }

  /** May replace the buffer: taken before the buffer is named. */
  #room(length: number): number {
    const at = this.#at
    if (at + length > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, at + length))
      this.#buffer.copy(larger, 0, 0, at)
      this.#buffer = larger
    }
    this.#at = at + length
    return at
  }
}
