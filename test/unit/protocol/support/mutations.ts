// Owns: random edits of encoded bytes.

const interestingBytes = [0, 1, 2, 8, 10, 11, 12, 13, 15, 0x7f, 0x80, 0xff]

export interface Mutations {
  readonly below: (limit: number) => number
  readonly pick: <T>(items: readonly T[]) => T
  readonly mutated: (frame: Uint8Array) => Uint8Array
}

export function mutations(below: (limit: number) => number): Mutations {
  function pick<T>(items: readonly T[]): T {
    const item = items[below(items.length)]
    if (item === undefined) throw new Error('nothing to pick from')
    return item
  }

  /** One to six edits: bits, bytes, lengths, cuts, copies, insertions. */
  function mutated(frame: Uint8Array): Uint8Array {
    let bytes = Array.from(frame)
    for (let edits = 1 + below(6); edits > 0; edits -= 1) {
      const at = below(bytes.length + 1)
      switch (below(7)) {
        case 0:
          bytes[at] = (bytes[at] ?? 0) ^ (1 << below(8))
          break
        case 1:
          bytes[at] = pick(interestingBytes)
          break
        case 2:
          bytes = bytes.slice(0, at)
          break
        case 3:
          bytes.splice(at, 0, ...bytes.slice(at, at + below(40)))
          break
        case 4:
          bytes.splice(at, below(12))
          break
        case 5:
          bytes.splice(
            at,
            4,
            ...pick([
              [0x7f, 0xff, 0xff, 0xff],
              [0xff, 0xff, 0xff, 0xff],
              [0, 1, 0, 0],
              [0, 0, 0, below(64)],
            ]),
          )
          break
        default:
          bytes.splice(at, 0, pick(interestingBytes))
      }
    }
    return Uint8Array.from(bytes)
  }

  return { below, pick, mutated }
}
