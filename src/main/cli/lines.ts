// Owns: bytes → lines, numbered from 1, with bounded memory.
// 1. A line longer than `bytesMax` is not kept: it comes without its bytes, and reading goes on behind it.
// 2. "\n" and "\r\n" end a line; a last line without an end counts; a UTF-8 byte order mark at the start is no content.

export interface Line {
  /** From 1. */
  readonly number: number
  /** Without the line end; undefined: longer than allowed. May be a view into what was read. */
  readonly bytes: Uint8Array | undefined
}

const lineFeed = 0x0a
const carriageReturn = 0x0d

/**
 * The lines that each chunk completes, as they come; a group may be empty. When `cut` is aborted by the end of the
 * input, the last line was cut off and does not count.
 */
export async function* lineGroups(
  input: AsyncIterable<Uint8Array>,
  bytesMax: number,
  cut?: AbortSignal,
): AsyncGenerator<readonly Line[], void, undefined> {
  const splitter = new LineSplitter(bytesMax)
  for await (const chunk of input) yield splitter.push(chunk)
  const last = splitter.end()
  if (last !== undefined && cut?.aborted !== true) yield [last]
}

class LineSplitter {
  readonly #bytesMax: number
  #number = 0
  /** The beginning of a line that has no end yet; empty once it is too long. */
  #parts: Uint8Array[] = []
  #size = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  push(chunk: Uint8Array): readonly Line[] {
    const lines: Line[] = []
    let from = 0
    for (let at = chunk.indexOf(lineFeed); at >= 0; at = chunk.indexOf(lineFeed, from)) {
      this.#keep(chunk.subarray(from, at))
      lines.push(this.#take())
      from = at + 1
    }
    this.#keep(chunk.subarray(from))
    return lines
  }

  end(): Line | undefined {
    return this.#size === 0 ? undefined : this.#take()
  }

  #keep(part: Uint8Array): void {
    if (part.length === 0) return
    this.#size += part.length
    // One more for a carriage return that is no content.
    if (this.#size > this.#bytesMax + 1) this.#parts = []
    else this.#parts.push(part)
  }

  #take(): Line {
    const tooLong = this.#size > this.#bytesMax + 1
    const whole = this.#parts.length === 1 ? this.#parts[0] : Buffer.concat(this.#parts)
    this.#parts = []
    this.#size = 0
    this.#number += 1
    if (tooLong || whole === undefined) return { number: this.#number, bytes: undefined }
    const bytes = content(whole, this.#number === 1)
    return { number: this.#number, bytes: bytes.length > this.#bytesMax ? undefined : bytes }
  }
}

/** Invariant 2. */
function content(line: Uint8Array, isFirst: boolean): Uint8Array {
  const start = isFirst && line[0] === 0xef && line[1] === 0xbb && line[2] === 0xbf ? 3 : 0
  const end = line.at(-1) === carriageReturn ? line.length - 1 : line.length
  return line.subarray(start, Math.max(start, end))
}
