// Owns: request ids: made when a caller brings none, accepted when they are harmless in logs and headers.
import type { Random } from '../ports/random.ts'

const sanePattern = /^[A-Za-z0-9._:+/=-]{1,64}$/
const traceparentPattern = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/
const counterMax = 36 ** 6

/** Unique in this process, and by its random start among processes: no random bytes per call. */
export function requestIdsFrom(random: Random): () => string {
  const start = Buffer.from(random.bytes(8)).toString('hex')
  let counter = 0
  return () => {
    counter = (counter + 1) % counterMax
    return `${start}-${counter.toString(36)}`
  }
}

export function saneRequestId(text: unknown): string | undefined {
  return typeof text === 'string' && sanePattern.test(text) ? text : undefined
}

/** W3C trace context, version 00; anything else is as good as none. */
export function saneTraceparent(text: unknown): string | undefined {
  return typeof text === 'string' && traceparentPattern.test(text) ? text : undefined
}
