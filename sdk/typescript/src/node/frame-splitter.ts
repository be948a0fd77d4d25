// Owns: cutting a TCP stream into frames (u32 length, then the message), each copied out once.
// 1. A length of 0 or above the bound ends the stream: nothing is allocated for it.
// 2. A frame's bytes are its own: no other frame shares the memory.

export class FrameSplitter {
  readonly #bytesMax: number
  readonly #onFrame: (frame: Uint8Array) => boolean
  readonly #head = new Uint8Array(4)
  #headSize = 0
  #frame: Uint8Array | undefined
  #frameSize = 0
  #broken = false

  /** `onFrame` answers false when the frame makes no sense: the stream then ends. */
  constructor(bytesMax: number, onFrame: (frame: Uint8Array) => boolean) {
    this.#bytesMax = bytesMax
    this.#onFrame = onFrame
  }

  /** False when the stream is broken; nothing is delivered after that. */
  push(chunk: Uint8Array): boolean {
    let at = 0
    while (at < chunk.length && !this.#broken) {
      at = this.#frame === undefined ? this.#pushHead(chunk, at) : this.#pushBody(chunk, at, this.#frame)
    }
    return !this.#broken
  }

  #pushHead(chunk: Uint8Array, from: number): number {
    const taken = Math.min(4 - this.#headSize, chunk.length - from)
    this.#head.set(chunk.subarray(from, from + taken), this.#headSize)
    this.#headSize += taken
    if (this.#headSize === 4) {
      this.#headSize = 0
      const size = new DataView(this.#head.buffer).getUint32(0)
      if (size === 0 || size > this.#bytesMax) this.#broken = true
      else {
        this.#frame = new Uint8Array(size)
        this.#frameSize = 0
      }
    }
    return from + taken
  }

  #pushBody(chunk: Uint8Array, from: number, frame: Uint8Array): number {
    const taken = Math.min(frame.length - this.#frameSize, chunk.length - from)
    frame.set(chunk.subarray(from, from + taken), this.#frameSize)
    this.#frameSize += taken
    if (this.#frameSize === frame.length) {
      this.#frame = undefined
      if (!this.#onFrame(frame)) this.#broken = true
    }
    return from + taken
  }
}
