// Owns: chunks of a TCP stream → frames (4-byte length, content).
// 1. Nothing is allocated by a declared length before its bytes are there: chunks wait in a list and are joined once.
// 2. A peer that sends byte by byte costs no more memory than one that does not: small chunks are merged, each once.
// 3. It holds at most one unfinished frame: frameBytesMax + one chunk. A longer frame is told, not read.
// 4. The small rest of a large chunk does not keep the chunk alive.
// Leaves out: what to do about any of it (tcp-connection.ts).

export type FrameRead =
  /** A view of the chunks when it lies in one, else a joined copy. */
  | { readonly kind: 'frame'; readonly content: Uint8Array }
  /** `frameBytes`: of the whole frame with its length; 0 while that is not known. */
  | { readonly kind: 'incomplete'; readonly frameBytes: number }
  /** The declared length is above the limit; `start` is what is there of the content. The stream is of no use any more. */
  | { readonly kind: 'oversize'; readonly declaredBytes: number; readonly start: Uint8Array }

const lengthSize = 4
/** How much of an oversize frame is of interest: its message header, to answer the right call. */
const startBytesMax = 256
/** Less is not worth a copy; Node's small buffers share a pool. */
const copyWorthBytes = 8 * 1024
/** So many chunks in a row are merged into one (invariant 2). */
const mergeChunks = 256

export class FrameReader {
  readonly #frameBytesMax: number
  #chunks: Uint8Array[] = []
  #size = 0
  #sinceMerge = 0

  constructor(frameBytesMax: number) {
    this.#frameBytesMax = frameBytesMax
  }

  /** Bytes that wait for the rest of their frame, or for `next`. */
  get pendingBytes(): number {
    return this.#size
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return
    this.#chunks.push(chunk)
    this.#size += chunk.length
    this.#sinceMerge += 1
    if (this.#sinceMerge < mergeChunks) return
    this.#sinceMerge = 0
    this.#chunks.push(Buffer.concat(this.#chunks.splice(-mergeChunks)))
  }

  next(): FrameRead {
    if (this.#size < lengthSize) return this.#incomplete(0)
    const declaredBytes = this.#declared()
    if (declaredBytes > this.#frameBytesMax) return { kind: 'oversize', declaredBytes, start: this.#startOfContent() }
    if (this.#size < lengthSize + declaredBytes) return this.#incomplete(lengthSize + declaredBytes)
    this.#take(lengthSize)
    return { kind: 'frame', content: this.#take(declaredBytes) }
  }

  /** Forgets everything. */
  clear(): void {
    this.#chunks = []
    this.#size = 0
  }

  #incomplete(frameBytes: number): FrameRead {
    const first = this.#chunks[0]
    // Invariant 4. It is copied once: what comes later are chunks of their own.
    if (first !== undefined && first.buffer.byteLength > 2 * first.length + copyWorthBytes)
      this.#chunks[0] = new Uint8Array(first)
    return { kind: 'incomplete', frameBytes }
  }

  #declared(): number {
    let value = 0
    let read = 0
    for (const chunk of this.#chunks) {
      for (let at = 0; at < chunk.length && read < lengthSize; at++, read++) value = value * 256 + (chunk[at] ?? 0)
      if (read === lengthSize) break
    }
    return value
  }

  #startOfContent(): Uint8Array {
    const joined = Buffer.concat(this.#chunks, Math.min(this.#size, lengthSize + startBytesMax))
    return joined.subarray(lengthSize)
  }

  #take(count: number): Uint8Array {
    this.#size -= count
    const first = this.#chunks[0]
    if (count === 0 || first === undefined) return new Uint8Array(0)
    if (first.length >= count) {
      if (first.length === count) this.#chunks.shift()
      else this.#chunks[0] = first.subarray(count)
      return first.subarray(0, count)
    }
    return this.#join(count)
  }

  #join(count: number): Uint8Array {
    const joined = Buffer.allocUnsafeSlow(count)
    let filled = 0
    let used = 0
    while (filled < count) {
      const chunk = this.#chunks[used]
      if (chunk === undefined) throw new Error('a frame is complete before it is joined')
      const part = Math.min(chunk.length, count - filled)
      joined.set(part === chunk.length ? chunk : chunk.subarray(0, part), filled)
      filled += part
      if (part < chunk.length) this.#chunks[used] = chunk.subarray(part)
      else used++
    }
    this.#chunks.splice(0, used)
    return joined
  }
}
