// Owns: writing names over the 65 characters [a-zA-Z0-9._-] as one big number: 249 characters take 188 bytes, which
// lets the longest topic name fit into a session token.
// Layout: count of characters u8 │ ceil(count × log2(65) / 8) bytes, the first character most significant.

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-'
const base = 65n
const digitOf = new Map(Array.from(alphabet, (character, digit) => [character, BigInt(digit)]))
const charactersMax = 255

/** Size of the number without the count. */
export function base65Size(characters: number): number {
  return Math.ceil((characters * Math.log2(65)) / 8)
}

/** Count and number. An Error for a character outside the alphabet or more than 255 of them. */
export function encodeBase65(text: string): Uint8Array {
  if (text.length > charactersMax) throw new Error('too long for base 65')
  let value = 0n
  for (const character of text) {
    const digit = digitOf.get(character)
    if (digit === undefined) throw new Error('not a base 65 text')
    value = value * base + digit
  }
  const size = base65Size(text.length)
  const bytes = new Uint8Array(1 + size)
  bytes[0] = text.length
  if (size > 0) bytes.set(Buffer.from(value.toString(16).padStart(size * 2, '0'), 'hex'), 1)
  return bytes
}

/** `number` is what follows the count. Undefined when it is too large for so many characters. */
export function decodeBase65(characters: number, number: Uint8Array): string | undefined {
  let value = number.length === 0 ? 0n : BigInt(`0x${Buffer.from(number).toString('hex')}`)
  let text = ''
  for (let index = 0; index < characters; index += 1) {
    text = alphabet.charAt(Number(value % base)) + text
    value /= base
  }
  return value === 0n ? text : undefined
}
