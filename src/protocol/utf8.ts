// Owns: strict UTF-8 both ways, fast for short ASCII, which names and ids mostly are.
// 1. Bytes that are not UTF-8 and text with lone surrogates are refused, never replaced; a byte order mark is text.

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()
/** Below this a loop beats the call into native code. */
const shortSize = 24
/** With the u flag this matches only surrogates that stand alone. */
const loneSurrogate = /\p{Surrogate}/u

/** The text of bytes[start, end), or undefined when they are not UTF-8. */
export function decodeUtf8(bytes: Uint8Array, start: number, end: number): string | undefined {
  if (end - start <= shortSize) {
    let text = ''
    let at = start
    for (; at < end; at += 1) {
      const byte = bytes[at]
      if (byte === undefined || byte > 0x7f) break
      text += String.fromCharCode(byte)
    }
    if (at === end) return text
  }
  try {
    return decoder.decode(bytes.subarray(start, end))
  } catch {
    // The only failure of a fatal decoder: what is left to tell is that it failed.
    return undefined
  }
}

/** Writes text at `at` and answers its bytes, or -1 when it is not well-formed. The target has room for 3 bytes a unit. */
export function encodeUtf8Into(text: string, target: Uint8Array, at: number): number {
  const size = text.length
  if (size <= shortSize) {
    let index = 0
    for (; index < size; index += 1) {
      const unit = text.charCodeAt(index)
      if (unit > 0x7f) break
      target[at + index] = unit
    }
    if (index === size) return size
  }
  if (loneSurrogate.test(text)) return -1
  return encoder.encodeInto(text, target.subarray(at)).written
}

/** Bytes of the text in UTF-8, or -1 when it is not well-formed. */
export function utf8Size(text: string): number {
  return loneSurrogate.test(text) ? -1 : Buffer.byteLength(text, 'utf8')
}
